#pragma once
/*
 * Verifies an exported audit trail (docs/concepts/audit-proofs.md) against the public keys of the
 * log and of a witness alone: it needs no server, no database and no trust in who made the file.
 * The file is read once, line by line, in constant memory. One call at a time per report; any
 * thread.
 */

#include "libcommon/base/err.h"
#include "libcommon/codec/note.h"
#include "libcommon/io/digest.h"
#include "libcommon/io/merkle.h"

#define VERIFY_MONTH_BYTES 8 /* YYYY-MM and NUL */

enum verify_kind {
    VERIFY_SELECTION, /* any records */
    VERIFY_RANGE,     /* all records from first_index to last_index, none left out */
    VERIFY_SEAL       /* records of a month */
};

/* What was found, up to the first difference. */
struct verify_report {
    char origin[NOTE_NAME_BYTES_MAX + 1]; /* of the checkpoint; "" before its signature holds */
    uint64_t size;                        /* records in the log by the checkpoint */
    struct merkle_hash root;
    uint64_t witness_time_s; /* when the witness signed; 0 without one */
    size_t signatures;       /* of the checkpoint; only those whose keys are given are verified */
    enum verify_kind kind;
    char month[VERIFY_MONTH_BYTES]; /* of a seal */
    bool has_previous;
    uint8_t previous_sha256[SHA256_BYTES]; /* of the file of the seal before, where has_previous */
    uint8_t file_sha256[SHA256_BYTES];     /* as it is stored; when all holds */
    uint8_t leaves_sha256[SHA256_BYTES];   /* of "{[first,next),...}": which records; likewise */
    uint64_t gaps;                         /* between records of a seal */
    uint64_t records;                      /* read */
    uint64_t first_index;                  /* of those read, when there are any */
    uint64_t last_index;
    uint64_t failed_line; /* from 1; 0 when all holds */
    bool failed_at_record;
    uint64_t failed_leaf_index; /* where failed_at_record */
};

/*
 * The file may be compressed by gzip; "-" is standard input. `witness_vkey` may be NULL: then no
 * cosignature is asked for.
 * ERR_INVALID: a key is malformed, or something does not hold: a signature, the root, a proof, the
 * order of the lines. ERR_JSON: a line is not of the format. ERR_TOO_LARGE: a line is too long.
 * ERR_NOT_FOUND: the file cannot be opened, or a key did not sign. ERR_UNAVAILABLE: it cannot be
 * read to its end. The error's text says what; the report, at which line and record.
 */
enum code audit_verify_file(const char *path,
                            const char *log_vkey,
                            const char *witness_vkey,
                            struct verify_report *out,
                            struct err *err) MUST_CHECK;
