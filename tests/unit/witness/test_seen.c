/* What a witness takes for a checkpoint of its log, and when one continues another: held against
 * trees of all small sizes. */
#include "services/witness/seen.h"
#include "tests/support/check.h"

#include <stdio.h>
#include <string.h>

#define ORIGIN     "example.com/log"
#define LEAVES_MAX 20

static struct note_signer log_signer;
static struct note_signer witness_signer;

static int setup(void **state)
{
    uint8_t seed[ED25519_KEY_BYTES];
    struct err err = {.code = OK};

    (void)state;
    memset(seed, 7, sizeof seed);
    assert_int_equal(note_signer_make(STR(ORIGIN), NOTE_ED25519, seed, &log_signer, &err), OK);
    memset(seed, 8, sizeof seed);
    assert_int_equal(
        note_signer_make(STR("witness"), NOTE_COSIGNATURE, seed, &witness_signer, &err), OK);
    return 0;
}

static struct str text_signed(const struct note_signer *signer, const char *text)
{
    static char memory[SEEN_BYTES_MAX];
    struct buf note = buf_over(memory, sizeof memory);
    struct err err = {.code = OK};

    buf_printf(&note, "%s\n", text);
    assert_int_equal(note_sign(signer, str_from(text), 1, &note, &err), OK);
    assert_false(note.overflow);
    return buf_view(&note);
}

static enum code read(struct str note, struct seen *out)
{
    struct err err = {.code = OK};
    enum code code = seen_read(note, &log_signer.verifier, out, &err);

    assert_int_equal(err.code == OK, code == OK);
    return code;
}

#define ROOT  "\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
#define OTHER "\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=\n"

static void test_only_the_logs_own_is_taken(void **state)
{
    static const struct {
        const char *text;
        enum code code;
    } rows[] = {
        {ORIGIN "\n1" ROOT,                   OK         },
        {ORIGIN "\n9223372036854775807" ROOT, OK         },
        {ORIGIN "\n5" ROOT "an extension\n",  OK         },
        {ORIGIN "\n0" ROOT,                   ERR_INVALID},
        {ORIGIN "\n9223372036854775808" ROOT, ERR_INVALID},
        {ORIGIN "\n01" ROOT,                  ERR_INVALID},
        {"example.com/other\n1" ROOT,         ERR_INVALID},
        {"a text\n",                          ERR_INVALID},
    };
    struct seen seen;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_row(i, read(text_signed(&log_signer, rows[i].text), &seen) == rows[i].code);
    }
    assert_int_equal(read(STR_EMPTY, &seen), ERR_INVALID);
    assert_int_equal(read(STR(ORIGIN "\n1" ROOT), &seen), ERR_INVALID);
}

static void test_a_signature_is_of_its_text(void **state)
{
    static char changed[SEEN_BYTES_MAX];
    struct note_signer other;
    uint8_t seed[ED25519_KEY_BYTES] = {1};
    struct str note = text_signed(&log_signer, ORIGIN "\n17" ROOT);
    struct err err = {.code = OK};
    struct seen seen;

    (void)state;
    memcpy(changed, note.ptr, note.len);
    changed[strlen(ORIGIN) + 2] = '8';
    assert_int_equal(read((struct str){changed, note.len}, &seen), ERR_INVALID);
    assert_int_equal(seen.len, note.len); /* for the evidence */
    assert_memory_equal(seen.note, changed, note.len);
    assert_int_equal(note_signer_make(STR(ORIGIN), NOTE_ED25519, seed, &other, &err), OK);
    assert_int_equal(read(text_signed(&other, ORIGIN "\n17" ROOT), &seen), ERR_INVALID);
}

static void test_a_note_has_a_bound(void **state)
{
    static char memory[SEEN_BYTES_MAX + 512];
    struct str note = text_signed(&log_signer, ORIGIN "\n17" ROOT);
    struct buf b = buf_over(memory, sizeof memory);
    struct seen seen;

    (void)state;
    buf_str(&b, note);
    while (b.len <= SEEN_BYTES_MAX) {
        buf_text(&b, "\xe2\x80\x94 somebody AAAAAAAA\n");
    }
    assert_int_equal(read(buf_view(&b), &seen), ERR_INVALID);
    assert_int_equal(seen.len, SEEN_BYTES_MAX);
}

