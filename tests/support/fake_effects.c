/* tidy: allow lines here: one fake of one interface */
#include "tests/support/fake_effects.h"

#include "avanta/service.pb-c.h"
#include "service_sql.gen.h"
#include "tests/support/check.h"
#include "tests/support/toy.h"

#include "libcommon/base/buf.h"
#include "libcommon/base/clock.h"
#include "libcommon/base/limits.h"
#include "libcommon/service/outbox.h"

#include <stdlib.h>
#include <string.h>

struct pg_result {
    struct fake *fake;
    struct statement statement;
    size_t rows;
    size_t affected;
    char name[64];
    char names[PG_BATCH_MAX][16]; /* of a set statement's rows */
    uint64_t places[PG_BATCH_MAX];
    int64_t id; /* of the first row */
    Avanta__Service__IdempotencyFound found;
};

struct item {
    enum {
        ITEM_STATEMENT,
        ITEM_COMMAND,
        ITEM_SYNC
    } kind;
    void *tag;
    char text[128];
    struct pg_result *result; /* prepared when queued */
};

struct pg_conn {
    struct fake *fake;
    bool held;
    bool broken;
    bool doomed; /* nothing more is sent; what was is lost with the flush */
    bool in_transaction;
    bool aborted;
    struct pg_holder holder;
    struct item items[FAKE_ITEMS_MAX];
    size_t queued;
    size_t flushed;
    /* of the transaction under way */
    struct fake_outbox_row outbox[FAKE_ROWS_MAX];
    size_t outbox_count;
    struct fake_stored stored[FAKE_ROWS_MAX];
    size_t stored_count;
};

static struct fake *the_fake;

/* --- trace ------------------------------------------------------------------------------- */

static void trace(struct fake *f, const char *text)
{
    size_t len = strlen(f->trace);
    struct buf b = buf_over(f->trace + len, sizeof f->trace - len);

    buf_printf(&b, "%s%s", len == 0 ? "" : " ", text);
    assert_true(buf_terminate(&b));
}

static void trace_outcome(struct fake *f, const char *text, enum pg_outcome outcome)
{
    static const char marks[][2] = {[PG_OUTCOME_OK] = "",
                                    [PG_OUTCOME_FAILED] = "!",
                                    [PG_OUTCOME_SKIPPED] = "~",
                                    [PG_OUTCOME_LOST] = "?"};
    char line[160];
    struct buf b = buf_over(line, sizeof line);

    buf_printf(&b, "%s%s", text, marks[outcome]);
    assert_true(buf_terminate(&b));
    trace(f, line);
}

void fake_trace_clear(struct fake *f)
{
    f->trace[0] = '\0';
}

static void put_copy(char *out, size_t cap, const char *text)
{
    struct buf b = buf_over(out, cap);

    buf_text(&b, text == NULL ? "" : text);
    assert_true(buf_terminate(&b));
}

/* --- statements ------------------------------------------------------------------------------ */

static const char *argument(const ProtobufCMessage *in, char out[64])
{
    out[0] = '\0';
    if (in != NULL && in->descriptor == &toy__add_request__descriptor) {
        put_copy(out, 64, ((const Toy__AddRequest *)(const void *)in)->name);
    } else if (in != NULL && in->descriptor == &toy__list_request__descriptor) {
        put_copy(out, 64, ((const Toy__ListRequest *)(const void *)in)->prefix);
    }
    return out;
}

/* A row of the fake is one record, whatever pack it came in. Returns how many came. */
static size_t stage_outbox(struct pg_conn *conn, const Avanta__Service__OutboxRows *rows)
{
    const size_t before = conn->outbox_count;

    assert_int_equal(rows->n_subject, rows->n_body);
    for (size_t i = 0; i < rows->n_subject; i++) {
        Avanta__Records *pack =
            avanta__records__unpack(NULL, rows->body[i].len, rows->body[i].data);

        assert_non_null(pack);
        assert_in_range(pack->n_record, 1, OUTBOX_PACK_RECORDS_MAX);
        for (size_t k = 0; k < pack->n_record; k++) {
            struct fake_outbox_row *row = &conn->outbox[conn->outbox_count++];
            assert_true(conn->outbox_count <= FAKE_ROWS_MAX);
            put_copy(row->subject, sizeof row->subject, rows->subject[i]);
            assert_true(pack->record[k].len <= sizeof row->body);
            memcpy(row->body, pack->record[k].data, pack->record[k].len);
            row->len = pack->record[k].len;
        }
        avanta__records__free_unpacked(pack, NULL);
    }
    return conn->outbox_count - before;
}

