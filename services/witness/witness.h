#pragma once
/*
 * The witness: hears the audit log's checkpoints, and asks for the newest when it hears none. Of
 * each it checks the log's signature and that its tree continues the one it cosigned last; only
 * then it writes it down and gives its cosignature. What does not hold is never cosigned: that is
 * an alarm. One checkpoint at a time; those heard meanwhile wait, a bounded number. Loop thread.
 */

#include "services/witness/witness_config.h"

#include "libcommon/base/metric.h"
#include "libcommon/io/bus.h"

enum witness_metric {
    WITNESS_METRIC_CHECKPOINTS, /* by outcome */
    WITNESS_METRIC_REFUSED,     /* by enum why */
    WITNESS_METRIC_SIZE,
    WITNESS_METRIC_COSIGNED_AT,
    WITNESS_METRIC_ALARM,
    WITNESS_METRIC_COUNT
};
extern const struct metric_row witness_metric_rows[WITNESS_METRIC_COUNT];

struct note_signer;
struct witness;

/* The key and name of the configuration; the caller wipes the signer. */
enum code witness_signer(const struct witness_config *config,
                         struct note_signer *out,
                         struct err *err) MUST_CHECK;

/* Reads the checkpoint kept last; ERR_INVALID with the setting's name when keys, directory or that
 * checkpoint are not as they must be. After the first line that is of the loop and the bus. */
enum code witness_open(struct loop *loop,
                       const struct witness_config *config,
                       struct metrics *metrics,
                       struct witness **out,
                       struct err *err) MUST_CHECK;
bool witness_bus_ready(const struct witness *witness);
/* The log has answered lately. */
bool witness_log_ready(const struct witness *witness);
/* `done` when nothing is under way and the bus is closed. */
void witness_drain(struct witness *witness, void (*done)(void *arg), void *arg);
/* After that, and outside of its callback; accepts half-built ones. */
void witness_close(struct witness **witness);
