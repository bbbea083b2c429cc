#pragma once
/*
 * Whose request it is when a proxy sends it: X-Forwarded-For and X-Forwarded-Proto, believed only
 * from proxies that are named. Each proxy adds the address it was called from at the right, so from
 * the right the first address that is no such proxy's is the client's; what stands left of it
 * anybody may have written. Pure; the networks and the elements looked at are bounded.
 */

#include "libcommon/base/err.h"
#include "libcommon/base/limits.h"
#include "libcommon/codec/network.h"

struct http_request;

struct proxies {
    struct network networks[HTTP_PROXIES_MAX];
    uint32_t count;
};

/* Addresses and networks with commas between them, blanks around them; nothing at all is good.
 * ERR_INVALID tells which one is none, or that there are too many. */
enum code proxies_parse(struct str text, struct proxies *out, struct err *err) MUST_CHECK;

struct forwarded {
    char client[ADDRESS_TEXT_BYTES]; /* "" when the peer has none */
    bool secure;                     /* it came to the proxy over TLS */
};

/* `peer` is the address that the connection comes from. */
void forwarded_read(const struct proxies *proxies,
                    const struct http_request *r,
                    struct str peer,
                    struct forwarded *out);
