#include "gateway/audit.h"

#include "avanta/common.pb-c.h"
#include "gateway/worker.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/id.h"
#include "libcommon/base/list.h"
#include "libcommon/base/log.h"
#include "libcommon/base/pool.h"
#include "libcommon/base/table.h"
#include "libcommon/codec/transcode.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SUBJECT           "audit.gateway"
#define RECORD_BYTES_MAX  ((size_t)32 * 1024)
#define DETAILS_BYTES_MAX 256
#define MESSAGE_ID_BYTES  64
#define TRACE_ID_AT       3 /* in a traceparent (W3C Trace Context 3.2.2), behind its version */
#define TRACE_ID_DIGITS   32
#define ADDRESS_BYTES_MAX 64
#define USER_BYTES_MAX    64
#define OTHERS_METHOD     "gateway.Others"

/* A caller that was refused an operation, in its window. */
struct refused {
    struct list by_age; /* oldest first: all windows are as long */
    char key[TABLE_KEY_BYTES_MAX];
    uint8_t key_len;
    const struct api_method *method;
    char user_id[USER_BYTES_MAX];
    char client_ip[ADDRESS_BYTES_MAX];
    enum code code;
    uint64_t until_ms;
    uint64_t more; /* after the first */
};

/* A record under way. */
struct sending {
    struct gateway_audit *audit;
    audit_done done; /* NULL: nobody waits */
    void *ctx;
};

struct gateway_audit {
    struct worker *worker;
    struct pool *sendings;
    struct pool *pool;
    struct table *by_key;
    struct list by_age;
    uint64_t others; /* refusals that found no room, of this window */
    uint64_t others_until_ms;
    uint64_t lost_logged_ms;
};

struct gateway_audit *audit_open(struct worker *worker)
{
    struct gateway_audit *audit = calloc(1, sizeof *audit);
    uint64_t seed = 0;

    assert(worker != NULL);
    if (audit == NULL) {
        return NULL;
    }
    random_bytes(&seed, sizeof seed);
    audit->worker = worker;
    list_init(&audit->by_age);
    audit->sendings = pool_open(sizeof(struct sending), AUDIT_SENDING_MAX);
    audit->pool = pool_open(sizeof(struct refused), AUDIT_FIRST_MAX);
    audit->by_key = table_open(AUDIT_FIRST_MAX, seed);
    if (audit->sendings == NULL || audit->pool == NULL || audit->by_key == NULL) {
        audit_close(&audit);
    }
    return audit;
}

bool audit_wants_read(const struct api_method *method)
{
    assert(method != NULL);
    return !method->writes &&
           (method->permission == API_AUDIT_ADMIN || method->permission == API_USERS_ADMIN ||
            method->permission == API_SYSTEM_ADMIN || method->audited);
}

/* --- records --- */

static char *text_copy(struct arena *arena, struct str text)
{
    return text.len == 0 ? NULL : arena_strdup(arena, text);
}

/* What a record of the gateway's says in any case. */
static void record_init(Avanta__AuditRecord *record, enum code code)
{
    avanta__audit_record__init(record);
    record->user_id = transcode_constant("");
    record->action_type = transcode_constant(code == OK ? "read" : "refuse");
    record->entity_type = transcode_constant("operation");
    record->severity = transcode_constant(code == OK ? "low" : "medium");
    record->status = transcode_constant(code == OK ? "success" : "failed");
    record->service = transcode_constant("gateway");
    record->occurred_ms = clock_wall_ms();
}

static bool
record_fill(const struct audited *what, struct arena *arena, Avanta__AuditRecord *record)
{
    record_init(record, what->code);
    if (what->user_id.len > 0) {
        record->user_id = arena_strdup(arena, what->user_id);
        record->credential = transcode_constant(what->by_key ? "api-key" : "session");
    }
    record->actor_id = text_copy(arena, what->actor_id);
    record->session_id = text_copy(arena, what->session_id);
    record->entity_id = transcode_constant(what->method->full_name);
    record->method = transcode_constant(what->method->full_name);
    record->ip_address = text_copy(arena, what->client_ip);
    record->user_agent = utf8_valid(what->user_agent) ? text_copy(arena, what->user_agent) : NULL;
    record->request_id = text_copy(arena, what->request_id);
    if (what->traceparent.len >= TRACE_ID_AT + TRACE_ID_DIGITS) {
        record->trace_id = arena_strdup(
            arena, str_sub(what->traceparent, TRACE_ID_AT, TRACE_ID_AT + TRACE_ID_DIGITS));
    }
    if (what->code != OK) {
        record->details = arena_printf(arena, "{\"code\":\"%s\"}", code_wire(what->code));
    }
    return record->user_id != NULL;
}

