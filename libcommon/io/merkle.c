#include "libcommon/io/merkle.h"

#include "libcommon/io/digest.h"

#include <assert.h>
#include <string.h>

#define LEAF_PREFIX 0x00
#define NODE_PREFIX 0x01

_Static_assert(MERKLE_HASH_BYTES == SHA256_BYTES, "the tree's hash is SHA-256");

bool merkle_hash_eq(const struct merkle_hash *a, const struct merkle_hash *b)
{
    assert(a != NULL);
    assert(b != NULL);
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0; /* nothing secret */
}

void merkle_leaf_hash(struct str data, struct merkle_hash *out)
{
    static const char prefix[] = {LEAF_PREFIX};
    const struct str parts[] = {
        {prefix, sizeof prefix},
        data
    };

    assert(out != NULL);
    sha256_parts(parts, ARRAY_LEN(parts), out->bytes);
}

void merkle_node_hash(const struct merkle_hash *left,
                      const struct merkle_hash *right,
                      struct merkle_hash *out)
{
    char bytes[1 + 2 * MERKLE_HASH_BYTES] = {NODE_PREFIX};

    assert(left != NULL);
    assert(right != NULL);
    memcpy(bytes + 1, left->bytes, MERKLE_HASH_BYTES);
    memcpy(bytes + 1 + MERKLE_HASH_BYTES, right->bytes, MERKLE_HASH_BYTES);
    sha256((struct str){bytes, sizeof bytes}, out->bytes);
}

/* --- growing -------------------------------------------------------------------------------- */

static bool bit(uint64_t number, uint32_t level)
{
    assert(level < 64);
    return (number >> level & 1) != 0;
}

void merkle_frontier_init(struct merkle_frontier *frontier)
{
    assert(frontier != NULL);
    memset(frontier, 0, sizeof *frontier);
}

void merkle_frontier_restore(struct merkle_frontier *frontier,
                             uint64_t size,
                             const struct merkle_node *nodes,
                             size_t count)
{
    assert(size <= MERKLE_SIZE_MAX);
    assert(nodes != NULL || count == 0);
    merkle_frontier_init(frontier);
    for (size_t i = 0; i < count; i++) {
        bool fits = merkle_frontier_append_node(frontier, &nodes[i]);

        assert(fits);
    }
    assert(frontier->size == size);
}

/* Puts a complete node at the end; `*node` becomes the highest node that is complete by it, and
 * what lies between is reported. */
static size_t
join(struct merkle_frontier *frontier, struct merkle_node *node, struct merkle_node *out_complete)
{
    uint64_t leaves = UINT64_C(1) << node->level;
    size_t count = 0;

    assert((frontier->size & (leaves - 1)) == 0);
    while (bit(frontier->size, node->level)) {
        merkle_node_hash(&frontier->nodes[node->level], &node->hash, &node->hash);
        frontier->size -= UINT64_C(1) << node->level; /* the left half is part of it now */
        leaves += UINT64_C(1) << node->level;
        node->level++;
        node->index >>= 1;
        if (out_complete != NULL) {
            out_complete[count] = *node;
        }
        count++;
    }
    assert(node->level < MERKLE_LEVELS_MAX);
    frontier->nodes[node->level] = node->hash;
    frontier->size += leaves;
    return count;
}

size_t merkle_frontier_append(struct merkle_frontier *frontier,
                              const struct merkle_hash *leaf,
                              struct merkle_node out_complete[MERKLE_LEVELS_MAX])
{
    struct merkle_node node = {.index = frontier->size, .level = 0, .hash = *leaf};

    assert(frontier->size < MERKLE_SIZE_MAX);
    assert(out_complete != NULL);
    return join(frontier, &node, out_complete);
}

bool merkle_frontier_append_node(struct merkle_frontier *frontier, const struct merkle_node *node)
{
    struct merkle_node own = *node;

    assert(frontier->size <= MERKLE_SIZE_MAX);
    if (node->level >= MERKLE_LEVELS_MAX || node->index > MERKLE_SIZE_MAX >> node->level ||
        node->index << node->level != frontier->size ||
        UINT64_C(1) << node->level > MERKLE_SIZE_MAX - frontier->size) {
        return false;
    }
    (void)join(frontier, &own, NULL);
    return true;
}

