#pragma once
/*
 * HTTP/1.1 requests from bytes: llhttp in strict mode plus our refusals of every ambiguity (RFC
 * 9112: Content-Length with Transfer-Encoding, doubled or non-digit lengths, bare CR, obs-fold,
 * white space before the colon, missing or doubled Host, absolute-form that disagrees with Host,
 * unbounded chunk extensions). Pure: bytes in, one request out; the caller owns both buffers. After
 * an error the connection must be answered and closed. No allocation besides the request's arena.
 */

#include "libcommon/base/arena.h"
#include "libcommon/base/limits.h"

struct http_header {
    struct str name;  /* as sent */
    struct str value; /* trimmed */
};

struct http_request {
    struct arena *arena; /* everything below lives in it */
    struct str method;
    struct str target; /* as sent */
    struct str path;   /* before '?', still percent-encoded */
    struct str query;  /* after '?', without it */
    struct http_header headers[HTTP_HEADERS_MAX];
    uint32_t header_count;
    struct str body;
    uint8_t version_minor; /* HTTP/1.x */
    bool keep_alive;
    bool expects_continue;
};

/* NULL view when absent. Names compare without case; a repeated header gives the first. */
struct str http_header_get(const struct http_request *r, const char *name);
size_t http_header_count_of(const struct http_request *r, const char *name);

struct http_parser;             /* one per connection */
size_t http_parser_bytes(void); /* memory the caller gives to http_parser_init */
struct http_parser *http_parser_init(void *memory);

enum http_phase {
    HTTP_PHASE_IDLE,    /* between requests, nothing read */
    HTTP_PHASE_HEADER,  /* some bytes of a header are in */
    HTTP_PHASE_BODY,    /* header complete, body under way */
    HTTP_PHASE_COMPLETE /* one request is ready */
};

/* Makes the parser ready for the next request, which will be built in `request` and `arena`. */
void http_parser_begin(struct http_parser *p, struct http_request *request, struct arena *arena);
/*
 * Consumes bytes up to the end of one request. `*out_consumed` says how many; the rest belongs to
 * the next request. OK with phase HEADER or BODY: more bytes are wanted. Errors: ERR_HTTP,
 * ERR_HEADERS_TOO_LARGE, ERR_URI_TOO_LONG, ERR_TOO_LARGE, ERR_VERSION, ERR_NOT_IMPLEMENTED (unknown
 * method or transfer coding), ERR_METHOD (TRACE, CONNECT), ERR_EXPECTATION, ERR_OVERLOADED (the
 * arena is full).
 */
enum code http_parser_feed(struct http_parser *p,
                           struct str bytes,
                           size_t *out_consumed,
                           enum http_phase *out_phase,
                           struct err *err) MUST_CHECK;

/* Percent-decodes into the arena; false on bad escapes, NUL, or invalid UTF-8. `plus_is_space` for
 * queries. */
bool percent_decode(struct str s, bool plus_is_space, struct arena *arena, struct str *out)
    MUST_CHECK;
