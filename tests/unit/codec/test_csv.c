#include "tests/support/check.h"
#include "tests/support/suites.h"

#include "libcommon/base/limits.h"
#include "libcommon/codec/csv.h"

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

/* Every record as text, fields between '|' and records between newlines, in visible form. */
static struct str flatten(struct arena *arena, struct str csv, enum code *out_code)
{
    char *memory = arena_alloc(arena, 65536);
    struct buf b = buf_over(memory, 65536);
    struct csv_reader reader;
    struct csv_record record;
    struct err err = {.code = OK};

    csv_open(&reader, csv);
    while (csv_next(&reader, arena, &record, &err)) {
        for (uint32_t i = 0; i < record.count; i++) {
            buf_text(&b, i == 0 ? "" : "|");
            buf_str(&b, record.fields[i]);
        }
        buf_text(&b, "/");
    }
    assert_false(b.overflow);
    *out_code = err.code;
    return buf_view(&b);
}

static void reads_records(void **state)
{
    static const struct {
        const char *csv;
        const char *flat;
    } cases[] = {
        {"a,b\n1,2\n",              "a|b/1|2/"    },
        {"a,b\r\n1,2\r\n",          "a|b/1|2/"    },
        {"a;b\n1,5;2\n",            "a|b/1,5|2/"  },
        {"a\tb\n",                  "a|b/"        },
        {"\xef\xbb\xbf"
         "a,b",            "a|b/"        },
        {"\"x\"\"y\",\"l1\nl2\"\n", "x\"y|l1\nl2/"},
        {"a,,\n,,\n",               "a||/||/"     },
        {"a,\"\"\n",                "a|/"         },
        {"\n\na,b\n",               "//a|b/"      },
        {"",                        ""            },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena *arena = arena_open(pool, 1024 * 1024);
        enum code code = OK;
        struct str flat = flatten(arena, str_from(cases[i].csv), &code);

        assert_int_equal(code, OK);
        assert_row(i, str_eq(flat, str_from(cases[i].flat)));
        arena_dispose(&arena);
    }
}

static void refuses_broken_quotes_and_too_many_columns(void **state)
{
    char many[2 * CSV_FIELDS_MAX + 2];
    struct arena *arena = arena_open(pool, 1024 * 1024);
    enum code code = OK;

    (void)state;
    (void)flatten(arena, STR("a,\"b\nc"), &code);
    assert_int_equal(code, ERR_INVALID);
    (void)flatten(arena, STR("\"a\"b,c\n"), &code);
    assert_int_equal(code, ERR_INVALID);
    memset(many, ',', sizeof many);
    (void)flatten(arena, (struct str){many, sizeof many}, &code);
    assert_int_equal(code, ERR_INVALID);
    (void)flatten(arena, (struct str){many, CSV_FIELDS_MAX - 1}, &code);
    assert_int_equal(code, OK);
    arena_dispose(&arena);
}

static void counts_lines_through_quotes(void **state)
{
    struct arena *arena = arena_open(pool, 1024 * 1024);
    struct csv_reader reader;
    struct csv_record record;
    struct err err = {.code = OK};

    (void)state;
    csv_open(&reader, STR("a,\"1\n2\n3\"\nb,c\n"));
    assert_true(csv_next(&reader, arena, &record, &err));
    assert_int_equal(record.line, 1);
    assert_true(csv_next(&reader, arena, &record, &err));
    assert_int_equal(record.line, 4);
    assert_false(csv_record_blank(&record));
    assert_false(csv_next(&reader, arena, &record, &err));
    assert_int_equal(err.code, OK);
    arena_dispose(&arena);
}

static void read_one(void *ctx, const char *name)
{
    struct arena *arena = arena_open(pool, 1024 * 1024);
    struct str csv = suite_file(arena, "csv/csvs", name);
    struct str flat;
    enum code code = OK;

    (void)ctx;
    flat = flatten(arena, csv, &code);
    assert_int_equal(code, OK);
    assert_true(flat.len > 0);
    if (strcmp(name, "comma_in_quotes.csv") == 0) {
        assert_true(str_ends(flat, STR("John|Doe|120 any st.|Anytown, WW|08123/")));
    } else if (strcmp(name, "escaped_quotes.csv") == 0) {
        assert_true(str_eq(flat, STR("a|b/1|ha \"ha\" ha/3|4/")));
    } else if (strcmp(name, "newlines.csv") == 0) {
        assert_true(str_eq(flat, STR("a|b|c/1|2|3/Once upon \na time|5|6/7|8|9/")));
    }
    arena_dispose(&arena);
}

static void reads_the_csv_spectrum(void **state)
{
    (void)state;
    assert_true(suite_each("csv/csvs", read_one, NULL) >= 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_records),
        cmocka_unit_test(refuses_broken_quotes_and_too_many_columns),
        cmocka_unit_test(counts_lines_through_quotes),
        cmocka_unit_test(reads_the_csv_spectrum),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
