/*
 * llhttp reads the header and stops there; the bytes are then checked once more, each of them, against
 * our own reading. A header on which the two do not agree to the byte is refused. Bodies are ours.
 */
#include "libcommon/codec/http_parse.h"

#include "libcommon/codec/http_chars.h"
#include "libcommon/codec/http_chunk.h"
#include "libcommon/codec/http_target.h"

#include <llhttp.h>

#include <assert.h>
#include <string.h>

#define RAW_BYTES_MIN  1024
#define BODY_BYTES_MIN 16384
/* A client must have sent a quarter of what it makes us reserve. */
#define BODY_GROWTH  4
#define VERSION_LEN  3
#define EMPTY_LINE   2

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

/* Keeps the consumed piece of the header in the arena. A header that came in one piece takes just its
 * length; one that comes in drops grows by doubling. */
static enum code raw_append(struct http_parser *p, struct str piece, bool last, struct err *err)
{
    size_t need = p->raw_len + piece.len;

    assert(need <= HTTP_HEADER_BYTES_MAX);
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

/* --- our own reading of the header --------------------------------------------- */

static enum code disagree(struct err *err, const char *where)
{
    return err_set(err, ERR_HTTP, "malformed %s", where);
}

static bool same_view(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || a.ptr == b.ptr);
}

/* Blanks and tabs only: str_trim() would also drop characters that must be refused. */
static struct str blanks_trim(struct str s)
{
    while (s.len > 0 && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) {
        s = str_sub(s, 1, s.len);
    }
    while (s.len > 0 && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t')) {
        s.len--;
    }
    return s;
}

/* Takes one line that ends in CRLF and holds no other CR or LF off the front. */
static bool line_take(struct str *rest, struct str *out_line)
{
    size_t lf = 0;

    if (!str_find_char(*rest, '\n', &lf) || lf == 0 || rest->ptr[lf - 1] != '\r') {
        return false;
    }
    *out_line = str_sub(*rest, 0, lf - 1);
    *rest = str_sub(*rest, lf + 1, rest->len);
    return true;
}

static enum code check_request_line(const struct http_parser *p, struct str line, struct err *err)
{
    const struct http_request *r = p->request;
    size_t method_len = http_run_of(HTTP_CLASS_TOKEN, line);
    struct str rest = str_sub(line, method_len + 1, line.len);
    size_t target_len = http_run_of(HTTP_CLASS_TARGET, rest);
    struct str version = str_sub(rest, target_len + 1, rest.len);
    struct str minor = str_sub(version, version.len - 1, version.len);

    if (!same_view(r->method, str_sub(line, 0, method_len)) || line.ptr[method_len] != ' ' ||
        !same_view(r->target, str_sub(rest, 0, target_len)) || rest.ptr[target_len] != ' ') {
        return disagree(err, "request line");
    }
    if (!str_starts(version, STR("HTTP/1.")) || version.len != STR("HTTP/1.1").len ||
        (minor.ptr[0] != '0' && minor.ptr[0] != '1')) {
        return err_set(err, ERR_VERSION, "HTTP/1.1 or HTTP/1.0 is wanted");
    }
    return OK;
}

static enum code check_field(struct http_header *field, struct str line, struct err *err)
{
    size_t name_len = http_run_of(HTTP_CLASS_TOKEN, line);
    struct str value = blanks_trim(str_sub(line, name_len + 1, line.len));

    if (name_len == 0 || name_len == line.len || line.ptr[name_len] != ':' ||
        !http_all_of(HTTP_CLASS_VALUE, value) ||
        !same_view(field->name, str_sub(line, 0, name_len)) ||
        !same_view(blanks_trim(field->value), value)) {
        return disagree(err, "header field");
    }
    field->value = value;
    return OK;
}

/* Every byte of the header is accounted for: request line, fields, empty line, nothing else. */
static enum code check_header(const struct http_parser *p, struct err *err)
{
    struct http_request *r = p->request;
    struct str rest = {p->raw, p->raw_len};
    struct str line = STR_EMPTY;
    enum code code = OK;

