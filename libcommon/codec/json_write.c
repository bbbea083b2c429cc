#include "libcommon/codec/json_write.h"

#include "libcommon/base/money.h"
#include "libcommon/codec/json_chars.h"

#include <assert.h>
#include <string.h>

#define NESTING_MAX     63 /* bits of has_item, the top level's included */
#define GROWTH_MIN      256
#define NUMBER_ROOM     48 /* any integer or decimal, its comma included */
#define ESCAPE_ROOM     6
#define LINE_BREAK_LEAD 0xE2u /* first byte of U+2028 and U+2029 in UTF-8 */

_Static_assert(NESTING_MAX < 64, "one bit per level");

/* Room is asked for generously (a whole number's worth), so the block may be a little larger than
 * the maximum; json_finish() compares the text itself. */
static size_t bytes_limit(const struct json_writer *w)
{
    assert(w != NULL);
    return w->bytes_max + NUMBER_ROOM;
}

static bool grow(struct json_writer *w, size_t need)
{
    size_t limit = bytes_limit(w);
    size_t cap = w->buf.cap < GROWTH_MIN ? GROWTH_MIN : 2 * w->buf.cap;
    char *larger = NULL;

    assert(w->buf.len <= w->buf.cap);
    assert(w->buf.len <= limit);
    if (w->buf.overflow || need > limit - w->buf.len) {
        w->buf.overflow = true;
        return false;
    }
    if (cap < w->buf.len + need) {
        cap = w->buf.len + need;
    }
    if (cap > limit) {
        cap = limit;
    }
    larger = arena_alloc(w->arena, cap);
    if (larger == NULL) {
        w->buf.overflow = true;
        return false;
    }
    if (w->buf.len > 0) {
        memcpy(larger, w->buf.ptr, w->buf.len);
    }
    w->buf.ptr = larger;
    w->buf.cap = cap;
    return true;
}

static inline bool room(struct json_writer *w, size_t need)
{
    assert(w != NULL);
    if (w->buf.cap - w->buf.len >= need) {
        return !w->buf.overflow;
    }
    return grow(w, need);
}

static inline void put(struct json_writer *w, char c)
{
    assert(w != NULL);
    w->buf.ptr[w->buf.len++] = c;
}

static inline void put_bytes(struct json_writer *w, const char *bytes, size_t len)
{
    assert(w != NULL);
    if (len > 0) {
        memcpy(w->buf.ptr + w->buf.len, bytes, len);
    }
    w->buf.len += len;
}

static inline uint64_t level_bit(const struct json_writer *w)
{
    assert(w->depth <= NESTING_MAX);
    return UINT64_C(1) << w->depth;
}

/* A comma when the container has an item already. The caller has made room. */
static inline void separate(struct json_writer *w)
{
    if ((w->has_item & level_bit(w)) != 0) {
        assert(w->depth > 0); /* one value at top level */
        put(w, ',');
    }
    w->has_item |= level_bit(w);
}

/* Room for `need` bytes and what goes before a value. */
static inline bool value_begin(struct json_writer *w, size_t need)
{
    bool in_object = (w->in_object & level_bit(w)) != 0;

    assert(w->after_key == in_object); /* in an object, and only there, a key goes before */
    if (!room(w, need + 1)) {
        w->after_key = false;
        return false;
    }
    if (!w->after_key) {
        separate(w);
    }
    w->after_key = false;
    return true;
}

void json_open(struct json_writer *w, struct arena *arena, size_t bytes_guess, size_t bytes_max)
{
    assert(arena != NULL);
    assert(bytes_max < SIZE_MAX / 4);
    assert(w != NULL);
    *w = (struct json_writer){.arena = arena, .bytes_max = bytes_max};
    (void)grow(w, bytes_guess < bytes_max ? bytes_guess : bytes_max);
}

static void container_begin(struct json_writer *w, char bracket, bool object)
{
    assert(w->depth < NESTING_MAX);
    if (value_begin(w, 1)) {
        put(w, bracket);
    }
    w->depth++;
    w->has_item &= ~level_bit(w);
    w->in_object &= ~level_bit(w);
    w->in_object |= object ? level_bit(w) : 0;
}

static void container_end(struct json_writer *w, char bracket, bool object)
{
    assert(w->depth > 0);
    assert(!w->after_key);
    assert(((w->in_object & level_bit(w)) != 0) == object);
    w->depth--;
    if (room(w, 1)) {
        put(w, bracket);
    }
}

void json_object_begin(struct json_writer *w)
{
    container_begin(w, '{', true);
}

void json_object_end(struct json_writer *w)
{
    container_end(w, '}', true);
}

void json_array_begin(struct json_writer *w)
{
    container_begin(w, '[', false);
}

void json_array_end(struct json_writer *w)
{
    container_end(w, ']', false);
}

