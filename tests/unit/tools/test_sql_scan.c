/* The SQL scanner: parameters are found where PostgreSQL would see them, and nowhere else. */

#include "tests/support/check.h"

#include "libcommon/tools/sql_scan.h"

#include <string.h>

#define ROWS_OF(array) (sizeof(array) / sizeof((array)[0]))

/* The pieces of a text, one letter for each kind: Code, Quoted, comment (-), Parameter, $
 * positional, Error. */
static const char *kinds(const char *sql)
{
    static char out[256];
    static const char letters[] = {[SQL_CODE] = 'C',
                                   [SQL_QUOTED] = 'Q',
                                   [SQL_COMMENT] = '-',
                                   [SQL_PARAMETER] = 'P',
                                   [SQL_POSITIONAL] = '$',
                                   [SQL_ERROR] = 'E'};
    struct sql_scan scan;
    struct sql_piece piece;
    const char *at = sql;
    size_t count = 0;

    sql_scan_init(&scan, (struct str){sql, strlen(sql)});
    while (sql_scan_next(&scan, &piece)) {
        assert_ptr_equal(piece.text.ptr, at); /* nothing is left out */
        assert_true(piece.text.len > 0);
        assert_true(count + 1 < sizeof(out));
        at += piece.text.len;
        out[count++] = letters[piece.kind];
    }
    assert_ptr_equal(at, sql + strlen(sql));
    out[count] = '\0';
    return out;
}

struct row {
    const char *sql;
    const char *kinds;
};

static void rows_hold(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *found = kinds(rows[i].sql);
        if (strcmp(found, rows[i].kinds) != 0) {
            print_error("row %zu: %s\n", i, rows[i].sql);
        }
        assert_string_equal(found, rows[i].kinds);
    }
}

static void finds_parameters(void **state)
{
    static const struct row rows[] = {
        {"",           ""     },
        {"SELECT 1",   "C"    },
        {":a",         "P"    },
        {":a:b",       "PP"   },
        {"(:a,:b_2)",  "CPCPC"},
        {":a::date",   "PC"   },
        {"x::date",    "C"    },
        {"x:::a",      "CP"   },
        {"f(x := :a)", "CPC"  },
        {"f(x:=:a)",   "CPC"  },
        {"a[1 : :n]",  "CPC"  },
        {": a",        "C"    },
        {":1",         "C"    },
        {"a:",         "C"    },
        {":_x",        "P"    },
        {":\xc3\xb1",  "P"    },
        {"$1",         "$"    },
        {"a = $12+$3", "C$C$" },
    };

    (void)state;
    rows_hold(rows, ROWS_OF(rows));
}

static void passes_over_strings(void **state)
{
    static const struct row rows[] = {
        {"':a'",               "Q"    },
        {"'':a''",             "QPQ"  },
        {"'it''s :a' :b",      "QCP"  },
        {"'back\\' :a",        "QCP"  }, /* no escape without E */
        {"E'it\\' :a' :b",     "QCP"  }, /* one with it */
        {"e'\\\\' :a",         "QCP"  },
        {"E'a''b\\'' :a",      "QCP"  },
        {"nameE'\\' :a",       "CQCP" }, /* E is the end of a word */
        {"U&'\\0041' :a",      "CQCP" },
        {"E'a'\n'b\\' :c' :d", "QCP"  }, /* goes on behind a line end */
        {"E'a' 'b\\' :c",      "QCQCP"}, /* not behind blanks alone */
        {"\":a\"",             "Q"    },
        {"\"a\"\":b\" :c",     "QCP"  },
        {"'\":a' :b",          "QCP"  },
    };

    (void)state;
    rows_hold(rows, ROWS_OF(rows));
}

static void passes_over_dollar_quotes(void **state)
{
    static const struct row rows[] = {
        {"$$:a$$ :b",            "QCP"  },
        {"$q$:a $$ $r$ :b$q$:c", "QP"   },
        {"$q$:a$Q$ :b$q$",       "Q"    },
        {"name$q$ :a",           "CP"   }, /* a name may hold dollar signs */
        {"a$b$c :d",             "CP"   },
        {"$1$ :a",               "$CP"  }, /* a tag does not start with a digit */
        {"$q :a",                "CP"   },
        {"$ :a",                 "CP"   },
        {"($$ ' $$ :a)",         "CQCPC"},
    };

    (void)state;
    rows_hold(rows, ROWS_OF(rows));
}

