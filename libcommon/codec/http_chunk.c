#include "libcommon/codec/http_chunk.h"

#include "libcommon/base/limits.h"
#include "libcommon/codec/http_chars.h"

#include <assert.h>

#define SIZE_DIGITS_MAX 8

enum state {
    SIZE,
    NAME_FIRST, /* of an extension */
    NAME,
    TEXT_FIRST, /* its value */
    TEXT,
    QUOTED,
    QUOTED_PAIR,
    QUOTED_END,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER_START,
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    END_LF,
    DONE
};

_Static_assert(HTTP_BODY_BYTES_MAX < UINT32_MAX / 2, "totals of two chunks fit 32 bits");

void http_chunks_init(struct http_chunks *c, uint32_t bytes_max)
{
    assert(c != NULL);
    assert(bytes_max <= HTTP_BODY_BYTES_MAX);
    *c = (struct http_chunks){.state = SIZE, .bytes_max = bytes_max};
}

static enum code refuse(struct err *err, const char *what)
{
    assert(what != NULL);
    return err_set(err, ERR_HTTP, "chunked body: %s", what);
}

static enum code step_size(struct http_chunks *c, char byte, struct err *err)
{
    int digit = http_hex_value(byte);

    assert(c->state == SIZE);
    assert(c->total <= c->bytes_max);
    if (digit >= 0) {
        if (c->digits == SIZE_DIGITS_MAX) {
            return refuse(err, "size has too many digits");
        }
        c->digits++;
        c->left = c->left * 16 + (uint32_t)digit;
        return OK;
    }
    if (c->digits == 0) {
        return refuse(err, "size expected");
    }
    if (c->left > c->bytes_max - c->total) {
        return err_set(err, ERR_TOO_LARGE, "the body is longer than %u bytes", c->bytes_max);
    }
    if (byte != '\r' && byte != ';') {
        return refuse(err, "size ends in a stray character");
    }
    c->total += c->left;
    c->state = byte == '\r' ? SIZE_LF : NAME_FIRST;
    return OK;
}

static enum state quoted_next(enum state state, char byte)
{
    if (state == QUOTED && byte == '"') {
        return QUOTED_END;
    }
    if (state == QUOTED && byte == '\\') {
        return QUOTED_PAIR;
    }
    return http_char_is(HTTP_CLASS_VALUE, byte) ? QUOTED : SIZE;
}

/* The state after one more byte of an extension: name [= token or quoted-string]. SIZE: not
 * allowed. */
static enum state extension_next(enum state state, char byte)
{
    bool open = state == NAME || state == TEXT || state == QUOTED_END; /* may end here */

    if (state == QUOTED || state == QUOTED_PAIR) {
        return quoted_next(state, byte);
    }
    if (open && (byte == '\r' || byte == ';')) {
        return byte == '\r' ? SIZE_LF : NAME_FIRST;
    }
    if (state == NAME && byte == '=') {
        return TEXT_FIRST;
    }
    if (state == TEXT_FIRST && byte == '"') {
        return QUOTED;
    }
    if (state == QUOTED_END || !http_char_is(HTTP_CLASS_TOKEN, byte)) {
        return SIZE;
    }
    return state == NAME_FIRST || state == NAME ? NAME : TEXT;
}

static enum code step_extension(struct http_chunks *c, char byte, struct err *err)
{
    enum state next = extension_next((enum state)c->state, byte);

    assert(c->state > SIZE);
    assert(c->state < SIZE_LF);
    if (next == SIZE) {
        return refuse(err, "malformed extension");
    }
    c->state = (uint8_t)next;
    if (next == SIZE_LF) {
        return OK;
    }
    c->extension_bytes++;
    if (c->extension_bytes > HTTP_CHUNK_EXTENSION_BYTES_MAX) {
        return refuse(err, "extensions are too long");
    }
    return OK;
}

