/*
 * llhttp reads the header and stops there; the bytes are then checked once more, each of them,
 * against our own reading. A header on which the two do not agree to the byte is refused. Bodies
 * are ours.
 */
#include "libcommon/codec/http_parse.h"

#include "libcommon/codec/http_chars.h"
#include "libcommon/codec/http_check.h"
#include "libcommon/codec/http_chunk.h"

#include <assert.h>
#include <llhttp.h>
#include <string.h>

#define RAW_BYTES_MIN  1024
#define BODY_BYTES_MIN 16384
/* A client must have sent a quarter of what it makes us reserve. */
#define BODY_GROWTH 4
#define VERSION_LEN 3

/* One empty line may come before a request line (RFC 9112 section 2.2), no more. */
enum lead {
    LEAD_START,
    LEAD_LF,
    LEAD_ONCE,
    LEAD_OVER
};

/* What llhttp is reading; needed to tell a target that is too long from one that is wrong. */
enum part {
    PART_METHOD,
    PART_TARGET,
    PART_FIELDS
};

struct http_parser {
    llhttp_t llhttp;
    struct http_request *request;
    struct http_header field; /* the one being read */
    char *raw;                /* the header so far, contiguous */
    char *body;
    uint32_t raw_len;
    uint32_t raw_cap;
    uint32_t body_len;
    uint32_t body_cap;
    uint32_t body_bytes; /* announced, or the maximum when chunked */
    uint8_t phase;       /* enum http_phase */
    uint8_t lead;
    uint8_t part;
    uint8_t version_len;
    bool chunked;
    enum code refused; /* by a callback */
    struct http_chunks chunks;
};

_Static_assert(HTTP_TARGET_BYTES_MAX < HTTP_HEADER_BYTES_MAX, "414 comes before 431");

/* --- what llhttp tells --------------------------------------------------------- */

static struct http_parser *parser_of(llhttp_t *llhttp)
{
    return CONTAINER_OF(llhttp, struct http_parser, llhttp);
}

/* A token may come in several pieces; they are neighbours in the header. */
static void view_extend(struct str *view, const char *at, size_t len)
{
    assert(at != NULL);
    if (view->len == 0) {
        view->ptr = at;
    }
    view->len += len;
}

static int refuse(struct http_parser *p, enum code code)
{
    assert(code != OK);
    p->refused = code;
    return HPE_USER;
}

static int on_method(llhttp_t *llhttp, const char *at, size_t len)
{
    view_extend(&parser_of(llhttp)->request->method, at, len);
    return HPE_OK;
}

static int on_method_complete(llhttp_t *llhttp)
{
    static const uint64_t served = UINT64_C(1) << HTTP_GET | UINT64_C(1) << HTTP_HEAD |
                                   UINT64_C(1) << HTTP_POST | UINT64_C(1) << HTTP_PUT |
                                   UINT64_C(1) << HTTP_PATCH | UINT64_C(1) << HTTP_DELETE |
                                   UINT64_C(1) << HTTP_OPTIONS;
    struct http_parser *p = parser_of(llhttp);

    assert(llhttp->method < 64);
    p->part = PART_TARGET;
    if ((served >> llhttp->method & 1) != 0) {
        return HPE_OK;
    }
    if (llhttp->method == HTTP_PRI) {
        return refuse(p, ERR_VERSION);
    }
    if (llhttp->method == HTTP_TRACE || llhttp->method == HTTP_CONNECT) {
        return refuse(p, ERR_METHOD);
    }
    return refuse(p, ERR_NOT_IMPLEMENTED);
}

static int on_url(llhttp_t *llhttp, const char *at, size_t len)
{
    view_extend(&parser_of(llhttp)->request->target, at, len);
    return HPE_OK;
}

static int on_url_complete(llhttp_t *llhttp)
{
    struct http_parser *p = parser_of(llhttp);

    assert(p->part == PART_TARGET);
    p->part = PART_FIELDS;
    return p->request->target.len > HTTP_TARGET_BYTES_MAX ? refuse(p, ERR_URI_TOO_LONG) : HPE_OK;
}

static int on_version(llhttp_t *llhttp, const char *at, size_t len)
{
    struct http_parser *p = parser_of(llhttp);

    assert(at != NULL);
    p->version_len = (uint8_t)(p->version_len + len);
    return HPE_OK;
}