static void test_its_own_cosignature_is_known(void **state)
{
    static char memory[SEEN_BYTES_MAX];
    struct buf b = buf_over(memory, sizeof memory);
    struct err err = {.code = OK};
    struct seen seen;

    (void)state;
    buf_str(&b, text_signed(&log_signer, ORIGIN "\n17" ROOT));
    assert_int_equal(read(buf_view(&b), &seen), OK);
    assert_false(seen_cosigned(&seen, &witness_signer.verifier));
    assert_int_equal(note_sign(&witness_signer, seen_text(&seen), 5, &b, &err), OK);
    assert_int_equal(read(buf_view(&b), &seen), OK);
    assert_true(seen_cosigned(&seen, &witness_signer.verifier));
    /* One that was for another text. */
    b = buf_over(memory, sizeof memory);
    buf_str(&b, text_signed(&log_signer, ORIGIN "\n18" ROOT));
    assert_int_equal(note_sign(&witness_signer, STR(ORIGIN "\n17" ROOT), 5, &b, &err), OK);
    assert_int_equal(read(buf_view(&b), &seen), OK);
    assert_false(seen_cosigned(&seen, &witness_signer.verifier));
}

static void test_one_size_has_one_root(void **state)
{
    struct seen a;
    struct seen b;

    (void)state;
    assert_int_equal(read(text_signed(&log_signer, ORIGIN "\n17" ROOT), &a), OK);
    assert_int_equal(read(text_signed(&log_signer, ORIGIN "\n17" ROOT "x\n"), &b), OK);
    assert_true(seen_same_tree(&a, &b));
    assert_int_equal(read(text_signed(&log_signer, ORIGIN "\n17" OTHER), &b), OK);
    assert_false(seen_same_tree(&a, &b));
}

/* --- trees ------------------------------------------------------------------------------------ */

static void leaf_of(uint64_t index, int fork, struct merkle_hash *out)
{
    char text[32];

    (void)snprintf(text, sizeof text, "%d %llu", fork, (unsigned long long)index);
    merkle_leaf_hash(str_from(text), out);
}

/* The tree of `size` leaves, of which those from `fork_at` on are others. */
static void tree(uint64_t size, uint64_t fork_at, struct seen *out)
{
    struct merkle_frontier frontier;
    struct merkle_node complete[MERKLE_LEVELS_MAX];
    struct merkle_hash leaf;

    merkle_frontier_init(&frontier);
    for (uint64_t i = 0; i < size; i++) {
        leaf_of(i, i >= fork_at ? 1 : 0, &leaf);
        (void)merkle_frontier_append(&frontier, &leaf, complete);
    }
    out->size = size;
    merkle_frontier_root(&frontier, &out->root);
}

static void node_hash(struct merkle_node *node, uint64_t fork_at)
{
    struct merkle_frontier frontier;
    struct merkle_node complete[MERKLE_LEVELS_MAX];
    struct merkle_hash leaf;

    merkle_frontier_init(&frontier);
    for (uint64_t i = 0; i < UINT64_C(1) << node->level; i++) {
        uint64_t index = (node->index << node->level) + i;

        leaf_of(index, index >= fork_at ? 1 : 0, &leaf);
        (void)merkle_frontier_append(&frontier, &leaf, complete);
    }
    merkle_frontier_root(&frontier, &node->hash);
}

static void prove(uint64_t from, uint64_t to, uint64_t fork_at, struct merkle_proof *out)
{
    struct merkle_plan plan;

    merkle_consistency_plan(from, to, &plan);
    for (size_t i = 0; i < plan.node_count; i++) {
        node_hash(&plan.nodes[i], fork_at);
    }
    merkle_proof_make(&plan, out);
}

/* Whatever was changed in the old part, the proof that the changed log gives is no proof. */
static void test_only_what_continues_is_proven(void **state)
{
    static struct seen old;
    static struct seen grown;
    static struct seen forked;
    struct merkle_proof proof;

    (void)state;
    for (uint64_t from = 1; from < LEAVES_MAX; from++) {
        for (uint64_t to = from + 1; to <= LEAVES_MAX; to++) {
            tree(from, UINT64_MAX, &old);
            tree(to, UINT64_MAX, &grown);
            prove(from, to, UINT64_MAX, &proof);
            assert_row(from * 100 + to, seen_proven(&old, &grown, &proof));
            assert_row(from * 100 + to, seen_proven(&grown, &old, &proof));
            for (uint64_t at = 0; at < from; at++) {
                tree(to, at, &forked);
                prove(from, to, at, &proof);
                assert_row(from * 100 + to, !seen_proven(&old, &forked, &proof));
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_the_logs_own_is_taken),
        cmocka_unit_test(test_a_signature_is_of_its_text),
        cmocka_unit_test(test_a_note_has_a_bound),
        cmocka_unit_test(test_its_own_cosignature_is_known),
        cmocka_unit_test(test_one_size_has_one_root),
        cmocka_unit_test(test_only_what_continues_is_proven),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
