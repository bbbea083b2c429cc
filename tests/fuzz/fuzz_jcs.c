/* Any bytes as JSON: never a crash, what the reader refuses has no canonical form, and a canonical
 * form is its own. */
#include "libcommon/base/limits.h"
#include "libcommon/codec/jcs.h"
#include "libcommon/codec/json_read.h"

#include <assert.h>

/* NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum code on_event(void *ctx, const struct json_event *event)
{
    (void)ctx;
    (void)event;
    return OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct arena_pool *pool;
    struct str json = {(const char *)data, size};
    struct arena *arena = NULL;
    struct str once = STR_EMPTY;
    struct str twice = STR_EMPTY;
    struct err err = {.code = OK};
    enum code code = OK;

    if (pool == NULL) {
        pool = arena_pool_open(ARENA_CHUNK_BYTES, 4096);
    }
    arena = arena_open(pool, (size_t)REQUEST_ARENA_BYTES_MAX);
    assert(arena != NULL);
    code = jcs_canonical(json, arena, &once, &err);
    assert(code == OK || code == ERR_JSON || code == ERR_TOO_LARGE);
    assert(code == err.code);
    if (code == OK) {
        assert(json_read(json, arena, on_event, NULL, NULL) == OK);
        assert(utf8_valid(once));
        assert(jcs_canonical(once, arena, &twice, NULL) == OK);
        assert(str_eq(once, twice));
    }
    arena_dispose(&arena);
    return 0;
}