static void stage_replies(struct pg_conn *conn, const Avanta__Service__IdempotencyRows *rows)
{
    for (size_t i = 0; i < rows->n_key; i++) {
        struct fake_stored *row = &conn->stored[conn->stored_count++];
        put_copy(row->owner, sizeof row->owner, rows->owner[i]);
        put_copy(row->key, sizeof row->key, rows->key[i]);
        memcpy(row->hash, rows->request_hash[i].data, sizeof row->hash);
        assert_true(rows->reply[i].len <= sizeof row->reply);
        memcpy(row->reply, rows->reply[i].data, rows->reply[i].len);
        row->reply_len = rows->reply[i].len;
    }
}

static void look_up(struct pg_result *result,
                    const struct pg_context *context,
                    const Avanta__Service__IdempotencyClaim *claim)
{
    struct fake *f = result->fake;

    avanta__service__idempotency_found__init(&result->found);
    result->rows = 1;
    result->found.claimed = f->key_taken ? 0 : 1;
    for (size_t i = 0; i < f->stored_count; i++) {
        struct fake_stored *row = &f->stored[i];
        if (strcmp(row->key, claim->key) == 0 &&
            strcmp(row->owner, context->user_id == NULL ? "" : context->user_id) == 0) {
            result->found.has_request_hash = 1;
            result->found.request_hash = (ProtobufCBinaryData){sizeof row->hash, row->hash};
            result->found.has_reply = 1;
            result->found.reply = (ProtobufCBinaryData){row->reply_len, row->reply};
        }
    }
}

static void skeleton_statement(struct pg_conn *conn,
                               const struct statement_call *call,
                               struct item *item,
                               struct pg_result *result)
{
    struct buf text = buf_over(item->text, sizeof item->text);

    switch (call->statement.query) {
    case Q_OUTBOX_INSERT: {
        const Avanta__Service__OutboxRows *rows = (const void *)call->in;
        buf_printf(&text, "outbox(%zu)", stage_outbox(conn, rows));
        break;
    }
    case Q_IDEMPOTENCY_CLAIM: {
        const Avanta__Service__IdempotencyClaim *claim = (const void *)call->in;
        look_up(result, call->context, claim);
        buf_printf(&text, "claim(%s)", claim->key);
        break;
    }
    case Q_IDEMPOTENCY_STORE: {
        const Avanta__Service__IdempotencyRows *rows = (const void *)call->in;
        stage_replies(conn, rows);
        buf_printf(&text, "store(%zu)", rows->n_key);
        break;
    }
    case Q_OWNER_LOCK:
        buf_printf(&text, "lock(%s)", call->context->user_id);
        break;
    default:
        buf_printf(&text, "skeleton(%u)", (unsigned)call->statement.query);
        break;
    }
    assert_true(buf_terminate(&text));
}

static struct pg_result *result_new(struct fake *f, struct statement statement)
{
    struct pg_result *result = calloc(1, sizeof *result);

    assert_non_null(result);
    result->fake = f;
    result->statement = statement;
    f->results_alive++;
    return result;
}

static struct item *item_add(struct pg_conn *conn)
{
    struct item *item = &conn->items[conn->queued++];

    assert_true(conn->held);
    assert_true(conn->queued <= FAKE_ITEMS_MAX);
    *item = (struct item){0};
    return item;
}

static const struct pg_query *fake_describe(void *ctx, struct statement statement)
{
    (void)ctx;
    return statement.table == TABLE_SKELETON ? &service_queries[statement.query]
                                             : &toy_service.queries[statement.query];
}

static void fake_clear(struct pg_result **result)
{
    if (*result != NULL) {
        (*result)->fake->results_alive--;
        free(*result);
        *result = NULL;
    }
}

