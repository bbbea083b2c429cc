/*
 * Any bytes as a body ("{...") or as a parameter ("?name=value") of the sample request: never a
 * crash, what is written is JSON, and what was accepted is written the same after another round.
 */
#include "tests/support/sample.h"

#include "libcommon/base/limits.h"
#include "libcommon/codec/rules.h"
#include "libcommon/codec/transcode.h"

#include <assert.h>

#define OUT_BYTES_MAX ((size_t)4 * 1024 * 1024)

/* NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct date today = {2025, 6, 15};

static ProtobufCMessage *new_order(struct arena *arena)
{
    ProtobufCMessage *order = transcode_new(&sample__order__descriptor, arena);

    assert(order != NULL);
    return order;
}

static struct str encode(const ProtobufCMessage *order, struct arena *arena)
{
    struct str out = STR_EMPTY;
    struct err err = {0};
    enum code code =
        transcode_to_json(order, &sample_order_rules, -1, arena, OUT_BYTES_MAX, &out, &err);

    if (code != OK) {
        assert(code == ERR_TOO_LARGE);
        return STR_EMPTY;
    }
    assert(json_check(out, &err) == OK);
    return out;
}

static void round_trip(struct str first, struct arena *arena)
{
    ProtobufCMessage *order = new_order(arena);
    struct violations violations;
    struct str second;
    enum code code = OK;

    violations_init(&violations, arena);
    code = transcode_from_json(first, &sample_order_rules, arena, order, &violations, NULL);
    if (code == OK) {
        second = encode(order, arena);
        assert(second.len == 0 || str_eq(first, second));
    } else {
        assert(code == ERR_TOO_LARGE);
    }
}

static void as_body(struct str json, struct arena *arena)
{
    ProtobufCMessage *order = new_order(arena);
    struct violations violations;
    struct err err = {0};
    struct str out;
    enum code code = OK;

    violations_init(&violations, arena);
    code = transcode_from_json(json, &sample_order_rules, arena, order, &violations, &err);
    assert(code == err.code);
    if (code != OK) {
        assert(code == ERR_JSON || code == ERR_TOO_LARGE);
        return;
    }
    if (violations.count == 0) {
        out = encode(order, arena);
        if (out.len > 0) {
            round_trip(out, arena);
        }
    }
    rules_check(order, &sample_order_rules, today, &violations);
}

static void as_parameter(struct str text, struct arena *arena)
{
    ProtobufCMessage *order = new_order(arena);
    struct violations violations;
    struct str name = STR_EMPTY;
    bool known = false;

    violations_init(&violations, arena);
    if (!str_split(&text, '=', &name) || text.ptr == NULL) {
        return;
    }
    for (int source = API_SOURCE_BODY; source <= API_SOURCE_HEADER; source++) {
        enum code code = OK;

        /* Messages come in bodies only. */
        if (str_eq(name, STR("lines")) || str_eq(name, STR("first"))) {
            continue;
        }
        code = transcode_set_text(&sample_order_rules,
                                  (enum api_source)source,
                                  name,
                                  text,
                                  arena,
                                  order,
                                  &violations,
                                  &known);
        assert(code == OK || code == ERR_TOO_LARGE);
    }
    (void)encode(order, arena);
    rules_check(order, &sample_order_rules, today, &violations);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct arena_pool *pool;
    struct str text = {(const char *)data, size};
    struct arena *arena = NULL;

    if (pool == NULL) {
        pool = arena_pool_open(ARENA_CHUNK_BYTES, 4096);
    }
    arena = arena_open(pool, (size_t)REQUEST_ARENA_BYTES_MAX);
    assert(arena != NULL);
    if (str_starts(text, STR("?"))) {
        as_parameter(str_sub(text, 1, size), arena);
    } else {
        as_body(text, arena);
    }
    arena_dispose(&arena);
    return 0;
}
