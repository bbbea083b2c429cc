/* Trace context: what goes on and what begins anew. */
#include "gateway/trace.h"
#include "tests/support/check.h"

#include <string.h>

static const char good[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

static void assert_form(const char *trace)
{
    assert_int_equal(strlen(trace), TRACEPARENT_BYTES - 1);
    assert_memory_equal(trace, "00-", 3);
    assert_int_equal(trace[35], '-');
    assert_string_equal(trace + 52, "-01");
    assert_int_equal(strspn(trace + 3, "0123456789abcdef"), 32);
    assert_int_equal(strspn(trace + 36, "0123456789abcdef"), 16);
}

static void a_callers_trace_goes_on(void **state)
{
    char out[TRACEPARENT_BYTES];

    (void)state;
    trace_continue(str_from(good), out);
    assert_form(out);
    assert_memory_equal(out, good, 36);               /* the trace is the caller's */
    assert_memory_not_equal(out + 36, good + 36, 16); /* the span is ours */
}

static void what_is_no_trace_begins_anew(void **state)
{
    static const char *const bad[] = {
        "",
        "00",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    };
    char before[TRACEPARENT_BYTES] = "";
    char out[TRACEPARENT_BYTES];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        trace_continue(str_from(bad[i]), out);
        assert_form(out);
        assert_memory_not_equal(out + 3, good + 3, 32);
        assert_string_not_equal(out, before);
        memcpy(before, out, sizeof before);
    }
    trace_continue(STR_EMPTY, out);
    assert_form(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_callers_trace_goes_on),
        cmocka_unit_test(what_is_no_trace_begins_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