/* A row for everyone but TOY_UNKNOWN. */
static enum code fake_query_set(
    void *ctx, struct pg_conn *conn, const struct set_call *call, void *tag, struct err *err)
{
    struct fake *f = ctx;
    struct item *item = NULL;
    char name[64];

    assert_true(call->list.count <= PG_BATCH_MAX);
    if (conn->broken || conn->doomed) {
        return err_set(err, ERR_UNAVAILABLE, "broken");
    }
    item = item_add(conn);
    item->kind = ITEM_STATEMENT;
    item->tag = tag;
    item->result = result_new(f, call->statement);
    struct buf text = buf_over(item->text, sizeof item->text);
    buf_printf(&text, "%s(", toy_service.queries[call->statement.query].name);
    for (size_t i = 0; i < call->list.count; i++) {
        buf_printf(&text, "%s%s", i == 0 ? "" : ",", argument(call->list.members[i].in, name));
        if (strcmp(name, TOY_UNKNOWN) != 0) {
            put_copy(item->result->names[item->result->rows], 16, name);
            item->result->places[item->result->rows++] = i + 1;
        }
    }
    buf_text(&text, ")");
    assert_true(buf_terminate(&text));
    if (f->misplaced) {
        item->result->places[item->result->rows - 1] = call->list.count + 1;
        f->misplaced = false;
    }
    item->result->affected = item->result->rows;
    item->result->id = f->next_id + 1;
    f->next_id += (int64_t)item->result->rows;
    return OK;
}

static enum code fake_query(
    void *ctx, struct pg_conn *conn, const struct statement_call *call, void *tag, struct err *err)
{
    struct fake *f = ctx;
    struct item *item = NULL;
    char name[64];

    if (fake_describe(ctx, call->statement)->set) {
        struct pg_member member = {call->context, call->in};
        struct set_call set = {
            call->statement, {&member, 1},
             call->arena
        };
        return fake_query_set(ctx, conn, &set, tag, err);
    }
    if (conn->broken || conn->doomed) {
        return err_set(err, ERR_UNAVAILABLE, "broken");
    }
    item = item_add(conn);
    item->kind = ITEM_STATEMENT;
    item->tag = tag;
    item->result = result_new(f, call->statement);
    if (call->statement.table == TABLE_SKELETON) {
        skeleton_statement(conn, call, item, item->result);
        return OK;
    }
    struct buf text = buf_over(item->text, sizeof item->text);
    buf_printf(
        &text, "%s(%s)", toy_service.queries[call->statement.query].name, argument(call->in, name));
    assert_true(buf_terminate(&text));
    if (f->unsendable != NULL && strstr(item->text, f->unsendable) != NULL) {
        conn->doomed = true;
        fake_clear(&item->result);
        conn->queued--;
        return err_set(err, ERR_UNAVAILABLE, "doomed");
    }
    put_copy(item->result->name, sizeof item->result->name, name);
    item->result->rows = 1;
    item->result->affected = 1;
    item->result->id = ++f->next_id;
    return OK;
}

static enum code
fake_command(void *ctx, struct pg_conn *conn, const char *sql, void *tag, struct err *err)
{
    struct item *item = NULL;

    (void)ctx;
    if (conn->broken || conn->doomed) {
        return err_set(err, ERR_UNAVAILABLE, "broken");
    }
    item = item_add(conn);
    item->kind = ITEM_COMMAND;
    item->tag = tag;
    put_copy(item->text, sizeof item->text, sql);
    item->result = result_new(conn->fake, (struct statement){0, 0});
    return OK;
}

static enum code fake_sync(void *ctx, struct pg_conn *conn, struct err *err)
{
    (void)ctx;
    if (conn->broken) {
        return err_set(err, ERR_UNAVAILABLE, "broken");
    }
    item_add(conn)->kind = ITEM_SYNC;
    return OK;
}

static enum code fake_flush(void *ctx, struct pg_conn *conn, struct err *err)
{
    if (conn->broken) {
        return err_set(err, ERR_UNAVAILABLE, "broken");
    }
    if (conn->queued > 0 && conn->items[conn->queued - 1].kind != ITEM_SYNC) {
        assert_int_equal(fake_sync(ctx, conn, err), OK);
    }
    conn->flushed = conn->queued;
    return OK;
}

