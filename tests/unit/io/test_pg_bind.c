/* tidy: allow lines here: one binder with its descriptors */
/* Plans: names to offsets, parameters as libpq wants them, rows into messages. No server. */
#include "tests/bind.pb-c.h"
#include "tests/support/check.h"

#include "libcommon/io/pg_bind.h"

#include <libpq-fe.h>

#include <stdio.h>
#include <string.h>

#define OID_BOOL    16
#define OID_BYTEA   17
#define OID_INT8    20
#define OID_INT4    23
#define OID_TEXT    25
#define OID_NUMERIC 1700

struct fixture {
    struct arena_pool *pool;
    struct arena *arena;
    struct pg_plan *plans;
};

static const struct pg_context full_context = {.user_id = "u1",
                                               .actor_id = "a1",
                                               .session_id = "s1",
                                               .role = "admin",
                                               .request_id = "r1",
                                               .client_ip = "192.0.2.1",
                                               .user_agent = "curl",
                                               .now_ms = 18446744073709551615ull};

static int setup(void **state)
{
    static struct fixture f;

    f.pool = arena_pool_open(16384, 64);
    assert_non_null(f.pool);
    f.arena = arena_open(f.pool, 262144);
    assert_non_null(f.arena);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    pg_plans_close(&f->plans);
    arena_dispose(&f->arena);
    arena_pool_close(&f->pool);
    return 0;
}

static void open_plans(struct fixture *f, const struct pg_query *query)
{
    static struct pg_query copy;
    static struct pg_query_table table;
    struct err err = {.code = OK};

    copy = *query;
    table = (struct pg_query_table){&copy, 1};
    if (pg_plans_open(&table, &f->plans, &err) != OK) {
        fail_msg("%s", err.text);
    }
    assert_non_null(f->plans);
}

#define NAMES(...) ((const char *const[]){__VA_ARGS__})

static void bind(struct fixture *f,
                 const char *const *names,
                 uint16_t count,
                 const Testbind__Everything *in,
                 struct pg_params *out)
{
    const struct pg_query query = {.name = "q",
                                   .text = "SELECT 1",
                                   .parameters = names,
                                   .parameter_count = count,
                                   .in = &testbind__everything__descriptor};
    struct err err = {.code = OK};

    pg_plans_close(&f->plans);
    open_plans(f, &query);
    if (pg_bind_params(f->plans, 0, &full_context, &in->base, f->arena, out, &err) != OK) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(out->count, count);
}

static void scalars_become_text(void **state)
{
    struct fixture *f = *state;
    Testbind__Everything in = TESTBIND__EVERYTHING__INIT;
    char text[] = "it's";
    uint8_t bytes[] = {0, 1, 255};
    struct pg_params p;

    in.text = text;
    in.has_big = 1;
    in.big = INT64_MIN;
    in.has_small = 1;
    in.small = INT32_MIN;
    in.has_count = 1;
    in.count = UINT32_MAX;
    in.has_huge = 1;
    in.huge = UINT64_MAX;
    in.has_flag = 1;
    in.flag = 1;
    in.has_blob = 1;
    in.blob = (ProtobufCBinaryData){sizeof(bytes), bytes};
    in.has_zigzag = 1;
    in.zigzag = -1;
    in.has_fixed = 1;
    in.fixed = 7;
    bind(f,
         NAMES("text", "big", "small", "count", "huge", "flag", "blob", "zigzag", "fixed"),
         9,
         &in,
         &p);
    assert_ptr_equal(p.values[0], text); /* a view, not a copy */
    assert_string_equal(p.values[1], "-9223372036854775808");
    assert_string_equal(p.values[2], "-2147483648");
    assert_string_equal(p.values[3], "4294967295");
    assert_string_equal(p.values[4], "18446744073709551615");
    assert_string_equal(p.values[5], "t");
    assert_ptr_equal(p.values[6], bytes);
    assert_int_equal(p.lengths[6], 3);
    assert_int_equal(p.formats[6], 1);
    assert_int_equal(p.types[6], OID_BYTEA);
    assert_string_equal(p.values[7], "-1");
    assert_string_equal(p.values[8], "7");
    for (int i = 0; i < 6; i++) {
        assert_int_equal(p.formats[i], 0);
        assert_int_equal(p.types[i], 0);
    }
    in.flag = 0;
    in.blob = (ProtobufCBinaryData){0, NULL};
    bind(f, NAMES("flag", "blob"), 2, &in, &p);
    assert_string_equal(p.values[0], "f");
    assert_non_null(p.values[1]); /* empty is not NULL */
    assert_int_equal(p.lengths[1], 0);
}

