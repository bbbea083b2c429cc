#pragma once
/*
 * Which errors are the same error. The fingerprint is SHA-256 of where an error comes from, its
 * name, its message and the top frames of its stack, without what differs from one occurrence to
 * the next: numbers, ids, quoted text, addresses; of frames also the host, the line, the column and
 * the hash that bundlers put into file names. Pure, bounded, no allocation.
 */

#include "libcommon/io/digest.h"

#define FINGERPRINT_MESSAGE_BYTES 1024 /* of a message, normalised; what follows says nothing */
#define FINGERPRINT_FRAMES_MAX    5

struct fingerprint_of {
    struct str source;
    struct str service;
    struct str name;
    struct str message;
    struct str stack; /* of a browser or Node.js; lines that are no frames are passed over */
};

void fingerprint(const struct fingerprint_of *what, uint8_t out[SHA256_BYTES]);