/* The root of ranges that stand one behind the other, the first `count` of `nodes`, each at least
 * as large as all behind it: the right ones are joined first. */
static void fold(const struct merkle_node *nodes, size_t count, struct merkle_hash *out)
{
    assert(count > 0);
    *out = nodes[count - 1].hash;
    for (size_t i = count - 1; i > 0; i--) {
        assert(nodes[i - 1].level > nodes[i].level);
        merkle_node_hash(&nodes[i - 1].hash, out, out);
    }
}

void merkle_frontier_root(const struct merkle_frontier *frontier, struct merkle_hash *out)
{
    bool begun = false;

    assert(frontier->size <= MERKLE_SIZE_MAX);
    assert(out != NULL);
    if (frontier->size == 0) {
        sha256(STR_EMPTY, out->bytes);
        return;
    }
    for (uint32_t level = 0; level < MERKLE_LEVELS_MAX; level++) {
        if (!bit(frontier->size, level)) {
            continue;
        }
        if (begun) {
            merkle_node_hash(&frontier->nodes[level], out, out);
        } else {
            *out = frontier->nodes[level];
            begun = true;
        }
    }
}

/* --- proofs --------------------------------------------------------------------------------- */

/* The largest k with 2^k <= number. */
static uint32_t log2_floor(uint64_t number)
{
    assert(number > 0);
    return 63 - (uint32_t)__builtin_clzll(number);
}

size_t merkle_cover(uint64_t from, uint64_t to, struct merkle_node out_nodes[MERKLE_COVER_MAX])
{
    size_t count = 0;

    assert(from <= to);
    assert(to <= MERKLE_SIZE_MAX);
    while (from < to) {
        uint32_t level = log2_floor(to - from);
        uint32_t aligned = from == 0 ? level : (uint32_t)__builtin_ctzll(from);

        level = aligned < level ? aligned : level;
        assert(count < MERKLE_COVER_MAX);
        out_nodes[count++] = (struct merkle_node){.index = from >> level, .level = level};
        from += UINT64_C(1) << level;
    }
    return count;
}

struct range {
    uint64_t from;
    uint64_t to;
};

/* Where RFC 6962 splits the range of more than one leaf: after the largest power of two that leaves
 * something on the right. */
static uint64_t middle(struct range range)
{
    assert(range.to - range.from > 1);
    return range.from + (UINT64_C(1) << log2_floor(range.to - range.from - 1));
}

/* Each range becomes one hash of the proof; they were found from the root down and are listed from
 * the leaves up. */
static void plan_ranges(const struct range *ranges, size_t count, struct merkle_plan *out)
{
    assert(count <= MERKLE_PROOF_MAX);
    out->node_count = 0;
    out->part_count = 0;
    for (size_t i = count; i > 0; i--) {
        struct merkle_node nodes[MERKLE_COVER_MAX];
        size_t added = merkle_cover(ranges[i - 1].from, ranges[i - 1].to, nodes);

        assert(added > 0);
        assert(added <= MERKLE_COVER_MAX - out->node_count);
        memcpy(out->nodes + out->node_count, nodes, added * sizeof nodes[0]);
        out->node_count += added;
        out->parts[out->part_count++] = (uint8_t)added;
    }
}

void merkle_inclusion_plan(uint64_t index, uint64_t size, struct merkle_plan *out)
{
    struct range range = {0, size};
    struct range siblings[MERKLE_PROOF_MAX];
    size_t count = 0;

    assert(index < size);
    assert(size <= MERKLE_SIZE_MAX);
    while (range.to - range.from > 1) {
        uint64_t split = middle(range);

        if (index < split) {
            siblings[count++] = (struct range){split, range.to};
            range.to = split;
        } else {
            siblings[count++] = (struct range){range.from, split};
            range.from = split;
        }
    }
    plan_ranges(siblings, count, out);
}