static int on_field_name(llhttp_t *llhttp, const char *at, size_t len)
{
    view_extend(&parser_of(llhttp)->field.name, at, len);
    return HPE_OK;
}

static int on_field_value(llhttp_t *llhttp, const char *at, size_t len)
{
    view_extend(&parser_of(llhttp)->field.value, at, len);
    return HPE_OK;
}

static int on_field_complete(llhttp_t *llhttp)
{
    struct http_parser *p = parser_of(llhttp);
    struct http_request *r = p->request;

    assert(p->part == PART_FIELDS);
    if (r->header_count == HTTP_HEADERS_MAX) {
        return refuse(p, ERR_HEADERS_TOO_LARGE);
    }
    r->headers[r->header_count] = p->field;
    r->header_count++;
    p->field = (struct http_header){STR_EMPTY, STR_EMPTY};
    return HPE_OK;
}

static int on_headers_complete(llhttp_t *llhttp)
{
    assert(parser_of(llhttp)->part == PART_FIELDS);
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_method = on_method,
    .on_method_complete = on_method_complete,
    .on_url = on_url,
    .on_url_complete = on_url_complete,
    .on_version = on_version,
    .on_header_field = on_field_name,
    .on_header_value = on_field_value,
    .on_header_value_complete = on_field_complete,
    .on_headers_complete = on_headers_complete,
};

/* --- begin --------------------------------------------------------------------- */

size_t http_parser_bytes(void)
{
    return sizeof(struct http_parser);
}

struct http_parser *http_parser_init(void *memory)
{
    struct http_parser *p = memory;

    assert(p != NULL);
    assert((uintptr_t)memory % _Alignof(struct http_parser) == 0);
    memset(p, 0, sizeof(*p));
    p->phase = HTTP_PHASE_COMPLETE; /* nothing may be fed before the first begin */
    return p;
}

void http_parser_begin(struct http_parser *p, struct http_request *request, struct arena *arena)
{
    assert(p != NULL);
    assert(request != NULL);
    assert(arena != NULL);
    memset(p, 0, sizeof(*p));
    llhttp_init(&p->llhttp, HTTP_REQUEST, &settings);
    p->request = request;
    p->phase = HTTP_PHASE_IDLE;
    request->arena = arena;
    request->method = STR_EMPTY;
    request->target = STR_EMPTY;
    request->path = STR_EMPTY;
    request->query = STR_EMPTY;
    request->body = STR_EMPTY;
    request->header_count = 0; /* the array itself stays as it is: it is 2 KiB */
    request->version_minor = 0;
    request->keep_alive = false;
    request->expects_continue = false;
}

/* --- the header's bytes -------------------------------------------------------- */

/* A view into [from, from + len) follows the bytes to their copy. */
static void view_move(struct str *view, const char *from, size_t len, const char *to)
{
    uintptr_t at = (uintptr_t)view->ptr - (uintptr_t)from;

    assert(to != NULL);
    if (view->len > 0 && at < len) {
        view->ptr = to + at;
    }
}

static void views_move(struct http_parser *p, const char *from, size_t len, const char *to)
{
    struct http_request *r = p->request;

    if (from == NULL || from == to) {
        return;
    }
    view_move(&r->method, from, len, to);
    view_move(&r->target, from, len, to);
    view_move(&p->field.name, from, len, to);
    view_move(&p->field.value, from, len, to);
    for (uint32_t i = 0; i < r->header_count; i++) {
        view_move(&r->headers[i].name, from, len, to);
        view_move(&r->headers[i].value, from, len, to);
    }
}

/* Keeps the consumed piece of the header in the arena. A header that came in one piece takes just
 * its length; one that comes in drops grows by doubling. */
static enum code raw_append(struct http_parser *p, struct str piece, bool last, struct err *err)
{
    size_t need = p->raw_len + piece.len;

    assert(need <= HTTP_HEADER_BYTES_MAX);
    assert(p->raw_len <= p->raw_cap);
    if (need > p->raw_cap) {
        size_t cap = last ? need : need * 2;
        char *grown = NULL;

        cap = cap < RAW_BYTES_MIN && !last ? RAW_BYTES_MIN : cap;
        grown = arena_alloc(p->request->arena, cap);
        if (grown == NULL) {
            return err_set(err, ERR_OVERLOADED, "no memory for the header");
        }
        if (p->raw_len > 0) {
            memcpy(grown, p->raw, p->raw_len);
        }
        views_move(p, p->raw, p->raw_len, grown);
        p->raw = grown;
        p->raw_cap = (uint32_t)cap;
    }
    if (piece.len > 0) {
        memcpy(p->raw + p->raw_len, piece.ptr, piece.len);
        views_move(p, piece.ptr, piece.len, p->raw + p->raw_len);
    }
    p->raw_len = (uint32_t)need;
    return OK;
}

