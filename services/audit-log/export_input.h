#pragma once
/*
 * An exported file as a stream of bytes, plain or compressed by gzip (RFC 1952), which its first
 * bytes tell. Read once, in constant memory. Blocking; one owner; what is read is untrusted.
 */

#include "libcommon/base/err.h"
#include "libcommon/io/digest.h"

struct export_input;

/* "-": standard input. ERR_NOT_FOUND: it cannot be opened. */
enum code
export_input_open(const char *path, struct export_input **out, struct err *err) MUST_CHECK;
void export_input_close(struct export_input **input); /* accepts NULL */
/* Fills the memory but at the end: OK with *out_len < cap says that it was reached. ERR_INVALID:
 * compressed data that is damaged, cut, or followed by something else; *out_len bytes came before.
 * ERR_UNAVAILABLE: the file cannot be read to its end. */
enum code export_input_read(struct export_input *input,
                            char *memory,
                            size_t cap,
                            size_t *out_len,
                            struct err *err) MUST_CHECK;
/* Of the file as it is stored; at the end, once. */
void export_input_sha256(struct export_input *input, uint8_t out[SHA256_BYTES]);
