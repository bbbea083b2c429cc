#pragma once
/*
 * One line of an exported audit trail (docs/concepts/audit-proofs.md): a JSON object read into a
 * struct, or written from one. Nothing is verified here. Pure; any thread; the line is untrusted.
 * Texts point into the line or the arena.
 */

#include "libcommon/base/arena.h"
#include "libcommon/io/digest.h"
#include "libcommon/io/merkle.h"

#define EXPORT_LINE_BYTES_MAX  (2048UL * 1024)     /* any record there can be */
#define EXPORT_ARENA_BYTES_MAX (8UL * 1024 * 1024) /* what reading one line may take */
#define EXPORT_FORMAT          "avanta-audit-export/v1"

/* Members of a line; which belong together is told by the masks below. */
enum export_field {
    EXPORT_FIELD_FORMAT,
    EXPORT_FIELD_KIND,
    EXPORT_FIELD_MONTH,
    EXPORT_FIELD_PREVIOUS_SHA256,
    EXPORT_FIELD_FIRST,
    EXPORT_FIELD_LEFT,
    EXPORT_FIELD_CHECKPOINT,
    EXPORT_FIELD_LEAF_INDEX,
    EXPORT_FIELD_LEAF_HASH,
    EXPORT_FIELD_RECORD,
    EXPORT_FIELD_PROOF,
    EXPORT_FIELD_NEXT,
    EXPORT_FIELD_NODES,
    EXPORT_FIELD_COUNT_OF,
    EXPORT_FIELD_RIGHT,
    EXPORT_FIELD_COUNT
};
#define EXPORT_HAS(field) (1U << EXPORT_FIELD_##field)

/* A range: all records from `first` on. A selection: any records, each with its proof. A seal: the
 * records of a month, with lines for the gaps between them; PREVIOUS_SHA256 may be left out. */
#define EXPORT_SELECTION_HEADER (EXPORT_HAS(FORMAT) | EXPORT_HAS(KIND) | EXPORT_HAS(CHECKPOINT))
#define EXPORT_RANGE_HEADER     (EXPORT_SELECTION_HEADER | EXPORT_HAS(FIRST) | EXPORT_HAS(LEFT))
#define EXPORT_SEAL_HEADER      (EXPORT_RANGE_HEADER | EXPORT_HAS(MONTH))
#define EXPORT_GAP              (EXPORT_HAS(NEXT) | EXPORT_HAS(NODES))
#define EXPORT_RANGE_RECORD     (EXPORT_HAS(LEAF_INDEX) | EXPORT_HAS(RECORD))
#define EXPORT_SELECTION_RECORD (EXPORT_RANGE_RECORD | EXPORT_HAS(PROOF))
#define EXPORT_SELECTION_END    EXPORT_HAS(COUNT_OF)
#define EXPORT_RANGE_END        (EXPORT_SELECTION_END | EXPORT_HAS(RIGHT))

struct export_line {
    unsigned has; /* EXPORT_HAS() of the members that are there */
    struct str format;
    struct str kind;       /* "range", "selection" or "seal" */
    struct str month;      /* YYYY-MM */
    struct str checkpoint; /* the signed note */
    struct str record;     /* canonical JSON, as it stands in the line */
    uint64_t first;
    uint64_t leaf_index;
    uint64_t count;
    uint64_t next;        /* index of the record behind the gap */
    uint64_t occurred_ms; /* what the record says, or 0; not written */
    uint8_t previous_sha256[SHA256_BYTES];
    struct merkle_hash leaf_hash;
    size_t hash_count; /* of `left`, `right`, `proof` or `nodes`: a line has one */
    struct merkle_hash hashes[MERKLE_COVER_MAX];
};

/* ERR_JSON: not an object of such members, each of its type; ERR_TOO_LARGE: the line is longer than
 * EXPORT_LINE_BYTES_MAX, or the arena is full. */
enum code export_line_read(struct str line,
                           struct arena *arena,
                           struct export_line *out,
                           struct err *err) MUST_CHECK;
/* Without a newline. ERR_TOO_LARGE as above. */
enum code export_line_write(const struct export_line *line,
                            struct arena *arena,
                            struct str *out,
                            struct err *err) MUST_CHECK;
