#include "services/audit-log/error_text.h"

#include "libcommon/base/buf.h"
#include "libcommon/base/log_mask.h"
#include "libcommon/codec/json_read.h"
#include "libcommon/codec/json_write.h"

#include <assert.h>
#include <string.h>

#define BEYOND_BYTES                                                            \
    256 /* looked at behind the end, so that a secret across it is known as one \
         */
#define CARD_DIGITS_MIN  14 /* thirteen are those of a time in milliseconds */
#define CARD_DIGITS_MAX  19
#define JSON_KEY_MAX     128
#define JSON_VALUE_MAX   1024
#define JSON_CLOSE_BYTES 128 /* for what is open when there is no more room */
#define KEY_BYTES        256
#define ESCAPED_MAX      ((size_t)6)
#define ROOM_BYTES       (ESCAPED_MAX * (JSON_VALUE_MAX / 4 + JSON_KEY_MAX) + JSON_CLOSE_BYTES)

/* --- characters ------------------------------------------------------------------------------ */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool turns_direction(struct str rest)
{
    return utf8_has_bidi_control(str_sub(rest, 0, 3));
}

/* Characters that no database, terminal or page takes as they are become blanks. */
static void clean_into(struct str text, struct buf *out)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];

        if ((unsigned char)c == 0xE2 && turns_direction(str_sub(text, i, text.len))) {
            buf_char(out, ' ');
            i += 2;
        } else if ((unsigned char)c == 0xC2 && i + 1 < text.len &&
                   ((unsigned char)text.ptr[i + 1] & 0xE0U) == 0x80) { /* U+0080 to U+009F */
            buf_char(out, ' ');
            i++;
        } else if (((unsigned char)c < ' ' && c != '\n') || c == 0x7F) {
            buf_char(out, ' ');
        } else {
            buf_char(out, c);
        }
    }
}

/* --- cards ----------------------------------------------------------------------------------- */

/* Luhn's check (ISO/IEC 7812-1), from the last digit. */
static bool passes_luhn(struct str digits)
{
    unsigned sum = 0;

    for (size_t i = 0; i < digits.len; i++) {
        unsigned digit = (unsigned)(digits.ptr[digits.len - 1 - i] - '0');

        digit = i % 2 == 1 ? digit * 2 : digit;
        sum += digit > 9 ? digit - 9 : digit;
    }
    return sum % 10 == 0;
}

/* The length of the digits at the beginning, single blanks and hyphens between them; one digit more
 * than a card has is enough to know that it is none. */
static size_t grouped_length(struct str rest, char digits[CARD_DIGITS_MAX + 1], size_t *out_count)
{
    size_t len = 0;
    size_t count = 0;

    assert(out_count != NULL);
    for (size_t i = 0; i < rest.len && count <= CARD_DIGITS_MAX; i++) {
        char c = rest.ptr[i];
        bool joins = (c == ' ' || c == '-') && i > 0 && is_digit(rest.ptr[i - 1]);

        if (!is_digit(c) && !joins) {
            break;
        }
        if (is_digit(c)) {
            digits[count++] = c;
            len = i + 1;
        }
    }
    *out_count = count;
    return len;
}

/* In the buffer itself: the mask is shorter than any card. */
static void mask_cards(struct buf *text)
{
    char digits[CARD_DIGITS_MAX + 1];
    size_t to = 0;

    _Static_assert(sizeof LOG_MASK - 1 < CARD_DIGITS_MIN, "masking makes nothing longer");
    for (size_t i = 0; i < text->len;) {
        size_t count = 0;
        size_t len = grouped_length((struct str){text->ptr + i, text->len - i}, digits, &count);

        if (count >= CARD_DIGITS_MIN && count <= CARD_DIGITS_MAX &&
            passes_luhn((struct str){digits, count})) {
            memcpy(text->ptr + to, LOG_MASK, strlen(LOG_MASK));
            to += strlen(LOG_MASK);
            i += len;
            continue;
        }
        do { /* the whole run of digits: a part of it is no card */
            text->ptr[to++] = text->ptr[i++];
        } while (i < text->len && is_digit(text->ptr[i - 1]) && is_digit(text->ptr[i]));
    }
    assert(to <= text->len);
    text->len = to;
}

/* --- texts -------------------------------------------------------------------------------------
 */

static struct buf buf_in(struct arena *arena, size_t cap)
{
    char *memory = arena_alloc(arena, cap + 1);

    return buf_over(memory, memory == NULL ? 0 : cap + 1);
}

/* As much of it as may show, and a bit; without the last word where there is more. */
static struct str window(struct str text, size_t bytes_max)
{
    struct str seen = utf8_cut(text, bytes_max + BEYOND_BYTES);
    size_t end = seen.len;

