/* Any bytes as JSON: never a crash, and the reader and the checker agree. */
#include "libcommon/base/limits.h"
#include "libcommon/codec/json_read.h"
#include "libcommon/codec/transcode.h"

#include <assert.h>

/* NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct counts {
    size_t last; /* end of the last token */
    int depth;
};

static enum code on_event(void *ctx, const struct json_event *event)
{
    struct counts *counts = ctx;

    assert(event->from >= counts->last);
    assert(event->to >= event->from);
    counts->last = event->to;
    if (event->kind == JSON_OBJECT_BEGIN || event->kind == JSON_ARRAY_BEGIN) {
        counts->depth++;
    } else if (event->kind == JSON_OBJECT_END || event->kind == JSON_ARRAY_END) {
        counts->depth--;
    } else if (event->kind == JSON_STRING || event->kind == JSON_KEY) {
        assert(utf8_valid(event->text));
    }
    assert(counts->depth >= 0);
    assert(counts->depth <= JSON_DEPTH_MAX);
    return OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct arena_pool *pool;
    struct str json = {(const char *)data, size};
    struct counts counts = {0, 0};
    struct arena *arena = NULL;
    struct err err = {0};
    enum code checked = OK;
    enum code read = OK;

    if (pool == NULL) {
        pool = arena_pool_open(ARENA_CHUNK_BYTES, 4096);
    }
    arena = arena_open(pool, (size_t)REQUEST_ARENA_BYTES_MAX);
    assert(arena != NULL);
    checked = json_check(json, &err);
    assert(checked == OK || checked == ERR_JSON);
    assert(checked == err.code);
    read = json_read(json, arena, on_event, &counts, NULL);
    /* The reader refuses a little more: names that repeat, or are too long. */
    assert(read == OK || read == ERR_JSON || read == ERR_TOO_LARGE);
    assert(checked == OK || read != OK);
    assert(read != OK || counts.depth == 0);
    arena_dispose(&arena);
    return 0;
}
