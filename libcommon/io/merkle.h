#pragma once
/*
 * Merkle tree of an append-only log (RFC 6962 2.1, RFC 9162 2.1), SHA-256. A complete node covers
 * 2^level leaves and never changes once they are there, so complete nodes are what is stored; all
 * else is made of them when it is asked for. Functions that plan say which complete nodes are
 * needed, the caller fetches their hashes, functions that make use them. No memory is allocated;
 * sizes up to MERKLE_SIZE_MAX are asserted where we build and checked where we verify. Pure; any
 * thread, one owner.
 */

#include "libcommon/base/attr.h"
#include "libcommon/base/str.h"

#define MERKLE_HASH_BYTES 32
#define MERKLE_SIZE_MAX   ((uint64_t)INT64_MAX) /* leaves */
#define MERKLE_LEVELS_MAX 63                    /* a complete node has level 62 at most */
#define MERKLE_PROOF_MAX  64                    /* hashes of a proof */
#define MERKLE_COVER_MAX  126                   /* complete nodes of any range of leaves */

struct merkle_hash {
    uint8_t bytes[MERKLE_HASH_BYTES];
};

/* Covers the leaves from index << level to ((index + 1) << level) - 1; a leaf has level 0. */
struct merkle_node {
    uint64_t index;
    uint32_t level;
    struct merkle_hash hash; /* where it is known */
};

bool merkle_hash_eq(const struct merkle_hash *a, const struct merkle_hash *b);
/* SHA-256(0x00 || data). */
void merkle_leaf_hash(struct str data, struct merkle_hash *out);
/* SHA-256(0x01 || left || right). */
void merkle_node_hash(const struct merkle_hash *left,
                      const struct merkle_hash *right,
                      struct merkle_hash *out);

/* --- growing -------------------------------------------------------------------------------- */

/* The right edge: the fewest complete nodes that cover all leaves; nodes[level] counts where bit
 * `level` of the size is set. */
struct merkle_frontier {
    uint64_t size; /* leaves */
    struct merkle_hash nodes[MERKLE_LEVELS_MAX];
};

void merkle_frontier_init(struct merkle_frontier *frontier);
/* The frontier of a tree of `size` leaves from the hashes of merkle_cover(0, size, ...), in its
 * order. */
void merkle_frontier_restore(struct merkle_frontier *frontier,
                             uint64_t size,
                             const struct merkle_node *nodes,
                             size_t count);
/* One leaf more. The nodes above it that became complete, lowest first, for the caller to store;
 * returns how many (none for every second leaf). */
size_t merkle_frontier_append(struct merkle_frontier *frontier,
                              const struct merkle_hash *leaf,
                              struct merkle_node out_complete[MERKLE_LEVELS_MAX]);
/* All leaves of a complete node at once; false when it does not start at the frontier's end, or the
 * tree would pass MERKLE_SIZE_MAX. */
bool merkle_frontier_append_node(struct merkle_frontier *frontier,
                                 const struct merkle_node *node) MUST_CHECK;
/* Of no leaves: SHA-256 of nothing. */
void merkle_frontier_root(const struct merkle_frontier *frontier, struct merkle_hash *out);

/* --- proofs --------------------------------------------------------------------------------- */

/* The fewest complete nodes that cover the leaves from `from` to `to` - 1, left to right, without
 * their hashes; returns how many. */
size_t merkle_cover(uint64_t from, uint64_t to, struct merkle_node out_nodes[MERKLE_COVER_MAX]);

/* The nodes a proof is made of. The caller fills in nodes[i].hash. */
struct merkle_plan {
    size_t node_count;
    struct merkle_node nodes[MERKLE_COVER_MAX];
    size_t part_count;
    uint8_t parts[MERKLE_PROOF_MAX]; /* how many nodes, one behind the other, make each hash */
};

struct merkle_proof {
    size_t count;
    struct merkle_hash hashes[MERKLE_PROOF_MAX];
};

/* RFC 6962 2.1.1, RFC 9162 2.1.3.1: that leaf `index` is in the tree of `size` leaves; index < size
 * is asserted. */
void merkle_inclusion_plan(uint64_t index, uint64_t size, struct merkle_plan *out);
/* RFC 6962 2.1.2, RFC 9162 2.1.4.1: that the tree of `old_size` leaves is the beginning of that of
 * `size`; 0 < old_size <= size is asserted. Between equal sizes the proof is empty. */
void merkle_consistency_plan(uint64_t old_size, uint64_t size, struct merkle_plan *out);
void merkle_proof_make(const struct merkle_plan *plan, struct merkle_proof *out);

/* RFC 9162 2.1.3.2. Any numbers are taken; false unless the proof holds. */
bool merkle_inclusion_verify(uint64_t index,
                             uint64_t size,
                             const struct merkle_hash *leaf,
                             const struct merkle_proof *proof,
                             const struct merkle_hash *root) MUST_CHECK;
/* RFC 9162 2.1.4.2. Any numbers are taken; false unless the proof holds. An empty old tree proves
 * nothing and is refused. */
bool merkle_consistency_verify(uint64_t old_size,
                               uint64_t size,
                               const struct merkle_hash *old_root,
                               const struct merkle_proof *proof,
                               const struct merkle_hash *root) MUST_CHECK;
