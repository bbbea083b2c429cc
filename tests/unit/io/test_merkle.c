/* Against a model that follows the definitions of RFC 6962 2.1 word for word. */
#include "tests/support/check.h"

#include "libcommon/io/digest.h"
#include "libcommon/io/merkle.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include <time.h>

#define LEAVES     300
#define SMALL      48 /* every pair of sizes up to here */
#define LEVELS     10
#define LARGE_RUNS 200

static uint64_t state_of_random;
static struct merkle_hash leaves[LEAVES];
static struct merkle_hash roots[LEAVES + 1];
static struct merkle_hash stored[LEVELS][LEAVES];
static bool is_stored[LEVELS][LEAVES];

/* splitmix64: the seed is printed, so that a failure can be run again. */
static uint64_t next_random(void)
{
    state_of_random += UINT64_C(0x9E3779B97F4A7C15);

    uint64_t z = state_of_random;

    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

/* --- the model ------------------------------------------------------------------------------ */

static uint64_t model_split(uint64_t count)
{
    uint64_t k = 1;

    while (k * 2 < count) {
        k *= 2;
    }
    return k;
}

/* MTH of 2.1, as the RFC defines it. */
/* NOLINTBEGIN(misc-no-recursion) */
static struct merkle_hash model_root(uint64_t from, uint64_t to)
{
    struct merkle_hash hash;
    struct merkle_hash left;
    struct merkle_hash right;
    uint64_t k = 0;

    if (from == to) {
        sha256(STR_EMPTY, hash.bytes);
        return hash;
    }
    if (to - from == 1) {
        return leaves[from];
    }
    k = model_split(to - from);
    left = model_root(from, from + k);
    right = model_root(from + k, to);
    merkle_node_hash(&left, &right, &hash);
    return hash;
}

static void model_add(struct merkle_proof *proof, struct merkle_hash hash)
{
    assert_true(proof->count < MERKLE_PROOF_MAX);
    proof->hashes[proof->count++] = hash;
}

/* PATH of 2.1.1, as well. */
static void model_path(uint64_t m, uint64_t from, uint64_t to, struct merkle_proof *out)
{
    uint64_t k = 0;

    if (to - from == 1) {
        return;
    }
    k = model_split(to - from);
    if (m < k) {
        model_path(m, from, from + k, out);
        model_add(out, model_root(from + k, to));
    } else {
        model_path(m - k, from + k, to, out);
        model_add(out, model_root(from, from + k));
    }
}

/* SUBPROOF of 2.1.2, as well. */
static void
model_subproof(uint64_t m, uint64_t from, uint64_t to, bool whole, struct merkle_proof *out)
{
    uint64_t k = 0;

    if (m == to - from) {
        if (!whole) {
            model_add(out, model_root(from, to));
        }
        return;
    }
    k = model_split(to - from);
    if (m <= k) {
        model_subproof(m, from, from + k, whole, out);
        model_add(out, model_root(from + k, to));
    } else {
        model_subproof(m - k, from + k, to, false, out);
        model_add(out, model_root(from, from + k));
    }
}

/* NOLINTEND(misc-no-recursion) */

/* --- the tree under test -------------------------------------------------------------------- */

static void store(const struct merkle_node *node)
{
    assert_true(node->level < LEVELS);
    assert_true(node->index < LEAVES);
    assert_false(is_stored[node->level][node->index]);
    is_stored[node->level][node->index] = true;
    stored[node->level][node->index] = node->hash;
}

static int setup(void **state)
{
    struct merkle_frontier frontier;
    struct merkle_node complete[MERKLE_LEVELS_MAX];

    (void)state;
    state_of_random = (uint64_t)time(NULL);
    print_message("seed %" PRIu64 "\n", state_of_random);
    merkle_frontier_init(&frontier);
    merkle_frontier_root(&frontier, &roots[0]);
    for (uint64_t i = 0; i < LEAVES; i++) {
        uint64_t data = next_random();
        size_t count = 0;

        merkle_leaf_hash((struct str){(const char *)&data, sizeof data}, &leaves[i]);
        count = merkle_frontier_append(&frontier, &leaves[i], complete);
        store(&(struct merkle_node){.index = i, .level = 0, .hash = leaves[i]});
        for (size_t n = 0; n < count; n++) {
            store(&complete[n]);
        }
        merkle_frontier_root(&frontier, &roots[i + 1]);
    }
    return 0;
}

static void fetch(struct merkle_node *nodes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert_true(nodes[i].level < LEVELS);
        assert_true(nodes[i].index < LEAVES);
        assert_true(is_stored[nodes[i].level][nodes[i].index]);
        nodes[i].hash = stored[nodes[i].level][nodes[i].index];
    }
}

