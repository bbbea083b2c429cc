#include "libcommon/codec/json_read.h"

#include "libcommon/base/limits.h"
#include "libcommon/codec/json_keys.h"
#include "libcommon/codec/json_scan.h"

#include <assert.h>
#include <string.h>
#include <yajl/yajl_parse.h>

#define MEMORY_BYTES  8192 /* yajl's handle, lexer, stack, two first buffers of 2 KiB, a message */
#define MEMORY_ALIGN  16
#define ESCAPED_SMALL 1024 /* strings that fit yajl's first buffer */

/* Memory for one run of yajl: blocks one behind the other, each with its size in front. */
struct parser_memory {
    unsigned char *base;
    size_t cap;
    size_t at;
};

struct reader {
    struct str json;
    yajl_handle parser;
    json_visit *visit;
    void *ctx;
    struct json_keys keys;
    size_t last; /* end of the last token */
    bool at_end; /* yajl is finishing a scalar in a buffer of its own */
    enum code code;
    struct err *err;
};

static size_t aligned(size_t bytes)
{
    return (bytes + (MEMORY_ALIGN - 1)) & ~(size_t)(MEMORY_ALIGN - 1);
}

/* yajl does not check for NULL. What it asks for is bounded by json_scan(), and the memory is sized
 * for that bound, so running out is our mistake. */
static void *memory_alloc(void *ctx, size_t bytes)
{
    struct parser_memory *memory = ctx;
    unsigned char *block = memory->base + memory->at;

    assert(bytes <= memory->cap);
    assert(memory->at + MEMORY_ALIGN + aligned(bytes) <= memory->cap);
    memcpy(block, &bytes, sizeof(bytes));
    memory->at += MEMORY_ALIGN + aligned(bytes);
    return block + MEMORY_ALIGN;
}

static void memory_free(void *ctx, void *block)
{
    assert(ctx != NULL);
    (void)block; /* all of it goes at once */
}

static void *memory_realloc(void *ctx, void *block, size_t bytes)
{
    struct parser_memory *memory = ctx;
    unsigned char *old = block;
    size_t had = 0;
    void *larger = NULL;

    assert(memory->base != NULL);
    if (old == NULL) {
        return memory_alloc(ctx, bytes);
    }
    memcpy(&had, old - MEMORY_ALIGN, sizeof(had));
    if (old + aligned(had) == memory->base + memory->at) {
        memory->at = (size_t)(old - MEMORY_ALIGN - memory->base);
        return memory_alloc(ctx, bytes); /* the last block grows where it is */
    }
    larger = memory_alloc(ctx, bytes);
    memcpy(larger, old, had < bytes ? had : bytes);
    return larger;
}

static yajl_alloc_funcs memory_functions(struct parser_memory *memory)
{
    return (yajl_alloc_funcs){memory_alloc, memory_realloc, memory_free, memory};
}

/* Tokens are separated by white space, commas and colons, for which yajl has no events. */
static size_t token_start(const struct reader *r)
{
    size_t at = r->last;

    assert(r->last <= r->json.len);
    while (at < r->json.len && strchr(" \t\r\n,:", r->json.ptr[at]) != NULL) {
        at++;
    }
    return at;
}

static enum code keys_follow(struct reader *r, const struct json_event *event)
{
    assert(event != NULL);
    switch (event->kind) {
    case JSON_KEY:
        return json_keys_add(&r->keys, r->json, event->text, r->err);
    case JSON_OBJECT_BEGIN:
    case JSON_ARRAY_BEGIN:
        json_keys_open(&r->keys);
        return OK;
    case JSON_OBJECT_END:
    case JSON_ARRAY_END:
        return json_keys_close(&r->keys, r->err);
    case JSON_NULL:
    case JSON_BOOL:
    case JSON_NUMBER:
    case JSON_STRING:
        break;
    }
    return OK;
}

static int deliver(struct reader *r, enum json_kind kind, struct str text, bool boolean)
{
    struct json_event event = {kind, boolean, text, 0, 0};

    assert(r->code == OK);
    assert(r->visit != NULL);
    event.from = token_start(r);
    event.to = r->at_end ? r->json.len : yajl_get_bytes_consumed(r->parser);
    assert(event.from <= event.to);
    r->last = event.to;
    r->code = keys_follow(r, &event);
    if (r->code == OK) {
        r->code = r->visit(r->ctx, &event);
    }
    return r->code == OK ? 1 : 0;
}

static int on_null(void *ctx)
{
    return deliver(ctx, JSON_NULL, STR_EMPTY, false);
}

static int on_boolean(void *ctx, int value)
{
    return deliver(ctx, JSON_BOOL, STR_EMPTY, value != 0);
}

