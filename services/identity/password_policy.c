#include "services/identity/password_policy.h"

#include "services/identity/common_passwords.h"

#include "libcommon/base/buf.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>

#define SIGNS_MAX        3 /* before a word and behind it */
#define WORD_BYTES_MIN   3 /* shorter parts of a name say too little */
#define PERIOD_BYTES_MAX 3 /* said again and again, these are a repetition whatever they are */
#define FOLDED_BYTES_MAX ((size_t)PASSWORD_CHARACTERS_MAX * 4)

static const char length_text[] = "Use 8 to 128 characters";
static const char common_text[] =
    "This is one of the most used passwords, or nearly so: choose another";
static const char product_text[] = "Do not use the name of this product as your password";
static const char person_text[] = "Do not use your name or e-mail as your password";
static const char sequence_text[] = "Do not use a sequence or a repetition as your password";

/* --- folding: letter case and accents do not make a word another one ------------------------- */

/* The letters U+00C0 to U+00FF; a blank: the character is kept. */
static const char base_letters[] =
    "aaaaaa ceeeeiiii nooooo ouuuuy  aaaaaa ceeeeiiii nooooo ouuuuy y";

_Static_assert(sizeof base_letters == 64 + 1, "one for each");

/* In lower case, without the accents of western letters. The views's memory is `memory`. */
static struct str fold(struct str text, char *memory, size_t cap)
{
    struct buf out = buf_over(memory, cap);

    assert(text.ptr != NULL);
    for (size_t i = 0; i < text.len; i++) {
        const unsigned char c = (unsigned char)text.ptr[i];
        const unsigned char next = i + 1 < text.len ? (unsigned char)text.ptr[i + 1] : 0;

        if (c == 0xc3 && next >= 0x80 && next <= 0xbf && base_letters[next - 0x80] != ' ') {
            buf_char(&out, base_letters[next - 0x80]);
            i++;
        } else {
            buf_char(&out, (char)tolower(c)); /* in the locale "C": ASCII alone */
        }
    }
    return buf_view(&out); /* what does not fit is cut: names are bounded elsewhere */
}

static bool is_sign(char c)
{
    return (unsigned char)c < 0x80 && !(c >= 'a' && c <= 'z');
}

static bool is_letter_or_digit(char c)
{
    return !is_sign(c) || (c >= '0' && c <= '9');
}

/* Letters and digits alone: "ana.maria" and "Ana María" are one word. */
static struct str squeeze(struct str folded, char *memory, size_t cap)
{
    struct buf out = buf_over(memory, cap);

    assert(folded.ptr != NULL);
    for (size_t i = 0; i < folded.len; i++) {
        if (is_letter_or_digit(folded.ptr[i])) {
            buf_char(&out, folded.ptr[i]);
        }
    }
    return buf_view(&out);
}

/* --- words ------------------------------------------------------------------------------------ */

static bool is_common(struct str word)
{
    uint32_t low = 0;
    uint32_t high = common_password_count;

    assert(common_password_count > 0);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const char *at = common_password_text + common_password_at[middle];
        struct str common = {at, common_password_at[middle + 1] - common_password_at[middle]};
        int order = str_cmp(word, common);

        if (order == 0) {
            return true;
        }
        low = order > 0 ? middle + 1 : low;
        high = order < 0 ? middle : high;
    }
    return false;
}

/* What the user is called, folded. */
struct person {
    struct str email;
    struct str name;
};

/* One of the parts of a text, which end where a letter or digit does not follow. */
static bool is_part(struct str word, struct str text)
{
    size_t from = 0;

    for (size_t i = 0; i <= text.len; i++) {
        if (i < text.len && is_letter_or_digit(text.ptr[i])) {
            continue;
        }
        if (str_eq(word, str_sub(text, from, i))) {
            return true;
        }
        from = i + 1;
    }
    return false;
}

static bool is_whole(struct str word, struct str text)
{
    char memory[FOLDED_BYTES_MAX];

    return str_eq(word, squeeze(text, memory, sizeof memory));
}

