#include "services/audit-log/nodes.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Stored nodes of one level, one behind the other. */
struct run {
    uint32_t level;
    uint64_t first;
    uint64_t count;
};

static struct run run_of(const struct merkle_node *node)
{
    uint32_t above = node->level % TREE_LEVEL_STEP;

    assert(node->level < MERKLE_LEVELS_MAX);
    return (struct run){node->level - above, node->index << above, UINT64_C(1) << above};
}

/* By place, of those with the same beginning the longest first. */
static int run_compare(const void *a, const void *b)
{
    const struct run *left = a;
    const struct run *right = b;

    if (left->level != right->level) {
        return left->level < right->level ? -1 : 1;
    }
    if (left->first != right->first) {
        return left->first < right->first ? -1 : 1;
    }
    return left->count == right->count ? 0 : left->count > right->count ? -1 : 1;
}

/* Sorted; of two runs one holds the other or they have nothing in common. */
static size_t runs_unite(struct run *runs, size_t count)
{
    size_t kept = 0;

    assert(runs != NULL);
    qsort(runs, count, sizeof *runs, run_compare);
    for (size_t i = 0; i < count; i++) {
        const struct run *last = kept == 0 ? NULL : &runs[kept - 1];

        if (last == NULL || last->level != runs[i].level ||
            runs[i].first >= last->first + last->count) {
            runs[kept++] = runs[i];
        }
    }
    return kept;
}

Avanta__AuditLog__ProofTiles *
nodes_wanted(const struct merkle_node *nodes, size_t count, struct arena *arena)
{
    Avanta__AuditLog__ProofTiles *out = arena_alloc(arena, sizeof *out);
    struct run *runs = arena_calloc(arena, count + 1, sizeof *runs);
    size_t kept = 0;

    assert(nodes != NULL);
    if (out == NULL || runs == NULL) {
        return NULL;
    }
    avanta__audit_log__proof_tiles__init(out);
    out->levels = arena_calloc(arena, count + 1, sizeof *out->levels);
    out->firsts = arena_calloc(arena, count + 1, sizeof *out->firsts);
    out->counts = arena_calloc(arena, count + 1, sizeof *out->counts);
    if (out->levels == NULL || out->firsts == NULL || out->counts == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        runs[i] = run_of(&nodes[i]);
    }
    kept = runs_unite(runs, count);
    for (size_t i = 0; i < kept; i++) {
        out->levels[i] = runs[i].level;
        out->firsts[i] = (int64_t)runs[i].first;
        out->counts[i] = (int64_t)runs[i].count;
    }
    out->n_levels = out->n_firsts = out->n_counts = kept;
    return out;
}

static int row_compare(const Avanta__AuditLog__ProofNode *row, const struct run *run)
{
    assert(row != NULL);
    assert(run != NULL);
    if (row->level != (int64_t)run->level) {
        return row->level < (int64_t)run->level ? -1 : 1;
    }
    return row->node_index == (int64_t)run->first  ? 0
           : row->node_index < (int64_t)run->first ? -1
                                                   : 1;
}

/* The row the run begins with, `count` when there is none. */
static size_t
row_find(Avanta__AuditLog__ProofNode *const *rows, size_t count, const struct run *run)
{
    size_t low = 0;
    size_t high = count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = row_compare(rows[middle], run);

        if (order == 0) {
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return count;
}

static bool
node_fill(struct merkle_node *node, Avanta__AuditLog__ProofNode *const *rows, size_t row_count)
{
    struct run run = run_of(node);
    struct merkle_hash hashes[TREE_RUN_MAX];
    size_t at = row_find(rows, row_count, &run);

    assert(run.count <= TREE_RUN_MAX);
    for (size_t i = 0; i < run.count; i++) {
        const Avanta__AuditLog__ProofNode *row = at + i < row_count ? rows[at + i] : NULL;

        if (row == NULL || row->level != (int64_t)run.level ||
            row->node_index != (int64_t)(run.first + i) ||
            row->hash.len != sizeof hashes[i].bytes) {
            return false;
        }
        memcpy(hashes[i].bytes, row->hash.data, sizeof hashes[i].bytes);
    }
    for (size_t left = run.count; left > 1; left /= 2) {
        for (size_t i = 0; i < left / 2; i++) {
            merkle_node_hash(&hashes[2 * i], &hashes[2 * i + 1], &hashes[i]);
        }
    }
    node->hash = hashes[0];
    return true;
}

bool nodes_fill(struct merkle_node *nodes,
                size_t count,
                Avanta__AuditLog__ProofNode *const *rows,
                size_t row_count)
{
    assert(nodes != NULL);
    for (size_t i = 0; i < count; i++) {
        if (!node_fill(&nodes[i], rows, row_count)) {
            return false;
        }
    }
    return true;
}
