#pragma once
/*
 * Responses to bytes. Header fields are checked for CR and LF (ERR_INTERNAL: response splitting is
 * a programmer error reported, not sent). Pure; memory from the arena.
 */

#include "libcommon/base/arena.h"
#include "libcommon/base/buf.h"
#include "libcommon/codec/violations.h"

struct http_response_header {
    struct str name;
    struct str value;
};

#define HTTP_RESPONSE_HEADERS_MAX 32

struct http_response {
    uint16_t status;
    struct str content_type; /* empty: none */
    struct str body;         /* must outlive the write */
    struct http_response_header headers[HTTP_RESPONSE_HEADERS_MAX];
    uint32_t header_count;
    bool close;     /* send Connection: close and close after writing */
    bool head_only; /* answer to HEAD: Content-Length of the body, no body */
};

/* Asserts that there is room. */
void http_response_add(struct http_response *r, const char *name, struct str value);
/* tidy: allow unused: a test asks for every code of the map */
const char *http_status_text(uint16_t status);

/* Status line, Date (from `wall_ms`), Content-Length, the security headers every API answer carries
 * (HSTS, CSP default-src 'none'; frame-ancestors 'none', nosniff, no-referrer, no-store,
 * COOP/COEP/CORP, Permissions-Policy, X-Permitted-Cross-Domain-Policies, X-Frame-Options,
 * X-DNS-Prefetch-Control), then the given headers and the blank line. A given header replaces the
 * security header of the same name. Framing fields (Content-Length, Transfer-Encoding) are refused
 * among the given ones, and so is a body with a status that has none. */
enum code http_write_head(const struct http_response *r,
                          uint64_t wall_ms,
                          struct buf *out,
                          struct err *err) MUST_CHECK;

/* Bytes that http_write_head() needs at most. */
size_t http_head_bytes(const struct http_response *r);

/* RFC 9457 problem document with members of our own (docs/reference/errors.md) into the arena. */
struct problem {
    enum code code;
    const char *wire;    /* machine code; NULL: the code's own */
    const char *title;   /* of the wire; NULL: the code's own */
    const char *detail;  /* for people; NULL: `title`, else the first violation */
    struct str instance; /* request path */
    struct str request_id;
    uint32_t retry_after_s;
    bool once; /* it may be done already, and would be done twice: not retryable, whatever the code
                */
    const struct violations *violations; /* may be NULL */
};
/* Sets all of `*out`. ERR_TOO_LARGE when the arena is full. */
enum code
problem_write(const struct problem *p, struct arena *arena, struct http_response *out) MUST_CHECK;