    if (seen.len == text.len) {
        return text;
    }
    while (end > 0 && (unsigned char)seen.ptr[end - 1] > ' ') {
        end--;
    }
    return end > bytes_max / 2 ? str_sub(seen, 0, end) : utf8_cut(seen, bytes_max);
}

struct str error_text(struct str text, size_t bytes_max, struct arena *arena)
{
    static const struct str full = {NULL, 0};
    bool cut = text.len > bytes_max + BEYOND_BYTES;
    struct str seen = window(text, bytes_max);
    struct buf clean = buf_in(arena, seen.len);
    struct buf out = buf_in(arena, 2 * seen.len + sizeof LOG_MASK + sizeof ERROR_CUT);
    struct str rest;
    struct str line = STR_EMPTY;
    bool first = true;

    assert(bytes_max > sizeof ERROR_CUT);
    if (clean.ptr == NULL || out.ptr == NULL) {
        return full;
    }
    clean_into(seen, &clean);
    mask_cards(&clean);
    assert(!clean.overflow);
    rest = buf_view(&clean);
    while (str_split(&rest, '\n', &line)) {
        if (!first) {
            buf_char(&out, '\n');
        }
        first = false;
        log_mask_into(line, &out);
    }
    cut = cut || out.overflow || out.len > bytes_max;
    out.overflow = false;
    if (cut) {
        out.len = utf8_cut(buf_view(&out), bytes_max - strlen(ERROR_CUT)).len;
        buf_text(&out, ERROR_CUT);
    }
    assert(out.len <= bytes_max);
    return buf_terminate(&out) ? buf_view(&out) : full;
}

struct str error_url(struct str url, size_t bytes_max, struct arena *arena)
{
    size_t at = 0;

    while (at < url.len && url.ptr[at] != '?' && url.ptr[at] != '#') {
        at++;
    }
    return error_text(str_sub(url, 0, at), bytes_max, arena);
}

/* --- JSON --------------------------------------------------------------------------------------
 */

struct walk {
    struct json_writer writer;
    struct arena *arena;
    size_t bytes_max;
    size_t depth;
    size_t passed_over; /* depth of what is left out; 0: nothing is */
    bool masked;        /* the next value is of a name that says so */
    bool due;           /* a name was read and is written with its value */
    bool cut;
    char key[JSON_KEY_MAX + 1];
    struct str name;
};

static bool opens(enum json_kind kind)
{
    return kind == JSON_OBJECT_BEGIN || kind == JSON_ARRAY_BEGIN;
}

static bool closes(enum json_kind kind)
{
    return kind == JSON_OBJECT_END || kind == JSON_ARRAY_END;
}

/* "userEmail" -> "user_email": names of both styles are known by the same list. */
static bool says_secret(struct str name)
{
    char memory[KEY_BYTES];
    struct buf key = buf_over(memory, sizeof memory);

    for (size_t i = 0; i < name.len && key.len + 3 < sizeof memory; i++) {
        char c = name.ptr[i];
        bool upper = c >= 'A' && c <= 'Z';

        if (upper && i > 0 && name.ptr[i - 1] >= 'a' && name.ptr[i - 1] <= 'z') {
            buf_char(&key, '_');
        }
        if (upper) {
            c = (char)(c - 'A' + 'a');
        }
        buf_char(&key, c);
    }
    return buf_terminate(&key) && log_mask_key(memory); /* up to a NUL in it, if there is one */
}

static bool has_room(const struct walk *w)
{
    assert(w != NULL);
    /* Escapes make of one byte six at most. */
    return w->writer.buf.len + ROOM_BYTES < w->bytes_max;
}

static enum code take_key(struct walk *w, struct str name)
{
    assert(w != NULL);
    w->due = true;
    if (!has_room(w)) {
        return OK; /* its value finds none either */
    }
    struct str key = error_text(name, JSON_KEY_MAX, w->arena);
    if (key.ptr == NULL || !str_copy(key, w->key, sizeof w->key)) {
        return ERR_TOO_LARGE;
    }
    w->name = str_from(w->key);
    w->masked = says_secret(name);
    return OK;
}

static enum code put_string(struct walk *w, struct str text)
{
    struct str clean;
    size_t left = w->bytes_max - w->writer.buf.len - JSON_CLOSE_BYTES;
    size_t most = left / ESCAPED_MAX < JSON_VALUE_MAX ? left / ESCAPED_MAX : JSON_VALUE_MAX;

    clean = error_text(text, most, w->arena);
    if (clean.ptr == NULL) {
        return ERR_TOO_LARGE;
    }
    json_text(&w->writer, clean);
    return OK;
}