/* --- results ------------------------------------------------------------------------------------
 */

static size_t fake_rows(const struct pg_result *result)
{
    return result->rows;
}

static uint64_t fake_place(const struct pg_result *result, size_t row)
{
    assert_true(row < result->rows);
    return result->places[row];
}

static size_t fake_affected(const struct pg_result *result)
{
    return result->affected;
}

static void clear_hook(void *object)
{
    struct pg_result *result = object;

    fake_clear(&result);
}

static enum code fake_attach(struct pg_result *result, struct arena *arena, struct err *err)
{
    return arena_on_dispose(arena, clear_hook, result)
               ? OK
               : err_set(err, ERR_TOO_LARGE, "no room for a hook");
}

static enum code
fake_row(void *ctx, const struct row_call *call, ProtobufCMessage *out, struct err *err)
{
    const struct pg_result *result = call->result;

    (void)ctx;
    (void)err;
    if (out->descriptor == &avanta__service__idempotency_found__descriptor) {
        *(Avanta__Service__IdempotencyFound *)(void *)out = result->found;
    } else if (out->descriptor == &toy__row__descriptor) {
        Toy__Row *row = (Toy__Row *)(void *)out;
        bool set = fake_describe(ctx, result->statement)->set;
        row->id = result->id + (int64_t)call->row;
        row->name =
            arena_strdup(call->arena, str_from(set ? result->names[call->row] : result->name));
        row->amount = 1;
    } else if (out->descriptor == &toy__moved__descriptor) {
        Toy__Moved *moved = (Toy__Moved *)(void *)out;
        moved->id = result->id;
        moved->amount = 2;
    }
    return OK;
}

/* --- connections ---------------------------------------------------------------------------------
 */

static struct pg_conn *fake_take(void *ctx, const struct pg_holder *holder)
{
    struct fake *f = ctx;

    for (uint32_t i = 0; i < f->conn_count && !f->no_connection; i++) {
        struct pg_conn *conn = &f->conns[i];
        if (!conn->held) {
            conn->held = true;
            conn->broken = false;
            conn->holder = *holder;
            return conn;
        }
    }
    return NULL;
}

static void items_drop(struct pg_conn *conn)
{
    for (size_t i = 0; i < conn->queued; i++) {
        fake_clear(&conn->items[i].result);
    }
    conn->queued = 0;
    conn->flushed = 0;
}

static void transaction_end(struct pg_conn *conn, bool commit)
{
    struct fake *f = conn->fake;

    for (size_t i = 0; commit && i < conn->outbox_count; i++) {
        f->outbox[f->outbox_count++] = conn->outbox[i];
    }
    for (size_t i = 0; commit && i < conn->stored_count; i++) {
        f->stored[f->stored_count++] = conn->stored[i];
    }
    conn->outbox_count = 0;
    conn->stored_count = 0;
    conn->in_transaction = false;
    conn->aborted = false;
}

static void fake_release(void *ctx, struct pg_conn **conn)
{
    (void)ctx;
    assert_true((*conn)->held);
    assert_int_equal((*conn)->flushed, 0);
    items_drop(*conn);
    transaction_end(*conn, false);
    (*conn)->held = false;
    *conn = NULL;
}

/* --- answers -------------------------------------------------------------------------------------
 */

static struct fake_rule *rule_for(struct fake *f, const char *text)
{
    for (size_t i = 0; i < FAKE_RULES_MAX; i++) {
        struct fake_rule *rule = &f->rules[i];
        if (rule->text != NULL && rule->times > 0 && strstr(text, rule->text) != NULL) {
            rule->times--;
            return rule;
        }
    }
    return NULL;
}

static void command_apply(struct pg_conn *conn, const char *sql)
{
    if (strcmp(sql, "BEGIN") == 0) {
        assert_false(conn->in_transaction);
        conn->in_transaction = true;
    } else if (strcmp(sql, "COMMIT") == 0) {
        assert_true(conn->in_transaction);
        transaction_end(conn, !conn->aborted);
    } else if (strncmp(sql, "SET LOCAL", 9) == 0) {
        assert_true(conn->in_transaction);
    } else {
        assert_string_equal(sql, "ROLLBACK");
        transaction_end(conn, false);
    }
}

