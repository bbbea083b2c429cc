#pragma once
/*
 * Internet addresses and networks in text: "203.0.113.7", "203.0.113.0/24", "2001:db8::/32" (RFC
 * 4632, RFC 4291 2.3). An IPv4 address mapped into IPv6 (::ffff:203.0.113.7) is that IPv4 address.
 * Pure.
 */

#include "libcommon/base/str.h"

#define NETWORK_TEXT_BYTES 64

struct network {
    uint8_t address[16]; /* IPv4 mapped into IPv6 */
    uint8_t bits;        /* of 128 */
};

/* An address alone is a network of one. False: neither, or bits beyond the prefix are set. */
bool network_parse(struct str text, struct network *out);
bool network_contains(const struct network *network, struct str address);
