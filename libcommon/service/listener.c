#include "libcommon/service/listener.h"

#include "libcommon/base/arena.h"

#include <assert.h>
#include <stdlib.h>

struct listener {
    const struct listener_row *row;
    const struct listeners *owner;
    struct bus_subscription *subscription;
};

struct listeners {
    struct listeners_options options;
    size_t count;
    struct listener all[LISTENERS_MAX];
};

/* Without memory the message is lost, as any on this kind of subject may be. */
static void on_message(void *ctx, struct bus_message *message)
{
    const struct listener *listener = ctx;
    const struct listeners_options *options = &listener->owner->options;
    struct arena *arena = arena_open(options->arenas, LISTENER_ARENA_BYTES_MAX);

    assert(listener->row->handler != NULL);
    if (arena != NULL) {
        listener->row->handler(options->state, arena, bus_message_data(message));
    }
    arena_dispose(&arena);
    bus_message_destroy(message);
}

enum code
listeners_open(const struct listeners_options *options, struct listeners **out, struct err *err)
{
    struct listeners *listeners = calloc(1, sizeof *listeners);
    enum code code = OK;

    assert(options->count <= LISTENERS_MAX);
    assert(out != NULL);
    if (listeners == NULL) {
        return err_set(err, ERR_OVERLOADED, "no memory for the listeners");
    }
    listeners->options = *options;
    for (size_t i = 0; i < options->count && code == OK; i++) {
        struct listener *listener = &listeners->all[i];

        *listener = (struct listener){.row = &options->rows[i], .owner = listeners};
        code = bus_subscribe(options->bus,
                             listener->row->subject,
                             options->queue,
                             on_message,
                             listener,
                             &listener->subscription,
                             err);
        listeners->count++;
    }
    if (code != OK) {
        listeners_close(&listeners);
    }
    *out = listeners;
    return code;
}

void listeners_stop(struct listeners *listeners)
{
    assert(listeners != NULL);
    for (size_t i = 0; i < listeners->count; i++) {
        if (listeners->all[i].subscription != NULL) {
            bus_unsubscribe(&listeners->all[i].subscription);
        }
    }
}

void listeners_close(struct listeners **listeners)
{
    struct listeners *closing = *listeners;

    *listeners = NULL;
    if (closing == NULL) {
        return;
    }
    listeners_stop(closing);
    free(closing);
}
