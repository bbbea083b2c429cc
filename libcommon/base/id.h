#pragma once
/* Identifiers from the kernel's random source (getrandom), injectable for tests. Thread-safe. */

#include "libcommon/base/str.h"

#define UUID_TEXT_BYTES 37

/* Fills from getrandom(2); aborts when the kernel refuses (it never blocks after boot). */
void random_bytes(void *out, size_t len);
/* tidy: allow unused: tests choose the bytes */
void random_replace(void (*source)(void *out, size_t len)); /* NULL restores; tests only */
/* The id of this process among those of its program: a UUID made when it is first asked for. */
const char *instance_id(void);
/* UUID version 7 (RFC 9562): time-ordered, 74 random bits. */
void uuid_v7(char out[UUID_TEXT_BYTES]);
/* Lower or upper case 8-4-4-4-12. */
bool uuid_valid(struct str s);
