#include "services/identity/keyring.h"
#include "tests/support/check.h"

#include <string.h>

#define HOUR_MS UINT64_C(3600000)
#define NOW_MS  UINT64_C(1795000000000)

struct rig {
    struct vault *vault;
    struct keyring keyring;
    struct keyring_row rows[SIGNING_KEYS_MAX];
    char kids[SIGNING_KEYS_MAX][TOKEN_KID_BYTES];
    uint8_t sealed[SIGNING_KEYS_MAX][KEYRING_SEALED_BYTES];
};

static int setup(void **state)
{
    static const uint8_t secret[VAULT_KEY_BYTES] = {3};
    static struct rig rig;
    struct err err = {.code = OK};

    rig = (struct rig){.vault = vault_open(secret)};
    assert_non_null(rig.vault);
    for (size_t i = 0; i < SIGNING_KEYS_MAX; i++) {
        assert_int_equal(keyring_make(rig.vault, rig.kids[i], rig.sealed[i], &err), OK);
        rig.rows[i] = (struct keyring_row){
            .kid = rig.kids[i],
            .sealed = {(const char *)rig.sealed[i], sizeof rig.sealed[i]},
            .use_from_ms = NOW_MS + i * HOUR_MS,
        };
    }
    keyring_time(&rig.keyring, NOW_MS, 1000);
    *state = &rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;

    keyring_clear(&rig->keyring);
    vault_close(&rig->vault);
    return 0;
}

static enum code load(struct rig *rig, size_t count)
{
    struct err err = {.code = OK};

    return keyring_load(&rig->keyring, rig->vault, rig->rows, count, &err);
}

static void expect_signer(const struct rig *rig, uint64_t mono_ms, size_t wanted)
{
    char kid[TOKEN_KID_BYTES];
    const struct ecdsa_key *key = keyring_signer(&rig->keyring, mono_ms);

    assert_non_null(key);
    token_kid(key, kid);
    assert_string_equal(kid, rig->kids[wanted]);
}

static void an_empty_keyring_signs_nothing(void **state)
{
    struct rig *rig = *state;

    assert_null(keyring_signer(&rig->keyring, 1000));
    assert_int_equal(load(rig, 0), OK);
    assert_null(keyring_signer(&rig->keyring, 1000));
    assert_true(keyring_is_due(&rig->keyring, 1000, 720 * HOUR_MS, HOUR_MS));
}

/* The clock of the database goes on with ours. */
static void the_last_key_whose_time_has_come_signs(void **state)
{
    struct rig *rig = *state;

    assert_int_equal(load(rig, 2), OK);
    expect_signer(rig, 1000, 0);
    keyring_time(&rig->keyring, NOW_MS + HOUR_MS - 2, 1000);
    expect_signer(rig, 1001, 0);
    expect_signer(rig, 1002, 1);
}

static void a_key_that_is_only_published_does_not_sign(void **state)
{
    struct rig *rig = *state;

    rig->rows[0].use_from_ms = NOW_MS + 1;
    assert_int_equal(load(rig, 1), OK);
    assert_null(keyring_signer(&rig->keyring, 1000));
    expect_signer(rig, 1001, 0);
}

static void a_stale_keyring_signs_nothing(void **state)
{
    struct rig *rig = *state;

    assert_int_equal(load(rig, 1), OK);
    expect_signer(rig, 1000 + KEYRING_STALE_MS, 0);
    assert_null(keyring_signer(&rig->keyring, 1001 + KEYRING_STALE_MS));
}

static void the_next_key_is_due_ahead_of_its_time(void **state)
{
    struct rig *rig = *state;

    assert_int_equal(load(rig, 1), OK);
    keyring_time(&rig->keyring, NOW_MS + 719 * HOUR_MS - 1, 1000);
    assert_false(keyring_is_due(&rig->keyring, 1000, 720 * HOUR_MS, HOUR_MS));
    assert_true(keyring_is_due(&rig->keyring, 1001, 720 * HOUR_MS, HOUR_MS));
    rig->rows[1].use_from_ms = NOW_MS + 720 * HOUR_MS;
    assert_int_equal(load(rig, 2), OK);
    assert_true(keyring_has_next(&rig->keyring, 1001));
    assert_false(keyring_is_due(&rig->keyring, 1001, 720 * HOUR_MS, HOUR_MS));
}

static void keys_come_and_go_with_the_rows(void **state)
{
    struct rig *rig = *state;

    assert_int_equal(load(rig, SIGNING_KEYS_MAX), OK);
    assert_int_equal(rig->keyring.count, SIGNING_KEYS_MAX);
    memmove(rig->rows, rig->rows + 1, (SIGNING_KEYS_MAX - 1) * sizeof rig->rows[0]);
    assert_int_equal(load(rig, SIGNING_KEYS_MAX - 1), OK);
    assert_int_equal(rig->keyring.count, SIGNING_KEYS_MAX - 1);
    keyring_time(&rig->keyring, NOW_MS + HOUR_MS, 1000);
    expect_signer(rig, 1000, 1);
}

/* What does not open leaves the keyring as it was. */
static void a_row_that_was_changed_is_refused(void **state)
{
    struct rig *rig = *state;
    struct keyring_row good = rig->rows[1];
    uint8_t bent[KEYRING_SEALED_BYTES];
    struct vault *other = NULL;
    struct err err = {.code = OK};

    assert_int_equal(load(rig, 1), OK);
    rig->rows[1].sealed = rig->rows[2].sealed; /* another row's secret */
    assert_int_equal(load(rig, 2), ERR_INVALID);
    rig->rows[1] = good;
    rig->rows[1].sealed.len--;
    assert_int_equal(load(rig, 2), ERR_INVALID);
    rig->rows[1] = good;
    rig->rows[1].kid = "0123";
    assert_int_equal(load(rig, 2), ERR_INVALID);
    rig->rows[1] = good;
    memcpy(bent, rig->sealed[1], sizeof bent);
    bent[20] ^= 1;
    rig->rows[1].sealed.ptr = (const char *)bent;
    assert_int_equal(load(rig, 2), ERR_INVALID);
    rig->rows[1] = good;
    other = vault_open((const uint8_t[VAULT_KEY_BYTES]){4});
    assert_int_equal(keyring_load(&rig->keyring, other, rig->rows, 2, &err), ERR_INVALID);
    vault_close(&other);
    assert_int_equal(rig->keyring.count, 1);
    expect_signer(rig, 1000, 0);
    assert_int_equal(load(rig, 2), OK);
}

/* A secret that was sealed for this kid and makes another key. */
static void a_key_must_have_its_own_name(void **state)
{
    struct rig *rig = *state;
    uint8_t scalar[ECDSA_SCALAR_BYTES] = {1};
    uint8_t sealed[KEYRING_SEALED_BYTES];
    char purpose[64];
    struct buf b = buf_over(purpose, sizeof purpose);
    struct err err = {.code = OK};

    buf_printf(&b, "signing-key:%s", rig->kids[0]);
    assert_int_equal(vault_seal(rig->vault,
                                buf_view(&b),
                                (struct str){(const char *)scalar, sizeof scalar},
                                sealed,
                                &err),
                     OK);
    rig->rows[0].sealed.ptr = (const char *)sealed;
    assert_int_equal(load(rig, 1), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_empty_keyring_signs_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(the_last_key_whose_time_has_come_signs, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_key_that_is_only_published_does_not_sign, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stale_keyring_signs_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(the_next_key_is_due_ahead_of_its_time, setup, teardown),
        cmocka_unit_test_setup_teardown(keys_come_and_go_with_the_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(a_row_that_was_changed_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_key_must_have_its_own_name, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
