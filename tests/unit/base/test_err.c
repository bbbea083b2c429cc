#include "tests/support/check.h"
#include "tests/unit/base/dies.h"

#include "libcommon/base/err.h"

#include <string.h>

static void first_cause_wins(void **state)
{
    struct err err = {0};

    (void)state;
    assert_int_equal(err_set(&err, ERR_TIMEOUT, "after %d ms", 30), ERR_TIMEOUT);
    assert_int_equal(err_set(&err, ERR_INTERNAL, "later"), ERR_INTERNAL);
    assert_int_equal(err.code, ERR_TIMEOUT);
    assert_string_equal(err.text, "after 30 ms");
    assert_string_equal(err.field, "");
    assert_non_null(strstr(err.file, "test_err.c"));
    assert_true(err.line > 0);
}

static void null_err_only_passes_the_code(void **state)
{
    (void)state;
    assert_int_equal(err_set(NULL, ERR_CONFLICT, "x"), ERR_CONFLICT);
}

static void field_is_kept_and_cut(void **state)
{
    struct err err = {0};
    char name[ERR_FIELD_BYTES + 10];

    (void)state;
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(err_set_field(&err, ERR_INVALID, name, "bad"), ERR_INVALID);
    assert_int_equal(strlen(err.field), ERR_FIELD_BYTES - 1);
}

/* Texts of 3-byte characters preceded by 0, 1 or 2 others end at each place within a character. */
static void long_text_is_cut_between_characters(void **state)
{
    (void)state;
    for (size_t shift = 0; shift < 3; shift++) {
        struct err err = {0};
        char text[3 * ERR_TEXT_BYTES + 1] = "";
        size_t whole = (ERR_TEXT_BYTES - 1 - shift) / 3 * 3 + shift;

        memset(text, '.', shift);
        for (size_t i = 0; i < ERR_TEXT_BYTES - 2; i++) {
            memcpy(text + shift + 3 * i, "\xE2\x82\xAC", 4);
        }
        (void)err_set(&err, ERR_INVALID, "%s", text);
        assert_int_equal(strlen(err.text), whole);
    }
}

static void prefix_goes_before(void **state)
{
    struct err err = {0};

    (void)state;
    assert_int_equal(err_prefix(&err, "nothing yet"), OK);
    assert_string_equal(err.text, "");
    (void)err_set(&err, ERR_UNAVAILABLE, "refused");
    assert_int_equal(err_prefix(&err, "connect %s", "db"), ERR_UNAVAILABLE);
    assert_int_equal(err_prefix(&err, "start"), ERR_UNAVAILABLE);
    assert_string_equal(err.text, "start: connect db: refused");
}

static void prefix_of_a_full_text_stays_bounded(void **state)
{
    struct err err = {0};
    char text[ERR_TEXT_BYTES * 2];

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    (void)err_set(&err, ERR_INTERNAL, "%s", text);
    (void)err_prefix(&err, "%s", text);
    assert_int_equal(strlen(err.text), ERR_TEXT_BYTES - 1);
    (void)err_prefix(&err, "p");
    assert_int_equal(strncmp(err.text, "p: xxx", 6), 0);
}

static void every_code_has_a_complete_row(void **state)
{
    (void)state;
    for (int i = 0; i < CODE_COUNT; i++) {
        enum code code = (enum code)i;
        enum code back = CODE_COUNT;

        assert_row(i, code_http(code) >= 200 && code_http(code) < 600);
        assert_row(i, strlen(code_category(code)) > 0);
        assert_row(i, strlen(code_title(code)) > 0);
        assert_row(i, code_from_wire(code_wire(code), &back) && back == code);
    }
    assert_int_equal(code_http(ERR_REFERENCE), 422);
    assert_true(code_retryable(ERR_OVERLOADED));
    assert_false(code_retryable(ERR_INVALID));
    assert_string_equal(code_wire(ERR_RATE_LIMITED), "RATE_LIMIT_EXCEEDED");
}

static void unknown_wire_names_are_refused(void **state)
{
    enum code code = ERR_METHOD;

    (void)state;
    assert_false(code_from_wire("", &code));
    assert_false(code_from_wire("auth_required", &code));
    assert_int_equal(code, ERR_METHOD);
}

static void set_ok(void *argument)
{
    (void)err_set((struct err *)argument, OK, "no error");
}

static void setting_success_is_a_programmer_error(void **state)
{
    struct err err = {0};

    (void)state;
    assert_true(dies(set_ok, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_cause_wins),
        cmocka_unit_test(null_err_only_passes_the_code),
        cmocka_unit_test(field_is_kept_and_cut),
        cmocka_unit_test(long_text_is_cut_between_characters),
        cmocka_unit_test(prefix_goes_before),
        cmocka_unit_test(prefix_of_a_full_text_stays_bounded),
        cmocka_unit_test(every_code_has_a_complete_row),
        cmocka_unit_test(unknown_wire_names_are_refused),
        cmocka_unit_test(setting_success_is_a_programmer_error),
    };

    return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
