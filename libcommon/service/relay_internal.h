#pragma once
/* Inside the relay. Files: relay.c (life, offers), relay_pass.c (one look at the table),
 * relay_hold.c (what is offered during it). */

#include "libcommon/base/pool.h"
#include "libcommon/base/sm.h"
#include "libcommon/service/relay.h"

#define OUTBOX_LOCK_KEY INT64_C(0x6f7574626f78) /* "outbox": who holds it looks at the table */

enum relay_state {
    RELAY_IDLE,    /* the timer runs */
    RELAY_SELECT,  /* BEGIN, DELETE and the page are under way */
    RELAY_PUBLISH, /* acknowledgements of the page are awaited */
    RELAY_END,     /* DELETE of the page and COMMIT are under way */
    RELAY_STOPPED,
    RELAY_STATE_COUNT
};

/* One row on its way to the stream. */
struct publication {
    struct relay *relay;
    struct outbox_number number;
    bool stored;
};

struct relay {
    struct relay_options options;
    struct sm sm;
    struct loop_timer *timer;

    /* Offered rows: of the pool while under way, then in the list until they are deleted. */
    struct pool *offered;
    int64_t *acked;
    size_t acked_count;

    /* The pass under way. */
    struct pg_conn *conn;
    struct arena *arena;
    struct pg_result *page;
    struct publication *publications;
    size_t publication_count;
    size_t pending;  /* acknowledgements to come */
    size_t stored;   /* of the page */
    size_t refused;  /* of the page: published, and not stored */
    size_t deleting; /* of the acked */
    bool swept;      /* the pass looks at the table */
    bool ours;       /* nobody else does */
    bool failed;     /* a statement of the pass failed */
    bool lost;

    bool behind; /* rows may wait that were not offered or not stored: nothing is offered before */
    bool missed; /* such came up during the pass */
    struct outbox_rows held;          /* offered while behind, since the page was asked for */
    ProtobufCBinaryData *held_bodies; /* its bodies */
    size_t held_bytes;
    uint64_t retry_ms;
    uint64_t swept_ms; /* when the table was last looked at */
    uint64_t lag_at_ms;
    uint64_t logged_ms;
    void (*drained)(void *arg);
    void *drained_arg;
};

/* --- relay.c --- */
void relay_log_failure(struct relay *relay, const char *what, const char *cause);
/* A row was published and not stored; it stays in the table. */
void relay_refused(struct relay *relay, enum code code);
enum code relay_publish(struct relay *relay,
                        struct publication *publication,
                        const char *subject,
                        struct str body,
                        bus_call_done done,
                        struct err *err) MUST_CHECK;
/* Rows wait in the table that only a pass will find. */
void relay_fall_behind(struct relay *relay);
/* The transaction is over; the connection, page and arena are given back. */
void relay_pass_ended(struct relay *relay, bool worked);

/* --- relay_pass.c --- */
/* False: there is no connection or no memory just now. */
bool relay_pass_start(struct relay *relay);

/* --- relay_hold.c --- */
/* Keeps rows that were committed while the page is under way: those that are not in it follow it.
 * False: no page is, or there is no room. */
bool relay_pass_hold(struct relay *relay, const struct outbox_rows *rows);
