#include "libcommon/codec/text.h"

#include "libcommon/codec/api.h"

#include <assert.h>
#include <utf8proc.h>

/* The Stream-Safe Text Format's limit (UAX #15). It also bounds the work: utf8proc sorts a run of
 * combining marks by exchanging neighbours. */
#define MARKS_MAX       30
#define UTF8_BYTES_MAX  4
#define FIRST_MARK_LEAD 0xCCu /* U+0300, the first character that NFC may touch, is CC 80 */

#define NFC ((utf8proc_option_t)(UTF8PROC_STABLE | UTF8PROC_COMPOSE))

static bool is_ascii(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (((unsigned char)text.ptr[i] & 0x80u) != 0) {
            return false;
        }
    }
    return true;
}

/* True when every character is below U+0300: such text is in NFC as it stands. */
static bool is_surely_nfc(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if ((unsigned char)text.ptr[i] >= FIRST_MARK_LEAD) {
            return false;
        }
    }
    return true;
}

/* The text must be UTF-8. Returns the bytes of the character at `at`. */
static size_t next_char(struct str text, size_t at, utf8proc_int32_t *out)
{
    assert(at < text.len);
    assert(out != NULL);

    utf8proc_ssize_t len = utf8proc_iterate(
        (const utf8proc_uint8_t *)text.ptr + at, (utf8proc_ssize_t)(text.len - at), out);

    assert(len > 0);
    return (size_t)len;
}

static bool has_long_mark_run(struct str text)
{
    size_t run = 0;
    utf8proc_int32_t c = 0;

    for (size_t at = 0; at < text.len;) {
        at += next_char(text, at, &c);
        run = utf8proc_get_property(c)->combining_class != 0 ? run + 1 : 0;
        if (run > MARKS_MAX) {
            return true;
        }
    }
    return false;
}

static enum text_result normalise(struct str text, struct arena *arena, struct str *out)
{
    const utf8proc_uint8_t *bytes = (const utf8proc_uint8_t *)text.ptr;
    utf8proc_ssize_t len = (utf8proc_ssize_t)text.len;
    utf8proc_ssize_t count = 0;
    utf8proc_int32_t *chars = NULL;

    assert(text.len > 0);
    assert(out != NULL);
    if (has_long_mark_run(text)) {
        return TEXT_MARKS;
    }
    count = utf8proc_decompose(bytes, len, NULL, 0, NFC);
    assert(count >= 0);
    chars = arena_alloc(arena, ((size_t)count + 1) * sizeof(*chars));
    if (chars == NULL) {
        return TEXT_NO_MEMORY;
    }
    count = utf8proc_decompose(bytes, len, chars, count, NFC);
    assert(count >= 0);
    len = utf8proc_reencode(chars, count, NFC); /* UTF-8 in place, NUL ended */
    assert(len >= 0);
    *out = (struct str){(const char *)chars, (size_t)len};
    return TEXT_OK;
}

static char ascii_case(char c, bool upper)
{
    char from = upper ? 'a' : 'A';

    if (c >= from && c <= from + ('Z' - 'A')) {
        return (char)((unsigned char)c ^ 0x20u);
    }
    return c;
}

static enum text_result
ascii_case_all(struct str text, bool upper, struct arena *arena, struct str *out)
{
    char *changed = arena_strdup(arena, text);

    assert(out != NULL);
    if (changed == NULL) {
        return TEXT_NO_MEMORY;
    }
    for (size_t i = 0; i < text.len; i++) {
        changed[i] = ascii_case(text.ptr[i], upper);
    }
    *out = (struct str){changed, text.len};
    return TEXT_OK;
}

/* Character by character: what one letter turns into several of (ß) stays. */
static enum text_result
change_case(struct str text, bool upper, struct arena *arena, struct str *out)
{
    utf8proc_uint8_t *changed = NULL;
    utf8proc_int32_t c = 0;
    size_t count = 0;
    size_t len = 0;

    assert(out != NULL);
    if (is_ascii(text)) {
        return ascii_case_all(text, upper, arena, out);
    }
    if (!utf8_length(text, &count)) {
        return TEXT_UTF8;
    }
    changed = arena_alloc(arena, count * UTF8_BYTES_MAX + 1);
    if (changed == NULL) {
        return TEXT_NO_MEMORY;
    }
    for (size_t at = 0; at < text.len;) {
        at += next_char(text, at, &c);
        c = upper ? utf8proc_toupper(c) : utf8proc_tolower(c);
        len += (size_t)utf8proc_encode_char(c, changed + len);
    }
    assert(len <= count * UTF8_BYTES_MAX);
    changed[len] = '\0';
    *out = (struct str){(const char *)changed, len};
    return TEXT_OK;
}

static enum text_result copy(struct str text, struct arena *arena, struct str *out)
{
    char *copied = arena_strdup(arena, text);

    assert(out != NULL);
    if (copied == NULL) {
        return TEXT_NO_MEMORY;
    }
    *out = (struct str){copied, text.len};
    return TEXT_OK;
}

enum text_result text_clean(struct str text, uint32_t flags, struct arena *arena, struct str *out)
{
    bool exact = (flags & RULE_EXACT) != 0;
    bool recase = (flags & (RULE_UPPER | RULE_LOWER)) != 0;
    enum text_result result = TEXT_OK;

    assert(arena != NULL);
    assert(out != NULL);
    if (!utf8_valid(text)) {
        return TEXT_UTF8;
    }
    if (!exact) {
        text = str_trim(text);
    }
    if (utf8_has_control(text, (flags & RULE_MULTILINE) != 0 ? "\t\n\r" : NULL)) {
        return TEXT_CONTROL;
    }
    if (!exact && utf8_has_bidi_control(text)) {
        return TEXT_CONTROL;
    }
    if (recase) {
        result = change_case(text, (flags & RULE_UPPER) != 0, arena, out);
        if (result != TEXT_OK) {
            return result;
        }
        text = *out;
    }
    if (!exact && !is_surely_nfc(text)) {
        return normalise(text, arena, out); /* last, so that what is stored is in NFC */
    }
    return recase ? TEXT_OK : copy(text, arena, out);
}
