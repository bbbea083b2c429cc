#pragma once
/*
 * The compact form of a JWS (RFC 7515, 7.1), taken apart; nothing is verified here. Input is
 * untrusted: base64url is taken only in its one canonical form, JSON as transcode_from_json() takes
 * it, with no name twice. Pure; any thread; results point into the token and the arena.
 */

#include "libcommon/base/arena.h"
#include "libcommon/base/str.h"
#include "libcommon/codec/api.h"

/* The three parts, each at least one byte, and what was signed. */
struct jws {
    struct str header;
    struct str claims;
    struct str signature;
    struct str signed_part;
};

bool jws_split(struct str token, struct jws *out) MUST_CHECK;
/* base64url of JSON into a new message; false when anything breaks a rule, or the arena is full. */
bool jws_part_read(struct str part,
                   const struct message_rules *rules,
                   struct arena *arena,
                   ProtobufCMessage **out) MUST_CHECK;