void merkle_consistency_plan(uint64_t old_size, uint64_t size, struct merkle_plan *out)
{
    struct range range = {0, size};
    struct range pieces[MERKLE_PROOF_MAX];
    size_t count = 0;

    assert(old_size > 0);
    assert(old_size <= size);
    assert(size <= MERKLE_SIZE_MAX);
    /* SUBPROOF of the RFC: down to the subtree where the old tree ends. */
    while (range.to != old_size) {
        uint64_t split = middle(range);

        if (old_size <= split) {
            pieces[count++] = (struct range){split, range.to};
            range.to = split;
        } else {
            pieces[count++] = (struct range){range.from, split};
            range.from = split;
        }
    }
    if (range.from > 0) { /* else it is the old tree itself, whose root is known */
        pieces[count++] = range;
    }
    plan_ranges(pieces, count, out);
}

void merkle_proof_make(const struct merkle_plan *plan, struct merkle_proof *out)
{
    size_t at = 0;

    assert(plan->part_count <= MERKLE_PROOF_MAX);
    for (size_t i = 0; i < plan->part_count; i++) {
        fold(plan->nodes + at, plan->parts[i], &out->hashes[i]);
        at += plan->parts[i];
    }
    assert(at == plan->node_count);
    out->count = plan->part_count;
}

/* On the right edge of a tree that is not complete some levels have no sibling: past those. */
static void climb(uint64_t *at, uint64_t *last)
{
    assert(*at <= *last);
    while (!bit(*at, 0) && *at != 0) {
        *at >>= 1;
        *last >>= 1;
    }
}

bool merkle_inclusion_verify(uint64_t index,
                             uint64_t size,
                             const struct merkle_hash *leaf,
                             const struct merkle_proof *proof,
                             const struct merkle_hash *root)
{
    uint64_t at = index;
    uint64_t last = size - 1;
    struct merkle_hash hash = *leaf;

    assert(proof->count <= MERKLE_PROOF_MAX);
    if (index >= size) {
        return false;
    }
    for (size_t i = 0; i < proof->count; i++) {
        if (last == 0) {
            return false;
        }
        if (bit(at, 0) || at == last) {
            merkle_node_hash(&proof->hashes[i], &hash, &hash);
            climb(&at, &last);
        } else {
            merkle_node_hash(&hash, &proof->hashes[i], &hash);
        }
        at >>= 1;
        last >>= 1;
    }
    return last == 0 && merkle_hash_eq(&hash, root);
}

/* The walk of RFC 9162 2.1.4.2 from `first`, the root of the largest complete subtree at the old
 * tree's end, over the hashes from `next` on. */
static bool consistency_walk(struct range walk,
                             const struct merkle_hash *first,
                             const struct merkle_hash *hashes,
                             size_t count,
                             struct merkle_hash out_roots[2])
{
    uint64_t old_at = walk.from;
    uint64_t at = walk.to;

    assert(old_at < at);
    out_roots[0] = *first;
    out_roots[1] = *first;
    for (size_t i = 0; i < count; i++) {
        if (at == 0) {
            return false;
        }
        if (bit(old_at, 0) || old_at == at) {
            merkle_node_hash(&hashes[i], &out_roots[0], &out_roots[0]);
            merkle_node_hash(&hashes[i], &out_roots[1], &out_roots[1]);
            climb(&old_at, &at);
        } else {
            merkle_node_hash(&out_roots[1], &hashes[i], &out_roots[1]);
        }
        old_at >>= 1;
        at >>= 1;
    }
    return at == 0;
}

bool merkle_consistency_verify(uint64_t old_size,
                               uint64_t size,
                               const struct merkle_hash *old_root,
                               const struct merkle_proof *proof,
                               const struct merkle_hash *root)
{
    struct merkle_hash roots[2];
    struct range walk = {old_size - 1, size - 1};
    bool power = (old_size & (old_size - 1)) == 0;

    assert(proof->count <= MERKLE_PROOF_MAX);
    if (old_size == 0 || old_size > size) {
        return false;
    }
    if (old_size == size) {
        return proof->count == 0 && merkle_hash_eq(old_root, root);
    }
    if (proof->count == 0) {
        return false;
    }
    while (bit(walk.from, 0)) {
        walk.from >>= 1;
        walk.to >>= 1;
    }
    /* A complete old tree is itself where the walk starts, and no part of the proof. */
    return consistency_walk(walk,
                            power ? old_root : &proof->hashes[0],
                            power ? proof->hashes : proof->hashes + 1,
                            power ? proof->count : proof->count - 1,
                            roots) &&
           merkle_hash_eq(&roots[0], old_root) && merkle_hash_eq(&roots[1], root);
}
