/*
 * apigen on tests/proto/tools_good.proto and tests/proto/bad_*.proto: the tables it writes are
 * compiled, loaded and looked at; what is wrong is refused with the words a person needs.
 */

#include "tests/support/check.h"
#include "tests/support/tool.h"

#include "libcommon/codec/api.h"
#include "libcommon/codec/transcode.h"
#include "libcommon/service/op.h"

#include <stdio.h>
#include <string.h>

#define ROWS_OF(array) (sizeof(array) / sizeof((array)[0]))

/* --- setup ---------------------------------------------------------------------------- */

static void *library; /* the generated tables of tools_good.proto */

static void
generate(const char *kind, const struct tool_path *set, const char *name, const char *argument)
{
    const char *text = NULL;

    if (tool_apigen(kind, set, name, argument, &text) != 0) {
        fail_msg("%s: %s", kind, text);
    }
}

/* The handlers that the operation table must find. */
static const char handlers[] = "#include \"stock_room_ops.gen.h\"\n"
                               "#include \"gateway_local.gen.h\"\n"
                               "const struct op op_stock_room_create_item = {0};\n"
                               "const struct op op_stock_room_update_item = {0};\n"
                               "const struct op op_stock_room_get_item = {0};\n"
                               "const struct op op_stock_room_list_items = {0};\n"
                               "const struct op op_stock_room_log_in = {0};\n"
                               "const struct op op_stock_room_export_items = {0};\n"
                               "const struct op op_stock_room_count_again = {0};\n"
                               "enum code local_ping(struct local_call *call)\n"
                               "{\n    (void)call;\n    return OK;\n}\n";

static int good_setup(void **state)
{
    static const char *const protos[] = {"tools_good.proto",
                                         "avanta/common.proto",
                                         "avanta/options.proto",
                                         "google/protobuf/descriptor.proto"};
    static const char *const sources[] = {"api.gen.c",
                                          "stock_room_ops.gen.c",
                                          "gateway_local.gen.c",
                                          "handlers.c",
                                          "tools_good.pb-c.c",
                                          "avanta/common.pb-c.c",
                                          "avanta/options.pb-c.c",
                                          "google/protobuf/descriptor.pb-c.c"};
    struct tool_path set;
    struct tool_path file;

    if (tool_setup(state) != 0) {
        return -1;
    }
    set = tool_descriptor_set("tools_good.proto");
    for (size_t i = 0; i < ROWS_OF(protos); i++) {
        tool_protobuf_c(protos[i]);
    }
    generate("methods-h", &set, "api.gen.h", NULL);
    generate("methods-c", &set, "api.gen.c", NULL);
    generate("ops-h", &set, "stock_room_ops.gen.h", "stock-room");
    generate("ops-c", &set, "stock_room_ops.gen.c", "stock-room");
    generate("ops-h", &set, "gateway_local.gen.h", "gateway");
    generate("ops-c", &set, "gateway_local.gen.c", "gateway");
    generate("openapi", &set, "openapi.json", "7.8.9");
    generate("markdown", &set, "api.md", NULL);
    generate("errors", &set, "errors.md", NULL);
    generate("events", &set, "events.md", NULL);
    file = tool_scratch("handlers.c");
    tool_write(&file, handlers);
    library = tool_load("good.so", sources, ROWS_OF(sources));
    return 0;
}

static const struct message_rules *rules(const char *name)
{
    char symbol[128];

    (void)snprintf(symbol, sizeof(symbol), "rules_avanta_tools_%s", name);
    return tool_symbol(library, symbol);
}

static const struct field_rule *field(const char *message, const char *proto_name)
{
    const struct message_rules *r = rules(message);

    for (unsigned i = 0; i < r->descriptor->n_fields; i++) {
        if (strcmp(r->descriptor->fields[i].name, proto_name) == 0) {
            return &r->fields[i];
        }
    }
    fail_msg("no field %s in %s", proto_name, message);
    return NULL;
}