static bool is_of_person(struct str word, const struct person *person)
{
    size_t at = 0;
    struct str local = person->email;

    if (word.len < WORD_BYTES_MIN) {
        return false;
    }
    if (str_find_char(person->email, '@', &at)) {
        local = str_sub(person->email, 0, at);
    }
    return is_part(word, person->email) || is_part(word, person->name) || is_whole(word, local) ||
           is_whole(word, person->email) || is_whole(word, person->name);
}

static const char *check_word(struct str word, const struct person *person)
{
    char memory[FOLDED_BYTES_MAX];
    struct str squeezed = squeeze(word, memory, sizeof memory);

    if (str_eq(squeezed, STR("avanta"))) {
        return product_text;
    }
    if (is_of_person(squeezed, person)) {
        return person_text;
    }
    return is_common(word) ? common_text : NULL;
}

/* --- repetitions and sequences -----------------------------------------------------------------
 */

/* Each step between neighbours is the same and at most one: aaaaaaaa, 12345678, hgfedcba. */
static bool is_sequence(struct str s)
{
    int step = s.len > 1 ? s.ptr[1] - s.ptr[0] : 0;

    for (size_t i = 1; i < s.len; i++) {
        if (s.ptr[i] - s.ptr[i - 1] != step) {
            return false;
        }
    }
    return step >= -1 && step <= 1;
}

/* The shortest beginning that, said again and again, is the whole; the whole itself if none is. */
static struct str period(struct str s)
{
    assert(s.ptr != NULL);
    for (size_t len = 1; len <= s.len / 2; len++) {
        if (s.len % len == 0 && memcmp(s.ptr, s.ptr + len, s.len - len) == 0) {
            return str_sub(s, 0, len);
        }
    }
    return s;
}

/* The word with so many signs taken away in front and behind, or the word it repeats, with signs
 * between or without. */
static const char *check_core(struct str core, const struct person *person)
{
    char memory[FOLDED_BYTES_MAX];
    const struct str squeezed = squeeze(core, memory, sizeof memory);
    const struct str once = period(core);
    const struct str once_squeezed = period(squeezed);
    const char *fault = check_word(core, person);

    if (fault == NULL && once.len < core.len) {
        fault = once.len <= PERIOD_BYTES_MAX ? sequence_text : check_word(once, person);
    }
    if (fault == NULL && once_squeezed.len < squeezed.len) {
        fault = check_word(once_squeezed, person);
    }
    return fault;
}

/* How many signs stand at the end; those in front are counted alike. */
static size_t signs_behind(struct str s)
{
    size_t count = 0;

    assert(s.len > 0);
    while (count < SIGNS_MAX && count < s.len && is_sign(s.ptr[s.len - 1 - count])) {
        count++;
    }
    return count;
}

static size_t signs_before(struct str s)
{
    size_t count = 0;

    assert(s.len > 0);
    while (count < SIGNS_MAX && count < s.len && is_sign(s.ptr[count])) {
        count++;
    }
    return count;
}

const char *password_check(struct str password, struct str email, struct str name)
{
    char password_memory[FOLDED_BYTES_MAX];
    char email_memory[FOLDED_BYTES_MAX];
    char name_memory[FOLDED_BYTES_MAX];
    const struct person person = {fold(email, email_memory, sizeof email_memory),
                                  fold(name, name_memory, sizeof name_memory)};
    size_t characters = 0;
    const char *fault = NULL;
    struct str folded;

    if (!utf8_length(password, &characters) || characters < PASSWORD_CHARACTERS_MIN ||
        characters > PASSWORD_CHARACTERS_MAX) {
        return length_text;
    }
    folded = fold(password, password_memory, sizeof password_memory);
    assert(folded.len > 2 * (size_t)SIGNS_MAX); /* something is left of it */
    assert(folded.len <= password.len);
    fault = is_sequence(password) || is_sequence(folded) ? sequence_text : NULL;
    for (size_t before = 0; before <= signs_before(folded) && fault == NULL; before++) {
        for (size_t behind = 0; behind <= signs_behind(folded) && fault == NULL; behind++) {
            fault = check_core(str_sub(folded, before, folded.len - behind), &person);
        }
    }
    explicit_bzero(password_memory, sizeof password_memory);
    return fault;
}