static void on_stored(void *ctx, enum code code, struct str payload)
{
    struct sending *sending = ctx;
    struct gateway_audit *audit = sending->audit;
    audit_done done = sending->done;
    void *whose = sending->ctx;

    (void)payload;
    pool_give(audit->sendings, sending);
    metric_add(audit->worker->gateway->metrics, GATEWAY_METRIC_AUDITED, code == OK ? 0 : 1, 1);
    if (code != OK && log_rate_allows(&audit->lost_logged_ms)) {
        log_event(LOG_ERROR, "audit_record_not_stored", LOG_S("code", code_wire(code)));
    }
    if (done != NULL) {
        done(whose, code);
    }
}

/* One record in a message of its own. */
static bool record_publish(struct gateway_audit *audit,
                           const Avanta__AuditRecord *record,
                           struct arena *arena,
                           audit_done done,
                           void *ctx)
{
    struct worker *worker = audit->worker;
    Avanta__Records pack = AVANTA__RECORDS__INIT;
    ProtobufCBinaryData one = {avanta__audit_record__get_packed_size(record), NULL};
    uint8_t *message = NULL;
    size_t len = 0;
    char uuid[UUID_TEXT_BYTES];
    char *id = NULL;
    struct sending *sending = NULL;
    struct pool_handle handle;
    struct err err = {.code = OK};

    one.data = arena_alloc(arena, one.len + 1);
    uuid_v7(uuid);
    id = arena_printf(arena, "gateway-%s", uuid);
    if (one.data == NULL || id == NULL) {
        return false;
    }
    (void)avanta__audit_record__pack(record, one.data);
    pack.n_record = 1;
    pack.record = &one;
    message = arena_alloc(arena, avanta__records__get_packed_size(&pack) + 1);
    sending = message == NULL ? NULL : pool_take(audit->sendings, &handle);
    if (sending == NULL) {
        return false;
    }
    len = avanta__records__pack(&pack, message);
    *sending = (struct sending){audit, done, ctx};
    if (bus_stream_publish(worker->bus,
                           SUBJECT,
                           id,
                           (struct str){(const char *)message, len},
                           loop_now_ms(worker->loop) + AUDIT_ACK_MS,
                           on_stored,
                           sending,
                           &err) != OK) {
        pool_give(audit->sendings, sending);
        return false;
    }
    return true;
}

bool audit_record(struct gateway_audit *audit,
                  const struct audited *what,
                  audit_done done,
                  void *ctx)
{
    struct arena *arena = arena_open(audit->worker->arenas, RECORD_BYTES_MAX);
    Avanta__AuditRecord record;
    bool sent = false;

    assert(what->method != NULL);
    assert(done != NULL);
    if (arena != NULL && record_fill(what, arena, &record)) {
        sent = record_publish(audit, &record, arena, done, ctx);
    }
    if (!sent) {
        metric_add(audit->worker->gateway->metrics, GATEWAY_METRIC_AUDITED, 1, 1);
    }
    arena_dispose(&arena);
    return sent;
}

/* --- refusals that repeat --- */

/* Says how many followed the first. */
static void more_publish(struct gateway_audit *audit, const struct refused *refused)
{
    struct arena *arena = arena_open(audit->worker->arenas, RECORD_BYTES_MAX);
    const struct audited what = {
        .method = refused->method,
        .user_id = str_from(refused->user_id),
        .client_ip = str_from(refused->client_ip),
        .code = refused->code,
    };
    Avanta__AuditRecord record;

    if (arena != NULL && record_fill(&what, arena, &record)) {
        record.details = arena_printf(arena,
                                      "{\"code\":\"%s\",\"repeated\":%llu}",
                                      code_wire(refused->code),
                                      (unsigned long long)refused->more);
        (void)record_publish(audit, &record, arena, NULL, NULL);
    }
    arena_dispose(&arena);
}

static void others_publish(struct gateway_audit *audit)
{
    struct arena *arena = arena_open(audit->worker->arenas, RECORD_BYTES_MAX);
    Avanta__AuditRecord record;

    assert(audit->others > 0);
    record_init(&record, ERR_FORBIDDEN);
    record.entity_id = transcode_constant(OTHERS_METHOD);
    if (arena != NULL) {
        record.details =
            arena_printf(arena, "{\"repeated\":%llu}", (unsigned long long)audit->others);
        (void)record_publish(audit, &record, arena, NULL, NULL);
    }
    audit->others = 0;
    arena_dispose(&arena);
}

