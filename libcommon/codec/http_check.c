#include "libcommon/codec/http_check.h"

#include "libcommon/codec/http_chars.h"
#include "libcommon/codec/http_target.h"

#include <assert.h>

#define EMPTY_LINE_BYTES 2

/* --- our own reading of the header --------------------------------------------- */

static enum code disagree(struct err *err, const char *where)
{
    assert(where != NULL);
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

    assert(out_line != NULL);
    if (!str_find_char(*rest, '\n', &lf) || lf == 0 || rest->ptr[lf - 1] != '\r') {
        return false;
    }
    *out_line = str_sub(*rest, 0, lf - 1);
    *rest = str_sub(*rest, lf + 1, rest->len);
    return true;
}

static enum code request_line_check(const struct http_request *r, struct str line, struct err *err)
{
    size_t method_len = http_run_of(HTTP_CLASS_TOKEN, line);
    struct str rest = str_sub(line, method_len + 1, line.len);
    size_t target_len = http_run_of(HTTP_CLASS_TARGET, rest);
    struct str version = str_sub(rest, target_len + 1, rest.len);

    assert(r != NULL);
    if (!same_view(r->method, str_sub(line, 0, method_len)) || line.ptr[method_len] != ' ' ||
        !same_view(r->target, str_sub(rest, 0, target_len)) || rest.ptr[target_len] != ' ' ||
        !str_starts(version, STR("HTTP/")) || version.len != STR("HTTP/1.1").len) {
        return disagree(err, "request line");
    }
    if (!str_eq(version, STR("HTTP/1.1")) && !str_eq(version, STR("HTTP/1.0"))) {
        return err_set(err, ERR_VERSION, "HTTP/1.1 or HTTP/1.0 is wanted");
    }
    return OK;
}

static enum code field_check(struct http_header *field, struct str line, struct err *err)
{
    size_t name_len = http_run_of(HTTP_CLASS_TOKEN, line);
    struct str value = blanks_trim(str_sub(line, name_len + 1, line.len));

    assert(field != NULL);
    if (name_len == 0 || name_len == line.len || line.ptr[name_len] != ':' ||
        !http_all_of(HTTP_CLASS_VALUE, value) ||
        !same_view(field->name, str_sub(line, 0, name_len)) ||
        !same_view(blanks_trim(field->value), value)) {
        return disagree(err, "header field");
    }
    field->value = value;
    return OK;
}

enum code http_check_bytes(struct http_request *r, struct str header, struct err *err)
{
    struct str rest = header;
    struct str line = STR_EMPTY;
    enum code code = OK;

    assert(r->header_count <= HTTP_HEADERS_MAX);
    assert(header.len <= HTTP_HEADER_BYTES_MAX);
    if (!line_take(&rest, &line)) {
        return disagree(err, "request line");
    }
    code = request_line_check(r, line, err);
    for (uint32_t i = 0; i < r->header_count && code == OK; i++) {
        code = line_take(&rest, &line) ? field_check(&r->headers[i], line, err)
                                       : disagree(err, "header field");
    }
    if (code == OK && (!str_eq(rest, STR("\r\n")))) {
        code = disagree(err, "end of header");
    }
    return code;
}

/* --- what the header says ------------------------------------------------------ */

static enum code host_read(const struct http_request *r, struct str *out_host, struct err *err)
{
    size_t count = http_header_count_of(r, "Host");

    assert(out_host != NULL);
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

    assert(r != NULL);
    if (count == 0 || r->version_minor == 0) {
        return OK;
    }
    if (count > 1 || !str_eq_nocase(http_header_get(r, "Expect"), STR("100-continue"))) {
        return err_set(err, ERR_EXPECTATION, "only 100-continue can be expected here");
    }
    r->expects_continue = true;
    return OK;
}

/* Saturates: what does not fit is too large anyway. */
static bool digits_read(struct str digits, uint64_t *out)
{
    uint64_t value = 0;

    assert(out != NULL);
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.ptr[i] < '0' || digits.ptr[i] > '9') {
            return false;
        }
        value = value * 10 + (uint64_t)(digits.ptr[i] - '0');
        value = value > UINT32_MAX ? UINT32_MAX : value;
    }
    *out = value;
    return digits.len > 0;
}

/* Two ways to say how long the body is, or one way said twice, is how requests are smuggled. */
static enum code
framing_read(const struct http_request *r, struct http_framing *out, struct err *err)
{
    size_t codings = http_header_count_of(r, "Transfer-Encoding");
    size_t lengths = http_header_count_of(r, "Content-Length");
    uint64_t length = 0;

    assert(out != NULL);
    *out = (struct http_framing){0, false};
    if (codings + lengths == 0) {
        return OK;
    }
    if (codings + lengths > 1 || (codings > 0 && r->version_minor == 0)) {
        return err_set(err, ERR_HTTP, "the length of the body is ambiguous");
    }
    if (codings > 0) {
        if (!str_eq_nocase(http_header_get(r, "Transfer-Encoding"), STR("chunked"))) {
            return err_set(err, ERR_NOT_IMPLEMENTED, "chunked is the only transfer coding here");
        }
        *out = (struct http_framing){HTTP_BODY_BYTES_MAX, true};
        return OK;
    }
    if (!digits_read(http_header_get(r, "Content-Length"), &length)) {
        return err_set(err, ERR_HTTP, "Content-Length is not a number");
    }
    if (length > (uint64_t)HTTP_BODY_BYTES_MAX) {
        return err_set(err, ERR_TOO_LARGE, "the body is longer than %d bytes", HTTP_BODY_BYTES_MAX);
    }
    out->bytes = (uint32_t)length;
    return OK;
}

enum code http_check_meaning(struct http_request *r, struct http_framing *out, struct err *err)
{
    struct str host = STR_EMPTY;
    enum code code = OK;

    assert(r->version_minor <= 1);
    assert(r->target.len > 0);
    assert(out != NULL);
    code = host_read(r, &host, err);
    if (code == OK) {
        code = http_target_split(r->target, r->method, host, &r->path, &r->query, err);
    }
    if (code == OK) {
        code = framing_read(r, out, err);
    }
    if (code == OK) {
        code = expect_read(r, err);
    }
    return code;
}

/* --- looking at fields ---------------------------------------------------------- */

struct str http_header_get(const struct http_request *r, const char *name)
{
    struct str wanted = str_from(name);

    assert(r != NULL);
    assert(r->header_count <= HTTP_HEADERS_MAX);
    assert(name != NULL);
    for (uint32_t i = 0; i < r->header_count; i++) {
        if (str_eq_nocase(r->headers[i].name, wanted)) {
            return r->headers[i].value;
        }
    }
    return (struct str){NULL, 0};
}

size_t http_header_count_of(const struct http_request *r, const char *name)
{
    struct str wanted = str_from(name);
    size_t count = 0;

    assert(r != NULL);
    assert(r->header_count <= HTTP_HEADERS_MAX);
    assert(name != NULL);
    for (uint32_t i = 0; i < r->header_count; i++) {
        count += str_eq_nocase(r->headers[i].name, wanted) ? 1 : 0;
    }
    return count;
}