static enum code step_trailer(struct http_chunks *c, char byte, struct err *err)
{
    assert(c->state >= TRAILER_START);
    assert(c->state <= TRAILER_VALUE);
    c->trailer_bytes++;
    if (c->trailer_bytes > HTTP_TRAILER_BYTES_MAX) {
        return err_set(err, ERR_HEADERS_TOO_LARGE, "the trailer fields are too long");
    }
    if (c->state == TRAILER_VALUE) {
        if (byte == '\r') {
            c->state = TRAILER_LF;
            return OK;
        }
        return http_char_is(HTTP_CLASS_VALUE, byte) ? OK
                                                    : refuse(err, "control character in a trailer");
    }
    if (c->state == TRAILER_START && byte == '\r') {
        c->state = END_LF;
        return OK;
    }
    if (c->state == TRAILER_NAME && byte == ':') {
        c->state = TRAILER_VALUE;
        return OK;
    }
    c->state = TRAILER_NAME;
    return http_char_is(HTTP_CLASS_TOKEN, byte) ? OK : refuse(err, "not a trailer field");
}

/* The byte must be `wanted`; then the state follows. */
static enum code
step_exact(struct http_chunks *c, char byte, char wanted, enum state next, struct err *err)
{
    assert(next <= DONE);
    if (byte != wanted) {
        return refuse(err, "CRLF expected");
    }
    c->state = (uint8_t)next;
    return OK;
}

static enum code step(struct http_chunks *c, char byte, struct err *err)
{
    enum state after_size = c->left > 0 ? DATA : TRAILER_START;

    switch ((enum state)c->state) {
    case SIZE:
        return step_size(c, byte, err);
    case NAME_FIRST:
    case NAME:
    case TEXT_FIRST:
    case TEXT:
    case QUOTED:
    case QUOTED_PAIR:
    case QUOTED_END:
        return step_extension(c, byte, err);
    case SIZE_LF:
        c->digits = 0;
        return step_exact(c, byte, '\n', after_size, err);
    case DATA_CR:
        return step_exact(c, byte, '\r', DATA_LF, err);
    case DATA_LF:
        return step_exact(c, byte, '\n', SIZE, err);
    case TRAILER_START:
    case TRAILER_NAME:
    case TRAILER_VALUE:
        return step_trailer(c, byte, err);
    case TRAILER_LF:
        return step_exact(c, byte, '\n', TRAILER_START, err);
    case END_LF:
        return step_exact(c, byte, '\n', DONE, err);
    case DATA:
    case DONE:
        break;
    }
    return err_set(err, ERR_INTERNAL, "chunk decoder in state %d", c->state);
}

/* As much of the chunk as is there. */
static struct str data_take(struct http_chunks *c, struct str bytes)
{
    size_t take = bytes.len < c->left ? bytes.len : c->left;

    assert(c->state == DATA);
    assert(c->left > 0);
    c->left -= (uint32_t)take;
    c->state = c->left > 0 ? DATA : DATA_CR;
    return (struct str){bytes.ptr, take};
}

enum code http_chunks_feed(struct http_chunks *c,
                           struct str bytes,
                           size_t *out_consumed,
                           struct str *out_data,
                           bool *out_done,
                           struct err *err)
{
    size_t at = 0;

    assert(c != NULL);
    assert(c->state != DONE);
    assert(out_consumed != NULL);
    assert(out_data != NULL);
    assert(out_done != NULL);
    *out_data = STR_EMPTY;
    while (at < bytes.len && c->state != DONE) {
        enum code code = OK;

        if (c->state == DATA) {
            *out_data = data_take(c, str_sub(bytes, at, bytes.len));
            at += out_data->len;
            break;
        }
        code = step(c, bytes.ptr[at], err);
        if (code != OK) {
            return code;
        }
        at++;
    }
    *out_consumed = at;
    *out_done = c->state == DONE;
    assert(at <= bytes.len);
    return OK;
}
