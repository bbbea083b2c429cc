#pragma once
/*
 * One socket of libpq on the loop (uv_poll), for the pg_*.c files only. libuv lets go of a handle
 * later than a connection is lost, so a watch is a block of its own that frees itself. Loop thread
 * only.
 */

#include "libcommon/io/loop.h"

#define PG_WATCH_READ  1u
#define PG_WATCH_WRITE 2u

struct pg_watch;

/* `fn` is told what is possible; `failed`: the socket has an error and nothing more will be told.
 * NULL when the descriptor cannot be watched. */
struct pg_watch *pg_watch_open(struct loop *loop,
                               int fd,
                               void (*fn)(void *arg, bool failed, unsigned events),
                               void *arg);
int pg_watch_fd(const struct pg_watch *watch);
/* Level-triggered; cheap when nothing changes. */
void pg_watch_want(struct pg_watch *watch, unsigned events);
/* Before libpq may close the socket: libuv must let go of the descriptor first. Accepts NULL. */
void pg_watch_pause(struct pg_watch *watch);
void pg_watch_close(struct pg_watch **watch); /* `fn` is not called any more */
