#include "tests/support/check.h"

#include "libcommon/base/arena.h"
#include "libcommon/codec/csv.h"
#include "libcommon/codec/csv_write.h"

#include <string.h>

struct row {
    const char *text;
    const char *written;
};

static void test_fields(void **state)
{
    static const struct row rows[] = {
        {"",              ""                },
        {"abc",           "abc"             },
        {"a,b",           "\"a,b\""         },
        {"a \"b\"",       "\"a \"\"b\"\"\"" },
        {"a\r\nb",        "\"a\r\nb\""      },
        {" a",            "\" a\""          },
        {"a ",            "\"a \""          },
        {"=1+1",          "'=1+1"           },
        {"+52",           "'+52"            },
        {"-cmd|' /C",     "'-cmd|' /C"      },
        {"@SUM(A1,A2)",   "\"'@SUM(A1,A2)\""},
        {"\tx",           "'\tx"            },
        {"\rx",           "\"'\rx\""        },
        {"Ni\xc3\xb1o 1", "Ni\xc3\xb1o 1"   },
    };
    char memory[64];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf out = buf_over(memory, sizeof memory);

        csv_put_field(&out, str_from(rows[i].text), true);
        assert_row(i, str_eq(buf_view(&out), str_from(rows[i].written)));
    }
}

/* What is written is what our own reader reads, but for the apostrophes. */
static void test_reads_back(void **state)
{
    static const char *const fields[] = {"one", "two,\"2\"", "", "three\r\n3", "'=x"};
    char memory[256];
    struct buf out = buf_over(memory, sizeof memory);
    struct arena_pool *pool = arena_pool_open(4096, 8);
    struct arena *arena = arena_open(pool, 16384);
    struct csv_reader reader;
    struct csv_record record;
    struct err err = {.code = OK};

    (void)state;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        csv_put_field(&out, str_from(fields[i]), i == 0);
    }
    csv_put_number(&out, -17, false);
    csv_end_record(&out);
    assert_false(out.overflow);
    csv_open(&reader, buf_view(&out));
    assert_true(csv_next(&reader, arena, &record, &err));
    assert_int_equal(record.count, sizeof fields / sizeof fields[0] + 1);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        assert_row(i, str_eq(record.fields[i], str_from(fields[i])));
    }
    assert_true(str_eq(record.fields[5], STR("-17")));
    assert_false(csv_next(&reader, arena, &record, &err));
    arena_dispose(&arena);
    arena_pool_close(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_reads_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
