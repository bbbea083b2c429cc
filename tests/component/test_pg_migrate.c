/* Migrations against a real server: applied once, in order, and refused when history does not fit.
 */
#include "tests/support/check.h"
#include "tests/support/scratch_pg.h"

#include "libcommon/io/pg_migrate.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct pg_migration service_steps[] = {
    {1, "outbox", "CREATE TABLE outbox (id bigint); CREATE INDEX ON outbox (id);"},
};
static const struct pg_migration ledger_steps[] = {
    {1, "accounts", "CREATE TABLE account (id bigint);"                                      },
    {2, "names",    "ALTER TABLE account ADD name text; INSERT INTO account VALUES (1, 'a');"},
    {3, "more",     "CREATE TABLE more (id bigint);"                                         },
};

static int steps_reported;
static char last_step[64];

static void on_step(const char *set, const struct pg_migration *step)
{
    steps_reported++;
    (void)snprintf(last_step, sizeof(last_step), "%s %u %s", set, step->number, step->name);
}

static enum code
migrate(const char *dsn, const struct pg_migration *steps, size_t count, struct err *err)
{
    const struct pg_migration_set sets[] = {
        {"service", service_steps, 1    },
        {"ledger",  steps,         count},
    };

    *err = (struct err){.code = OK};
    steps_reported = 0;
    return pg_migrate(dsn, sets, 2, on_step, err);
}

static void expect_ok(const char *dsn, const struct pg_migration *steps, size_t count)
{
    struct err err;

    if (migrate(dsn, steps, count, &err) != OK) {
        fail_msg("%s", err.text);
    }
}

static void steps_are_applied_once(void **state)
{
    const char *dsn = scratch_pg_database("migrate");

    (void)state;
    expect_ok(dsn, ledger_steps, 2);
    assert_int_equal(steps_reported, 3);
    assert_string_equal(last_step, "ledger 2 names");
    expect_ok(dsn, ledger_steps, 2);
    assert_int_equal(steps_reported, 0);
    expect_ok(dsn, ledger_steps, 3);
    assert_int_equal(steps_reported, 1);
    assert_string_equal(last_step, "ledger 3 more");
    assert_string_equal(scratch_pg_ask(dsn, "SELECT count(*) FROM account"), "1");
    assert_string_equal(
        scratch_pg_ask(
            dsn,
            "SELECT string_agg(set_name || number || name, ',' ORDER BY set_name, number)"
            " FROM schema_migration WHERE applied_at > now() - interval '1 minute'"),
        "ledger1accounts,ledger2names,ledger3more,service1outbox");
    /* sha256 is a function of PostgreSQL as well. */
    assert_string_equal(
        scratch_pg_ask(dsn,
                       "SELECT sha256 = encode(sha256('CREATE TABLE account (id bigint);'), 'hex')"
                       " FROM schema_migration WHERE name = 'accounts'"),
        "t");
}

static void a_failing_step_leaves_nothing(void **state)
{
    static const struct pg_migration steps[] = {
        {1, "fine",   "CREATE TABLE fine (id bigint);"                                },
        {2, "broken", "CREATE TABLE half (id bigint); INSERT INTO missing VALUES (1);"},
        {3, "never",  "CREATE TABLE never (id bigint);"                               },
    };
    const char *dsn = scratch_pg_database("migrate");
    struct err err;

    (void)state;
    assert_int_equal(migrate(dsn, steps, 3, &err), ERR_INTERNAL);
    assert_non_null(strstr(err.text, "step 2 of ledger (broken)"));
    assert_non_null(strstr(err.text, "missing"));
    assert_int_equal(steps_reported, 2);
    assert_string_equal(scratch_pg_ask(dsn,
                                       "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
                                       " AND tablename IN ('fine', 'half', 'never')"),
                        "1");
    assert_string_equal(
        scratch_pg_ask(dsn, "SELECT count(*) FROM schema_migration WHERE set_name = 'ledger'"),
        "1");
}

