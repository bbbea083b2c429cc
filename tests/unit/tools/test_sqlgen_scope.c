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
        "SELECT id FROM account WHERE x BETWEEN 1 AND 2 AND user_id = :user_id",
        "SELECT id FROM account WHERE CASE WHEN a THEN b ELSE c END AND user_id = :user_id",
        ("INSERT INTO account (id, user_id) VALUES (1, :user_id)"
         " ON CONFLICT (id, user_id) WHERE open DO UPDATE SET n = 1, m = 2 RETURNING id"),
        "UPDATE account SET user_id_of = 1, (n, m) = (1, 2) WHERE user_id = :user_id",
    };
    const char *text = NULL;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (run_statement(rows[i], &text) != 0) {
            fail_msg("%s\n%s", rows[i], text);
        }
    }
}

static void all_fail(const char *const *rows, size_t count)
{
    const char *text = NULL;

    for (size_t i = 0; i < count; i++) {
        if (run_statement(rows[i], &text) != 1) {
            fail_msg("passed: %s\n%s", rows[i], text);
        }
        tool_holds(text, "q.sql:1: q ");
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

    (void)state;
    all_fail(rows, ARRAY_LEN(rows));
}

/* An equality that means something else by what stands around it. */
static void conditions_that_may_not_hold_fail(void **state)
{
    static const char *const rows[] = {
        "SELECT id FROM account WHERE user_id = :user_id IS NOT TRUE",
        "SELECT id FROM account a WHERE a.user_id = :user_id IS NOT TRUE AND open",
        "SELECT id FROM account a WHERE open AND :user_id = a.user_id IS FALSE",
        "SELECT id FROM account WHERE user_id = :user_id = false",
        "SELECT id FROM account WHERE user_id = :user_id::text || owner",
        "SELECT id FROM account WHERE user_id = :user_id COLLATE \"C\"",
        "SELECT id FROM account WHERE (user_id = :user_id) IS NOT TRUE",
        "SELECT id FROM account WHERE NOT (open AND user_id = :user_id)",
        "SELECT id FROM account WHERE open IN (SELECT 1) OR NOT shut AND user_id = :user_id",
        "SELECT id FROM account WHERE open BETWEEN shut AND user_id = :user_id",
        "SELECT id FROM account WHERE open NOT BETWEEN SYMMETRIC shut AND user_id = :user_id",
        ("SELECT id FROM account WHERE CASE WHEN a AND user_id = :user_id AND b THEN c ELSE true"
         " END"),
        ("SELECT a.id FROM other o JOIN x ON o.i = x.i, account a"
         " WHERE o.user_id = :user_id"),
        "SELECT id FROM (account a CROSS JOIN other) WHERE id = :user_id",
        "SELECT id FROM other o JOIN ((account a CROSS JOIN x)) ON o.y = a.z WHERE id = :user_id",
    };

    (void)state;
    all_fail(rows, ARRAY_LEN(rows));
}

/* Rows that were there before, and rows that are given away. */
static void other_owners_fail(void **state)
{
    static const char *const rows[] = {
        ("INSERT INTO account (id, user_id) VALUES (1, :user_id)"
         " ON CONFLICT (id) DO UPDATE SET n = 1"),
        ("INSERT INTO account (id, user_id) SELECT 1, :user_id FROM other"
         " ON CONFLICT (id) DO UPDATE SET n = 1"),
        ("INSERT INTO account (id, user_id) VALUES (1, :user_id)"
         " ON CONFLICT ON CONSTRAINT account_pkey DO UPDATE SET n = 1"),
        ("INSERT INTO account (id, user_id) VALUES (1, :user_id)"
         " ON CONFLICT ((user_id, id)) DO UPDATE SET n = 1"),
        ("INSERT INTO account (id, user_id) VALUES (1, :user_id)"
         " ON CONFLICT (user_id, id) DO UPDATE SET n = 1, user_id = :owner"),
        "UPDATE account SET user_id = :owner WHERE user_id = :user_id",
        "UPDATE account SET n = 1, (m, user_id) = (1, :owner) WHERE user_id = :user_id",
    };

    (void)state;
    all_fail(rows, ARRAY_LEN(rows));
}

/* --- statements for many callers --- */

#define SET_HEAD HEAD "-- set: place\n"
#define CALLERS \
    "unnest((SELECT :n::int[]), (SELECT :user_id::uuid[])) WITH ORDINALITY AS u (n, user_id, place)"

static void rows_of_the_callers_pass(void **state)
{
    static const char *const rows[] = {
        "SELECT a.id FROM " CALLERS " JOIN account a ON a.user_id = u.user_id AND a.id = u.n",
        "SELECT a.id FROM account a, " CALLERS " WHERE u.user_id = a.user_id",
        ("SELECT a.id FROM unnest(:user_id::uuid[]) WITH ORDINALITY u (user_id, place)"
         " JOIN account a ON a.user_id = u.user_id"),
        "SELECT (SELECT n FROM part WHERE part.user_id = u.user_id AND id = u.n) FROM " CALLERS,
        ("SELECT a.id FROM (SELECT q.*, 1 AS x FROM (SELECT u.* FROM " CALLERS ") q) v"
         " LEFT JOIN account a ON a.user_id = v.user_id"),
        ("WITH asked AS MATERIALIZED (SELECT u.user_id, u.n FROM " CALLERS ")"
         " DELETE FROM account a USING asked WHERE a.user_id = asked.user_id AND a.id = asked.n"),
        ("WITH asked AS (SELECT u.* FROM " CALLERS "), stored AS (INSERT INTO account AS t"
         " (id, user_id) SELECT k.n, k.user_id FROM asked k WHERE k.n > 1 ORDER BY k.place RETURNING t)"
         " INSERT INTO part (user_id, a) SELECT (t).user_id, (t).id FROM stored"),
        ("SELECT n.id FROM (SELECT 1 AS x, u.user_id FROM " CALLERS
         " UNION ALL SELECT 2, v.user_id FROM (SELECT u.* FROM " CALLERS ") v) r"
         " JOIN account n ON n.user_id = r.user_id"),
    };
    char block[TEXT_BYTES];
    const char *text = NULL;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        (void)snprintf(block, sizeof block, SET_HEAD "%s", rows[i]);
        if (run(block, &text) != 0) {
            fail_msg("%s\n%s", rows[i], text);
        }
    }
}

