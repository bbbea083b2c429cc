/* Proofs made by others, good and corrupted: we take and refuse the same ones. */
#include "tests/support/check.h"
#include "tests/support/suites.h"

#include "libcommon/base/limits.h"
#include "libcommon/io/merkle.h"

#include <jansson.h>
#include <string.h>

static struct arena_pool *pool;

static int setup(void **state)
{
    (void)state;
    pool = arena_pool_open(ARENA_CHUNK_BYTES, 256);
    return pool == NULL;
}

static int teardown(void **state)
{
    (void)state;
    arena_pool_close(&pool);
    return 0;
}

/* The files hold numbers up to 2^64 - 1, which jansson does not read. */
static uint64_t number_of(struct str json, const char *name)
{
    char key[32];
    struct buf b = buf_over(key, sizeof key);
    size_t at = 0;
    size_t end = 0;
    uint64_t value = 0;

    buf_printf(&b, "\"%s\": ", name);
    assert_true(str_find(json, buf_view(&b), &at));
    at += b.len;
    while (json.ptr[at + end] >= '0' && json.ptr[at + end] <= '9') {
        end++;
    }
    assert_true(str_to_uint64(str_sub(json, at, at + end), &value));
    return value;
}

/* Some files hold texts of other lengths, which our types do not take: such a proof is refused, but
 * for roots that are compared alone. Filled up with zeros, equal ones stay equal. */
static struct merkle_hash hash_of(const json_t *text, bool *exact)
{
    struct merkle_hash hash = {.bytes = {0}};
    uint8_t bytes[64];
    size_t len = 0;

    assert_true(json_is_string(text));
    assert_true(base64_decode(str_from(json_string_value(text)), bytes, sizeof bytes, &len));
    *exact = *exact && len == sizeof hash.bytes;
    memcpy(hash.bytes, bytes, len < sizeof hash.bytes ? len : sizeof hash.bytes);
    return hash;
}

static void proof_of(const json_t *list, struct merkle_proof *out, bool *exact)
{
    out->count = json_array_size(list);
    assert_true(out->count <= MERKLE_PROOF_MAX);
    for (size_t i = 0; i < out->count; i++) {
        out->hashes[i] = hash_of(json_array_get(list, i), exact);
    }
}

struct suite {
    const char *folder;
    bool consistency;
    size_t good;
    size_t bad;
};

static void suite_one(void *ctx, const char *name)
{
    struct suite *suite = ctx;
    struct arena *arena = arena_open(pool, 256 * 1024);
    struct str text;
    json_t *json = NULL;
    struct merkle_proof proof;
    struct merkle_hash hashes[2];
    bool good = false;
    bool holds = false;
    bool exact = true;

    assert_non_null(arena);
    if (str_ends(str_from(name), STR(".json"))) {
        text = suite_file(arena, suite->folder, name);
        json = json_loadb(text.ptr, text.len, JSON_DECODE_INT_AS_REAL, NULL);
        assert_non_null(json);
        proof_of(json_object_get(json, "proof"), &proof, &exact);
        good = !json_is_true(json_object_get(json, "wantErr"));
        hashes[0] =
            hash_of(json_object_get(json, suite->consistency ? "root1" : "leafHash"), &exact);
        hashes[1] = hash_of(json_object_get(json, suite->consistency ? "root2" : "root"), &exact);
        holds = suite->consistency ? merkle_consistency_verify(number_of(text, "size1"),
                                                               number_of(text, "size2"),
                                                               &hashes[0],
                                                               &proof,
                                                               &hashes[1])
                                   : exact && merkle_inclusion_verify(number_of(text, "leafIdx"),
                                                                      number_of(text, "treeSize"),
                                                                      &hashes[0],
                                                                      &proof,
                                                                      &hashes[1]);
        if (holds != good) {
            fail_msg("%s/%s: %s", suite->folder, name, holds ? "taken" : "refused");
        }
        suite->good += good ? 1 : 0;
        suite->bad += good ? 0 : 1;
        json_decref(json);
    }
    arena_dispose(&arena);
}

static void suite_run(const char *const *folders, size_t count, bool consistency)
{
    struct suite suite = {.consistency = consistency};

    for (size_t i = 0; i < count; i++) {
        suite.folder = folders[i];
        (void)suite_each(folders[i], suite_one, &suite);
    }
    print_message("%zu good, %zu bad\n", suite.good, suite.bad);
    assert_true(suite.good >= 5);
    assert_true(suite.bad >= 50);
}

static void agrees_with_others_on_inclusion(void **state)
{
    static const char *const folders[] = {
        "merkle/inclusion/0",
        "merkle/inclusion/1",
        "merkle/inclusion/2",
        "merkle/inclusion/3",
        "merkle/inclusion/4",
        "merkle/inclusion/single-entry",
        "merkle/inclusion/additional/0",
        "merkle/inclusion/additional/1",
        "merkle/inclusion/additional/2",
        "merkle/inclusion/additional/3",
    };

    (void)state;
    suite_run(folders, ARRAY_LEN(folders), false);
}

static void agrees_with_others_on_consistency(void **state)
{
    static const char *const folders[] = {
        "merkle/consistency/0",
        "merkle/consistency/1",
        "merkle/consistency/2",
        "merkle/consistency/3",
        "merkle/consistency/4",
        "merkle/consistency/additional",
    };

    (void)state;
    suite_run(folders, ARRAY_LEN(folders), true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_others_on_inclusion),
        cmocka_unit_test(agrees_with_others_on_consistency),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
