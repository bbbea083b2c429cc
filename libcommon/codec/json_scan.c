#include "libcommon/codec/json_scan.h"

#include "libcommon/base/limits.h"
#include "libcommon/codec/json_chars.h"

#include <assert.h>

struct scan {
    struct str json;
    size_t at;
    uint32_t depth;
    size_t escaped_bytes_max;
    struct err *err;
};

static bool is_json_space(unsigned char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_number_char(char c)
{
    return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

/* Four hexadecimal digits at `at`; false when they are not there. */
static bool read_unit(struct str json, size_t at, unsigned *out)
{
    uint8_t bytes[2];
    size_t len = 0;

    assert(out != NULL);
    if (!hex_decode(str_sub(json, at, at + 4), bytes, sizeof(bytes), &len) || len != 2) {
        return false;
    }
    *out = (unsigned)bytes[0] << 8 | bytes[1];
    return true;
}

/*
 * Steps over the escape at s->at; only that or a control character ends a plain run. Halves of
 * surrogate pairs are refused here: the grammar allows them, but they are no characters, and the
 * parser would put others in their place.
 */
static enum code scan_escape(struct scan *s)
{
    struct str json = s->json;
    unsigned first = 0;
    unsigned second = 0;

    assert(s->at < json.len);
    if (json.ptr[s->at] != '\\') {
        return err_set(s->err, ERR_JSON, "a control character in a string at byte %zu", s->at);
    }
    if (s->at + 1 >= json.len || json.ptr[s->at + 1] != 'u' ||
        !read_unit(json, s->at + 2, &first)) {
        s->at += 2;
        return OK;
    }
    s->at += 6;
    if (first < 0xD800 || first > 0xDFFF) {
        return OK;
    }
    if (first <= 0xDBFF && str_starts(str_sub(json, s->at, json.len), STR("\\u")) &&
        read_unit(json, s->at + 2, &second) && second >= 0xDC00 && second <= 0xDFFF) {
        s->at += 6;
        return OK;
    }
    return err_set(s->err, ERR_JSON, "half a surrogate pair before byte %zu", s->at);
}

static void note_string(struct scan *s, size_t escaped_bytes)
{
    assert(escaped_bytes <= s->json.len);
    if (escaped_bytes > s->escaped_bytes_max) {
        s->escaped_bytes_max = escaped_bytes;
    }
}

/* From the opening quote to behind the closing one. */
static enum code scan_string(struct scan *s)
{
    struct str json = s->json;
    size_t from = s->at;
    bool escaped = false;
    enum code code = OK;

    assert(json.ptr[from] == '"');
    s->at++;
    while (s->at < json.len && code == OK) {
        s->at += json_plain_run(json.ptr + s->at, json.len - s->at, '"');
        if (s->at == json.len) {
            break;
        }
        if (json.ptr[s->at] == '"') {
            s->at++;
            note_string(s, escaped ? s->at - from : 0);
            return OK;
        }
        escaped = true;
        code = scan_escape(s);
    }
    return code != OK
               ? code
               : err_set(s->err, ERR_JSON, "the string that opens at byte %zu is not closed", from);
}

static enum code scan_number(struct scan *s)
{
    size_t from = s->at;

    assert(is_number_char(s->json.ptr[from]));
    while (s->at < s->json.len && is_number_char(s->json.ptr[s->at])) {
        s->at++;
    }
    if (s->at - from > JSON_NUMBER_TEXT_BYTES_MAX) {
        return err_set(s->err,
                       ERR_JSON,
                       "the number at byte %zu is longer than %d characters",
                       from,
                       JSON_NUMBER_TEXT_BYTES_MAX);
    }
    return OK;
}

static enum code scan_bracket(struct scan *s)
{
    assert(s->at < s->json.len);

    char c = s->json.ptr[s->at++];

    if (c == '{' || c == '[') {
        s->depth++;
    } else if (s->depth > 0) {
        s->depth--;
    }
    if (s->depth > JSON_DEPTH_MAX) {
        return err_set(s->err, ERR_JSON, "nested more than %d levels deep", JSON_DEPTH_MAX);
    }
    return OK;
}

static enum code scan_step(struct scan *s)
{
    assert(s->at < s->json.len);

    unsigned char c = (unsigned char)s->json.ptr[s->at];

    if (c == '"') {
        return scan_string(s);
    }
    if (c == '{' || c == '}' || c == '[' || c == ']') {
        return scan_bracket(s);
    }
    if (is_number_char((char)c)) {
        return scan_number(s);
    }
    if ((c < 0x20 && !is_json_space(c)) || c == 0x7F) {
        return err_set(s->err, ERR_JSON, "a control character at byte %zu", s->at);
    }
    s->at++;
    return OK;
}

static bool is_blank(struct str json)
{
    for (size_t i = 0; i < json.len; i++) {
        if (!is_json_space((unsigned char)json.ptr[i])) {
            return false;
        }
    }
    return true;
}

enum code json_scan(struct str json, size_t *out_escaped_bytes_max, struct err *err)
{
    struct scan s = {.json = json, .err = err};

    assert(json.ptr != NULL || json.len == 0);
    assert(out_escaped_bytes_max != NULL);
    if (is_blank(json)) {
        return err_set(err, ERR_JSON, "the text is empty");
    }
    if (str_starts(json, STR("\xEF\xBB\xBF"))) {
        return err_set(err, ERR_JSON, "the text starts with a byte order mark");
    }
    if (!utf8_valid(json)) {
        return err_set(err, ERR_JSON, "the text is not valid UTF-8");
    }
    while (s.at < json.len) {
        enum code code = scan_step(&s);

        if (code != OK) {
            return code;
        }
    }
    *out_escaped_bytes_max = s.escaped_bytes_max;
    assert(s.at == json.len);
    return OK;
}
