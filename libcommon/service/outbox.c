#include "libcommon/service/outbox.h"

#include "avanta/service.pb-c.h"
#include "service_sql.gen.h"

#include <assert.h>
#include <string.h>

enum pack_stream {
    PACK_EVENTS,
    PACK_AUDIT,
    PACK_STREAM_COUNT
};

/* The row of a stream that is being filled. */
struct packing {
    const char *subject;
    size_t count;
    size_t bytes;
    ProtobufCBinaryData records[OUTBOX_PACK_RECORDS_MAX];
};

/* The statement being gathered. */
struct gathering {
    const struct outbox_target *target;
    const char *audit_subject;
    const char *service;
    Avanta__Service__OutboxRows rows;
    struct arena_mark mark; /* what the statement's rows took begins here */
    size_t bytes;
    size_t written; /* records */
    size_t statements;
    struct outbox_rows *kept;
    struct packing packings[PACK_STREAM_COUNT];
};

static bool is_wanted(const struct req *r, const struct emission *e)
{
    assert(r != NULL);
    assert(e != NULL);
    return e->kind == EMISSION_FAILURE || r->code == OK || r->keeps;
}

bool outbox_wants(const struct req *r)
{
    assert(r != NULL);
    for (const struct emission *e = r->emissions; e != NULL; e = e->next) {
        if (is_wanted(r, e)) {
            return true;
        }
    }
    return false;
}

static enum code insert_rows(struct gathering *g, struct err *err)
{
    const struct outbox_target *target = g->target;
    struct pg_context context = {0};
    struct statement_call call = {
        {TABLE_SKELETON, Q_OUTBOX_INSERT},
        &context, &g->rows.base, target->arena
    };

    assert(g->rows.n_subject == g->rows.n_body);
    if (g->rows.n_subject == 0) {
        return OK;
    }
    g->statements++;
    return target->database->query(target->database->ctx, target->conn, &call, g->kept, err);
}

/* What a stream has gathered becomes a row. */
static enum code close_packing(struct gathering *g, struct packing *packing, struct err *err)
{
    Avanta__Records pack = AVANTA__RECORDS__INIT;
    size_t at = g->rows.n_subject;
    uint8_t *body = NULL;
    size_t len = 0;

    assert(packing != NULL);
    if (packing->count == 0) {
        return OK;
    }
    pack.n_record = packing->count;
    pack.record = packing->records;
    body = arena_alloc(g->target->arena, avanta__records__get_packed_size(&pack));
    if (body == NULL) {
        return err_set(err, ERR_TOO_LARGE, "no memory for the outbox");
    }
    len = avanta__records__pack(&pack, body);
    g->rows.subject[at] = proto_text(packing->subject);
    g->rows.body[at] = (ProtobufCBinaryData){len, body};
    g->rows.n_subject++;
    g->rows.n_body++;
    g->bytes += len;
    g->written += packing->count;
    packing->count = 0;
    packing->bytes = 0;
    return OK;
}

static enum code close_all(struct gathering *g, struct err *err)
{
    enum code code = OK;

    assert(g != NULL);
    for (size_t i = 0; i < PACK_STREAM_COUNT && code == OK; i++) {
        code = close_packing(g, &g->packings[i], err);
    }
    return code;
}

static enum code statement_send(struct gathering *g, struct err *err)
{
    enum code code = close_all(g, err);

    return code == OK ? insert_rows(g, err) : code;
}

/* A statement is full: what its rows took from the arena is free again. */
static enum code statement_end(struct gathering *g, struct err *err)
{
    enum code code = statement_send(g, err);

    assert(g != NULL);
    g->rows.n_subject = 0;
    g->rows.n_body = 0;
    g->bytes = 0;
    arena_rewind(g->target->arena, g->mark);
    return code;
}

/* Audit records are packed only now: the request's severity may have been set after they were made.
 */
static enum code
record_pack(struct gathering *g, const struct req *r, Avanta__AuditRecord *record, struct str *out)
{
    uint8_t *packed = NULL;

    assert(g != NULL);
    assert(r != NULL);
    record->severity = proto_text(r->severity);
    record->service = proto_text(g->service);
    packed = arena_alloc(g->target->arena, avanta__audit_record__get_packed_size(record));
    if (packed == NULL) {
        return ERR_TOO_LARGE;
    }
    *out = (struct str){(const char *)packed, avanta__audit_record__pack(record, packed)};
    return OK;
}

