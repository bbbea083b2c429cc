#pragma once
/*
 * An operation: how the runner must treat it and its steps. Tables of operations are generated from
 * the proto files (build/gen/<service>_ops.gen.c); the rows' `op_...` objects are defined by the
 * handlers.
 */

#include "libcommon/codec/api.h"

#include <stdbool.h>
#include <stddef.h>

struct req;

/* What a step says to the runner. */
enum step {
    STEP_NEXT, /* go on with the next step now */
    STEP_WAIT, /* an effect was started: go on when it is done */
    STEP_DONE, /* the reply is complete */
    STEP_FAIL  /* the request's error or refusal is set */
};

typedef enum step (*step_fn)(struct req *r);

/*
 * Group commit puts many requests into one transaction, where row locks do not keep them apart. So
 * a request that issues a second statement never shares its transaction with another one of the
 * same user: the runner sees to that by itself. Where steps read what requests of other users may
 * write (a chain, a counter of the whole service), the operation says TX_WRITE_ALONE and locks as
 * usual.
 *
 * What may lock rows that are there is TX_WRITE, and the requests of one user take turns (turns.h).
 * It locks one row first and others only under it; if it locks many, it is heavy. What holds a
 * connection for long is heavy too: few such requests run at a time, and one of each user.
 */
enum tx_mode {
    TX_NONE,       /* statements, if any, each on their own */
    TX_READ,       /* the same; retried freely */
    TX_READ_HEAVY, /* the same, and heavy */
    /* From here on all steps are in one transaction, shared with others by group commit, committed
     * before the reply. */
    TX_ADD, /* only adds rows: it waits for nobody but a repetition of itself and takes no turn */
    TX_WRITE,
    TX_WRITE_HEAVY,
    TX_WRITE_ALONE /* in a transaction of its own */
};

#define OP_STEPS_MAX 12

struct op {
    enum tx_mode tx;
    /* In order; unused slots are NULL. Of an operation that writes, those before the ready-made
     * step req_transaction run outside of its transaction. */
    step_fn steps[OP_STEPS_MAX];
};

struct op_row {
    const struct api_method *method;
    const struct op *op;
};

static inline bool op_reads(const struct op *op)
{
    return op->tx == TX_READ || op->tx == TX_READ_HEAVY;
}

static inline bool op_is_heavy(const struct op *op)
{
    return op->tx == TX_READ_HEAVY || op->tx == TX_WRITE_HEAVY;
}

/* A ready-made step of operations that write. Those before it are outside of the transaction: each
 * of their statements is one of its own, committed before the next step, and no connection waits
 * while they work. They run once. When the transaction has to be run again, that begins behind this
 * step, with req_state() as it was here; they emit nothing, and what they wrote stays. */
enum step req_transaction(struct req *r);

/* It has steps before its transaction. */
static inline bool op_prepares(const struct op *op)
{
    for (size_t i = 0; i < OP_STEPS_MAX && op->steps[i] != NULL; i++) {
        if (op->steps[i] == req_transaction) {
            return true;
        }
    }
    return false;
}

/* Its steps run in one transaction. */
static inline bool op_writes(const struct op *op)
{
    return op->tx >= TX_ADD;
}