static void a_step_may_not_end_its_transaction(void **state)
{
    static const struct pg_migration steps[] = {
        {1, "sly", "CREATE TABLE sly (id bigint); COMMIT;"}
    };
    const char *dsn = scratch_pg_database("migrate");
    struct err err;

    (void)state;
    assert_int_equal(migrate(dsn, steps, 1, &err), ERR_INTERNAL);
    assert_non_null(strstr(err.text, "COMMIT"));
}

static void changed_texts_are_refused(void **state)
{
    struct pg_migration steps[3];
    const char *dsn = scratch_pg_database("migrate");
    struct err err;

    (void)state;
    memcpy(steps, ledger_steps, sizeof(steps));
    expect_ok(dsn, steps, 2);
    steps[1].text = "ALTER TABLE account ADD name text; INSERT INTO account VALUES (1, 'b');";
    assert_int_equal(migrate(dsn, steps, 3, &err), ERR_CONFLICT);
    assert_non_null(strstr(err.text, "step 2 of ledger"));
    assert_non_null(strstr(err.text, "new step"));
    assert_int_equal(steps_reported, 0);
    assert_string_equal(
        scratch_pg_ask(dsn, "SELECT count(*) FROM pg_tables WHERE tablename = 'more'"), "0");
}

static void downgrades_and_gaps_are_refused(void **state)
{
    static const struct pg_migration gap[] = {
        {1, "accounts", "CREATE TABLE account (id bigint);"},
        {3, "more",     "CREATE TABLE more (id bigint);"   },
    };
    const char *dsn = scratch_pg_database("migrate");
    struct err err;

    (void)state;
    assert_int_equal(migrate(dsn, gap, 2, &err), ERR_INTERNAL);
    assert_non_null(strstr(err.text, "gap"));
    expect_ok(dsn, ledger_steps, 3);
    assert_int_equal(migrate(dsn, ledger_steps, 2, &err), ERR_CONFLICT);
    assert_non_null(strstr(err.text, "step 3 of ledger"));
    assert_non_null(strstr(err.text, "newer program"));
    scratch_pg_run(dsn, "DELETE FROM schema_migration WHERE set_name = 'ledger' AND number = 2");
    assert_int_equal(migrate(dsn, ledger_steps, 3, &err), ERR_CONFLICT);
    assert_non_null(strstr(err.text, "step 2 of ledger is missing"));
}

/* Four at once: every step is applied by exactly one. */
static void migrators_wait_for_each_other(void **state)
{
    static const struct pg_migration steps[] = {
        {1, "slow",  "SELECT pg_sleep(0.3); CREATE TABLE slow (id bigint);"             },
        {2, "count", "CREATE TABLE counted (id bigint); INSERT INTO counted VALUES (1);"}
    };
    const char *dsn = scratch_pg_database("migrate");
    pid_t children[4];
    struct err err;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(children); i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) {
            _exit(migrate(dsn, steps, 2, &err) == OK ? steps_reported : 99);
        }
    }
    int applied = 0;
    for (size_t i = 0; i < ARRAY_LEN(children); i++) {
        int status = 0;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_true(WIFEXITED(status));
        assert_row(i, WEXITSTATUS(status) != 99);
        applied += WEXITSTATUS(status);
    }
    assert_int_equal(applied, 3);
    assert_string_equal(scratch_pg_ask(dsn, "SELECT count(*) FROM counted"), "1");
}

static void no_server_is_an_answer(void **state)
{
    struct err err = {.code = OK};

    (void)state;
    assert_int_equal(
        pg_migrate("host=127.0.0.1 port=1 user=u password=secret dbname=x", NULL, 0, NULL, &err),
        ERR_UNAVAILABLE);
    assert_null(strstr(err.text, "secret"));
}

static int teardown_group(void **state)
{
    (void)state;
    scratch_pg_end();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_are_applied_once),
        cmocka_unit_test(a_failing_step_leaves_nothing),
        cmocka_unit_test(a_step_may_not_end_its_transaction),
        cmocka_unit_test(changed_texts_are_refused),
        cmocka_unit_test(downgrades_and_gaps_are_refused),
        cmocka_unit_test(migrators_wait_for_each_other),
        cmocka_unit_test(no_server_is_an_answer),
    };

    return cmocka_run_group_tests_name("pg_migrate", tests, NULL, teardown_group);
}