static void rows_of_others_fail_in_sets(void **state)
{
    static const char *const rows[] = {
        "SELECT a.id FROM " CALLERS " JOIN account a ON a.id = u.n",
        "SELECT a.id FROM " CALLERS " JOIN account a ON a.user_id = u.n",
        "SELECT a.id FROM " CALLERS " JOIN account a ON a.user_id = u.user_id IS NOT TRUE",
        "SELECT a.id FROM " CALLERS " JOIN account a ON a.user_id = u.user_id OR a.open",
        "SELECT a.id FROM " CALLERS " JOIN account a ON a.user_id = a.user_id",
        "SELECT a.id FROM " CALLERS ", other o JOIN account a ON a.user_id = o.user_id",
        /* not the parameter :user_id, or not in its place */
        ("SELECT a.id FROM unnest((SELECT :owner::uuid[]), (SELECT :user_id::uuid[])) AS u"
         " (user_id, n) JOIN account a ON a.user_id = u.user_id"),
        ("SELECT a.id FROM unnest((SELECT :user_id::uuid[] || :owner::uuid[])) AS u (user_id)"
         " JOIN account a ON a.user_id = u.user_id"),
        ("SELECT a.id FROM others(:user_id::uuid[]) AS u (user_id)"
         " JOIN account a ON a.user_id = u.user_id"),
        /* lost or replaced on the way */
        ("SELECT a.id FROM (SELECT u.n AS user_id FROM " CALLERS ") q"
         " JOIN account a ON a.user_id = q.user_id"),
        ("SELECT a.id FROM (SELECT o.* FROM other o, " CALLERS ") q"
         " JOIN account a ON a.user_id = q.user_id"),
        ("SELECT a.id FROM (SELECT * FROM other o, " CALLERS ") q"
         " JOIN account a ON a.user_id = q.user_id"),
        ("SELECT a.id FROM (SELECT u.user_id, u.n FROM " CALLERS ") q (x, user_id)"
         " JOIN account a ON a.user_id = q.user_id"),
        ("SELECT n.id FROM (SELECT u.user_id, 1 AS x FROM " CALLERS
         " UNION ALL SELECT o.x, u.user_id FROM other o, " CALLERS ") r"
         " JOIN account n ON n.user_id = r.user_id"),
        ("SELECT n.id FROM (SELECT u.user_id FROM " CALLERS
         " UNION ALL SELECT o.user_id FROM other o)"
         " r JOIN account n ON n.user_id = r.user_id"),
        ("WITH asked (x, user_id) AS (SELECT u.user_id, u.n FROM " CALLERS ")"
         " DELETE FROM account a USING asked WHERE a.user_id = asked.user_id"),
        ("WITH asked AS (SELECT u.user_id, u.n FROM " CALLERS ")"
         " DELETE FROM account a USING asked k (x, user_id) WHERE a.user_id = k.user_id"),
        ("WITH RECURSIVE asked AS (SELECT u.user_id FROM " CALLERS ")"
         " DELETE FROM account a USING asked WHERE a.user_id = asked.user_id"),
        /* another table under the same name */
        ("SELECT (SELECT a.id FROM other u JOIN account a ON a.user_id = u.user_id) FROM " CALLERS),
        ("WITH asked AS (SELECT u.* FROM " CALLERS ") SELECT a.id FROM asked k, other asked"
         " JOIN account a ON a.user_id = asked.user_id"),
        /* rows that were stored are only those of RETURNING */
        "INSERT INTO account (id, user_id) SELECT u.user_id, u.n FROM " CALLERS,
        "INSERT INTO account (user_id) SELECT coalesce(u.n, u.user_id) FROM " CALLERS,
        ("WITH stored AS (SELECT t FROM other t WHERE :user_id IS NOT NULL) INSERT INTO part (user_id)"
         " SELECT (t).user_id FROM stored"),
        ("WITH stored AS (INSERT INTO account AS t (user_id) SELECT u.user_id FROM " CALLERS
         " RETURNING t) INSERT INTO part (user_id) SELECT (t).user_id FROM stored, other t"),
    };
    char block[TEXT_BYTES];
    const char *text = NULL;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        (void)snprintf(block, sizeof block, SET_HEAD "%s", rows[i]);
        if (run(block, &text) != 1) {
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
        cmocka_unit_test(conditions_that_may_not_hold_fail),
        cmocka_unit_test(other_owners_fail),
        cmocka_unit_test(rows_of_the_callers_pass),
        cmocka_unit_test(rows_of_others_fail_in_sets),
        cmocka_unit_test(exceptions_are_declared_and_needed),
    };

    return cmocka_run_group_tests(tests, tool_setup, tool_teardown);
}
