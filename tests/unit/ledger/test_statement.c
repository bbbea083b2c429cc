#include "services/ledger/statement.h"
#include "tests/support/check.h"
#include "tests/support/suites.h"

#include "libcommon/base/limits.h"

#include <string.h>

static struct arena_pool *pool;

static int setup(void **state)
{
    (void)state;
    pool = arena_pool_open(ARENA_CHUNK_BYTES, 1024);
    return pool == NULL;
}

static int teardown(void **state)
{
    (void)state;
    arena_pool_close(&pool);
    return 0;
}

static struct arena *arena_new(void)
{
    struct arena *arena = arena_open(pool, 8 * 1024 * 1024);

    assert_non_null(arena);
    return arena;
}

static struct statement *parse(struct arena *arena, struct str csv)
{
    struct statement *s = arena_calloc(arena, 1, sizeof *s);
    struct err err = {.code = OK};

    assert_non_null(s);
    if (statement_parse(csv, arena, s, &err) != OK) {
        fail_msg("%s", err.text);
    }
    return s;
}

static enum code parse_fails(const char *csv)
{
    struct arena *arena = arena_new();
    struct statement *s = arena_calloc(arena, 1, sizeof *s);
    struct err err = {.code = OK};
    enum code code = statement_parse(str_from(csv), arena, s, &err);

    arena_dispose(&arena);
    return code;
}

/* What each bank's file must give: first and last row by hand from the file, the rest by its
 * balances. */
static const struct {
    const char *file;
    const char *bank;
    uint32_t rows;
    int64_t opening;
    int64_t closing;
    const char *first_date;
    const char *first_description;
    int64_t first_amount;
    int64_t last_amount;
    const char *last_reference;
} banks[] = {
    {"azteca-sample.csv",
     "Banco Azteca", 10,
     850100,   2254650,
     "2025-01-15", "COMPRA FARMACIA GUADALAJARA",
     -18050,
     -69900,
     ""      },
    {"bbva-sample.csv",
     "BBVA",         10,
     1600000,  3657075,
     "2025-01-15", "COMPRA EN OXXO CENTRO",
     -25000,
     -59900,
     ""      },
    {"sample_banorte_october_2025.csv",
     "Banorte",      15,
     10000000, 16277475,
     "2025-10-01", "ABONO TRANSFERENCIA CLIENTE",
     2500000, 2800000,
     "F015"  },
    {"sample_bbva_october_2025.csv",
     "BBVA",         15,
     10000000, 16277475,
     "2025-10-01", "TRANSFERENCIA SPEI RECIBIDA",
     2500000, 2800000,
     "REF015"},
    {"sample_santander_october_2025.csv",
     "Santander",    15,
     10000000, 16277475,
     "2025-10-01", "INCOMING TRANSFER CUSTOMER PAYMENT",
     2500000, 2800000,
     "TXN015"},
};

static void five_banks_to_the_centavo(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(banks); i++) {
        struct arena *arena = arena_new();
        struct statement *s = parse(arena, suite_file(arena, "bank-statements", banks[i].file));
        char date[DATE_TEXT_BYTES];
        int64_t balance = banks[i].opening;

        assert_string_equal(s->bank, banks[i].bank);
        assert_int_equal(s->row_count, banks[i].rows);
        assert_int_equal(s->error_count, 0);
        assert_row(i, s->balance_verified);
        assert_int_equal(s->opening_balance, banks[i].opening);
        assert_int_equal(s->closing_balance, banks[i].closing);
        date_format(s->rows[0].date, date);
        assert_string_equal(date, banks[i].first_date);
        assert_row(i, str_eq(s->rows[0].description, str_from(banks[i].first_description)));
        assert_int_equal(s->rows[0].amount, banks[i].first_amount);
        assert_int_equal(s->rows[s->row_count - 1].amount, banks[i].last_amount);
        assert_row(i,
                   str_eq(s->rows[s->row_count - 1].reference, str_from(banks[i].last_reference)));
        for (uint32_t r = 0; r < s->row_count; r++) {
            balance += s->rows[r].amount;
            assert_int_equal(balance, s->rows[r].balance);
        }
        arena_dispose(&arena);
    }
}