static void passes_over_comments(void **state)
{
    static const struct row rows[] = {
        {"-- :a",                "-"  },
        {"-- :a\n:b",            "-CP"},
        {"-- it's\n:b",          "-CP"},
        {"1-:a",                 "CP" },
        {"1 - -:a",              "CP" },
        {"/* :a */:b",           "-P" },
        {"/* /* :a */ :b */ :c", "-CP"},
        {"/*/ :a */:b",          "-P" },
        {"/**/:a",               "-P" },
        {"a/:b",                 "CP" },
        {"'--':a",               "QP" },
        {"-- /*\n:a",            "-CP"},
    };

    (void)state;
    rows_hold(rows, ROWS_OF(rows));
}

/* The text ends in an error, and nothing follows it. */
static void fails(const char *sql, const char *error)
{
    struct sql_scan scan;
    struct sql_piece piece = {0};
    bool more = true;

    sql_scan_init(&scan, (struct str){sql, strlen(sql)});
    while (more && piece.kind != SQL_ERROR) {
        more = sql_scan_next(&scan, &piece);
    }
    assert_true(more);
    assert_string_equal(scan.error, error);
    assert_false(sql_scan_next(&scan, &piece));
}

static void says_what_is_not_ended(void **state)
{
    (void)state;
    fails("a 'b", "a string is not ended");
    fails("E'b\\'", "a string is not ended");
    fails("'b''", "a string is not ended");
    fails("E'a'\n'b", "a string is not ended");
    fails("\"b", "a quoted identifier is not ended");
    fails("$$ $q$", "a dollar-quoted text is not ended");
    fails("$q$ $$", "a dollar-quoted text is not ended");
    fails("/* /* */", "a comment is not ended");
    fails(":a2345678901234567890123456789012345678901234567890123456789012345",
          "a parameter name is too long");
}

static void names_and_lines(void **state)
{
    static const char sql[] = "SELECT '\n\n',\n:first, :second";
    static const struct {
        size_t line;
        const char *name; /* NULL: no parameter */
    } pieces[] = {
        {1, NULL    },
        {1, NULL    },
        {3, NULL    },
        {4, "first" },
        {4, NULL    },
        {4, "second"}
    };
    struct sql_scan scan;
    struct sql_piece piece;

    (void)state;
    sql_scan_init(&scan, (struct str){sql, sizeof(sql) - 1});
    for (size_t i = 0; i < ROWS_OF(pieces); i++) {
        assert_true(sql_scan_next(&scan, &piece));
        assert_int_equal(piece.line, pieces[i].line);
        if (pieces[i].name != NULL) {
            struct str name = sql_parameter_name(&piece);
            assert_int_equal(name.len, strlen(pieces[i].name));
            assert_memory_equal(name.ptr, pieces[i].name, name.len);
        }
    }
    assert_false(sql_scan_next(&scan, &piece));
}

/* A name of the greatest length is one; bytes of no meaning do not stop the scan. */
static void limits(void **state)
{
    char sql[80] = ":";
    struct sql_scan scan;
    struct sql_piece piece;

    (void)state;
    memset(sql + 1, 'n', SQL_PARAMETER_NAME_BYTES_MAX);
    assert_string_equal(kinds(sql), "P");
    sql_scan_init(&scan, (struct str){"a\0:b", 4});
    assert_true(sql_scan_next(&scan, &piece));
    assert_int_equal(piece.text.len, 2);
    assert_true(sql_scan_next(&scan, &piece));
    assert_int_equal(piece.kind, SQL_PARAMETER);
    assert_false(sql_scan_next(&scan, &piece));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_parameters),
        cmocka_unit_test(passes_over_strings),
        cmocka_unit_test(passes_over_dollar_quotes),
        cmocka_unit_test(passes_over_comments),
        cmocka_unit_test(says_what_is_not_ended),
        cmocka_unit_test(names_and_lines),
        cmocka_unit_test(limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
