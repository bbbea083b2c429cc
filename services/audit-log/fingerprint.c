#include "services/audit-log/fingerprint.h"

#include "libcommon/base/buf.h"
#include "libcommon/base/log_mask.h"

#include <assert.h>
#include <string.h>

#define WORD_BYTES_MAX  128
#define FRAME_BYTES_MAX 256
#define FRAME_LINES_MAX 64
#define CANONICAL_BYTES 4096
#define ID_BYTES_MIN    6 /* of hex digits that are an id when one of them is a decimal digit */
#define ID_DIGITS_MIN   4 /* of decimal digits in a word that is an id */
#define HASH_BYTES      8 /* that bundlers put behind a file's name */

_Static_assert(CANONICAL_BYTES > FINGERPRINT_MESSAGE_BYTES + 3 * WORD_BYTES_MAX +
                                     FINGERPRINT_FRAMES_MAX * FRAME_BYTES_MAX + 16,
               "everything that counts fits");

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_word(char c)
{
    return is_digit(c) || is_upper(c) || (c >= 'a' && c <= 'z') || c == '_' ||
           ((unsigned char)c & 0x80U) != 0;
}

static bool is_blank(char c)
{
    return (unsigned char)c <= ' ' || c == 0x7F;
}

/* --- messages --------------------------------------------------------------------------------- */

struct scan {
    struct str text;
    size_t at;
    struct buf *out;
};

static char peek(const struct scan *s, size_t ahead)
{
    assert(s != NULL);
    if (s->at + ahead >= s->text.len) {
        return '\0';
    }
    return s->text.ptr[s->at + ahead];
}

/* A quote that opens something ends on the same line, and no word goes on behind it: the ones of
 * "don't" and "users' data" are none. */
static bool take_quoted(struct scan *s)
{
    char quote = peek(s, 0);
    size_t end = s->at + 1;

    if (quote != '"' && quote != '\'' && quote != '`') {
        return false;
    }
    if (s->at > 0 && is_word(s->text.ptr[s->at - 1])) {
        return false;
    }
    while (end < s->text.len && s->text.ptr[end] != quote && s->text.ptr[end] != '\n') {
        end++;
    }
    if (end >= s->text.len || s->text.ptr[end] != quote ||
        (end + 1 < s->text.len && is_word(s->text.ptr[end + 1]))) {
        return false;
    }
    buf_text(s->out, "<q>");
    s->at = end + 1;
    return true;
}

/* What was masked stands for anything that differs. */
static bool take_mask(struct scan *s)
{
    assert(s != NULL);
    if (!str_starts(str_sub(s->text, s->at, s->text.len), STR(LOG_MASK))) {
        return false;
    }
    buf_text(s->out, "<n>");
    s->at += strlen(LOG_MASK);
    return true;
}

static bool ends_address(char c)
{
    return is_blank(c) || c == '"' || c == '\'' || c == '`' || c == '<' || c == '>' || c == '(' ||
           c == ')' || c == '{' || c == '}' || c == '[' || c == ']';
}

/* "scheme://" and what follows it. `word` stands before. */
static bool take_address(struct scan *s, size_t word)
{
    assert(s != NULL);
    if (!str_starts(str_sub(s->text, s->at + word, s->text.len), STR("://"))) {
        return false;
    }
    s->at += word;
    while (s->at < s->text.len && !ends_address(s->text.ptr[s->at])) {
        s->at++;
    }
    buf_text(s->out, "<url>");
    return true;
}

/* A number with what belongs to it: "1,234.50", "10:32:11", "2026-01-31", "/12/34". */
static size_t number_length(const struct scan *s)
{
    size_t n = 0;

    while (is_digit(peek(s, n))) {
        n++;
        char c = peek(s, n);
        if ((c == '.' || c == ',' || c == ':' || c == '-' || c == '/') &&
            is_digit(peek(s, n + 1))) {
            n++;
        }
    }
    return n;
}