static enum code header_complete(struct http_parser *p, struct err *err)
{
    struct http_request *r = p->request;
    struct http_framing framing = {0, false};
    enum code code = http_check_bytes(r, (struct str){p->raw, p->raw_len}, err);

    assert(p->phase == HTTP_PHASE_HEADER);
    if (code != OK) {
        return code;
    }
    r->version_minor = p->llhttp.http_minor;
    r->keep_alive =
        llhttp_should_keep_alive(&p->llhttp) != 0 && (p->llhttp.flags & F_CONNECTION_CLOSE) == 0;
    code = http_check_meaning(r, &framing, err);
    if (code != OK) {
        return code;
    }
    if (!framing.chunked && framing.bytes != p->llhttp.content_length) {
        return err_set(err, ERR_HTTP, "the length of the body is ambiguous");
    }
    p->chunked = framing.chunked;
    p->body_bytes = framing.bytes;
    if (p->chunked) {
        http_chunks_init(&p->chunks, framing.bytes);
    }
    p->phase = framing.bytes == 0 ? HTTP_PHASE_COMPLETE : HTTP_PHASE_BODY;
    return OK;
}

static enum code
skip_empty_line(struct http_parser *p, struct str bytes, size_t *at, struct err *err)
{
    assert(*at <= bytes.len);
    while (*at < bytes.len && p->lead != LEAD_OVER) {
        char c = bytes.ptr[*at];

        if (p->lead == LEAD_START && c == '\r') {
            p->lead = LEAD_LF;
        } else if (p->lead == LEAD_LF && c == '\n') {
            p->lead = LEAD_ONCE;
        } else if (p->lead == LEAD_LF || c == '\r' || c == '\n') {
            return err_set(err, ERR_HTTP, "empty lines before the request line");
        } else {
            p->lead = LEAD_OVER;
            return OK;
        }
        ++*at;
    }
    return OK;
}

/* What the error that llhttp reports at `at` bytes into `piece` is to the client. */
static enum code refusal_code(const struct http_parser *p, struct str piece, size_t at)
{
    size_t target_from = p->request->method.len + 1;
    enum llhttp_errno number = llhttp_get_errno(&p->llhttp);

    /* A fault beyond the maximum is not reached when the bytes come one by one. */
    if (p->part == PART_TARGET && p->raw_len + at > target_from + HTTP_TARGET_BYTES_MAX) {
        return ERR_URI_TOO_LONG;
    }
    if (p->refused != OK) {
        return p->refused;
    }
    if (number == HPE_INVALID_VERSION) { /* also said of what follows a good version */
        bool good = p->llhttp.http_major == 1 && p->llhttp.http_minor <= 1;

        return p->version_len == VERSION_LEN && !good ? ERR_VERSION : ERR_HTTP;
    }
    if (number == HPE_INVALID_METHOD) { /* a method that nobody has, or no method at all */
        bool token = at < piece.len && http_char_is(HTTP_CLASS_TOKEN, piece.ptr[at]);

        return token ? ERR_NOT_IMPLEMENTED : ERR_HTTP;
    }
    return number == HPE_INVALID_TRANSFER_ENCODING ? ERR_NOT_IMPLEMENTED : ERR_HTTP;
}

static enum code refusal(const struct http_parser *p, struct str piece, size_t at, struct err *err)
{
    enum code code = refusal_code(p, piece, at);
    const char *reason = llhttp_get_error_reason(&p->llhttp);

    assert(code != OK);
    return err_set(err, code, "%s", code == ERR_HTTP ? reason : code_title(code));
}

static enum code feed_header(struct http_parser *p, struct str bytes, size_t *at, struct err *err)
{
    enum code code = skip_empty_line(p, bytes, at, err);
    struct str piece = str_sub(bytes, *at, *at + HTTP_HEADER_BYTES_MAX - p->raw_len);
    enum llhttp_errno number = HPE_OK;
    size_t used = piece.len;