static void newest_first_is_turned_round(void **state)
{
    struct arena *arena = arena_new();
    struct statement *s = parse(arena,
                                STR("Fecha;Concepto;Importe;Saldo\n"
                                    "03/02/2025;c;-10,00;85,00\n"
                                    "02/02/2025;b;-5,00;95,00\n"
                                    "01/02/2025;a;100,00;100,00\n"));

    (void)state;
    assert_int_equal(s->row_count, 3);
    assert_true(str_eq(s->rows[0].description, STR("a")));
    assert_int_equal(s->rows[0].amount, 10000);
    assert_int_equal(s->rows[2].amount, -1000);
    assert_true(s->balance_verified);
    assert_int_equal(s->opening_balance, 0);
    arena_dispose(&arena);
}

static void unsigned_amounts_take_the_direction_of_the_balance(void **state)
{
    struct arena *arena = arena_new();
    struct statement *s = parse(arena,
                                STR("Fecha,Descripcion,Monto,Saldo\n"
                                    "2025-02-01,apertura,100.00,100.00\n"
                                    "2025-02-02,compra,30.00,70.00\n"
                                    "2025-02-03,deposito,5.50,75.50\n"
                                    "2025-02-04,compra,75.50,0.00\n"));

    (void)state;
    assert_int_equal(s->rows[1].amount, -3000);
    assert_int_equal(s->rows[2].amount, 550);
    assert_int_equal(s->rows[3].amount, -7550);
    assert_true(s->balance_verified);
    arena_dispose(&arena);
}

static void months_first_where_only_that_exists(void **state)
{
    struct arena *arena = arena_new();
    struct statement *s =
        parse(arena, STR("Date,Description,Amount\n02/01/2025,a,1.00\n02/28/2025,b,1.00\n"));

    (void)state;
    assert_int_equal(s->rows[0].date.month, 2);
    assert_int_equal(s->rows[0].date.day, 1);
    assert_int_equal(s->rows[1].date.day, 28);
    assert_false(s->has_balances);
    assert_false(s->balance_verified);
    arena_dispose(&arena);
}

static void wrong_rows_are_reported_and_left_out(void **state)
{
    struct arena *arena = arena_new();
    struct statement *s = parse(arena,
                                STR("\xef\xbb\xbf"
                                    "Estado de cuenta\n\nFecha,Concepto,Cargo,Abono\n"
                                    "30/02/2025,no such day,1.00,\n"
                                    "01/02/2025,,1.00,\n"
                                    "01/02/2025,both,1.00,2.00\n"
                                    "01/02/2025,none,,\n"
                                    "01/02/2025,three,1.005,\n"
                                    "\n"
                                    "01/02/2025,\"good, quoted \"\"row\"\"\",\"1,234.56\",\n"));

    (void)state;
    assert_int_equal(s->row_count, 1);
    assert_int_equal(s->error_count, 5);
    assert_int_equal(s->errors[0].line, 4);
    assert_non_null(strstr(s->errors[0].text, "2025-01-15"));
    assert_int_equal(s->errors[4].line, 8);
    assert_non_null(strstr(s->errors[4].text, "two decimals"));
    assert_int_equal(s->rows[0].line, 10);
    assert_int_equal(s->rows[0].amount, -123456);
    assert_true(str_eq(s->rows[0].description, STR("good, quoted \"row\"")));
    arena_dispose(&arena);
}

static void what_is_no_statement_is_refused(void **state)
{
    static const char *const files[] = {"",
                                        "\n\n",
                                        "hello",
                                        "a,b,c\n1,2,3\n",
                                        "Fecha,Concepto\n01/02/2025,a\n",
                                        "Fecha,Concepto,Importe\n01/02/2025,\"open,1.00\n"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        assert_row(i, parse_fails(files[i]) == ERR_INVALID);
    }
}

static void too_many_rows_are_refused(void **state)
{
    static char text[64 + 20 * (STATEMENT_ROWS_MAX + 1)];
    struct buf b = buf_over(text, sizeof text);

    (void)state;
    buf_text(&b, "Fecha,Concepto,Importe\n");
    for (int i = 0; i <= STATEMENT_ROWS_MAX; i++) {
        buf_text(&b, "01/02/2025,a,1.00\n");
    }
    assert_true(buf_terminate(&b));
    assert_int_equal(parse_fails(text), ERR_INVALID);
}

