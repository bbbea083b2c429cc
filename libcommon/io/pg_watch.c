#include "libcommon/io/pg_watch.h"

#include <uv.h>

#include <assert.h>
#include <stdlib.h>

struct pg_watch {
    uv_poll_t uv;
    int fd;
    unsigned events;
    void (*fn)(void *arg, bool failed, unsigned events);
    void *arg;
};

_Static_assert(PG_WATCH_READ == UV_READABLE, "events are libuv's");
_Static_assert(PG_WATCH_WRITE == UV_WRITABLE, "events are libuv's");

struct pg_watch *pg_watch_open(struct loop *loop,
                               int fd,
                               void (*fn)(void *arg, bool failed, unsigned events),
                               void *arg)
{
    struct pg_watch *watch = calloc(1, sizeof(*watch));

    assert(fn != NULL);
    assert(fd >= 0);
    if (watch == NULL) {
        return NULL;
    }
    if (uv_poll_init(loop_uv(loop), &watch->uv, fd) != 0) {
        free(watch);
        return NULL;
    }
    watch->fd = fd;
    watch->fn = fn;
    watch->arg = arg;
    return watch;
}

int pg_watch_fd(const struct pg_watch *watch)
{
    assert(watch != NULL);
    return watch->fd;
}

static void on_poll(uv_poll_t *uv, int status, int events)
{
    struct pg_watch *watch = CONTAINER_OF(uv, struct pg_watch, uv);

    assert(watch->fn != NULL);
    if (status != 0) {
        watch->events = 0; /* libuv has stopped the handle */
    }
    watch->fn(watch->arg, status != 0, (unsigned)events);
}

void pg_watch_want(struct pg_watch *watch, unsigned events)
{
    int status = 0;

    assert(watch != NULL);
    assert(events != 0);
    if (watch->events == events) {
        return;
    }
    watch->events = events;
    status = uv_poll_start(&watch->uv, (int)events, on_poll);
    assert(status == 0);
}

void pg_watch_pause(struct pg_watch *watch)
{
    int status = 0;

    if (watch != NULL) {
        watch->events = 0;
        status = uv_poll_stop(&watch->uv);
    }
    assert(status == 0);
}

static void watch_gone(uv_handle_t *handle)
{
    free(CONTAINER_OF(handle, struct pg_watch, uv));
}

void pg_watch_close(struct pg_watch **watch)
{
    struct pg_watch *closing = NULL;

    assert(watch != NULL);
    closing = *watch;
    *watch = NULL;
    if (closing != NULL) {
        uv_close((uv_handle_t *)&closing->uv, watch_gone);
    }
}
