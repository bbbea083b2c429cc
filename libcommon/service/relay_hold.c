/* What is committed while a pass reads the table: kept in the pass's memory, so that the pass that
 * finds the last row also publishes what came after it. */
#include "libcommon/service/relay_internal.h"

#include <assert.h>

static bool held_make(struct relay *relay)
{
    struct arena *arena = relay->arena;

    assert(arena != NULL);
    if (relay->held.numbers != NULL) {
        return true;
    }
    relay->held.subjects = arena_calloc(arena, RELAY_HELD_MAX, sizeof *relay->held.subjects);
    relay->held_bodies = arena_calloc(arena, RELAY_HELD_MAX, sizeof *relay->held_bodies);
    relay->held.numbers = arena_calloc(arena, RELAY_HELD_MAX, sizeof *relay->held.numbers);
    relay->held.bodies = relay->held_bodies;
    relay->held.numbered = true;
    relay->held_bytes = 0;
    return relay->held.subjects != NULL && relay->held_bodies != NULL &&
           relay->held.numbers != NULL;
}

static bool hold_row(struct relay *relay, const struct outbox_rows *rows, size_t i)
{
    const size_t at = relay->held.count;
    const struct str body = {(const char *)rows->bodies[i].data, rows->bodies[i].len};
    char *copied = arena_strdup(relay->arena, body);
    char *subject = arena_strdup(relay->arena, str_from(rows->subjects[i]));

    assert(at < RELAY_HELD_MAX);
    if (copied == NULL || subject == NULL) {
        return false;
    }
    relay->held_bodies[at] = (ProtobufCBinaryData){body.len, (uint8_t *)copied};
    relay->held.subjects[at] = subject;
    relay->held.numbers[at] = rows->numbers[i];
    relay->held.count++;
    relay->held_bytes += body.len;
    return true;
}

bool relay_pass_hold(struct relay *relay, const struct outbox_rows *rows)
{
    size_t bytes = 0;

    assert(relay->behind);
    if (relay->sm.state != RELAY_SELECT || !relay->swept || relay->missed || !rows->numbered) {
        return false;
    }
    for (size_t i = 0; i < rows->count; i++) {
        bytes += rows->bodies[i].len;
    }
    if (!held_make(relay) || relay->held.count + rows->count > RELAY_HELD_MAX ||
        relay->held_bytes + bytes > RELAY_HELD_BYTES) {
        return false;
    }
    for (size_t i = 0; i < rows->count; i++) {
        if (!hold_row(relay, rows, i)) {
            return false;
        }
    }
    return true;
}