    p->phase = HTTP_PHASE_HEADER;
    if (code != OK || piece.len == 0) {
        return code;
    }
    number = llhttp_execute(&p->llhttp, piece.ptr, piece.len);
    if (number != HPE_OK) {
        used = (size_t)(llhttp_get_error_pos(&p->llhttp) - piece.ptr);
        assert(used <= piece.len);
    }
    if (number != HPE_OK && number != HPE_PAUSED) {
        return refusal(p, piece, used, err);
    }
    code = raw_append(p, str_sub(piece, 0, used), number == HPE_PAUSED, err);
    *at += used;
    if (code != OK) {
        return code;
    }
    if (number == HPE_PAUSED) {
        return header_complete(p, err);
    }
    if (p->request->target.len > HTTP_TARGET_BYTES_MAX) {
        return err_set(err, ERR_URI_TOO_LONG, "%s", code_title(ERR_URI_TOO_LONG));
    }
    if (p->raw_len == HTTP_HEADER_BYTES_MAX) {
        return err_set(err, ERR_HEADERS_TOO_LARGE, "%s", code_title(ERR_HEADERS_TOO_LARGE));
    }
    return OK;
}

/* --- the body ------------------------------------------------------------------ */

static enum code body_append(struct http_parser *p, struct str data, struct err *err)
{
    size_t need = p->body_len + data.len;

    assert(need <= p->body_bytes);
    assert(p->body_len <= p->body_cap);
    if (need > p->body_cap) {
        size_t cap = (size_t)p->body_cap * BODY_GROWTH;
        char *grown = NULL;

        cap = cap < BODY_BYTES_MIN ? BODY_BYTES_MIN : cap;
        cap = cap < need ? need : cap;
        cap = cap > p->body_bytes ? p->body_bytes : cap;
        grown = arena_alloc(p->request->arena, cap);
        if (grown == NULL) {
            return err_set(err, ERR_OVERLOADED, "no memory for the body");
        }
        if (p->body_len > 0) {
            memcpy(grown, p->body, p->body_len);
        }
        p->body = grown;
        p->body_cap = (uint32_t)cap;
    }
    if (data.len > 0) {
        memcpy(p->body + p->body_len, data.ptr, data.len);
    }
    p->body_len = (uint32_t)need;
    return OK;
}

static enum code feed_chunks(struct http_parser *p, struct str bytes, size_t *at, struct err *err)
{
    bool done = false;

    assert(p->chunked);
    while (*at < bytes.len && !done) {
        struct str data = STR_EMPTY;
        size_t used = 0;
        enum code code =
            http_chunks_feed(&p->chunks, str_sub(bytes, *at, bytes.len), &used, &data, &done, err);

        if (code == OK) {
            code = body_append(p, data, err);
        }
        if (code != OK) {
            return code;
        }
        *at += used;
    }
    p->phase = done ? HTTP_PHASE_COMPLETE : HTTP_PHASE_BODY;
    return OK;
}

static enum code feed_body(struct http_parser *p, struct str bytes, size_t *at, struct err *err)
{
    struct str data;
    enum code code = OK;

    assert(p->phase == HTTP_PHASE_BODY);
    assert(p->body_len <= p->body_bytes);
    if (p->chunked) {
        return feed_chunks(p, bytes, at, err);
    }
    data = str_sub(bytes, *at, *at + p->body_bytes - p->body_len);
    code = body_append(p, data, err);
    *at += data.len;
    p->phase = p->body_len == p->body_bytes ? HTTP_PHASE_COMPLETE : HTTP_PHASE_BODY;
    return code;
}

enum code http_parser_feed(struct http_parser *p,
                           struct str bytes,
                           size_t *out_consumed,
                           enum http_phase *out_phase,
                           struct err *err)
{
    size_t at = 0;
    enum code code = OK;

    assert(p != NULL);
    assert(p->phase != HTTP_PHASE_COMPLETE);
    if (bytes.len > 0 && p->phase != HTTP_PHASE_BODY) {
        code = feed_header(p, bytes, &at, err);
    }
    if (code == OK && p->phase == HTTP_PHASE_BODY) {
        code = feed_body(p, bytes, &at, err);
    }
    if (code == OK && p->phase == HTTP_PHASE_COMPLETE) {
        p->request->body = (struct str){p->body_len == 0 ? "" : p->body, p->body_len};
    }
    assert(at <= bytes.len);
    *out_consumed = at;
    *out_phase = (enum http_phase)p->phase;
    return code;
}