static void unset_is_null(void **state)
{
    struct fixture *f = *state;
    const Testbind__Everything in = TESTBIND__EVERYTHING__INIT;
    struct pg_params p;

    bind(f,
         NAMES("text", "big", "small", "count", "huge", "flag", "blob", "with_default"),
         8,
         &in,
         &p);
    for (int i = 0; i < 8; i++) {
        assert_row(i, p.values[i] == NULL);
    }
    Testbind__Everything set = TESTBIND__EVERYTHING__INIT;
    char same[] = "x"; /* the default's text, given */
    char empty[] = "";
    set.with_default = same;
    set.text = empty;
    bind(f, NAMES("with_default", "text"), 2, &set, &p);
    assert_string_equal(p.values[0], "x");
    assert_string_equal(p.values[1], "");
}

/* Bytes as array_recv() of the server reads them. */
static void arrays_are_binary(void **state)
{
    static const uint8_t texts[] = {0, 0, 0, 1, 0, 0, 0, 0, 0, 0,   0,   25, 0, 0, 0,
                                    2, 0, 0, 0, 1, 0, 0, 0, 2, 'a', 'b', 0,  0, 0, 0};
    static const uint8_t numbers[] = {0,  0, 0,   1,   0,   0,   0,   0,   0,   0,  0,
                                      20, 0, 0,   0,   1,   0,   0,   0,   1,   0,  0,
                                      0,  8, 255, 255, 255, 255, 255, 255, 255, 254};
    static const uint8_t blobs[] = {0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 17, 0,
                                    0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 9};
    struct fixture *f = *state;
    Testbind__Everything in = TESTBIND__EVERYTHING__INIT;
    char ab[] = "ab";
    char none[] = "";
    char *names[] = {ab, none};
    int64_t ids[] = {-2};
    uint8_t byte = 9;
    ProtobufCBinaryData blob = {1, &byte};
    struct pg_params p;

    in.n_names = 2;
    in.names = names;
    in.n_ids = 1;
    in.ids = ids;
    in.n_blobs = 1;
    in.blobs = &blob;
    bind(f, NAMES("names", "ids", "blobs"), 3, &in, &p);
    assert_int_equal(p.lengths[0], sizeof(texts));
    assert_memory_equal(p.values[0], texts, sizeof(texts));
    assert_int_equal(p.lengths[1], sizeof(numbers));
    assert_memory_equal(p.values[1], numbers, sizeof(numbers));
    assert_int_equal(p.lengths[2], sizeof(blobs));
    assert_memory_equal(p.values[2], blobs, sizeof(blobs));
    assert_int_equal(p.types[0], 1009);
    assert_int_equal(p.types[1], 1016);
    assert_int_equal(p.types[2], 1001);
    assert_int_equal(p.formats[0], 1);
}

static void empty_arrays_have_no_dimension(void **state)
{
    static const uint8_t empty[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 20};
    struct fixture *f = *state;
    const Testbind__Everything in = TESTBIND__EVERYTHING__INIT;
    struct pg_params p;

    bind(f, NAMES("ids"), 1, &in, &p);
    assert_int_equal(p.lengths[0], sizeof(empty));
    assert_memory_equal(p.values[0], empty, sizeof(empty));
}