static const struct api_method *method(const char *name)
{
    const struct api_method *methods = tool_symbol(library, "api_methods");

    for (size_t i = 0; i < 8; i++) {
        if (strcmp(methods[i].name, name) == 0) {
            return &methods[i];
        }
    }
    fail_msg("no method %s", name);
    return NULL;
}

static void methods_carry_their_options(void **state)
{
    const struct api_method *create = method("CreateItem");
    const struct api_method *update = method("UpdateItem");
    const struct api_method *log_in = method("LogIn");

    (void)state;
    assert_ptr_equal(create, tool_symbol(library, "api_methods")); /* in file order */
    assert_string_equal(create->service, "stock-room");
    assert_string_equal(create->full_name, "stock-room.CreateItem");
    assert_string_equal(create->subject, "rpc.stock-room.CreateItem");
    assert_string_equal(create->summary, "Add an \"item\"");
    assert_ptr_equal(create->in, rules("create_item_request"));
    assert_ptr_equal(create->out, rules("item"));
    assert_int_equal(create->status, 201);
    assert_int_equal(create->permission, API_BOOKS_READ);
    assert_int_equal(create->deadline_ms, 5000);
    assert_int_equal(create->body_field, -1);
    assert_true(create->writes);
    assert_null(create->media_type);
    assert_int_equal(update->deadline_ms, 9000);
    assert_int_equal(update->status, 200);
    assert_int_equal(log_in->permission, API_PUBLIC);
    assert_true(log_in->writes);
}

static void special_methods(void **state)
{
    const struct api_method *again = method("CountAgain");
    const struct api_method *ping = method("Ping");
    const struct api_method *csv = method("ExportItems");
    const struct api_method *list = method("ListItems");

    (void)state;
    assert_int_equal(again->permission, API_PUBLIC);
    assert_string_equal(again->subject, "rpc.stock-room.CountAgain");
    assert_null(ping->subject);
    assert_int_equal(csv->permission, API_USERS_ADMIN);
    assert_string_equal(csv->media_type, "text/csv");
    assert_int_equal(csv->body_field, 0);
    assert_false(csv->writes);
    /* `items` is declared second and has the lower number. */
    assert_int_equal(list->body_field, 0);
    assert_string_equal(list->out->descriptor->fields[0].name, "items");
}

static void routes_are_every_binding(void **state)
{
    static const struct {
        const char *verb;
        const char *path;
        const char *method;
    } expected[] = {
        {"POST",  "/api/items",      "CreateItem" },
        {"PUT",   "/api/items/{id}", "UpdateItem" },
        {"PATCH", "/api/items/{id}", "UpdateItem" },
        {"GET",   "/api/items/{id}", "GetItem"    },
        {"GET",   "/api/items",      "ListItems"  },
        {"POST",  "/api/log-in",     "LogIn"      },
        {"GET",   "/api/items.csv",  "ExportItems"},
        {"GET",   "/api/ping",       "Ping"       },
    };
    const struct api_route *routes = tool_symbol(library, "api_routes");
    const struct api_method *methods = tool_symbol(library, "api_methods");
    struct tool_path header = tool_scratch("api.gen.h");

    (void)state;
    for (size_t i = 0; i < ROWS_OF(expected); i++) {
        assert_string_equal(routes[i].verb, expected[i].verb);
        assert_string_equal(routes[i].path, expected[i].path);
        assert_string_equal(methods[routes[i].method].name, expected[i].method);
    }
    assert_non_null(strstr(tool_read(&header), "API_ROUTE_COUNT = 8,"));
}

static void row_fits(const struct field_rule *rule, const ProtobufCFieldDescriptor *f)
{
    bool renamed = strcmp(rule->name, "isActive") == 0;

    assert_string_equal(renamed ? "is_active" : rule->name, f->name);
    if (f->type != PROTOBUF_C_TYPE_MESSAGE) {
        assert_null(rule->message);
        return;
    }
    assert_ptr_equal(rule->message->descriptor, f->descriptor);
}