    if (!line_take(&rest, &line)) {
        return disagree(err, "request line");
    }
    code = check_request_line(p, line, err);
    for (uint32_t i = 0; i < r->header_count && code == OK; i++) {
        code = line_take(&rest, &line) ? check_field(&r->headers[i], line, err)
                                       : disagree(err, "header field");
    }
    if (code == OK && (rest.len != EMPTY_LINE || !str_eq(rest, STR("\r\n")))) {
        code = disagree(err, "end of header");
    }
    return code;
}

/* --- what the header says ------------------------------------------------------ */

static enum code host_check(const struct http_request *r, struct str *out_host, struct err *err)
{
    size_t count = http_header_count_of(r, "Host");

    *out_host = http_header_get(r, "Host");
    if (count > 1 || (count == 0 && r->version_minor > 0)) {
        return err_set(err, ERR_HTTP, "exactly one Host field is wanted");
    }
    if (count == 0) {
        *out_host = STR_EMPTY;
        return OK;
    }
    return http_host_valid(*out_host) ? OK : err_set(err, ERR_HTTP, "the Host field is malformed");
}

static enum code expect_read(struct http_request *r, struct err *err)
{
    size_t count = http_header_count_of(r, "Expect");

    if (count == 0 || r->version_minor == 0) {
        return OK;
    }
    if (count > 1 || !str_eq_nocase(http_header_get(r, "Expect"), STR("100-continue"))) {
        return err_set(err, ERR_EXPECTATION, "only 100-continue can be expected here");
    }
    r->expects_continue = true;
    return OK;
}

/* How long the body is. Two ways to say it, or one way said twice, is how requests are smuggled. */
static enum code body_framing(struct http_parser *p, struct err *err)
{
    const struct http_request *r = p->request;
    size_t codings = http_header_count_of(r, "Transfer-Encoding");
    size_t lengths = http_header_count_of(r, "Content-Length");
    uint64_t length = 0;

    if (codings + lengths > 1 || (codings > 0 && r->version_minor == 0)) {
        return err_set(err, ERR_HTTP, "the length of the body is ambiguous");
    }
    if (codings > 0) {
        if (!str_eq_nocase(http_header_get(r, "Transfer-Encoding"), STR("chunked"))) {
            return err_set(err, ERR_NOT_IMPLEMENTED, "chunked is the only transfer coding here");
        }
        p->chunked = true;
        p->body_bytes = HTTP_BODY_BYTES_MAX;
        http_chunks_init(&p->chunks, HTTP_BODY_BYTES_MAX);
        return OK;
    }
    if (lengths == 0) {
        return OK;
    }
    length = p->llhttp.content_length;
    if (!http_all_of(HTTP_CLASS_DIGIT, http_header_get(r, "Content-Length"))) {
        return err_set(err, ERR_HTTP, "Content-Length is not a number");
    }
    if (length > HTTP_BODY_BYTES_MAX) {
        return err_set(err, ERR_TOO_LARGE, "the body is longer than %d bytes", HTTP_BODY_BYTES_MAX);
    }
    p->body_bytes = (uint32_t)length;
    return OK;
}

static enum code header_complete(struct http_parser *p, struct err *err)
{
    struct http_request *r = p->request;
    struct str host = STR_EMPTY;
    enum code code = check_header(p, err);

    if (code != OK) {
        return code;
    }
    r->version_minor = p->llhttp.http_minor;
    r->keep_alive = llhttp_should_keep_alive(&p->llhttp) != 0 &&
                    (p->llhttp.flags & F_CONNECTION_CLOSE) == 0;
    code = host_check(r, &host, err);
    if (code == OK) {
        code = http_target_split(r->target, r->method, host, &r->path, &r->query, err);
    }
    if (code == OK) {
        code = body_framing(p, err);
    }
    if (code == OK) {
        code = expect_read(r, err);
    }
    p->phase = p->body_bytes == 0 ? HTTP_PHASE_COMPLETE : HTTP_PHASE_BODY;
    return code;
}