static void make(struct merkle_plan *plan, struct merkle_proof *out)
{
    fetch(plan->nodes, plan->node_count);
    merkle_proof_make(plan, out);
}

static void assert_same(const struct merkle_proof *a, const struct merkle_proof *b)
{
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        assert_row(i, merkle_hash_eq(&a->hashes[i], &b->hashes[i]));
    }
}

static void flip(struct merkle_hash *hash)
{
    uint64_t which = next_random() % (8 * sizeof hash->bytes);

    hash->bytes[which / 8] ^= (uint8_t)(1u << which % 8);
}

/* --- tests ---------------------------------------------------------------------------------- */

/* RFC 6962 2.1's hashes, worked out with another program: of nothing, of an empty leaf, of a node.
 */
static void hashes_are_those_of_the_rfc(void **state)
{
    struct merkle_hash hash;
    struct merkle_hash node;
    char hex[2 * MERKLE_HASH_BYTES + 1];

    (void)state;
    hex_encode(roots[0].bytes, MERKLE_HASH_BYTES, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    merkle_leaf_hash(STR_EMPTY, &hash);
    hex_encode(hash.bytes, MERKLE_HASH_BYTES, hex);
    assert_string_equal(hex, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
    merkle_leaf_hash(STR("L123456"), &hash);
    hex_encode(hash.bytes, MERKLE_HASH_BYTES, hex);
    assert_string_equal(hex, "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56");
    merkle_node_hash(&hash, &hash, &node);
    assert_false(merkle_hash_eq(&hash, &node));
}

static void roots_are_those_of_the_definition(void **state)
{
    (void)state;
    for (uint64_t size = 0; size <= LEAVES; size++) {
        struct merkle_hash model = model_root(0, size);

        assert_row(size, merkle_hash_eq(&roots[size], &model));
    }
}

/* Every complete node of the tree was reported once, with the hash of its leaves. */
static void every_complete_node_is_reported(void **state)
{
    (void)state;
    for (uint32_t level = 0; level < LEVELS; level++) {
        for (uint64_t index = 0; index < LEAVES; index++) {
            uint64_t to = (index + 1) << level;
            struct merkle_hash model;

            assert_int_equal(is_stored[level][index], to <= LEAVES);
            if (to <= LEAVES) {
                model = model_root(index << level, to);
                assert_row(index, merkle_hash_eq(&stored[level][index], &model));
            }
        }
    }
}

static void check_inclusion(uint64_t index, uint64_t size)
{
    struct merkle_plan plan;
    struct merkle_proof proof;
    struct merkle_proof model = {.count = 0};
    const struct merkle_hash *leaf = &leaves[index];
    uint64_t other = (index + 1 + next_random() % size) % (size + 1);

    merkle_inclusion_plan(index, size, &plan);
    make(&plan, &proof);
    model_path(index, 0, size, &model);
    assert_same(&proof, &model);
    assert_true(merkle_inclusion_verify(index, size, leaf, &proof, &roots[size]));
    for (size_t i = 0; i < proof.count; i++) {
        struct merkle_proof bad = proof;

        flip(&bad.hashes[i]);
        assert_row(i, !merkle_inclusion_verify(index, size, leaf, &bad, &roots[size]));
    }
    if (other != index) {
        assert_false(merkle_inclusion_verify(other, size, leaf, &proof, &roots[size]));
    }
    if (other != size) {
        assert_false(merkle_inclusion_verify(index, other, leaf, &proof, &roots[other]));
    }
    if (size > 1) {
        assert_false(merkle_inclusion_verify(
            index, size, &leaves[(index + 1) % size], &proof, &roots[size]));
    }
    proof.count++;
    assert_false(merkle_inclusion_verify(index, size, leaf, &proof, &roots[size]));
    proof.count -= proof.count > 1 ? 2 : 1;
    assert_int_equal(merkle_inclusion_verify(index, size, leaf, &proof, &roots[size]), size == 1);
}

static void check_consistency(uint64_t old_size, uint64_t size)
{
    struct merkle_plan plan;
    struct merkle_proof proof;
    struct merkle_proof model = {.count = 0};
    const struct merkle_hash *from = &roots[old_size];
    const struct merkle_hash *to = &roots[size];
    uint64_t other = 1 + next_random() % LEAVES;

    merkle_consistency_plan(old_size, size, &plan);
    make(&plan, &proof);
    model_subproof(old_size, 0, size, true, &model);
    assert_same(&proof, &model);
    assert_true(merkle_consistency_verify(old_size, size, from, &proof, to));
    for (size_t i = 0; i < proof.count; i++) {
        struct merkle_proof bad = proof;

        flip(&bad.hashes[i]);
        assert_row(i, !merkle_consistency_verify(old_size, size, from, &bad, to));
    }
    for (size_t i = 0; i < 2; i++) {
        struct merkle_hash ends[2] = {*from, *to};

        flip(&ends[i]);
        assert_row(i, !merkle_consistency_verify(old_size, size, &ends[0], &proof, &ends[1]));
    }
    if (other != old_size && other != size) {
        assert_false(merkle_consistency_verify(other, size, &roots[other], &proof, to));
        assert_false(merkle_consistency_verify(old_size, other, from, &proof, &roots[other]));
    }
    if (old_size != size) {
        assert_false(merkle_consistency_verify(old_size, size, to, &proof, from));
        assert_false(merkle_consistency_verify(old_size, size, from, &proof, from));
    }
    proof.count++;
    assert_false(merkle_consistency_verify(old_size, size, from, &proof, to));
    proof.count -= proof.count > 1 ? 2 : 1;
    assert_int_equal(merkle_consistency_verify(old_size, size, from, &proof, to), old_size == size);
}

static void inclusion_proofs_hold_and_changed_ones_do_not(void **state)
{
    (void)state;
    for (uint64_t size = 1; size <= SMALL; size++) {
        for (uint64_t index = 0; index < size; index++) {
            check_inclusion(index, size);
        }
    }
    for (size_t i = 0; i < LARGE_RUNS; i++) {
        uint64_t size = 1 + next_random() % LEAVES;

        check_inclusion(next_random() % size, size);
    }
}

static void consistency_proofs_hold_and_changed_ones_do_not(void **state)
{
    (void)state;
    for (uint64_t size = 1; size <= SMALL; size++) {
        for (uint64_t old_size = 1; old_size <= size; old_size++) {
            check_consistency(old_size, size);
        }
    }
    for (size_t i = 0; i < LARGE_RUNS; i++) {
        uint64_t size = 1 + next_random() % LEAVES;

        check_consistency(1 + next_random() % size, size);
    }
}

static void nothing_is_in_an_empty_tree_and_nothing_follows_from_it(void **state)
{
    struct merkle_proof proof = {.count = 0};

    (void)state;
    assert_false(merkle_inclusion_verify(0, 0, &leaves[0], &proof, &roots[0]));
    assert_false(merkle_consistency_verify(0, 0, &roots[0], &proof, &roots[0]));
    assert_false(merkle_consistency_verify(0, 1, &roots[0], &proof, &roots[1]));
}

/* What an export of some records needs: the rest of the tree as few nodes, and the root follows. */
static void a_frontier_grows_by_nodes(void **state)
{
    struct merkle_node nodes[MERKLE_COVER_MAX];

    (void)state;
    for (size_t i = 0; i < LARGE_RUNS; i++) {
        uint64_t size = 1 + next_random() % LEAVES;
        uint64_t from = next_random() % size;
        uint64_t to = from + next_random() % (size - from + 1);
        size_t count = merkle_cover(0, from, nodes);
        struct merkle_frontier frontier;
        struct merkle_node complete[MERKLE_LEVELS_MAX];
        struct merkle_hash root;

        fetch(nodes, count);
        merkle_frontier_restore(&frontier, from, nodes, count);
        for (uint64_t leaf = from; leaf < to; leaf++) {
            (void)merkle_frontier_append(&frontier, &leaves[leaf], complete);
        }
        count = merkle_cover(to, size, nodes);
        fetch(nodes, count);
        for (size_t n = 0; n < count; n++) {
            assert_true(merkle_frontier_append_node(&frontier, &nodes[n]));
            if (n == 0) {
                assert_false(merkle_frontier_append_node(&frontier, &nodes[n])); /* not again */
            }
        }
        merkle_frontier_root(&frontier, &root);
        assert_int_equal(frontier.size, size);
        assert_row(size, merkle_hash_eq(&root, &roots[size]));
    }
}

/* Sizes near the end of what is counted: plans stay within their bounds, and cover what they
 * should. */
static void plans_of_huge_trees_stay_bounded(void **state)
{
    struct merkle_plan plan;

    (void)state;
    for (size_t i = 0; i < 2000; i++) {
        uint64_t size = i == 0 ? MERKLE_SIZE_MAX : MERKLE_SIZE_MAX >> next_random() % 40;
        uint64_t index = i == 1 ? size - 1 : next_random() % size;

        size -= i < 2 ? 0 : next_random() % (size - index);
        merkle_inclusion_plan(index, size, &plan);
        assert_true(plan.part_count <= MERKLE_PROOF_MAX - 1);
        merkle_consistency_plan(index + 1, size, &plan);
        assert_true(plan.part_count <= MERKLE_PROOF_MAX);
        assert_true(merkle_cover(index, size, plan.nodes) <= MERKLE_COVER_MAX);
    }
    assert_int_equal(merkle_cover(1, MERKLE_SIZE_MAX, plan.nodes), 124);
    assert_int_equal(merkle_cover(7, 7, plan.nodes), 0);
}

/* Nodes that no tree has are refused, not shifted out of their type. */
static void impossible_nodes_are_refused(void **state)
{
    struct merkle_frontier frontier;
    static const struct merkle_node bad[] = {
        {.index = 1,          .level = 0 },
        {.index = 0,          .level = 63},
        {.index = 0,          .level = 64},
        {.index = UINT64_MAX, .level = 62},
    };

    (void)state;
    merkle_frontier_init(&frontier);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_row(i, !merkle_frontier_append_node(&frontier, &bad[i]));
    }
    assert_true(merkle_frontier_append_node(&frontier, &(struct merkle_node){.level = 62}));
    assert_false(
        merkle_frontier_append_node(&frontier, &(struct merkle_node){.index = 1, .level = 62}));
    assert_int_equal(frontier.size, UINT64_C(1) << 62);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_are_those_of_the_rfc),
        cmocka_unit_test(roots_are_those_of_the_definition),
        cmocka_unit_test(every_complete_node_is_reported),
        cmocka_unit_test(inclusion_proofs_hold_and_changed_ones_do_not),
        cmocka_unit_test(consistency_proofs_hold_and_changed_ones_do_not),
        cmocka_unit_test(nothing_is_in_an_empty_tree_and_nothing_follows_from_it),
        cmocka_unit_test(a_frontier_grows_by_nodes),
        cmocka_unit_test(plans_of_huge_trees_stay_bounded),
        cmocka_unit_test(impossible_nodes_are_refused),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