static void rows_are_parallel_to_descriptors(void **state)
{
    static const char *const messages[] = {"item",
                                           "item_place",
                                           "shelf",
                                           "create_item_request",
                                           "line",
                                           "update_item_request",
                                           "item_id_request",
                                           "list_items_request",
                                           "list_items_reply",
                                           "log_in_request",
                                           "log_in_reply",
                                           "export_items_reply",
                                           "count_again_request",
                                           "count_again_reply",
                                           "ping_reply",
                                           "item_created"};

    (void)state;
    for (size_t i = 0; i < ROWS_OF(messages); i++) {
        const struct message_rules *r = rules(messages[i]);
        for (unsigned k = 0; k < r->descriptor->n_fields; k++) {
            row_fits(&r->fields[k], &r->descriptor->fields[k]);
        }
    }
    assert_string_equal(field("item", "is_active")->name, "isActive");
    assert_ptr_equal(field("shelf", "inner")->message, rules("shelf"));
}

static void rules_become_flags(void **state)
{
    static const struct {
        const char *field;
        uint32_t flags;
    } rows[] = {
        {"name",      RULE_REQUIRED                                           },
        {"price",     RULE_REQUIRED | RULE_MONEY | RULE_HAS_MIN | RULE_HAS_MAX},
        {"weight",    RULE_MONEY | RULE_DECIMAL | RULE_HAS_MIN                },
        {"is_active", RULE_FLAG                                               },
        {"added_on",  RULE_DATE | RULE_NOT_FUTURE                             },
        {"kind",      0                                                       },
        {"owner",     RULE_UPPER | RULE_EMPTY_IS_NULL                         },
        {"extra",     RULE_RAW_JSON                                           },
        {"notes",     RULE_MULTILINE                                          },
        {"secret",    RULE_EXACT                                              },
        {"mail",      RULE_LOWER                                              },
        {"stamp",     RULE_HIDDEN                                             },
    };

    (void)state;
    for (size_t i = 0; i < ROWS_OF(rows); i++) {
        assert_int_equal(field("create_item_request", rows[i].field)->flags, rows[i].flags);
    }
    assert_int_equal(field("update_item_request", "name")->flags, RULE_NULLABLE);
    assert_int_equal(field("update_item_request", "nulls")->flags, RULE_NULLS);
    assert_true(rules("create_item_request")->strict);
    assert_false(rules("update_item_request")->strict);
}

static void rules_carry_their_values(void **state)
{
    const struct field_rule *name = field("create_item_request", "name");
    const struct field_rule *price = field("create_item_request", "price");
    const struct field_rule *kind = field("create_item_request", "kind");

    (void)state;
    assert_int_equal(name->len_min, 1);
    assert_int_equal(name->len_max, 40);
    assert_string_equal(name->aliases[0], "title");
    assert_string_equal(name->aliases[1], "label");
    assert_null(name->aliases[2]);
    assert_null(price->aliases);
    assert_int_equal(price->min, 1);
    assert_int_equal(price->max, 99999);
    assert_int_equal(price->decimals, 2);
    assert_int_equal(field("create_item_request", "weight")->min, -1);
    assert_int_equal(field("create_item_request", "weight")->decimals, 3);
    assert_string_equal(kind->values[0], "box");
    assert_string_equal(kind->values[1], "can");
    assert_null(kind->values[2]);
    assert_int_equal(field("create_item_request", "owner")->pattern, API_PATTERN_RFC);
    assert_int_equal(field("create_item_request", "mail")->pattern, API_PATTERN_EMAIL);
}

static void nulls_shown_come_from_shape_and_field(void **state)
{
    (void)state;
    assert_true((field("item", "price")->flags & RULE_NULL_SHOWN) != 0);
    assert_true((field("item", "added_on")->flags & RULE_NULL_SHOWN) == 0);
    assert_true((field("list_items_reply", "total")->flags & RULE_NULL_SHOWN) == 0);
}