/* UUIDs, hashes, keys: hex digits in groups, or a word of many decimal digits. */
static bool is_id(struct str word)
{
    size_t digits = 0;
    size_t hex = 0;

    for (size_t i = 0; i < word.len; i++) {
        digits += is_digit(word.ptr[i]) ? 1U : 0U;
        hex += is_hex(word.ptr[i]) || word.ptr[i] == '-' ? 1U : 0U;
    }
    return digits >= ID_DIGITS_MIN || (digits > 0 && hex == word.len && word.len >= ID_BYTES_MIN);
}

static void take_word(struct scan *s)
{
    size_t len = 0;

    while (is_word(peek(s, len)) || (peek(s, len) == '-' && len > 0 && is_word(peek(s, len + 1)))) {
        len++;
    }
    assert(len > 0);
    if (take_address(s, len)) {
        return;
    }
    if (is_id(str_sub(s->text, s->at, s->at + len))) {
        buf_text(s->out, "<n>");
        s->at += len;
        return;
    }
    while (is_word(peek(s, 0)) && !is_digit(peek(s, 0))) {
        buf_char(s->out, peek(s, 0));
        s->at++;
    }
}

/* A number, and the whole word if it is an id that begins with one. */
static void take_number(struct scan *s)
{
    size_t number = number_length(s);
    size_t word = 0;

    assert(s != NULL);
    while (is_word(peek(s, word)) || (peek(s, word) == '-' && is_word(peek(s, word + 1)))) {
        word++;
    }
    if (word > number && is_id(str_sub(s->text, s->at, s->at + word))) {
        number = word;
    }
    buf_text(s->out, "<n>");
    s->at += number;
}

/* One of what a text is made of. */
static void take_one(struct scan *s)
{
    char c = peek(s, 0);

    assert(s->at < s->text.len);
    if (is_digit(c)) {
        take_number(s);
    } else if (is_word(c)) {
        take_word(s);
    } else if (!take_quoted(s) && !take_mask(s)) {
        buf_char(s->out, c);
        s->at++;
    }
}

static void pass_blanks(struct scan *s)
{
    assert(s != NULL);
    while (s->at < s->text.len && is_blank(s->text.ptr[s->at])) {
        s->at++;
    }
}

/* The text without what differs; it stops when there is no room. */
static void normalise(struct str text, struct buf *out)
{
    struct scan s = {.text = text, .out = out};

    assert(out != NULL);
    pass_blanks(&s);
    while (s.at < text.len && !out->overflow) {
        if (is_blank(text.ptr[s.at])) {
            buf_char(out, ' ');
            pass_blanks(&s);
        } else {
            take_one(&s);
        }
    }
}

/* A part of the whole, as much of it as may count; parts end with a byte that no text holds. */
static void add_text(struct buf *out, struct str text, size_t bytes_max)
{
    char memory[FINGERPRINT_MESSAGE_BYTES];
    struct buf part = buf_over(memory, bytes_max);

    assert(bytes_max <= sizeof memory);
    normalise(text, &part);
    buf_str(out, buf_view(&part));
    buf_char(out, '\0');
}

/* --- frames ------------------------------------------------------------------------------------
 */

/* "name-BxY3f2a9" of Vite and Rollup: eight characters, some of them none that a name has. */
static bool ends_in_hash(struct str stem)
{
    if (stem.len < HASH_BYTES + 2) {
        return false;
    }
    struct str hash = str_sub(stem, stem.len - HASH_BYTES, stem.len);
    char before = stem.ptr[stem.len - HASH_BYTES - 1];
    if (before != '-' && before != '.' && before != '_') {
        return false;
    }
    for (size_t i = 0; i < hash.len; i++) {
        if (is_digit(hash.ptr[i]) || is_upper(hash.ptr[i])) {
            return true;
        }
    }
    return false;
}

/* "/assets/index-BxY3f2a9.js?v=3" -> "index.js"; "main.4f3d2a1b.chunk.js" -> "main.<n>.chunk.js".
 */