static void prefixes_choose_context_or_field(void **state)
{
    struct fixture *f = *state;
    const struct pg_query query = {
        .name = "q",
        .text = "SELECT 1",
        .parameters =
            NAMES("ctx_user_id", "in_user_id", "in_box", "now_ms", "session_id", "user_agent"),
        .parameter_count = 6,
        .in = &testbind__owned__descriptor};
    const struct pg_context nobody = {.now_ms = 0};
    Testbind__Owned in = TESTBIND__OWNED__INIT;
    char other[] = "somebody else";
    char box[] = "box";
    struct err err = {.code = OK};
    struct pg_params p;

    in.user_id = other;
    in.in_box = box;
    open_plans(f, &query);
    assert_int_equal(pg_bind_params(f->plans, 0, &full_context, &in.base, f->arena, &p, &err), OK);
    assert_string_equal(p.values[0], "u1");
    assert_string_equal(p.values[1], "somebody else");
    assert_string_equal(p.values[2], "box"); /* an exact name goes before the prefix */
    assert_string_equal(p.values[3], "18446744073709551615");
    assert_string_equal(p.values[4], "s1");
    assert_string_equal(p.values[5], "curl");
    assert_int_equal(pg_bind_params(f->plans, 0, &nobody, &in.base, f->arena, &p, &err), OK);
    assert_null(p.values[0]); /* never the field instead */
    assert_string_equal(p.values[3], "0");
}

static void no_message_and_no_parameters(void **state)
{
    struct fixture *f = *state;
    const struct pg_query reserved = {.name = "q",
                                      .text = "SELECT 1",
                                      .parameters = NAMES("role", "actor_id", "client_ip"),
                                      .parameter_count = 3};
    const struct pg_query none = {.name = "q", .text = "SELECT 1"};
    struct err err = {.code = OK};
    struct pg_params p;

    open_plans(f, &reserved);
    assert_int_equal(pg_bind_params(f->plans, 0, &full_context, NULL, f->arena, &p, &err), OK);
    assert_string_equal(p.values[0], "admin");
    assert_string_equal(p.values[1], "a1");
    assert_string_equal(p.values[2], "192.0.2.1");
    pg_plans_close(&f->plans);
    open_plans(f, &none);
    assert_int_equal(pg_bind_params(f->plans, 0, &full_context, NULL, f->arena, &p, &err), OK);
    assert_int_equal(p.count, 0);
}

static void compile_errors_name_query_and_field(void **state)
{
    static const struct {
        const char *parameter;
        const ProtobufCMessageDescriptor *in;
    } rows[] = {
        {"textt",    &testbind__everything__descriptor },
        {"in_",      &testbind__everything__descriptor },
        {"text",     NULL                              },
        {"color",    &testbind__unsupported__descriptor},
        {"real",     &testbind__unsupported__descriptor},
        {"flags",    &testbind__unsupported__descriptor},
        {"smalls",   &testbind__unsupported__descriptor},
        {"nested",   &testbind__unsupported__descriptor},
        {"either",   &testbind__unsupported__descriptor},
        {"User_id",  &testbind__everything__descriptor },
        {"ctx_text", &testbind__everything__descriptor },
        {"user_id",  &testbind__owned__descriptor      },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct pg_query queries[] = {
            {.name = "fine",       .text = "SELECT 1"},
            { .name = "get_thing",
             .text = "SELECT 1",
             .parameters = &rows[i].parameter,
             .parameter_count = 1,
             .in = rows[i].in}
        };
        const struct pg_query_table table = {queries, 2};
        struct pg_plan *plans = NULL;
        struct err err = {.code = OK};
        assert_row(i, pg_plans_open(&table, &plans, &err) == ERR_INTERNAL);
        assert_row(i, plans == NULL);
        assert_row(i, strstr(err.text, "get_thing") != NULL);
        assert_row(i, strstr(err.text, rows[i].parameter) != NULL);
        assert_string_equal(err.field, rows[i].parameter);
    }
}