static void sources_follow_verb_path_and_rule(void **state)
{
    static const struct {
        const char *message;
        const char *field;
        enum api_source source;
    } rows[] = {
        {"create_item_request", "name",    API_SOURCE_BODY  },
        {"create_item_request", "dry_run", API_SOURCE_QUERY },
        {"update_item_request", "id",      API_SOURCE_PATH  },
        {"update_item_request", "name",    API_SOURCE_BODY  },
        {"item_id_request",     "id",      API_SOURCE_PATH  },
        {"list_items_request",  "limit",   API_SOURCE_QUERY },
        {"log_in_request",      "session", API_SOURCE_COOKIE},
        {"log_in_request",      "agent",   API_SOURCE_HEADER},
        {"log_in_request",      "name",    API_SOURCE_BODY  },
        {"line",                "item_id", API_SOURCE_BODY  },
    };
    const struct field_rule *sent = field("log_in_reply", "session");

    (void)state;
    for (size_t i = 0; i < ROWS_OF(rows); i++) {
        assert_int_equal(field(rows[i].message, rows[i].field)->source, rows[i].source);
    }
    assert_string_equal(field("log_in_request", "agent")->header, "User-Agent");
    assert_string_equal(field("log_in_request", "session")->cookie_path, "/");
    assert_string_equal(sent->cookie, "sid");
    assert_string_equal(sent->cookie_path, "/api");
    assert_int_equal(sent->cookie_max_age_s, 60);
    assert_true((sent->flags & RULE_HIDDEN) != 0);
}

static void reasons_and_events(void **state)
{
    const struct api_reason *reasons = tool_symbol(library, "api_reasons");
    const struct api_event *events = tool_symbol(library, "api_events");

    (void)state;
    assert_string_equal(reasons[0].wire, "NONE");
    assert_int_equal(reasons[0].code, OK);
    assert_string_equal(reasons[1].wire, "INVALID_CREDENTIALS");
    assert_int_equal(reasons[1].code, ERR_UNAUTHENTICATED);
    assert_string_equal(events[0].subject, "evt.stock-room.item.created");
    assert_string_equal(events[0].entity, "item");
    assert_string_equal(events[0].action, "create");
    assert_string_equal(events[0].alert, "alert.info.stock-room");
    assert_ptr_equal(events[0].rules, rules("item_created"));
    assert_ptr_equal(events[0].descriptor, rules("item_created")->descriptor);
}

static void operations_meet_their_handlers(void **state)
{
    const struct op_row *rows = tool_symbol(library, "stock_room_op_rows");
    const size_t *count = tool_symbol(library, "stock_room_op_row_count");
    const size_t *local_count = tool_symbol(library, "gateway_local_row_count");

    (void)state;
    assert_int_equal(*count, 7);
    assert_int_equal(*local_count, 1);
    assert_ptr_equal(rows[0].method, method("CreateItem"));
    assert_ptr_equal(rows[0].op, tool_symbol(library, "op_stock_room_create_item"));
    assert_ptr_equal(rows[6].method, method("CountAgain"));
    assert_ptr_equal(rows[6].op, tool_symbol(library, "op_stock_room_count_again"));
}

static void unreached_messages_have_no_rules(void **state)
{
    struct tool_path header = tool_scratch("api.gen.h");

    (void)state;
    assert_null(strstr(tool_read(&header), "rules_avanta_tools_unused"));
    assert_null(strstr(tool_read(&header), "rules_avanta_request"));
}

/* --- documents ------------------------------------------------------------------------------- */

static void holds_all(const char *file, const char *const *texts, size_t count)
{
    struct tool_path path = tool_scratch(file);
    const char *document = tool_read(&path);

    for (size_t i = 0; i < count; i++) {
        tool_holds(document, texts[i]);
    }
}

