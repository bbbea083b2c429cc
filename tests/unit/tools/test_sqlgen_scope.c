/* Whose rows a statement touches: sqlgen scope on single statements. */

#include "tests/support/check.h"
#include "tests/support/tool.h"

#include "libcommon/base/attr.h"

#include <stdio.h>
#include <string.h>

#define HEAD       "-- name: q\n-- in: none\n-- out: none\n"
#define TEXT_BYTES 2048

/* sqlgen over one block, with the tables account and part; its status. */
static int run(const char *sql, const char **text)
{
    struct tool_path tables = tool_scratch("tables");
    struct tool_path file = tool_scratch("q.sql");
    struct tool_path out = tool_scratch("out");
    struct tool_args args = {0};

    tool_write(&tables, "account\npart\n");
    tool_write(&file, sql);
    tool_add(&args, "scope");
    tool_add(&args, "stock-room");
    tool_add(&args, out.text);
    tool_add(&args, tables.text);
    tool_add(&args, file.text);
    return tool_host("sqlgen", &args, text);
}

static int run_statement(const char *sql, const char **text)
{
    char block[TEXT_BYTES];
    int len = snprintf(block, sizeof block, "%s%s", HEAD, sql);

    assert_in_range(len, 1, (int)sizeof block - 1);
    return run(block, text);
}

static void scoped_statements_pass(void **state)
{
    static const char *const rows[] = {
        "SELECT 1",
        "SELECT account FROM other WHERE account.x = 1",
        "SELECT id FROM account WHERE user_id = :user_id",
        "SELECT id FROM account WHERE id = :id AND user_id = :user_id::uuid ORDER BY 1",
        "SELECT a.id FROM account a WHERE :user_id = a.user_id",
        "SELECT a.id FROM account AS a JOIN part p ON p.user_id = :user_id AND p.a = a.id"
        " WHERE a.user_id = :user_id",
        "SELECT a.id FROM account a LEFT JOIN part p ON p.user_id = :user_id AND p.a = a.id"
        " WHERE a.user_id = :user_id AND (a.x OR a.y)",
        "SELECT x FROM (SELECT id AS x FROM account WHERE user_id = :user_id) y",
        "UPDATE account a SET n = 1 FROM other o WHERE a.user_id = :user_id AND a.id = o.id",
        "DELETE FROM account WHERE user_id = :ctx_user_id",
        "INSERT INTO account (id, user_id) VALUES (1, :user_id), (2, :user_id::uuid)",
        "INSERT INTO account AS a (user_id, id) SELECT :user_id, o.id FROM other o UNION ALL"
        " SELECT :user_id, 2",
        "INSERT INTO account (f, user_id) SELECT coalesce(a, b), :user_id FROM other"
        " ON CONFLICT DO NOTHING",
        "SELECT id FROM account WHERE user_id = :user_id FOR UPDATE",
    };
    const char *text = NULL;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (run_statement(rows[i], &text) != 0) {
            fail_msg("%s\n%s", rows[i], text);
        }
    }
}

static void unscoped_statements_fail(void **state)
{
    static const char *const rows[] = {
        "SELECT id FROM account",
        "SELECT id FROM account WHERE id = :id",
        "SELECT id, :user_id FROM account",
        "SELECT id FROM public.account WHERE id = :user_id",
        "SELECT id FROM \"account\" WHERE id = :user_id",
        "SELECT id FROM account WHERE user_id = :owner OR :user_id IS NULL",
        "SELECT id FROM account WHERE user_id = :user_id OR open",
        "SELECT id FROM account WHERE open OR id = 1 AND user_id = :user_id",
        "SELECT id FROM account WHERE NOT user_id = :user_id",
        "SELECT id FROM account WHERE user_id <> :user_id",
        "SELECT ':user_id', id FROM account WHERE user_id = ':user_id' AND :user_id = 1",
        "SELECT id FROM other, account WHERE user_id = :user_id",
        "SELECT a.id FROM account a JOIN part p ON p.a = a.id WHERE a.user_id = :user_id",
        "SELECT a.id FROM account a JOIN part p ON p.a = a.id WHERE user_id = :user_id",
        ("SELECT a.id FROM account a LEFT JOIN part p ON a.user_id = :user_id AND"
         " p.user_id = :user_id"),
        "SELECT id FROM account WHERE user_id = :user_id UNION ALL SELECT id FROM account",
        "SELECT id FROM account a WHERE EXISTS (SELECT FROM other WHERE a.user_id = :user_id)",
        "SELECT (SELECT n FROM part WHERE a = x.id) FROM account x WHERE x.user_id = :user_id",
        "UPDATE account SET n = 1",
        "UPDATE account SET user_id = :user_id WHERE id = :id",
        "UPDATE account a SET n = 1 FROM other WHERE user_id = :user_id",
        "DELETE FROM account USING other WHERE user_id = :user_id",
        "WITH gone AS (DELETE FROM part RETURNING id) SELECT id FROM gone WHERE id = :user_id",
        "INSERT INTO account (id) VALUES (1)",
        "INSERT INTO account (id, user_id) VALUES (:user_id, 1)",
        "INSERT INTO account (id, user_id) VALUES (1, :user_id), (2, :owner)",
        "INSERT INTO account (user_id, id) SELECT :user_id, 1 UNION ALL SELECT :owner, 2",
        "INSERT INTO account (user_id) VALUES (coalesce(:owner, :user_id))",
        "INSERT INTO account SELECT :user_id, 1",
        "TRUNCATE account",
    };
    const char *text = NULL;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (run_statement(rows[i], &text) != 1) {
            fail_msg("passed: %s\n%s", rows[i], text);
        }
        tool_holds(text, "q.sql:1: q ");
    }
}

static void exceptions_are_declared_and_needed(void **state)
{
    const char *text = NULL;
    struct tool_path out = tool_scratch("out");

    (void)state;
    assert_int_equal(run(HEAD "-- unscoped: the purge\nDELETE FROM part", &text), 0);
    tool_holds(tool_read(&out), "q: the purge\n");
    assert_int_equal(run(HEAD "-- unscoped: old\nSELECT 1", &text), 1);
    tool_holds(text, "q.sql:1: q is scoped: take its");
    assert_int_equal(run("-- unscoped: early\n" HEAD "SELECT 1", &text), 1);
    tool_holds(text, "a statement starts with");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scoped_statements_pass),
        cmocka_unit_test(unscoped_statements_fail),
        cmocka_unit_test(exceptions_are_declared_and_needed),
    };

    return cmocka_run_group_tests(tests, tool_setup, tool_teardown);
}
