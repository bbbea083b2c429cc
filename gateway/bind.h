#pragma once
/*
 * HTTP to message and back, by the generated rules: path, query, cookies, headers and JSON body
 * fill a request; cookie fields of a reply become Set-Cookie. Pure but for the arena.
 */

#include "gateway/route.h"

#include "libcommon/codec/http_parse.h"
#include "libcommon/codec/http_write.h"
#include "libcommon/codec/violations.h"

/* ERR_MEDIA_TYPE (also a coded body), ERR_JSON, ERR_HTTP (bad escapes), ERR_TOO_LARGE; wrong values
 * go to `violations`.
 */
enum code bind_request(const struct http_request *r,
                       const struct route_match *match,
                       struct arena *arena,
                       ProtobufCMessage *out,
                       struct violations *violations,
                       struct err *err) MUST_CHECK;
/* True when a field of the request is read from a cookie. */
bool bind_uses_cookies(const struct message_rules *rules);
/* The reply's fields that are headers; views into the reply. */
void bind_reply_headers(const ProtobufCMessage *reply,
                        const struct message_rules *rules,
                        struct http_response *response);
enum code bind_cookies(const ProtobufCMessage *reply,
                       const struct message_rules *rules,
                       bool secure,
                       struct arena *arena,
                       struct http_response *response) MUST_CHECK;
/* The header Idempotency-Key as text of the arena: a structured-field string, or a bare word of
 * what tokens are made of and `:/=`; *out, NULL before, stays NULL without it. A key that is none
 * is ERR_INVALID with a violation. */
enum code bind_idempotency_key(const struct http_request *r,
                               struct arena *arena,
                               char **out,
                               struct violations *violations) MUST_CHECK;