static void add_file(struct buf *out, struct str path)
{
    size_t at = 0;
    struct str extension = STR_EMPTY;

    if (str_find_char(path, '?', &at) || str_find_char(path, '#', &at)) {
        path = str_sub(path, 0, at);
    }
    for (at = path.len; at > 0 && path.ptr[at - 1] != '/' && path.ptr[at - 1] != '\\'; at--) {
    }
    path = str_sub(path, at, path.len);
    for (at = path.len; at > 0 && path.ptr[at - 1] != '.'; at--) {
    }
    if (at > 1) {
        extension = str_sub(path, at - 1, path.len);
        path = str_sub(path, 0, at - 1);
    }
    if (ends_in_hash(path)) {
        path = str_sub(path, 0, path.len - HASH_BYTES - 1);
    }
    normalise(path, out);
    normalise(extension, out);
}

/* Without ":line:column" at the end. False: there is none. */
static bool cut_position(struct str *place)
{
    size_t end = place->len;
    size_t numbers = 0;

    while (numbers < 2) {
        size_t at = end;

        while (at > 0 && is_digit(place->ptr[at - 1])) {
            at--;
        }
        if (at == end || at == 0 || place->ptr[at - 1] != ':') {
            break;
        }
        end = at - 1;
        numbers++;
    }
    *place = str_sub(*place, 0, end);
    return numbers > 0;
}

static bool add_frame(struct buf *out, struct str function, struct str place)
{
    char memory[FRAME_BYTES_MAX];
    struct buf part = buf_over(memory, sizeof memory);

    if (!cut_position(&place)) {
        return false;
    }
    normalise(str_trim(function), &part);
    buf_char(&part, '@');
    add_file(&part, place);
    buf_str(out, buf_view(&part));
    buf_char(out, '\n');
    return true;
}

/* "f (https://host/file.js:1:2)" or "https://host/file.js:1:2". */
static bool take_call(struct buf *out, struct str call)
{
    size_t at = call.len;

    if (call.len == 0 || call.ptr[call.len - 1] != ')') {
        return add_frame(out, STR_EMPTY, call);
    }
    while (at > 0 && call.ptr[at - 1] != '(') {
        at--;
    }
    return at > 0 && add_frame(out, str_sub(call, 0, at - 1), str_sub(call, at, call.len - 1));
}

/* Chrome's and Node.js' form, or the "f@https://host/file.js:1:2" of the others. */
static bool take_frame(struct buf *out, struct str line)
{
    size_t at = 0;

    line = str_trim(line);
    if (str_starts(line, STR("at "))) {
        return take_call(out, str_trim(str_sub(line, 3, line.len)));
    }
    if (!str_find_char(line, '@', &at)) {
        return false;
    }
    return add_frame(out, str_sub(line, 0, at), str_sub(line, at + 1, line.len));
}

static void add_frames(struct buf *out, struct str stack)
{
    struct str line = STR_EMPTY;
    size_t frames = 0;

    for (size_t lines = 0; lines < FRAME_LINES_MAX && frames < FINGERPRINT_FRAMES_MAX &&
                           str_split(&stack, '\n', &line);
         lines++) {
        frames += take_frame(out, line) ? 1U : 0U;
    }
}

void fingerprint(const struct fingerprint_of *what, uint8_t out[SHA256_BYTES])
{
    char memory[CANONICAL_BYTES];
    struct buf canonical = buf_over(memory, sizeof memory);

    assert(what != NULL);
    assert(out != NULL);
    add_text(&canonical, what->source, WORD_BYTES_MAX);
    add_text(&canonical, what->service, WORD_BYTES_MAX);
    add_text(&canonical, what->name, WORD_BYTES_MAX);
    add_text(&canonical, what->message, FINGERPRINT_MESSAGE_BYTES);
    add_frames(&canonical, what->stack);
    assert(!canonical.overflow);
    sha256(buf_view(&canonical), out);
}
