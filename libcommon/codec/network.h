#pragma once
/*
 * Internet addresses and networks in text: "203.0.113.7", "203.0.113.0/24", "2001:db8::/32" (RFC
 * 4632, RFC 4291 2.3). An IPv4 address mapped into IPv6 (::ffff:203.0.113.7) is that IPv4 address.
 * Pure.
 */

#include "libcommon/base/str.h"

#define NETWORK_TEXT_BYTES 64
#define ADDRESS_TEXT_BYTES 46 /* the longest address and its end */

struct network {
    uint8_t address[16]; /* IPv4 mapped into IPv6 */
    uint8_t bits;        /* of 128 */
};

/* An address alone is a network of one. False: neither, or bits beyond the prefix are set. */
bool network_parse(struct str text, struct network *out);
bool network_contains(const struct network *network, struct str address);
/* An address alone, in the one form it has in records (RFC 5952; mapped IPv4 as IPv4). */
bool address_rewrite(struct str text, char out[ADDRESS_TEXT_BYTES]);
