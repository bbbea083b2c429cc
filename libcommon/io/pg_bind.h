#pragma once
/*
 * Names do the work: SQL parameters and columns carry the names of message fields. Names are
 * resolved once, when a plan is compiled at start; a misspelt one stops the process. At run time
 * only offsets are used. Any thread after the columns are known.
 *
 * Parameters: a name of struct pg_context means the context. Where the message has a field of that
 * name too, the plain name is refused: `:ctx_NAME` means the context, `:in_NAME` the field; nobody
 * chooses his own user_id by accident. string -> text, int64/int32/uint32/uint64 -> text digits,
 * bool -> t/f, bytes -> binary bytea, repeated string / int64 / bytes -> binary arrays text[] /
 * int8[] / bytea[]; unset optional -> NULL (an empty repeated field is an empty array). Other field
 * types and oneof members are refused.
 *
 * Set statements answer for many requests at once. Each parameter is an array with the values of
 * all of them in order: text[], int8[], bool[] or bytea[], NULL where a request has none, to be
 * cast in the statement (`:date::date[]`). Hide them from the planner as `(SELECT :date::date[])`,
 * else it plans anew for every length. The first column, `place`, counts the requests from 1.
 *
 * Columns: any text-format column into string; integers; bool; bytea; arrays are not
 * read. NULL leaves the field unset; a NULL for a proto `required` field is ERR_INTERNAL.
 *
 * Texts are not copied: they point into the result, so a row lives as long as its result. Attach
 * the result to the arena of the request (pg_result_attach) and both end together.
 */

#include "libcommon/base/arena.h"
#include "libcommon/io/pg_query.h"

struct pg_result; /* one statement's result; owned by its receiver */

/* The reserved parameters, the same for every statement of a request. */
struct pg_context {
    const char *user_id; /* NULL: SQL NULL */
    const char *actor_id;
    const char *session_id;
    const char *role;
    const char *request_id;
    const char *client_ip;
    const char *user_agent;
    uint64_t now_ms; /* wall time of the request */
};

struct pg_params {
    int count;
    const char *const *values;
    const int *lengths;
    const int *formats;
    const uint32_t *types; /* OID, 0: let the server infer */
};

struct pg_plan;
/* Compiles every query of the table; memory is the returned block, given back by pg_plans_close.
 * Parameters are checked here; columns when the first connection has described the statements. */
enum code
pg_plans_open(const struct pg_query_table *table, struct pg_plan **out, struct err *err) MUST_CHECK;
void pg_plans_close(struct pg_plan **plans);
/* Called for each statement of each new connection with its description (PQdescribePrepared): the
 * first call learns the columns, later ones check that they are the same. ERR_INTERNAL names query
 * and column or parameter. */
enum code pg_plan_check_columns(struct pg_plan *plans,
                                uint16_t query,
                                const struct pg_result *described,
                                struct err *err) MUST_CHECK;

/* Fills `out` with memory of the arena and views into `in` and `context`. ERR_TOO_LARGE when the
 * arena is full. `in` may be NULL when the query has no `in` type. */
enum code pg_bind_params(const struct pg_plan *plans,
                         uint16_t query,
                         const struct pg_context *context,
                         const ProtobufCMessage *in,
                         struct arena *arena,
                         struct pg_params *out,
                         struct err *err) MUST_CHECK;

/* The same for a set statement; `members` in the order of their places, at most PG_BATCH_MAX. */
struct pg_member {
    const struct pg_context *context;
    const ProtobufCMessage *in;
};
struct pg_member_list {
    const struct pg_member *members;
    size_t count;
};
enum code pg_bind_set(const struct pg_plan *plans,
                      uint16_t query,
                      const struct pg_member_list *list,
                      struct arena *arena,
                      struct pg_params *out,
                      struct err *err) MUST_CHECK;
/* Whose row it is, from 1; 0: the column holds no such number. */
uint64_t pg_result_place(const struct pg_result *result, size_t row);

size_t pg_result_rows(const struct pg_result *result);
size_t pg_result_affected(const struct pg_result *result);
void pg_result_clear(struct pg_result **result); /* accepts NULL */
/* The arena clears the result when it is disposed; on ERR_TOO_LARGE the caller still owns it. */
enum code
pg_result_attach(struct pg_result *result, struct arena *arena, struct err *err) MUST_CHECK;
/* Fills `out` (initialised, of the query's `out` type) from one row. Texts stay in the result; only
 * bytea is decoded into the arena. A field whose column is not in the statement is left as it is.
 */
enum code pg_bind_row(const struct pg_plan *plans,
                      uint16_t query,
                      const struct pg_result *result,
                      size_t row,
                      struct arena *arena,
                      ProtobufCMessage *out,
                      struct err *err) MUST_CHECK;