static void too_many_parameters_are_refused(void **state)
{
    const char *names[65];
    const struct pg_query query = {
        .name = "wide", .text = "SELECT 1", .parameters = names, .parameter_count = 65};
    const struct pg_query_table table = {&query, 1};
    struct pg_plan *plans = NULL;
    struct err err = {.code = OK};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        names[i] = "role";
    }
    assert_int_equal(pg_plans_open(&table, &plans, &err), ERR_INTERNAL);
    assert_non_null(strstr(err.text, "wide"));
}

static void a_full_arena_is_an_answer(void **state)
{
    struct fixture *f = *state;
    const struct pg_query query = {.name = "q",
                                   .text = "SELECT 1",
                                   .parameters = NAMES("names"),
                                   .parameter_count = 1,
                                   .in = &testbind__everything__descriptor};
    Testbind__Everything in = TESTBIND__EVERYTHING__INIT;
    static char text[65536];
    char *names[] = {text, text, text, text, text, text};
    struct err err = {.code = OK};
    struct pg_params p;

    memset(text, 'a', sizeof(text) - 1);
    in.n_names = ARRAY_LEN(names);
    in.names = names;
    open_plans(f, &query);
    assert_int_equal(pg_bind_params(f->plans, 0, &full_context, &in.base, f->arena, &p, &err),
                     ERR_TOO_LARGE);
    assert_string_equal(err.field, "names");
}

/* --- rows ---------------------------------------------------------------------- */

struct column {
    const char *name;
    Oid type;
    const char *value; /* NULL: SQL NULL */
};

static PGresult *make_result(const struct column *columns, int count)
{
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    PGresAttDesc attributes[16] = {{.name = NULL}};

    assert_non_null(result);
    assert_true(count <= 16);
    for (int i = 0; i < count; i++) {
        /* libpq copies the name; its struct has no const. NOLINTNEXTLINE(*-no-int-to-ptr) */
        attributes[i] = (PGresAttDesc){.name = (char *)(uintptr_t)columns[i].name,
                                       .columnid = i + 1,
                                       .typid = columns[i].type,
                                       .typlen = -1};
    }
    assert_int_equal(PQsetResultAttrs(result, count, attributes), 1);
    for (int i = 0; i < count; i++) {
        const char *value = columns[i].value;
        assert_int_equal(
            PQsetvalue(
                result, 0, i, (char *)(uintptr_t)value, value == NULL ? -1 : (int)strlen(value)),
            1);
    }
    return result;
}

static const struct pg_query into_everything = {
    .name = "list", .text = "SELECT 1", .out = &testbind__everything__descriptor};
static const struct pg_query into_strict = {
    .name = "strict", .text = "SELECT 1", .out = &testbind__strict__descriptor};

static enum code bind_columns(struct fixture *f,
                              const struct pg_query *query,
                              const struct column *columns,
                              int count,
                              ProtobufCMessage *out,
                              struct err *err)
{
    PGresult *result = make_result(columns, count);
    enum code code = OK;

    pg_plans_close(&f->plans);
    open_plans(f, query);
    code = pg_plan_check_columns(f->plans, 0, result, err);
    if (code == OK) {
        code = pg_bind_row(f->plans, 0, result, 0, f->arena, out, err);
    }
    assert_int_equal(pg_result_attach(result, f->arena, NULL), OK);
    return code;
}

