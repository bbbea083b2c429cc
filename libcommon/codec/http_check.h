#pragma once
/*
 * Second opinion on a header that llhttp has read: our own reading of every byte, then what the
 * fields mean together. Pure. A header on which the two readings differ is refused, so that a bug
 * in either does not become a smuggled request.
 */

#include "libcommon/codec/http_parse.h"

struct http_framing {
    uint32_t bytes; /* of the body; the maximum when chunked */
    bool chunked;
};

/* Every byte of `header` is accounted for: request line, the fields of `r` in order, an empty line,
 * nothing else. Trims the values. ERR_HTTP or ERR_VERSION. */
enum code http_check_bytes(struct http_request *r, struct str header, struct err *err) MUST_CHECK;

/* Host, target, body length and Expect; fills path, query and expects_continue. The codes are those
 * of http_parser_feed(). */
enum code
http_check_meaning(struct http_request *r, struct http_framing *out, struct err *err) MUST_CHECK;