static struct str key_of(const struct refused *refused)
{
    return (struct str){refused->key, refused->key_len};
}

static void window_end(struct gateway_audit *audit, struct refused *refused)
{
    void *gone = table_remove(audit->by_key, key_of(refused));

    assert(gone == refused);
    list_remove(&refused->by_age);
    if (refused->more > 0) {
        more_publish(audit, refused);
    }
    pool_give(audit->pool, refused);
}

void audit_tick(struct gateway_audit *audit)
{
    uint64_t now = loop_now_ms(audit->worker->loop);

    while (!list_empty(&audit->by_age)) {
        struct refused *oldest = LIST_ENTRY(audit->by_age.next, struct refused, by_age);

        if (oldest->until_ms > now) {
            break;
        }
        window_end(audit, oldest);
    }
    if (audit->others > 0 && audit->others_until_ms <= now) {
        others_publish(audit);
    }
}

void audit_drain(struct gateway_audit *audit)
{
    while (!list_empty(&audit->by_age)) {
        window_end(audit, LIST_ENTRY(audit->by_age.next, struct refused, by_age));
    }
    if (audit->others > 0) {
        others_publish(audit);
    }
}

void audit_close(struct gateway_audit **audit)
{
    struct gateway_audit *closing = *audit;

    *audit = NULL;
    if (closing == NULL) {
        return;
    }
    assert(list_empty(&closing->by_age));
    table_close(&closing->by_key);
    assert(pool_used(closing->sendings) == 0);
    pool_close(&closing->pool);
    pool_close(&closing->sendings);
    free(closing);
}

/* Who, what and why: a digest, since a table's key is short. A credential that is no good is that
 * for whatever operation: a page whose token has expired calls many. */
static struct str refusal_key(const struct audited *what, uint8_t out[SHA256_BYTES])
{
    struct str who = what->user_id.len > 0 ? what->user_id : what->client_ip;
    char memory[256];
    struct buf text = buf_over(memory, sizeof memory);

    buf_printf(&text,
               "%s %s ",
               what->code == ERR_UNAUTHENTICATED ? "" : what->method->full_name,
               code_wire(what->code));
    buf_str(&text, str_sub(who, 0, who.len < USER_BYTES_MAX ? who.len : USER_BYTES_MAX));
    assert(!text.overflow);
    sha256(buf_view(&text), out);
    return (struct str){(const char *)out, SHA256_BYTES};
}

static void others_count(struct gateway_audit *audit)
{
    if (audit->others++ == 0) {
        audit->others_until_ms = loop_now_ms(audit->worker->loop) + AUDIT_WINDOW_MS;
    }
}

static void window_begin(struct gateway_audit *audit,
                         struct refused *refused,
                         const struct audited *what,
                         struct str key)
{
    bool put = false;

    assert(key.len <= sizeof refused->key);
    memcpy(refused->key, key.ptr, key.len);
    refused->key_len = (uint8_t)key.len;
    refused->method = what->method;
    refused->code = what->code;
    refused->until_ms = loop_now_ms(audit->worker->loop) + AUDIT_WINDOW_MS;
    if (!str_copy(what->user_id, refused->user_id, sizeof refused->user_id)) {
        refused->user_id[0] = '\0';
    }
    if (!str_copy(what->client_ip, refused->client_ip, sizeof refused->client_ip)) {
        refused->client_ip[0] = '\0';
    }
    list_push_back(&audit->by_age, &refused->by_age);
    put = table_put(audit->by_key, key_of(refused), refused);
    assert(put);
}

bool audit_refusal(struct gateway_audit *audit,
                   const struct audited *what,
                   audit_done done,
                   void *ctx)
{
    uint8_t digest[SHA256_BYTES];
    struct str key = refusal_key(what, digest);
    struct refused *refused = table_get(audit->by_key, key);
    struct pool_handle handle;

    assert(what->code != OK);
    if (refused != NULL) {
        refused->more++;
        return false;
    }
    refused = pool_take(audit->pool, &handle);
    if (refused == NULL) {
        others_count(audit);
        return false;
    }
    window_begin(audit, refused, what, key);
    if (!audit_record(audit, what, done, ctx)) {
        refused->more++; /* told when the window is over */
        return false;
    }
    return true;
}