static void amounts(void **state)
{
    static const struct {
        const char *text;
        bool good;
        int64_t centavos;
    } cases[] = {
        {"0",                    true,  0        },
        {"12",                   true,  1200     },
        {"12.5",                 true,  1250     },
        {"1,234.56",             true,  123456   },
        {"1.234,56",             true,  123456   },
        {"1,234",                true,  123400   },
        {"1.234.567",            true,  123456700},
        {"$ 1,234.56",           true,  123456   },
        {"(850.50)",             true,  -85050   },
        {"850.50-",              true,  -85050   },
        {"-$5",                  true,  -500     },
        {"$-5",                  true,  -500     },
        {"+7.25",                true,  725      },
        {"MXN 12.00",            true,  1200     },
        {"12.00 mxn",            true,  1200     },
        {"12abc",                false, 0        },
        {"",                     false, 0        },
        {"--5",                  true,  -500     },
        {"1.005",                false, 0        },
        {"1,23,456",             false, 0        },
        {"12,3456",              false, 0        },
        {".",                    false, 0        },
        {"NaN",                  false, 0        },
        {"1e3",                  false, 0        },
        {"99999999999999999999", false, 0        },
        {"1 234",                false, 0        },
        {".50",                  false, 0        },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t centavos = 0;
        bool good = statement_amount(str_from(cases[i].text), &centavos);

        assert_row(i, good == cases[i].good);
        assert_row(i, !good || centavos == cases[i].centavos);
    }
}

static void dates(void **state)
{
    static const struct {
        const char *text;
        enum statement_date_order order;
        const char *iso; /* NULL: no date */
    } cases[] = {
        {"2025-01-15",              STATEMENT_DMY, "2025-01-15"},
        {"15/01/2025",              STATEMENT_DMY, "2025-01-15"},
        {"1/2/25",                  STATEMENT_DMY, "2025-02-01"},
        {"1/2/25",                  STATEMENT_MDY, "2025-01-02"},
        {"15-ene-2025",             STATEMENT_DMY, "2025-01-15"},
        {"15/AGO/25",               STATEMENT_DMY, "2025-08-15"},
        {"15 de diciembre de 2025", STATEMENT_DMY, "2025-12-15"},
        {"2025/12/31",              STATEMENT_MDY, "2025-12-31"},
        {"29/02/2024",              STATEMENT_DMY, "2024-02-29"},
        {"29/02/2025",              STATEMENT_DMY, NULL        },
        {"31/04/2025",              STATEMENT_DMY, NULL        },
        {"",                        STATEMENT_DMY, NULL        },
        {"15/01",                   STATEMENT_DMY, NULL        },
        {"15/01/2025 10:00",        STATEMENT_DMY, NULL        },
        {"abc",                     STATEMENT_DMY, NULL        },
        {"15-xyz-2025",             STATEMENT_DMY, NULL        },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct date d;
        char iso[DATE_TEXT_BYTES] = "";
        bool good = statement_date(str_from(cases[i].text), cases[i].order, &d);

        assert_row(i, good == (cases[i].iso != NULL));
        if (good) {
            date_format(d, iso);
            assert_string_equal(iso, cases[i].iso);
        }
    }
}

static void header_texts_fold(void **state)
{
    char memory[64];

    (void)state;
    assert_true(str_eq(statement_fold(STR("  Fecha  Operaci\xc3\xb3n. "), memory, sizeof memory),
                       STR("fecha operacion")));
    assert_true(
        str_eq(statement_fold(STR("DEP\xc3\x93SITO"), memory, sizeof memory), STR("deposito")));
    assert_int_equal(statement_fold(STR("too long for its memory"), memory, 4).len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(five_banks_to_the_centavo),
        cmocka_unit_test(newest_first_is_turned_round),
        cmocka_unit_test(unsigned_amounts_take_the_direction_of_the_balance),
        cmocka_unit_test(months_first_where_only_that_exists),
        cmocka_unit_test(wrong_rows_are_reported_and_left_out),
        cmocka_unit_test(what_is_no_statement_is_refused),
        cmocka_unit_test(too_many_rows_are_refused),
        cmocka_unit_test(amounts),
        cmocka_unit_test(dates),
        cmocka_unit_test(header_texts_fold),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
