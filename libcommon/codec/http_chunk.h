#pragma once
/*
 * The chunked transfer coding (RFC 9112 section 7), stricter than the text: CRLF exactly, at most
 * eight size digits, extensions and trailers bounded and discarded. One decoder per body, no memory
 * of its own: data comes out as views into the bytes that were fed. The result does not depend on
 * how the bytes are split.
 */

#include "libcommon/base/err.h"
#include "libcommon/base/str.h"

#include <stdint.h>

#define HTTP_TRAILER_BYTES_MAX 4096

struct http_chunks {
    uint8_t state;
    uint8_t digits;
    uint16_t extension_bytes; /* of all chunks together */
    uint16_t trailer_bytes;
    uint32_t left;  /* of the present chunk's data */
    uint32_t total; /* of all chunks announced so far */
    uint32_t bytes_max;
};

void http_chunks_init(struct http_chunks *c, uint32_t bytes_max);

/* Consumes bytes up to the end of one run of data (`out_data`, may be empty) or of the whole body
 * (`out_done`). ERR_HTTP: not chunked coding; ERR_TOO_LARGE: more than `bytes_max` announced. */
enum code http_chunks_feed(struct http_chunks *c,
                           struct str bytes,
                           size_t *out_consumed,
                           struct str *out_data,
                           bool *out_done,
                           struct err *err) MUST_CHECK;