static void every_type_is_read(void **state)
{
    static const struct column columns[] = {
        {"text",  OID_TEXT,  "\xc3\xb1"            },
        {"big",   OID_INT8,  "-9223372036854775808"},
        {"small", OID_INT4,  "-2147483648"         },
        {"count", OID_INT8,  "4294967295"          },
        {"huge",  OID_INT8,  "9223372036854775807" },
        {"flag",  OID_BOOL,  "t"                   },
        {"blob",  OID_BYTEA, "\\x00ff10"           },
    };
    struct fixture *f = *state;
    Testbind__Everything out = TESTBIND__EVERYTHING__INIT;
    struct err err = {.code = OK};

    assert_int_equal(bind_columns(f, &into_everything, columns, 7, &out.base, &err), OK);
    assert_string_equal(out.text, "\xc3\xb1");
    assert_true(out.has_big && out.big == INT64_MIN);
    assert_true(out.has_small && out.small == INT32_MIN);
    assert_true(out.has_count && out.count == UINT32_MAX);
    assert_true(out.has_huge && out.huge == INT64_MAX);
    assert_true(out.has_flag && out.flag);
    assert_true(out.has_blob);
    assert_int_equal(out.blob.len, 3);
    assert_memory_equal(out.blob.data, "\x00\xff\x10", 3);
    assert_false(out.has_zigzag);
}

static void null_leaves_unset(void **state)
{
    static const struct column columns[] = {
        {"text",         OID_TEXT,  NULL},
        {"big",          OID_INT8,  NULL},
        {"flag",         OID_BOOL,  NULL},
        {"blob",         OID_BYTEA, NULL},
        {"with_default", OID_TEXT,  NULL},
    };
    struct fixture *f = *state;
    Testbind__Everything out = TESTBIND__EVERYTHING__INIT;
    struct err err = {.code = OK};

    assert_int_equal(bind_columns(f, &into_everything, columns, 5, &out.base, &err), OK);
    assert_null(out.text);
    assert_false(out.has_big || out.has_flag || out.has_blob);
    assert_string_equal(out.with_default, "x");
}

static void null_for_required_is_an_error(void **state)
{
    static const char *const names[] = {"text", "big", "flag", "blob"};
    static const Oid types[] = {OID_TEXT, OID_INT8, OID_BOOL, OID_BYTEA};
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const struct column column = {names[i], types[i], NULL};
        Testbind__Strict out = TESTBIND__STRICT__INIT;
        struct err err = {.code = OK};
        assert_row(i, bind_columns(f, &into_strict, &column, 1, &out.base, &err) == ERR_INTERNAL);
        assert_string_equal(err.field, names[i]);
    }
}

static void values_out_of_form_are_errors(void **state)
{
    static const struct column rows[] = {
        {"big",   OID_INT8,  "9223372036854775808"},
        {"big",   OID_INT8,  "1.5"                },
        {"big",   OID_INT8,  ""                   },
        {"small", OID_INT8,  "2147483648"         },
        {"small", OID_INT8,  "-2147483649"        },
        {"count", OID_INT8,  "-1"                 },
        {"count", OID_INT8,  "4294967296"         },
        {"huge",  OID_INT8,  "-1"                 },
        {"flag",  OID_BOOL,  "true"               },
        {"flag",  OID_BOOL,  "x"                  },
        {"blob",  OID_BYTEA, "00ff"               },
        {"blob",  OID_BYTEA, "\\x0"               },
        {"blob",  OID_BYTEA, "\\xzz"              },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Testbind__Everything out = TESTBIND__EVERYTHING__INIT;
        struct err err = {.code = OK};
        assert_row(i,
                   bind_columns(f, &into_everything, &rows[i], 1, &out.base, &err) == ERR_INTERNAL);
        assert_string_equal(err.field, rows[i].name);
        /* The value never shows in the text. */
        assert_row(i, rows[i].value[0] == '\0' || strstr(err.text, rows[i].value) == NULL);
    }
}

static void unfit_columns_are_found_at_start(void **state)
{
    static const struct column rows[] = {
        {"nmae",  OID_TEXT,    "" },
        {"big",   OID_TEXT,    "1"},
        {"big",   OID_NUMERIC, "1"},
        {"flag",  OID_INT4,    "1"},
        {"blob",  OID_TEXT,    "" },
        {"names", OID_TEXT,    "" },
        {"ids",   OID_INT8,    "1"},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Testbind__Everything out = TESTBIND__EVERYTHING__INIT;
        struct err err = {.code = OK};
        assert_row(i,
                   bind_columns(f, &into_everything, &rows[i], 1, &out.base, &err) == ERR_INTERNAL);
        assert_row(i, strstr(err.text, "list") != NULL);
        assert_string_equal(err.field, rows[i].name);
    }
}

