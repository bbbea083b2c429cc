/* Set statements: one binary array per parameter, with an element per request. No server. */
#include "tests/bind.pb-c.h"
#include "tests/support/check.h"

#include "libcommon/io/pg_bind.h"

#include <string.h>

static struct arena_pool *pool;
static struct arena *arena;
static struct pg_plan *plans;

static int setup(void **state)
{
    (void)state;
    pool = arena_pool_open(16384, 64);
    assert_non_null(pool);
    arena = arena_open(pool, 65536);
    assert_non_null(arena);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pg_plans_close(&plans);
    arena_dispose(&arena);
    arena_pool_close(&pool);
    return 0;
}

static enum code open_plan(const char *name, struct err *err)
{
    static const char *names[1];
    static struct pg_query query;
    static const struct pg_query_table table = {&query, 1};

    names[0] = name;
    query = (struct pg_query){.name = "q",
                              .text = "SELECT 1",
                              .parameters = names,
                              .parameter_count = 1,
                              .in = &testbind__everything__descriptor,
                              .set = true};
    return pg_plans_open(&table, &plans, err);
}

/* What the parameter becomes for the two messages; the second context has no user. */
static struct str bound(const char *name, const Testbind__Everything in[2])
{
    static const struct pg_context contexts[2] = {
        {.user_id = "u1", .now_ms = 258},
        {.user_id = NULL, .now_ms = 1  }
    };
    const struct pg_member members[2] = {
        {&contexts[0], &in[0].base},
        {&contexts[1], &in[1].base}
    };
    const struct pg_member_list list = {members, 2};
    struct pg_params params = {0};
    struct err err = {.code = OK};

    assert_int_equal(open_plan(name, &err), OK);
    assert_int_equal(pg_bind_set(plans, 0, &list, arena, &params, &err), OK);
    assert_int_equal(params.count, 1);
    assert_int_equal(params.formats[0], 1);
    pg_plans_close(&plans);
    return (struct str){params.values[0], (size_t)params.lengths[0]};
}

/* One dimension, nulls or not, element type, two elements from 1; then the elements. */
#define HEAD(nulls, oid) \
    "\0\0\0\1"           \
    "\0\0\0" nulls "\0\0\0" oid "\0\0\0\2\0\0\0\1"
#define IS(value, bytes)                                        \
    do {                                                        \
        struct str got = (value);                               \
        assert_int_equal(got.len, sizeof(bytes) - 1);           \
        assert_memory_equal(got.ptr, bytes, sizeof(bytes) - 1); \
    } while (0)

static void values_become_arrays(void **state)
{
    char text[] = "it's";
    uint8_t bytes[] = {0, 255};
    Testbind__Everything in[2] = {TESTBIND__EVERYTHING__INIT, TESTBIND__EVERYTHING__INIT};

    (void)state;
    in[0].text = text;
    in[1].text = text + 4;
    in[0].has_big = 1;
    in[0].big = INT64_MIN;
    in[1].has_big = 1;
    in[1].big = 258;
    in[0].has_small = 1;
    in[0].small = -1;
    in[0].has_huge = 1;
    in[0].huge = UINT64_MAX;
    in[0].has_flag = 1;
    in[0].flag = 1;
    in[1].has_flag = 1;
    in[1].has_blob = 1;
    in[1].blob = (ProtobufCBinaryData){sizeof(bytes), bytes};
    IS(bound("text", in), HEAD("\0", "\x19") "\0\0\0\4it's\0\0\0\0");
    IS(bound("big", in), HEAD("\0", "\x14") "\0\0\0\x8\x80\0\0\0\0\0\0\0\0\0\0\x8\0\0\0\0\0\0\1\2");
    IS(bound("small", in),
       HEAD("\1", "\x14") "\0\0\0\x8\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff");
    IS(bound("huge", in),
       HEAD("\1", "\x19") "\0\0\0\x14"
                          "18446744073709551615\xff\xff\xff\xff");
    IS(bound("flag", in), HEAD("\0", "\x10") "\0\0\0\1\1\0\0\0\1\0");
    IS(bound("blob", in), HEAD("\1", "\x11") "\xff\xff\xff\xff\0\0\0\2\0\xff");
    IS(bound("with_default", in), HEAD("\1", "\x19") "\xff\xff\xff\xff\xff\xff\xff\xff");
}

static void context_is_each_ones_own(void **state)
{
    const Testbind__Everything in[2] = {TESTBIND__EVERYTHING__INIT, TESTBIND__EVERYTHING__INIT};

    (void)state;
    IS(bound("user_id", in), HEAD("\1", "\x19") "\0\0\0\2u1\xff\xff\xff\xff");
    IS(bound("now_ms", in),
       HEAD("\0", "\x14") "\0\0\0\x8\0\0\0\0\0\0\1\2\0\0\0\x8\0\0\0\0\0\0\0\1");
}

static void arrays_of_arrays_are_refused(void **state)
{
    struct err err = {.code = OK};

    (void)state;
    assert_int_equal(open_plan("names", &err), ERR_INTERNAL);
    assert_string_equal(err.field, "names");
}

static void too_much_is_an_error(void **state)
{
    static char text[40000];
    Testbind__Everything in = TESTBIND__EVERYTHING__INIT;
    const struct pg_context context = {0};
    const struct pg_member members[2] = {
        {&context, &in.base},
        {&context, &in.base}
    };
    const struct pg_member_list list = {members, 2};
    struct pg_params params = {0};
    struct err err = {.code = OK};

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    in.text = text;
    assert_int_equal(open_plan("text", &err), OK);
    assert_int_equal(pg_bind_set(plans, 0, &list, arena, &params, &err), ERR_TOO_LARGE);
    assert_string_equal(err.field, "text");
}

int main(void)
{
#define BIND(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        BIND(values_become_arrays),
        BIND(context_is_each_ones_own),
        BIND(arrays_of_arrays_are_refused),
        BIND(too_much_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
