/* Any bytes as a line of an exported audit trail: never a crash, and what is taken is the same
 * after it was written again. */
#include "services/audit-log/export_line.h"

#include "libcommon/base/limits.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void again(const struct export_line *line, struct arena *arena)
{
    static struct export_line back;
    struct str text = STR_EMPTY;

    assert(export_line_write(line, arena, &text, NULL) == OK);
    assert(export_line_read(text, arena, &back, NULL) == OK);
    assert(back.has == line->has);
    assert(str_eq(back.format, line->format));
    assert(str_eq(back.kind, line->kind));
    assert(str_eq(back.month, line->month));
    assert(str_eq(back.checkpoint, line->checkpoint));
    assert(str_eq(back.record, line->record));
    assert(back.first == line->first);
    assert(back.leaf_index == line->leaf_index);
    assert(back.count == line->count);
    assert(back.next == line->next);
    assert(back.occurred_ms == line->occurred_ms);
    assert(memcmp(back.previous_sha256, line->previous_sha256, sizeof back.previous_sha256) == 0);
    assert(merkle_hash_eq(&back.leaf_hash, &line->leaf_hash));
    assert(back.hash_count == line->hash_count);
    assert(memcmp(back.hashes, line->hashes, line->hash_count * sizeof line->hashes[0]) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct arena_pool *pool;
    static struct export_line line;
    struct arena *arena = NULL;
    struct err err = {.code = OK};
    enum code code = OK;
    char *copy = malloc(size == 0 ? 1 : size); /* so that a read past the end is found */

    assert(copy != NULL);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    if (pool == NULL) {
        pool = arena_pool_open(ARENA_CHUNK_BYTES, 4096);
    }
    arena = arena_open(pool, 2 * EXPORT_ARENA_BYTES_MAX);
    assert(arena != NULL);
    code = export_line_read((struct str){copy, size}, arena, &line, &err);
    assert(code == err.code);
    assert(code == OK || code == ERR_JSON || code == ERR_TOO_LARGE);
    if (code == OK) {
        again(&line, arena);
    }
    arena_dispose(&arena);
    free(copy);
    return 0;
}
