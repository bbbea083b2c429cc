#pragma once
/*
 * The outside of the runner, faked: connections that answer when the test says so, with the
 * pipeline and transaction semantics of the real ones (what follows a failure is skipped up to the
 * sync, an aborted transaction commits nothing); a clock that stands still; work that is done on
 * request. What was sent stands in `trace`, as "BEGIN insert(a) insert(b) ; outbox(4) COMMIT ;"
 * with ';' for a sync and, behind a statement, '!' where it failed, '~' skipped, '?' lost. Outbox
 * rows and stored replies become real with COMMIT. One at a time; single-threaded.
 */

#include "libcommon/service/effects.h"

#define FAKE_CONNECTIONS_MAX 8
#define FAKE_ITEMS_MAX       2048
#define FAKE_TRACE_BYTES     65536
#define FAKE_ROWS_MAX        1024

struct pg_conn; /* the fake's own */

struct fake_stored {
    char owner[64];
    char key[64];
    uint8_t hash[32];
    uint8_t reply[1024];
    size_t reply_len;
};

struct fake_outbox_row {
    char subject[64];
    uint8_t body[1024];
    size_t len;
};

/* What one statement answers; the first rule whose text occurs in the statement's trace form
 * applies. */
struct fake_rule {
    const char *text;
    uint32_t times; /* counts down; 0: spent */
    enum pg_outcome outcome;
    enum code code;
    const char *sqlstate;
    const char *constraint;
    bool no_rows;
};

#define FAKE_RULES_MAX 8

struct fake {
    struct effects effects;
    struct database database;
    struct pg_conn *conns;
    uint32_t conn_count;
    bool no_connection; /* take() gives none */
    bool woken;
    bool ticking;
    const char *unsendable; /* sending a statement with this text in it dooms the connection */
    bool misplaced;         /* the next set statement's last row is nobody's */
    bool key_taken;         /* claims find the lock held elsewhere */
    uint64_t mono_us;
    uint64_t wall_ms;
    char trace[FAKE_TRACE_BYTES];
    struct fake_rule rules[FAKE_RULES_MAX];
    struct fake_outbox_row outbox[FAKE_ROWS_MAX]; /* committed */
    size_t outbox_count;
    struct fake_stored stored[FAKE_ROWS_MAX];
    size_t stored_count;
    struct {
        void (*work)(void *arg);
        void (*done)(void *arg);
        void *arg;
    } works[16];
    size_t work_count;
    bool work_full;
    char published[256]; /* "subject=payload " for each */
    int64_t next_id;
    uint32_t results_alive;
};

struct fake *fake_open(uint32_t connections); /* also replaces the clock */
void fake_close(struct fake *f);              /* asserts that nothing is left */
/* The next free rule. */
struct fake_rule *fake_rule_add(struct fake *f, const char *text, enum pg_outcome outcome);
/* Answers everything that was flushed; true: there was something. */
bool fake_answer(struct fake *f);
/* Breaks every held connection: what is owed is lost. */
void fake_lose(struct fake *f);
/* Runs the oldest work and tells it is done. */
void fake_work(struct fake *f);
void fake_pass_time(struct fake *f, uint64_t ms);
void fake_trace_clear(struct fake *f);