static void columns_twice_and_changed_are_found(void **state)
{
    static const struct column twice[] = {
        {"text", OID_TEXT, "a"},
        {"text", OID_TEXT, "b"}
    };
    static const struct column one[] = {
        {"text", OID_TEXT, "a"},
        {"big",  OID_INT8, "1"}
    };
    static const struct column swapped[] = {
        {"big",  OID_INT8, "1"},
        {"text", OID_TEXT, "a"}
    };
    struct fixture *f = *state;
    Testbind__Everything out = TESTBIND__EVERYTHING__INIT;
    struct err err = {.code = OK};
    PGresult *again = make_result(swapped, 2);
    PGresult *fewer = make_result(one, 1);

    assert_int_equal(bind_columns(f, &into_everything, twice, 2, &out.base, &err), ERR_INTERNAL);
    err.code = OK;
    assert_int_equal(bind_columns(f, &into_everything, one, 2, &out.base, &err), OK);
    assert_int_equal(pg_plan_check_columns(f->plans, 0, again, &err), ERR_INTERNAL);
    err.code = OK;
    assert_int_equal(pg_plan_check_columns(f->plans, 0, fewer, &err), ERR_INTERNAL);
    err.code = OK;
    assert_int_equal(pg_bind_row(f->plans, 0, fewer, 0, f->arena, &out.base, &err), ERR_INTERNAL);
    pg_result_clear(&again);
    pg_result_clear(&fewer);
    assert_null(again);
    pg_result_clear(&again); /* accepts NULL */
}

static void texts_stay_in_the_result(void **state)
{
    static const struct column column = {"text", OID_TEXT, "hello"};
    struct fixture *f = *state;
    Testbind__Everything out = TESTBIND__EVERYTHING__INIT;
    PGresult *result = make_result(&column, 1);
    struct err err = {.code = OK};
    const size_t before = arena_bytes_used(f->arena);

    open_plans(f, &into_everything);
    assert_int_equal(pg_plan_check_columns(f->plans, 0, result, &err), OK);
    assert_int_equal(pg_result_rows(result), 1);
    assert_int_equal(pg_bind_row(f->plans, 0, result, 0, f->arena, &out.base, &err), OK);
    assert_ptr_equal(out.text, PQgetvalue(result, 0, 0));
    assert_int_equal(arena_bytes_used(f->arena), before);
    assert_int_equal(pg_result_attach(result, f->arena, &err), OK);
    assert_string_equal(out.text, "hello");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(scalars_become_text, setup, teardown),
        cmocka_unit_test_setup_teardown(unset_is_null, setup, teardown),
        cmocka_unit_test_setup_teardown(arrays_are_binary, setup, teardown),
        cmocka_unit_test_setup_teardown(empty_arrays_have_no_dimension, setup, teardown),
        cmocka_unit_test_setup_teardown(prefixes_choose_context_or_field, setup, teardown),
        cmocka_unit_test_setup_teardown(no_message_and_no_parameters, setup, teardown),
        cmocka_unit_test_setup_teardown(compile_errors_name_query_and_field, setup, teardown),
        cmocka_unit_test_setup_teardown(too_many_parameters_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_arena_is_an_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(every_type_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(null_leaves_unset, setup, teardown),
        cmocka_unit_test_setup_teardown(null_for_required_is_an_error, setup, teardown),
        cmocka_unit_test_setup_teardown(values_out_of_form_are_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(unfit_columns_are_found_at_start, setup, teardown),
        cmocka_unit_test_setup_teardown(columns_twice_and_changed_are_found, setup, teardown),
        cmocka_unit_test_setup_teardown(texts_stay_in_the_result, setup, teardown),
    };

    return cmocka_run_group_tests_name("pg_bind", tests, NULL, NULL);
}