static int on_number(void *ctx, const char *text, size_t len)
{
    return deliver(ctx, JSON_NUMBER, (struct str){text, len}, false);
}

static int on_string(void *ctx, const unsigned char *text, size_t len)
{
    return deliver(ctx, JSON_STRING, (struct str){(const char *)text, len}, false);
}

static int on_key(void *ctx, const unsigned char *text, size_t len)
{
    return deliver(ctx, JSON_KEY, (struct str){(const char *)text, len}, false);
}

static int on_object_begin(void *ctx)
{
    return deliver(ctx, JSON_OBJECT_BEGIN, STR_EMPTY, false);
}

static int on_object_end(void *ctx)
{
    return deliver(ctx, JSON_OBJECT_END, STR_EMPTY, false);
}

static int on_array_begin(void *ctx)
{
    return deliver(ctx, JSON_ARRAY_BEGIN, STR_EMPTY, false);
}

static int on_array_end(void *ctx)
{
    return deliver(ctx, JSON_ARRAY_END, STR_EMPTY, false);
}

static const yajl_callbacks callbacks = {
    .yajl_null = on_null,
    .yajl_boolean = on_boolean,
    .yajl_number = on_number,
    .yajl_string = on_string,
    .yajl_start_map = on_object_begin,
    .yajl_map_key = on_key,
    .yajl_end_map = on_object_end,
    .yajl_start_array = on_array_begin,
    .yajl_end_array = on_array_end,
};

/* In words of our own: clients are told them. Past the end yajl counts in a buffer of its own. */
static enum code syntax_error(yajl_handle parser, bool at_end, size_t bytes, struct err *err)
{
    if (at_end) {
        return err_set(err,
                       ERR_JSON,
                       "the text ends after byte %zu before its JSON is complete: "
                       "a bracket, a quote or a value is missing",
                       bytes);
    }
    return err_set(err,
                   ERR_JSON,
                   "what stands at byte %zu is no JSON there: "
                   "look for a missing or surplus comma, quote or bracket",
                   yajl_get_bytes_consumed(parser));
}

/* `r` is NULL when nobody wants the events. */
static enum code parse(struct str json, struct reader *r, yajl_alloc_funcs *memory, struct err *err)
{
    yajl_handle parser = yajl_alloc(r == NULL ? NULL : &callbacks, memory, r);
    yajl_status status = yajl_status_ok;
    enum code code = OK;
    bool at_end = false;

    assert(parser != NULL);
    if (r != NULL) {
        r->parser = parser;
    }
    status = yajl_parse(parser, (const unsigned char *)json.ptr, json.len);
    if (status == yajl_status_ok) {
        at_end = true;
        if (r != NULL) {
            r->at_end = true;
        }
        status = yajl_complete_parse(parser);
    }
    if (status == yajl_status_error) {
        code = syntax_error(parser, at_end, json.len, err);
    } else if (status == yajl_status_client_canceled) {
        assert(r != NULL);
        assert(r->code != OK);
        code = r->code;
    }
    yajl_free(parser);
    return code;
}

enum code json_validate(struct str json, struct err *err)
{
    unsigned char bytes[MEMORY_BYTES] __attribute__((aligned(MEMORY_ALIGN)));
    struct parser_memory memory = {bytes, sizeof(bytes), 0};
    yajl_alloc_funcs functions = memory_functions(&memory);
    size_t escaped_bytes_max = 0;
    enum code code = json_scan(json, &escaped_bytes_max, err);

    return code == OK ? parse(json, NULL, &functions, err) : code;
}

enum code
json_read(struct str json, struct arena *arena, json_visit *visit, void *ctx, struct err *err)
{
    unsigned char bytes[MEMORY_BYTES] __attribute__((aligned(MEMORY_ALIGN)));
    struct parser_memory memory = {bytes, sizeof(bytes), 0};
    yajl_alloc_funcs functions = memory_functions(&memory);
    struct reader r = {.json = json, .visit = visit, .ctx = ctx, .code = OK, .err = err};
    size_t escaped_bytes_max = 0;
    enum code code = json_scan(json, &escaped_bytes_max, err);

    assert(arena != NULL);
    assert(visit != NULL);
    if (code != OK) {
        return code;
    }
    if (escaped_bytes_max > ESCAPED_SMALL) {
        /* yajl doubles its buffer until the string fits: all its sizes together stay below four
         * times the string. */
        memory.cap = MEMORY_BYTES + 4 * escaped_bytes_max;
        memory.base = arena_alloc(arena, memory.cap);
    }
    if (memory.base == NULL) {
        return err_set(err, ERR_TOO_LARGE, "the text does not fit the request's memory");
    }
    json_keys_init(&r.keys, arena);
    return parse(json, &r, &functions, err);
}
