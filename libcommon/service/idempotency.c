#include "libcommon/service/idempotency.h"

#include "service_sql.gen.h"

#include "libcommon/base/buf.h"
#include "libcommon/codec/transcode.h"
#include "libcommon/service/runner_internal.h"

#include <assert.h>
#include <string.h>

bool idempotency_key_valid(struct str key)
{
    if (key.len < 1 || key.len > IDEMPOTENCY_KEY_BYTES_MAX) {
        return false;
    }
    for (size_t i = 0; i < key.len; i++) {
        if (key.ptr[i] < 0x20 || key.ptr[i] > 0x7e) {
            return false;
        }
    }
    return true;
}

/* SHA-256 over two parts that a NUL keeps apart: neither can hold one. */
static bool hash_parts(struct arena *arena, struct str first, struct str second, uint8_t out[])
{
    size_t bytes = first.len + 1 + second.len;
    struct arena_mark mark = arena_mark(arena);
    void *memory = arena_alloc(arena, bytes);

    assert(out != NULL);
    if (memory == NULL) {
        return false;
    }
    struct buf joined = buf_over(memory, bytes);
    buf_str(&joined, first);
    buf_char(&joined, '\0');
    buf_str(&joined, second);
    assert(!joined.overflow);
    sha256(buf_view(&joined), out);
    arena_rewind(arena, mark);
    return true;
}

/* Who acts for another user shares its keys, but not its replies: another hash, another request. */
static struct str method_and_actor(const struct req *r)
{
    struct str method = str_from(r->envelope->method);
    const Avanta__Principal *principal = r->envelope->principal;

    assert(method.len > 0);
    if (principal == NULL || principal->actor_id == NULL) {
        return method;
    }
    return str_from(arena_printf(r->arena, "%s %s", r->envelope->method, principal->actor_id));
}

bool idempotency_prepare(struct req *r)
{
    const Avanta__Request *envelope = r->envelope;
    struct idempotency *key = arena_calloc(r->arena, 1, sizeof *key);
    struct str body = {(const char *)envelope->body.data, envelope->body.len};
    uint8_t hash[SHA256_BYTES] = {0};

    assert(envelope->idempotency_key != NULL);
    assert(r->key == NULL);
    if (key == NULL) {
        req_set_error(r, ERR_TOO_LARGE, NULL);
        return false;
    }
    key->owner = r->context.user_id == NULL ? "" : r->context.user_id;
    struct str method = method_and_actor(r);
    struct str owner = str_from(key->owner);
    if (method.len == 0 ||
        !hash_parts(r->arena, method, body.ptr == NULL ? STR_EMPTY : body, key->request_hash) ||
        !hash_parts(r->arena, owner, str_from(envelope->idempotency_key), hash)) {
        req_set_error(r, ERR_TOO_LARGE, NULL);
        return false;
    }
    memcpy(&key->lock_key, hash, sizeof key->lock_key);
    avanta__service__idempotency_claim__init(&key->claim);
    key->claim.key = envelope->idempotency_key;
    key->claim.lock_key = key->lock_key;
    r->key = key;
    r->idempotency = IDEMPOTENCY_DUE;
    return true;
}

static bool replay(struct req *r, const Avanta__Service__IdempotencyFound *found)
{
    ProtobufCAllocator allocator;

    assert(r->key != NULL);
    assert(r->replay == NULL);
    transcode_allocator(&allocator, r->arena);
    r->replay = avanta__reply__unpack(&allocator, found->reply.len, found->reply.data);
    if (r->replay == NULL) {
        req_set_error(r, ERR_INTERNAL, NULL);
    } else if (!code_from_wire(r->replay->code, &r->code)) {
        r->code = ERR_INTERNAL;
    }
    return false;
}

bool idempotency_judge(struct req *r, const struct pg_result *found)
{
    const struct database *db = r->runner->database;
    Avanta__Service__IdempotencyFound row = AVANTA__SERVICE__IDEMPOTENCY_FOUND__INIT;
    struct row_call call = {
        {TABLE_SKELETON, Q_IDEMPOTENCY_CLAIM},
        found, 0, r->arena
    };
    struct err err = {0};

    assert(r->idempotency == IDEMPOTENCY_ASKED);
    assert(r->key != NULL);
    assert(db->rows(found) == 1);
    r->idempotency = IDEMPOTENCY_BUSY;
    if (db->row(db->ctx, &call, &row.base, &err) != OK) {
        req_set_error(r, err.code, &err);
        return false;
    }
    if (!row.claimed) {
        (void)req_refuse(r, AVANTA__REASON__IDEMPOTENCY_IN_FLIGHT);
        return false;
    }
    if (!row.has_request_hash) {
        r->idempotency = IDEMPOTENCY_CLAIMED;
        return true;
    }
    r->idempotency = IDEMPOTENCY_KNOWN;
    if (row.request_hash.len != SHA256_BYTES ||
        memcmp(row.request_hash.data, r->key->request_hash, SHA256_BYTES) != 0) {
        (void)req_refuse(r, AVANTA__REASON__IDEMPOTENCY_MISMATCH);
        return false;
    }
    return replay(r, &row);
}

