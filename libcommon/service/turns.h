#pragma once
/*
 * Whose turn it is: the one place that keeps what one user asks for from becoming everybody's wait.
 *
 * A change is a request of a user whose operation may lock rows that are there (TX_WRITE) or is
 * heavy (op.h). TX_ADD operations, other reads, and requests of nobody are none: they take no turn.
 *
 * Within a process:
 * - The changes of one owner take turns, in the order of their arrival. The first goes at once.
 *   What comes meanwhile waits here and goes when nothing of the owner is out any more: one by one
 *   as long as few wait, so that they share transactions with others; a crowd together, up to
 *   OWNER_TURN_MAX; but a heavy one, or one that shares its transaction with no other of its user,
 *   always by itself.
 * - At most `heavy_max` heavy ones are out, whosever they are, half as many as there are
 *   connections; owners follow one another.
 * - Waiting is bounded, by owner and for heavy ones in all: beyond it a call is refused with
 *   ERR_RATE_LIMITED at once. Deadlines hold while waiting. Nobody else's request stands behind one
 *   that waits here.
 * - No two transactions hold locks of one owner: the group that took a change in holds its owner
 *   until the transaction has ended, and no other group takes changes of that owner meanwhile.
 * - Heavy changes, those that go together, and those that run again by themselves travel apart, in
 *   groups of their owner only, which leave at least one group to the others (if there are two):
 *   see group_gather.c.
 *
 * Across the processes of a service, which know nothing of each other:
 * - A group apart takes its owner's advisory lock before anything else and holds it to its end, so
 *   the groups apart of one owner follow one another and may lock many rows in any order.
 * - Any other transaction has at most one change of each owner. A change that is not heavy locks
 *   what it locks under one row, first: its transaction, account, category. That is for operations
 *   to keep; one that locks many rows is heavy.
 * - Any other transaction waits for a lock at most GROUP_LOCK_WAIT_MS, less than PostgreSQL's
 *   deadlock_timeout. Who does not get it runs again apart, the others go on without it.
 * So no circle of waiting can close but among such short waits, which end it before it is looked
 * for; and a stranger's locks cost the members of a shared group that long and a second run.
 *
 * Owned by the runner, on the loop thread; no memory after opening.
 */

#include "libcommon/base/attr.h"

#include <stdbool.h>
#include <stdint.h>

struct group;
struct req;
struct runner;
struct turns;

#define GROUP_LOCK_WAIT_MS 20

/* NULL when memory is refused. */
struct turns *turns_open(struct runner *runner, uint32_t heavy_max);
void turns_close(struct turns **turns); /* no change is left */

/* A new request: goes at once (runner_go) or waits here. False: it may not wait, its error is set.
 */
bool turns_enter(struct turns *turns, struct req *r) MUST_CHECK;
/* The request ends, wherever it is: who waits for that goes. */
void turns_leave(struct turns *turns, struct req *r);
uint32_t turns_waiting(const struct turns *turns);

/* No other transaction holds the request's owner. */
bool turns_free(const struct req *r, const struct group *group);
/* The member's owner is the group's until its transaction has ended. */
void turns_hold(struct group *group, struct req *r);
void turns_release(struct turns *turns, struct group *group);
