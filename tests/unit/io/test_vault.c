#include "tests/support/check.h"

#include "libcommon/io/vault.h"

#include <string.h>

static const char clear_text[] = "a seed of twenty bytes";

struct fixture {
    struct vault *vault;
    uint8_t sealed[sizeof clear_text - 1 + VAULT_EXTRA_BYTES];
};

static struct vault *vault_of(uint8_t first)
{
    uint8_t key[VAULT_KEY_BYTES] = {first};
    struct vault *vault = vault_open(key);

    assert_non_null(vault);
    return vault;
}

static int setup(void **state)
{
    static struct fixture fixture;
    struct err err = {.code = OK};

    fixture.vault = vault_of(1);
    assert_int_equal(
        vault_seal(fixture.vault, STR("totp:1"), str_from(clear_text), fixture.sealed, &err), OK);
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    vault_close(&((struct fixture *)*state)->vault);
    return 0;
}

static enum code
unseal(const struct vault *vault, struct str purpose, const uint8_t *sealed, size_t len)
{
    uint8_t out[sizeof clear_text];
    struct err err = {.code = OK};
    enum code code = OK;

    memset(out, 0x55, sizeof out);
    code = vault_unseal(vault, purpose, (struct str){(const char *)sealed, len}, out, &err);
    if (code == OK) {
        assert_memory_equal(out, clear_text, sizeof clear_text - 1);
    } else {
        assert_null(memmem(out, sizeof out, "seed", 4));
    }
    return code;
}

static void what_was_sealed_opens(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(unseal(f->vault, STR("totp:1"), f->sealed, sizeof f->sealed), OK);
    assert_null(memmem(f->sealed, sizeof f->sealed, "seed", 4));
}

static void the_same_secret_looks_different_each_time(void **state)
{
    struct fixture *f = *state;
    uint8_t again[sizeof f->sealed];
    struct err err = {.code = OK};

    assert_int_equal(vault_seal(f->vault, STR("totp:1"), str_from(clear_text), again, &err), OK);
    assert_memory_not_equal(again, f->sealed, sizeof again);
}

static void another_purpose_or_key_does_not_open_it(void **state)
{
    struct fixture *f = *state;
    struct vault *other = vault_of(2);

    assert_int_equal(unseal(f->vault, STR("totp:2"), f->sealed, sizeof f->sealed), ERR_INVALID);
    assert_int_equal(unseal(other, STR("totp:1"), f->sealed, sizeof f->sealed), ERR_INVALID);
    vault_close(&other);
    assert_null(other);
}

static void every_changed_bit_is_seen(void **state)
{
    struct fixture *f = *state;

    for (size_t bit = 0; bit < sizeof f->sealed * 8; bit++) {
        f->sealed[bit / 8] ^= (uint8_t)(1U << (bit % 8));
        assert_int_equal(unseal(f->vault, STR("totp:1"), f->sealed, sizeof f->sealed), ERR_INVALID);
        f->sealed[bit / 8] ^= (uint8_t)(1U << (bit % 8));
    }
    assert_int_equal(unseal(f->vault, STR("totp:1"), f->sealed, sizeof f->sealed), OK);
}

static void every_shorter_text_is_refused(void **state)
{
    struct fixture *f = *state;

    for (size_t len = 0; len < sizeof f->sealed; len++) {
        assert_int_equal(unseal(f->vault, STR("totp:1"), f->sealed, len), ERR_INVALID);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_sealed_opens, setup, teardown),
        cmocka_unit_test_setup_teardown(the_same_secret_looks_different_each_time, setup, teardown),
        cmocka_unit_test_setup_teardown(another_purpose_or_key_does_not_open_it, setup, teardown),
        cmocka_unit_test_setup_teardown(every_changed_bit_is_seen, setup, teardown),
        cmocka_unit_test_setup_teardown(every_shorter_text_is_refused, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