/* It may be that of a card. */
static enum code put_number(struct walk *w, struct str number)
{
    struct str shown = error_text(number, JSON_KEY_MAX, w->arena);

    if (shown.ptr == NULL) {
        return ERR_TOO_LARGE;
    }
    if (str_eq(shown, number)) {
        json_raw(&w->writer, number);
    } else {
        json_text(&w->writer, shown);
    }
    return OK;
}

static enum code put_value(struct walk *w, const struct json_event *event)
{
    switch (event->kind) {
    case JSON_NULL:
        json_none(&w->writer);
        return OK;
    case JSON_BOOL:
        json_bool(&w->writer, event->boolean);
        return OK;
    case JSON_NUMBER:
        return put_number(w, event->text);
    case JSON_STRING:
        return put_string(w, event->text);
    case JSON_OBJECT_BEGIN:
        json_object_begin(&w->writer);
        return OK;
    case JSON_ARRAY_BEGIN:
        json_array_begin(&w->writer);
        return OK;
    case JSON_KEY:
    case JSON_OBJECT_END:
    case JSON_ARRAY_END:
        break;
    }
    assert(!"no value begins with it");
    return ERR_INTERNAL;
}

static enum code take_value(struct walk *w, const struct json_event *event)
{
    bool left_out = !has_room(w) && w->depth > 0;
    bool masked = w->masked && w->due;

    assert(event != NULL);
    w->cut = w->cut || left_out;
    if (!left_out && w->due) {
        json_key(&w->writer, w->name);
    }
    w->due = false;
    if (opens(event->kind)) {
        w->depth++;
    }
    if (left_out || masked) {
        if (opens(event->kind)) {
            w->passed_over = w->depth;
        }
        if (!left_out) {
            json_text(&w->writer, STR(LOG_MASK));
        }
        return OK;
    }
    return put_value(w, event);
}

static void take_end(struct walk *w, enum json_kind kind)
{
    bool shown = w->passed_over == 0;

    assert(w->depth > 0);
    if (w->passed_over == w->depth) {
        w->passed_over = 0;
    }
    w->depth--;
    if (!shown) {
        return;
    }
    if (kind == JSON_OBJECT_END) {
        if (w->depth == 0 && w->cut) {
            json_key(&w->writer, STR("[cut]"));
            json_bool(&w->writer, true);
        }
        json_object_end(&w->writer);
    } else {
        json_array_end(&w->writer);
    }
}

static enum code visit(void *ctx, const struct json_event *event)
{
    struct walk *w = ctx;

    assert(event != NULL);
    if (closes(event->kind)) {
        take_end(w, event->kind);
        return OK;
    }
    if (w->passed_over > 0) {
        w->depth += opens(event->kind) ? 1U : 0U;
        return OK;
    }
    return event->kind == JSON_KEY ? take_key(w, event->text) : take_value(w, event);
}

struct str error_json(struct str json, size_t bytes_max, struct arena *arena)
{
    static const struct str full = {NULL, 0};
    struct walk *w = arena_calloc(arena, 1, sizeof *w);
    struct str out = STR_EMPTY;
    struct err err = {.code = OK};
    enum code code = OK;

    assert(bytes_max > ROOM_BYTES + JSON_CLOSE_BYTES);
    if (w == NULL) {
        return full;
    }
    w->arena = arena;
    w->bytes_max = bytes_max;
    json_open(&w->writer, arena, json.len < bytes_max ? json.len + 64 : bytes_max, bytes_max);
    code = json_read(json, arena, visit, w, &err);
    if (code == ERR_JSON) {
        return STR_EMPTY;
    }
    code = code == OK ? json_finish(&w->writer, &out, &err) : code;
    return code == OK ? out : full;
}

struct found {
    struct arena *arena;
    struct str text;
    bool taken;
};

static enum code take_first(void *ctx, const struct json_event *event)
{
    struct found *found = ctx;

    assert(event != NULL);
    if (!found->taken && event->kind == JSON_STRING) {
        const char *copy = arena_strdup(found->arena, event->text);

        found->text = (struct str){copy, event->text.len};
    }
    found->taken = true;
    return OK;
}

struct str error_json_text(struct str json, struct arena *arena)
{
    struct found found = {.arena = arena, .text = STR_EMPTY};
    struct err err = {.code = OK};

    json = str_trim(json);
    if (json.len == 0 || str_eq(json, STR("null")) ||
        json_read(json, arena, take_first, &found, &err) != OK) {
        return STR_EMPTY;
    }
    return json.ptr[0] == '"' ? found.text : json;
}
