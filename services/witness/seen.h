#pragma once
/*
 * A checkpoint as a witness sees it: the signed note and what it says. Read from what came over the
 * bus, so nothing of it is believed before the log's signature holds. Values of their owner; no
 * memory is allocated. Pure.
 */

#include "libcommon/io/merkle.h"
#include "libcommon/io/note_key.h"

#define SEEN_BYTES_MAX 8192 /* of a note with its signatures */

struct seen {
    uint64_t size;
    struct merkle_hash root;
    size_t text_len; /* of what is signed, at the beginning of the note */
    size_t len;
    char note[SEEN_BYTES_MAX + 1]; /* NUL ended */
};

/* ERR_INVALID: not a note, too long, not signed by the log, of another origin than its key's name,
 * of no records. `out` then holds the bytes alone, as many as there is room for. */
enum code seen_read(struct str note,
                    const struct note_verifier *log,
                    struct seen *out,
                    struct err *err) MUST_CHECK;
struct str seen_text(const struct seen *seen);
/* Whether it has a cosignature by this witness that holds. */
bool seen_cosigned(const struct seen *seen, const struct note_verifier *witness) MUST_CHECK;
/* Of two of one size: whether they are one tree. */
bool seen_same_tree(const struct seen *a, const struct seen *b) MUST_CHECK;
/* Of two sizes: whether the proof shows that the smaller tree is the beginning of the larger. */
bool seen_proven(const struct seen *a,
                 const struct seen *b,
                 const struct merkle_proof *proof) MUST_CHECK;