static enum code
add(struct gathering *g, const struct req *r, const struct emission *e, struct err *err)
{
    const bool event = e->kind == EMISSION_EVENT;
    const char *subject = event ? e->subject : g->audit_subject;
    struct packing *packing = &g->packings[event ? PACK_EVENTS : PACK_AUDIT];
    struct str body = e->body;
    enum code code = OK;

    if (!event && record_pack(g, r, e->record, &body) != OK) {
        return err_set(err, ERR_TOO_LARGE, "no memory for the outbox");
    }
    if (packing->count == OUTBOX_PACK_RECORDS_MAX ||
        packing->bytes + body.len > OUTBOX_PACK_BYTES_MAX ||
        (packing->count > 0 && strcmp(packing->subject, subject) != 0)) {
        code = close_packing(g, packing, err);
    }
    if (code != OK) {
        return code;
    }
    packing->subject = subject;
    packing->records[packing->count++] =
        (ProtobufCBinaryData){body.len, (uint8_t *)(void *)proto_text(body.ptr)};
    packing->bytes += body.len;
    if (g->rows.n_subject + PACK_STREAM_COUNT >= OUTBOX_ROWS_MAX || g->bytes >= OUTBOX_BYTES_MAX) {
        return statement_end(g, err);
    }
    return OK;
}

static size_t count_records(const struct list *members)
{
    size_t count = 0;

    LIST_EACH(members, node)
    {
        const struct req *r = LIST_ENTRY(node, struct req, node);
        for (const struct emission *e = r->emissions; e != NULL; e = e->next) {
            count += is_wanted(r, e) ? 1 : 0;
        }
    }
    return count;
}

static enum code add_all(struct gathering *g, const struct list *members, struct err *err)
{
    enum code code = OK;

    LIST_EACH(members, node)
    {
        const struct req *r = LIST_ENTRY(node, struct req, node);
        for (const struct emission *e = r->emissions; e != NULL && code == OK; e = e->next) {
            code = is_wanted(r, e) ? add(g, r, e, err) : OK;
        }
    }
    return code == OK ? statement_send(g, err) : code;
}

/* Only what one statement took is known by its answer. */
static void keep(struct gathering *g)
{
    assert(g != NULL);
    if (g->statements != 1 || g->rows.n_subject == 0) {
        return;
    }
    g->kept->numbers = arena_calloc(g->target->arena, g->rows.n_subject, sizeof *g->kept->numbers);
    if (g->kept->numbers != NULL) {
        g->kept->count = g->rows.n_subject;
        g->kept->subjects = g->rows.subject;
        g->kept->bodies = g->rows.body;
    }
}

/* The contract of the header has six parameters. NOLINTNEXTLINE(readability-function-size) */
enum code outbox_write(const struct outbox_target *target,
                       const char *service,
                       const struct list *members,
                       struct outbox_rows *rows,
                       size_t *out_records,
                       struct err *err)
{
    struct gathering g = {.target = target,
                          .service = service,
                          .kept = rows,
                          .rows = AVANTA__SERVICE__OUTBOX_ROWS__INIT};
    size_t count = count_records(members);
    size_t at_once = count < OUTBOX_ROWS_MAX ? count : OUTBOX_ROWS_MAX;
    enum code code = OK;

    assert(service != NULL);
    *rows = (struct outbox_rows){0};
    *out_records = 0;
    if (count == 0) {
        return OK;
    }
    g.audit_subject = arena_printf(target->arena, "audit.%s", service);
    g.rows.subject = arena_calloc(target->arena, at_once, sizeof *g.rows.subject);
    g.rows.body = arena_calloc(target->arena, at_once, sizeof *g.rows.body);
    if (g.audit_subject == NULL || g.rows.subject == NULL || g.rows.body == NULL) {
        return err_set(err, ERR_TOO_LARGE, "no memory for the outbox");
    }
    g.mark = arena_mark(target->arena);
    code = add_all(&g, members, err);
    *out_records = g.written;
    assert(code != OK || g.written == count);
    if (code == OK) {
        keep(&g);
    }
    return code;
}

void outbox_take_numbers(const struct outbox_target *target,
                         struct outbox_rows *rows,
                         const struct pg_result *result)
{
    const struct database *db = target->database;

    assert(!rows->numbered);
    if (rows->count == 0 || db->rows(result) != rows->count) {
        return;
    }
    for (size_t i = 0; i < rows->count; i++) {
        Avanta__Service__OutboxId id = AVANTA__SERVICE__OUTBOX_ID__INIT;
        struct row_call call = {
            {TABLE_SKELETON, Q_OUTBOX_INSERT},
            result, i, target->arena
        };
        struct err err = {0};

        if (db->row(db->ctx, &call, &id.base, &err) != OK) {
            return;
        }
        rows->numbers[i] = (struct outbox_number){id.id, id.written_ms};
    }
    rows->numbered = true;
}