/* U+2028 and U+2029 end lines in JavaScript before 2019, so they are written as escapes. */
static bool is_line_break(const char *at, size_t len)
{
    assert(at != NULL);
    return len >= 3 && memcmp(at, "\xE2\x80", 2) == 0 && (at[2] == '\xA8' || at[2] == '\xA9');
}

static size_t escape_unicode(struct json_writer *w, unsigned code_point)
{
    static const char hex[] = "0123456789abcdef";
    char text[ESCAPE_ROOM] = {'\\',
                              'u',
                              hex[(code_point >> 12) & 0xFu],
                              hex[(code_point >> 8) & 0xFu],
                              hex[(code_point >> 4) & 0xFu],
                              hex[code_point & 0xFu]};

    assert(code_point <= 0xFFFF);
    put_bytes(w, text, sizeof(text));
    return 1;
}

/* Writes the character at `at`, which json_plain_run() stopped at; returns the bytes it took. */
static size_t escape(struct json_writer *w, const char *at, size_t len)
{
    assert(len > 0);

    static const char shorthand[0x20] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    unsigned char c = (unsigned char)at[0];

    if (c == LINE_BREAK_LEAD) {
        if (is_line_break(at, len)) {
            (void)escape_unicode(w, at[2] == '\xA8' ? 0x2028u : 0x2029u);
            return 3;
        }
        put(w, at[0]);
        return 1;
    }
    if (c < 0x20 && shorthand[c] == '\0') {
        return escape_unicode(w, c);
    }
    put(w, '\\');
    if (c < 0x20) {
        put(w, shorthand[c]);
    } else {
        put(w, at[0]);
    }
    return 1;
}

/* The text between two quotes; `tail` bytes stay free behind it. */
static bool put_escaped(struct json_writer *w, struct str text, size_t tail)
{
    size_t at = 0;

    while (at < text.len) {
        size_t run = json_plain_run(text.ptr + at, text.len - at, LINE_BREAK_LEAD);

        put_bytes(w, text.ptr + at, run);
        at += run;
        if (at == text.len) {
            break;
        }
        if (!room(w, ESCAPE_ROOM + (text.len - at) + tail)) {
            return false;
        }
        at += escape(w, text.ptr + at, text.len - at);
    }
    return true;
}

void json_key(struct json_writer *w, struct str key)
{
    assert(!w->after_key);
    assert((w->in_object & level_bit(w)) != 0);
    w->after_key = true;
    if (!room(w, key.len + 4)) {
        return;
    }
    separate(w);
    put(w, '"');
    if (put_escaped(w, key, 2)) {
        put(w, '"');
        put(w, ':');
    }
}

void json_text(struct json_writer *w, struct str text)
{
    assert(text.ptr != NULL || text.len == 0);
    if (!value_begin(w, text.len + 2)) {
        return;
    }
    put(w, '"');
    if (put_escaped(w, text, 1)) {
        put(w, '"');
    }
}

void json_int64(struct json_writer *w, int64_t value)
{
    assert(w != NULL);
    if (value_begin(w, NUMBER_ROOM - 1)) {
        buf_int64(&w->buf, value);
    }
}

void json_uint64(struct json_writer *w, uint64_t value)
{
    assert(w != NULL);
    if (value_begin(w, NUMBER_ROOM - 1)) {
        buf_uint64(&w->buf, value);
    }
}

void json_decimal(struct json_writer *w, int64_t value, unsigned scale)
{
    assert(w != NULL);
    if (value_begin(w, NUMBER_ROOM - 1)) {
        decimal_format(&w->buf, value, scale);
    }
}

void json_decimal_short(struct json_writer *w, int64_t value, unsigned scale)
{
    assert(w != NULL);
    if (value_begin(w, NUMBER_ROOM - 1)) {
        decimal_format_short(&w->buf, value, scale);
    }
}

static void literal(struct json_writer *w, struct str text)
{
    assert(text.len > 0);
    if (value_begin(w, text.len)) {
        put_bytes(w, text.ptr, text.len);
    }
}

void json_bool(struct json_writer *w, bool value)
{
    literal(w, value ? STR("true") : STR("false"));
}

void json_none(struct json_writer *w)
{
    literal(w, STR("null"));
}

void json_raw(struct json_writer *w, struct str json)
{
    assert(json.len > 0);
    literal(w, json);
}

enum code json_finish(struct json_writer *w, struct str *out, struct err *err)
{
    assert(w->depth == 0);
    assert(!w->after_key);
    assert(out != NULL);
    if (w->buf.overflow || w->buf.len > w->bytes_max) {
        return err_set(err, ERR_TOO_LARGE, "the JSON text is larger than %zu bytes", w->bytes_max);
    }
    *out = buf_view(&w->buf);
    return OK;
}