/* The outcome of one item; `skipping` until the next sync. */
static void item_answer(struct pg_conn *conn, struct item *item, bool *skipping)
{
    struct fake *f = conn->fake;
    struct pg_answer answer = {.outcome = PG_OUTCOME_OK};
    struct fake_rule *rule = NULL;

    if (*skipping || (conn->aborted && strcmp(item->text, "ROLLBACK") != 0)) {
        answer.outcome = *skipping ? PG_OUTCOME_SKIPPED : PG_OUTCOME_FAILED;
        answer.err.code = ERR_INTERNAL;
    } else {
        rule = rule_for(f, item->text);
    }
    if (rule != NULL) {
        answer.outcome = rule->outcome;
        answer.err.code = rule->code;
        put_copy(answer.sqlstate, sizeof answer.sqlstate, rule->sqlstate);
        put_copy(answer.constraint, sizeof answer.constraint, rule->constraint);
        item->result->rows = rule->no_rows ? 0 : item->result->rows;
        item->result->affected = rule->no_rows ? 0 : item->result->affected;
    }
    trace_outcome(f, item->text, answer.outcome);
    if (answer.outcome == PG_OUTCOME_FAILED) {
        conn->aborted = conn->in_transaction;
        if (strcmp(item->text, "COMMIT") == 0) {
            transaction_end(conn, false);
        }
        *skipping = true;
    }
    if (answer.outcome == PG_OUTCOME_OK) {
        if (item->kind == ITEM_COMMAND) {
            command_apply(conn, item->text);
        }
        answer.result = item->result;
        item->result = NULL;
    }
    conn->holder.on_answer(conn->holder.ctx, item->tag, &answer);
    assert_null(answer.result);
}

static void conn_lose(struct pg_conn *conn, size_t from)
{
    size_t flushed = conn->flushed;

    conn->broken = true;
    conn->doomed = false;
    for (size_t i = from; i < flushed; i++) {
        struct pg_answer answer = {.outcome = PG_OUTCOME_LOST};
        answer.err.code = ERR_UNAVAILABLE;
        if (conn->items[i].kind != ITEM_SYNC) {
            conn->holder.on_answer(conn->holder.ctx, conn->items[i].tag, &answer);
        }
    }
    items_drop(conn);
    transaction_end(conn, false);
    conn->holder.on_settled(conn->holder.ctx, true);
}

static bool is_to_be_lost(struct fake *f, const char *text)
{
    for (size_t i = 0; i < FAKE_RULES_MAX; i++) {
        struct fake_rule *rule = &f->rules[i];
        if (rule->text != NULL && rule->times > 0 && rule->outcome == PG_OUTCOME_LOST &&
            strstr(text, rule->text) != NULL) {
            rule->times--;
            return true;
        }
    }
    return false;
}

static void conn_answer(struct pg_conn *conn)
{
    bool skipping = false;

    if (conn->doomed) {
        conn_lose(conn, 0);
        return;
    }
    for (size_t i = 0; i < conn->flushed; i++) {
        struct item *item = &conn->items[i];
        if (item->kind == ITEM_SYNC) {
            trace(conn->fake, ";");
            skipping = false;
        } else if (is_to_be_lost(conn->fake, item->text)) {
            trace_outcome(conn->fake, item->text, PG_OUTCOME_LOST);
            conn_lose(conn, i);
            return;
        } else {
            item_answer(conn, item, &skipping);
        }
    }
    items_drop(conn);
    conn->holder.on_settled(conn->holder.ctx, false);
}

bool fake_answer(struct fake *f)
{
    bool any = false;

    for (uint32_t i = 0; i < f->conn_count; i++) {
        if (f->conns[i].held && f->conns[i].flushed > 0) {
            conn_answer(&f->conns[i]);
            any = true;
        }
    }
    return any;
}

void fake_lose(struct fake *f)
{
    for (uint32_t i = 0; i < f->conn_count; i++) {
        if (f->conns[i].held && !f->conns[i].broken) {
            conn_lose(&f->conns[i], 0);
        }
    }
}

