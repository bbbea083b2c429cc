/* apigen on tests/proto/bad_*.proto: what is wrong is refused, with the words a person needs. */

#include "tests/support/check.h"
#include "tests/support/tool.h"

#include <stdio.h>
#include <string.h>

#define ROWS_OF(array) (sizeof(array) / sizeof((array)[0]))

/* Every line must be there, and no other complaint. */
static void refuses(const char *proto, const char *const *lines, size_t count)
{
    struct tool_path set = tool_descriptor_set(proto);
    struct tool_path out = tool_scratch("refused");
    char prefix[128];
    char total[64];
    const char *text = NULL;

    (void)snprintf(prefix, sizeof(prefix), "apigen: %s: ", proto);
    (void)snprintf(total, sizeof(total), "apigen: %zu errors in the declarations\n", count);
    assert_int_equal(tool_apigen("methods-c", &set, "refused", NULL, &text), 1);
    for (size_t i = 0; i < count; i++) {
        char line[512];
        (void)snprintf(line, sizeof(line), "%s%s\n", prefix, lines[i]);
        tool_holds(text, line);
    }
    tool_holds(text, total);
    assert_null(fopen(out.text, "rbe")); /* nothing is left behind */
}

static void refuses_bad_http(void **state)
{
    static const char *const lines[] = {
        "rpc Bad.Twice: GET /api/rows/{id} is already bound to rpc Bad.Fine",
        "rpc Bad.OtherName: path /api/rows/{key} is written /api/rows/{id} in rpc Bad.Fine",
        "rpc Bad.OtherName: path /api/rows/{key} is written /api/rows/{id} in rpc Bad.Twice",
        "rpc Bad.NoSuchField: path parameter {number} is no field of avanta.tools.IdRequest",
        "rpc Bad.Permission: unknown permission \"root\"",
        "rpc Bad.Verb: unknown method \"FETCH\"",
        "rpc Bad.PathForm: path \"/api/d-{id}\" is not well-formed",
        "rpc Bad.BodyField: response_body \"rows\" is no field of avanta.tools.Reply",
        "rpc Bad.Media: media_type needs a response_body that is string or bytes",
        "rpc Bad.Status: status 404 is no success",
        "rpc Bad.Deadline: deadline_ms must be 1 to 30000",
        "rpc Bad.MixedVerbs: bindings GET and POST differ in having a body",
        "rpc Bad.NoHttp: no http option, but its messages are those of rpc Bad.Fine",
        "rpc Bad.Stream: streams are not supported",
        "rpc Bad.Register: protobuf-c would name a member with the C word register",
    };

    (void)state;
    refuses("bad_http.proto", lines, ROWS_OF(lines));
}

static void refuses_bad_sources(void **state)
{
    static const char *const lines[] = {
        "message avanta.tools.BothRequest, field name: comes from different places in rpc "
        "Bad.ReadBoth and rpc Bad.WriteBoth",
        "message avanta.tools.QueryRequest, field row: cannot come from the query",
        "message avanta.tools.QueryRequest, field names: repeated: cannot come from the path",
        "message avanta.tools.Inner, field agent: nested in avanta.tools.NestedRequest: can only "
        "come from the body",
        "message avanta.tools.Reply, field row: a message in a reply must be optional, not required",
        "rpc Bad.Forced: path parameter {id} has another source",
    };

    (void)state;
    refuses("bad_sources.proto", lines, ROWS_OF(lines));
}

static void refuses_bad_fields(void **state)
{
#define BAD "message avanta.tools.Request, field "
    static const char *const lines[] = {
        BAD "money_type: money needs int64",
        BAD "decimals_type: decimals needs int64",
        BAD "flag_type: flag needs bool",
        BAD "date_type: date needs string",
        BAD "nulls_type: nulls needs repeated string",
        BAD "min_type: min needs an integer",
        BAD "length_type: max_len needs text or a list",
        BAD "pattern_name: unknown pattern \"zip\"",
        BAD "both_scales: money has two decimals: decimals is one too many",
        BAD "too_fine: decimals must be 1 to 9",
        BAD "future: not_future needs date",
        BAD "range: min is above max",
        BAD "cases: upper and lower exclude each other",
        BAD "same_name: API name \"fine_name\" is also that of field fine_name",
        BAD "same_alias: alias \"fine_name\" is also a name of field fine_name",
        BAD "same_alias: alias \"fine_name\" is also a name of field same_name",
        BAD "real: float, double and groups have no JSON form here",
        BAD "pairs: map has no JSON form here: use raw_json",
        BAD "one: oneof has no JSON form here",
        BAD "no_cookie: SOURCE_COOKIE needs cookie",
        "message avanta.tools.Reply, field clears: nullable needs a nulls field in the message",
    };
#undef BAD

    (void)state;
    refuses("bad_fields.proto", lines, ROWS_OF(lines));
}

static void refuses_bad_events(void **state)
{
    static const char *const lines[] = {
        "message avanta.tools.NoSubject: an event needs subject, entity and action",
        "message avanta.tools.OnlyEntity: an event needs subject, entity and action",
        "message avanta.tools.Form: event subject \"evt.tools.row\" is not "
        "evt.<service>.<entity>.<verb>",
        "message avanta.tools.Loud: alert \"loud\" is not info, warning or critical",
        "message avanta.tools.Second: event subject \"evt.tools.row.created\" is also that of "
        "avanta.tools.First",
    };

    (void)state;
    refuses("bad_events.proto", lines, ROWS_OF(lines));
}

static void refuses_bad_reasons(void **state)
{
    static const char *const lines[] = {
        "enum Reason, value UNKNOWN_CODE: unknown error code \"ERR_TEAPOT\"",
        "enum Reason, value NO_CODE: option refusal needs error and text",
        "enum Reason, value SUCCESS: unknown error code \"OK\"",
    };

    (void)state;
    refuses("bad_reasons.proto", lines, ROWS_OF(lines));
}

static void refuses_bad_calls(void **state)
{
    struct tool_path set = tool_descriptor_set("tools_good.proto");
    struct tool_path missing = tool_scratch("missing.pb");
    struct tool_path nonsense = tool_scratch("nonsense.pb");
    const char *text = NULL;

    (void)state;
    assert_int_equal(tool_apigen("poem", &set, "refused", NULL, &text), 1);
    tool_holds(text, "unknown kind poem");
    assert_int_equal(tool_apigen("ops-c", &set, "refused", NULL, &text), 1);
    tool_holds(text, "usage: apigen ops-c");
    assert_int_equal(tool_apigen("ops-c", &set, "refused", "cellar", &text), 1);
    tool_holds(text, "no service \"cellar\" is declared");
    assert_int_equal(tool_apigen("methods-c", &missing, "refused", NULL, &text), 1);
    tool_holds(text, "missing.pb: ");
    tool_write(&nonsense, "\xff\xff\xff");
    assert_int_equal(tool_apigen("methods-c", &nonsense, "refused", NULL, &text), 1);
    tool_holds(text, "not a descriptor set");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_bad_http),
        cmocka_unit_test(refuses_bad_sources),
        cmocka_unit_test(refuses_bad_fields),
        cmocka_unit_test(refuses_bad_events),
        cmocka_unit_test(refuses_bad_reasons),
        cmocka_unit_test(refuses_bad_calls),
    };

    return cmocka_run_group_tests(tests, tool_setup, tool_teardown);
}