bool idempotency_holds(const struct req *r)
{
    assert(r != NULL);
    return r->idempotency == IDEMPOTENCY_CLAIMED || r->idempotency == IDEMPOTENCY_KNOWN;
}

bool idempotency_stores(const struct req *r)
{
    assert(r->code < CODE_COUNT);
    return r->idempotency == IDEMPOTENCY_CLAIMED && code_http(r->code) < 500 &&
           !code_retryable(r->code);
}

/* The packed reply without a nonce: the one who asks again has another. */
static bool
pack_reply(struct req *r, struct arena *arena, ProtobufCBinaryData *out, struct err *err)
{
    Avanta__Reply reply;

    assert(out != NULL);
    if (req_reply(r, &reply, err) != OK) {
        return false;
    }
    out->data = arena_alloc(arena, avanta__reply__get_packed_size(&reply));
    if (out->data == NULL) {
        (void)err_set(err, ERR_TOO_LARGE, "no memory for a stored reply");
        return false;
    }
    out->len = avanta__reply__pack(&reply, out->data);
    return true;
}

enum code idempotency_write(const struct database *db,
                            struct pg_conn *conn,
                            const struct list *members,
                            struct arena *arena,
                            size_t *out_rows,
                            struct err *err)
{
    Avanta__Service__IdempotencyRows rows = AVANTA__SERVICE__IDEMPOTENCY_ROWS__INIT;
    struct pg_context context = {0};
    struct statement_call call = {
        {TABLE_SKELETON, Q_IDEMPOTENCY_STORE},
        &context, &rows.base, arena
    };
    size_t count = 0;

    assert(out_rows != NULL);
    LIST_EACH(members, node)
    {
        count += idempotency_stores(LIST_ENTRY(node, struct req, node)) ? 1 : 0;
    }
    *out_rows = count;
    if (count == 0) {
        return OK;
    }
    rows.owner = arena_calloc(arena, count, sizeof *rows.owner);
    rows.key = arena_calloc(arena, count, sizeof *rows.key);
    rows.request_hash = arena_calloc(arena, count, sizeof *rows.request_hash);
    rows.reply = arena_calloc(arena, count, sizeof *rows.reply);
    if (rows.owner == NULL || rows.key == NULL || rows.request_hash == NULL || rows.reply == NULL) {
        return err_set(err, ERR_TOO_LARGE, "no memory for stored replies");
    }
    LIST_EACH(members, node)
    {
        struct req *r = LIST_ENTRY(node, struct req, node);
        if (!idempotency_stores(r)) {
            continue;
        }
        rows.owner[rows.n_owner++] = proto_text(r->key->owner);
        rows.key[rows.n_key++] = r->key->claim.key;
        rows.request_hash[rows.n_request_hash++] =
            (ProtobufCBinaryData){SHA256_BYTES, r->key->request_hash};
        if (!pack_reply(r, arena, &rows.reply[rows.n_reply++], err)) {
            return err->code;
        }
    }
    assert(rows.n_owner == count);
    assert(rows.n_reply == count);
    return db->query(db->ctx, conn, &call, NULL, err);
}

/* --- old rows ---------------------------------------------------------------------------- */

/* Deletes in bounded statements until one finds less than it may take. */
static enum step purge(struct req *r)
{
    static const Avanta__Service__IdempotencyPurge some = {
        PROTOBUF_C_MESSAGE_INIT(&avanta__service__idempotency_purge__descriptor),
        IDEMPOTENCY_TTL_MS,
        IDEMPOTENCY_PURGE_ROWS};

    if (r->statements > 0 && r->affected < IDEMPOTENCY_PURGE_ROWS) {
        return STEP_DONE;
    }
    if (r->statements >= IDEMPOTENCY_PURGE_STATEMENTS_MAX) {
        return STEP_DONE; /* the next run goes on */
    }
    r->step = 0; /* this step again */
    r->effect = EFFECT_STATEMENT;
    r->statement = (struct statement){TABLE_SKELETON, Q_IDEMPOTENCY_PURGE};
    r->statement_in = &some.base;
    return STEP_WAIT;
}

const struct op op_idempotency_purge = {TX_NONE, {purge}};