struct fake_rule *fake_rule_add(struct fake *f, const char *text, enum pg_outcome outcome)
{
    for (size_t i = 0; i < FAKE_RULES_MAX; i++) {
        if (f->rules[i].text == NULL) {
            f->rules[i] = (struct fake_rule){.text = text,
                                             .times = 1,
                                             .outcome = outcome,
                                             .code = ERR_INTERNAL,
                                             .sqlstate = "XX000",
                                             .constraint = ""};
            return &f->rules[i];
        }
    }
    fail_msg("too many rules");
    return NULL;
}

/* --- loop, work, clock
 * ------------------------------------------------------------------------------ */

static enum code fake_work_start(
    void *ctx, void (*work)(void *arg), void (*done)(void *arg), void *arg, struct err *err)
{
    struct fake *f = ctx;

    if (f->work_full) {
        return err_set(err, ERR_OVERLOADED, "full");
    }
    assert_true(f->work_count < ARRAY_LEN(f->works));
    f->works[f->work_count].work = work;
    f->works[f->work_count].done = done;
    f->works[f->work_count].arg = arg;
    f->work_count++;
    return OK;
}

void fake_work(struct fake *f)
{
    assert_true(f->work_count > 0);
    void (*done)(void *arg) = f->works[0].done;
    void *arg = f->works[0].arg;
    f->works[0].work(arg);
    f->work_count--;
    memmove(&f->works[0], &f->works[1], f->work_count * sizeof f->works[0]);
    done(arg);
}

static void fake_publish(void *ctx, const char *subject, struct str payload)
{
    struct fake *f = ctx;
    size_t len = strlen(f->published);
    struct buf b = buf_over(f->published + len, sizeof f->published - len);

    buf_printf(&b, "%s=%.*s ", subject, STR_FMT(payload));
    assert_true(buf_terminate(&b));
}

static void fake_wake(void *ctx)
{
    ((struct fake *)ctx)->woken = true;
}

static void fake_tick(void *ctx, bool running)
{
    ((struct fake *)ctx)->ticking = running;
}

static uint64_t fake_mono_us(void)
{
    return the_fake->mono_us;
}

static uint64_t fake_wall_ms(void)
{
    return the_fake->wall_ms;
}

void fake_pass_time(struct fake *f, uint64_t ms)
{
    f->mono_us += ms * 1000;
    f->wall_ms += ms;
}

struct fake *fake_open(uint32_t connections)
{
    static const struct clock_source source = {fake_mono_us, fake_wall_ms};
    struct fake *f = calloc(1, sizeof *f);

    assert_non_null(f);
    f->conns = calloc(connections, sizeof *f->conns);
    assert_non_null(f->conns);
    f->conn_count = connections;
    for (uint32_t i = 0; i < connections; i++) {
        f->conns[i].fake = f;
    }
    f->mono_us = 1000000000;
    f->wall_ms = 1790000000000;
    f->database = (struct database){.ctx = f,
                                    .take = fake_take,
                                    .release = fake_release,
                                    .query = fake_query,
                                    .query_set = fake_query_set,
                                    .command = fake_command,
                                    .sync = fake_sync,
                                    .flush = fake_flush,
                                    .rows = fake_rows,
                                    .affected = fake_affected,
                                    .place = fake_place,
                                    .clear = fake_clear,
                                    .attach = fake_attach,
                                    .row = fake_row,
                                    .describe = fake_describe};
    f->effects = (struct effects){.database = &f->database,
                                  .ctx = f,
                                  .work = fake_work_start,
                                  .publish = fake_publish,
                                  .wake = fake_wake,
                                  .tick = fake_tick};
    the_fake = f;
    clock_replace(&source);
    return f;
}

void fake_close(struct fake *f)
{
    for (uint32_t i = 0; i < f->conn_count; i++) {
        assert_false(f->conns[i].held);
        items_drop(&f->conns[i]);
    }
    assert_int_equal(f->results_alive, 0);
    assert_int_equal(f->work_count, 0);
    clock_replace(NULL);
    the_fake = NULL;
    free(f->conns);
    free(f);
}
