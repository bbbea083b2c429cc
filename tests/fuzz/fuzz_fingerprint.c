/* Any bytes as a report's texts: what is kept is bounded, valid and of the same fingerprint each
 * time. The first byte says where message and stack divide. */
#include "services/audit-log/error_text.h"
#include "services/audit-log/fingerprint.h"

#include "libcommon/codec/json_read.h"

#include <assert.h>
#include <string.h>

#define TEXT_MAX 2000
#define JSON_MAX 8192

/* NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_fingerprint(struct str message, struct str stack)
{
    const struct fingerprint_of what = {
        STR("frontend"), STR("web"), STR("E"), .message = message, .stack = stack};
    uint8_t once[SHA256_BYTES];
    uint8_t again[SHA256_BYTES];

    fingerprint(&what, once);
    fingerprint(&what, again);
    assert(memcmp(once, again, sizeof once) == 0);
}

static void check_text(struct str text, struct arena *arena)
{
    struct str out = error_text(text, TEXT_MAX, arena);

    assert(out.ptr != NULL);
    assert(out.len <= TEXT_MAX);
    assert(utf8_valid(out));
    assert(!utf8_has_control(out, "\n"));
    assert(!utf8_has_bidi_control(out));
}

static void check_json(struct str text, struct arena *arena)
{
    struct str out = error_json(text, JSON_MAX, arena);

    assert(out.ptr != NULL);
    assert(out.len <= JSON_MAX);
    assert(out.len == 0 || json_validate(out, NULL) == OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct arena_pool *pool;
    struct arena *arena = NULL;
    struct str text = {(const char *)data, size};
    size_t half = size == 0 ? 0 : size * data[0] / 256;

    if (pool == NULL) {
        pool = arena_pool_open(16384, 4096);
    }
    arena = arena_open(pool, (size_t)32 * 1024 * 1024);
    assert(arena != NULL);
    check_fingerprint(str_sub(text, 0, half), str_sub(text, half, size));
    if (utf8_valid(text)) {
        check_text(text, arena);
    }
    check_json(text, arena);
    arena_dispose(&arena);
    return 0;
}