static void openapi_shows_the_rules(void **state)
{
    static const char *const texts[] = {
        "\"openapi\": \"3.1.0\"",
        "\"version\": \"7.8.9\"",
        "\"/api/items/{id}\": {\n      \"put\": {",
        "\"operationId\": \"stock_room_update_item_2\"",
        "\"multipleOf\": 0.01",
        "\"maximum\": 999.99",
        "\"default\": 1.500",
        "\"minimum\": -0.001",
        "\"name\": \"User-Agent\",\n            \"in\": \"header\"",
        "\"name\": \"sid\",\n            \"in\": \"cookie\"",
        "\"additionalProperties\": false",
        "\"text/csv\": {",
        "\"CALM\",\n              \"ANGRY\",\n              null",
        "\"description\": \"Also accepted as title, label\"",
        "\"security\": []",
        "#/components/parameters/IdempotencyKey",
    };
    struct tool_path path = tool_scratch("openapi.json");
    const char *document = tool_read(&path);

    (void)state;
    assert_int_equal(json_check(str_from(document), NULL), OK);
    assert_null(strstr(document, "stamp"));     /* hidden */
    assert_null(strstr(document, "\"nulls\"")); /* ours alone */
    assert_null(strstr(document, "CountAgain"));
    holds_all("openapi.json", texts, ROWS_OF(texts));
}

static void markdown_shows_the_rules(void **state)
{
    static const char *const texts[] = {
        "### POST /api/items\n\nAdd an \"item\".",
        "Also `PATCH /api/items/{id}`.",
        "| `price` | body | money | **required**; 0.01 to 999.99 |",
        "| `weight` | body | decimal | at least -0.001; 3 decimals; default `1.500` |",
        "| `lines` | body | list of [tools.Line](#toolsline) | at most 5 items |",
        "Free \\| text",
        "Over the bus only: `rpc.stock-room.CountAgain`.",
    };

    (void)state;
    holds_all("api.md", texts, ROWS_OF(texts));
}

static void errors_and_events_have_pages(void **state)
{
    static const char *const errors[] = {
        "| `VALIDATION_ERROR` | 400 | validation | no | The request is not valid | correct the",
        "| `TIMEOUT` | 504 | dependency | yes |",
        "| `INVALID_CREDENTIALS` | 401 | no |",
    };
    static const char *const events[] = {
        "| `evt.stock-room.item.created` | `avanta.tools.ItemCreated` | item | create | "
        "info | `item` (avanta.tools.Item) |",
    };

    (void)state;
    holds_all("errors.md", errors, ROWS_OF(errors));
    holds_all("events.md", events, ROWS_OF(events));
}

static void outputs_are_stable(void **state)
{
    static char first[16 * TOOL_TEXT_BYTES];
    struct tool_path set = tool_descriptor_set("tools_good.proto");
    struct tool_path path = tool_scratch("openapi.json");

    (void)state;
    (void)snprintf(first, sizeof(first), "%s", tool_read(&path));
    generate("openapi", &set, "openapi.json", "7.8.9");
    assert_string_equal(first, tool_read(&path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(methods_carry_their_options),
        cmocka_unit_test(special_methods),
        cmocka_unit_test(routes_are_every_binding),
        cmocka_unit_test(rows_are_parallel_to_descriptors),
        cmocka_unit_test(rules_become_flags),
        cmocka_unit_test(rules_carry_their_values),
        cmocka_unit_test(nulls_shown_come_from_shape_and_field),
        cmocka_unit_test(sources_follow_verb_path_and_rule),
        cmocka_unit_test(reasons_and_events),
        cmocka_unit_test(operations_meet_their_handlers),
        cmocka_unit_test(unreached_messages_have_no_rules),
        cmocka_unit_test(openapi_shows_the_rules),
        cmocka_unit_test(markdown_shows_the_rules),
        cmocka_unit_test(errors_and_events_have_pages),
        cmocka_unit_test(outputs_are_stable),
    };

    return cmocka_run_group_tests(tests, good_setup, tool_teardown);
}
