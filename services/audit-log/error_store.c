/* The jobs of the error log: writing what came in since the last pass, in one transaction of its
 * own that no audit record waits in, and taking away what is old. */
#include "audit_log_sql.gen.h"
#include "services/audit-log/audit.h"
#include "services/audit-log/error_intake.h"
#include "services/audit-log/errors.h"

#include "libcommon/codec/transcode.h"

#include <assert.h>
#include <string.h>

/* Whose event it is: nobody's. */
static const char nobody[] = "00000000-0000-0000-0000-000000000000";

struct store {
    const struct error_batch *batch;
    ProtobufCBinaryData *fingerprints; /* of the groups */
};

static char *source_name(enum error_source source)
{
    return transcode_constant(source == ERROR_FRONTEND ? "frontend" : "server");
}

/* A copy: protobuf-c has no const bytes. */
static bool fingerprints_copy(struct arena *arena, struct store *store)
{
    const size_t count = store->batch->group_count;
    uint8_t *bytes = arena_calloc(arena, count + 1, SHA256_BYTES);

    store->fingerprints = arena_calloc(arena, count + 1, sizeof *store->fingerprints);
    if (bytes == NULL || store->fingerprints == NULL) {
        return false;
    }
    for (size_t i = 0; i < count; i++, bytes += SHA256_BYTES) {
        memcpy(bytes, store->batch->groups[i].fingerprint, SHA256_BYTES);
        store->fingerprints[i] = (ProtobufCBinaryData){SHA256_BYTES, bytes};
    }
    return true;
}

static enum step no_memory(struct req *r)
{
    return req_fail(r, ERR_OVERLOADED, "no memory to write the error log");
}

/* The batch stays as it is until it is known to be written: messages point into it. */
static enum step store_groups(struct req *r)
{
    const struct audit *self = req_service(r);
    struct store *store = req_state(r, sizeof *store);
    struct arena *arena = req_arena(r);
    Avanta__AuditLog__ErrorStore *rows = arena_alloc(arena, sizeof *rows);
    size_t count = 0;

    store->batch = error_intake_begin(self->errors, str_from(req_id(r)));
    if (store->batch == NULL) {
        return STEP_DONE;
    }
    count = store->batch->group_count;
    if (rows == NULL || !fingerprints_copy(arena, store)) {
        return no_memory(r);
    }
    avanta__audit_log__error_store__init(rows);
    rows->sources = arena_calloc(arena, count + 1, sizeof *rows->sources);
    rows->services = arena_calloc(arena, count + 1, sizeof *rows->services);
    rows->names = arena_calloc(arena, count + 1, sizeof *rows->names);
    rows->messages = arena_calloc(arena, count + 1, sizeof *rows->messages);
    rows->counts = arena_calloc(arena, count + 1, sizeof *rows->counts);
    rows->first_ms = arena_calloc(arena, count + 1, sizeof *rows->first_ms);
    rows->last_ms = arena_calloc(arena, count + 1, sizeof *rows->last_ms);
    if (arena_exhausted(arena)) {
        return no_memory(r);
    }
    for (size_t i = 0; i < count; i++) {
        const struct error_pending *pending = &store->batch->groups[i];

        rows->sources[i] = source_name(pending->source);
        rows->services[i] = transcode_constant(pending->service);
        rows->names[i] = transcode_constant(pending->name);
        rows->messages[i] = transcode_constant(pending->message);
        rows->counts[i] = (int64_t)pending->count;
        rows->first_ms[i] = (int64_t)pending->first_ms;
        rows->last_ms[i] = (int64_t)pending->last_ms;
    }
    rows->fingerprints = store->fingerprints;
    rows->n_fingerprints = rows->n_sources = rows->n_services = rows->n_names = count;
    rows->n_messages = rows->n_counts = rows->n_first_ms = rows->n_last_ms = count;
    return req_query_from(r, Q_ERROR_STORE, &rows->base);
}

static bool samples_alloc(struct arena *arena, size_t count, Avanta__AuditLog__ErrorSamples *rows)
{
    char ***const texts[] = {&rows->ids,
                             &rows->messages,
                             &rows->stacks,
                             &rows->contexts,
                             &rows->urls,
                             &rows->agents,
                             &rows->networks,
                             &rows->reporters,
                             &rows->requests,
                             &rows->releases};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        *texts[i] = arena_calloc(arena, count + 1, sizeof **texts[i]);
    }
    rows->fingerprints = arena_calloc(arena, count + 1, sizeof *rows->fingerprints);
    rows->seen_ms = arena_calloc(arena, count + 1, sizeof *rows->seen_ms);
    rows->n_fingerprints = rows->n_ids = rows->n_seen_ms = rows->n_messages = rows->n_stacks =
        count;
    rows->n_contexts = rows->n_urls = rows->n_agents = rows->n_networks = count;
    rows->n_reporters = rows->n_requests = rows->n_releases = count;
    return !arena_exhausted(arena);
}

static enum step store_samples(struct req *r)
{
    const struct store *store = req_state(r, sizeof *store);
    Avanta__AuditLog__ErrorSamples *rows = arena_alloc(req_arena(r), sizeof *rows);

    assert(store->batch != NULL);
    if (rows == NULL) {
        return no_memory(r);
    }
    avanta__audit_log__error_samples__init(rows);
    if (!samples_alloc(req_arena(r), store->batch->sample_count, rows)) {
        return no_memory(r);
    }
    for (size_t i = 0; i < store->batch->sample_count; i++) {
        const struct error_sample *sample = &store->batch->samples[i];

        rows->fingerprints[i] = store->fingerprints[sample->group];
        rows->seen_ms[i] = (int64_t)sample->at_ms;
        rows->ids[i] = transcode_constant(sample->id);
        rows->messages[i] = transcode_constant(sample->message);
        rows->stacks[i] = transcode_constant(sample->stack);
        rows->contexts[i] = transcode_constant(sample->context);
        rows->urls[i] = transcode_constant(sample->url);
        rows->agents[i] = transcode_constant(sample->agent);
        rows->networks[i] = transcode_constant(sample->network);
        rows->reporters[i] = transcode_constant(sample->reporter);
        rows->requests[i] = transcode_constant(sample->request);
        rows->releases[i] = transcode_constant(sample->release);
    }
    return req_query_from(r, Q_ERROR_SAMPLES, &rows->base);
}

static enum step store_hours(struct req *r)
{
    const struct store *store = req_state(r, sizeof *store);
    struct arena *arena = req_arena(r);
    Avanta__AuditLog__ErrorHours *rows = arena_alloc(arena, sizeof *rows);

    if (rows == NULL) {
        return no_memory(r);
    }
    avanta__audit_log__error_hours__init(rows);
    rows->sources = arena_calloc(arena, ERROR_SOURCE_COUNT, sizeof *rows->sources);
    rows->counts = arena_calloc(arena, ERROR_SOURCE_COUNT, sizeof *rows->counts);
    rows->dropped = arena_calloc(arena, ERROR_SOURCE_COUNT, sizeof *rows->dropped);
    if (arena_exhausted(arena)) {
        return no_memory(r);
    }
    rows->n_sources = rows->n_counts = rows->n_dropped = ERROR_SOURCE_COUNT;
    for (int i = 0; i < ERROR_SOURCE_COUNT; i++) {
        rows->sources[i] = source_name((enum error_source)i);
        rows->dropped[i] = (int64_t)store->batch->dropped[i];
    }
    for (size_t i = 0; i < store->batch->group_count; i++) {
        rows->counts[store->batch->groups[i].source] += (int64_t)store->batch->groups[i].count;
    }
    rows->has_at_ms = true;
    rows->at_ms = (int64_t)req_now_ms(r);
    return req_query_from(r, Q_ERROR_HOURS, &rows->base);
}

static enum step store_prune(struct req *r)
{
    const struct audit *self = req_service(r);
    const struct store *store = req_state(r, sizeof *store);
    Avanta__AuditLog__ErrorPrune *prune = arena_alloc(req_arena(r), sizeof *prune);

    if (prune == NULL) {
        return no_memory(r);
    }
    avanta__audit_log__error_prune__init(prune);
    prune->n_fingerprints = store->batch->group_count;
    prune->fingerprints = store->fingerprints;
    prune->has_samples_max = true;
    prune->samples_max = (int64_t)self->config.errors_samples;
    return req_query_from(r, Q_ERROR_PRUNE, &prune->base);
}

static enum step store_alert(struct req *r)
{
    const struct audit *self = req_service(r);
    const struct store *store = req_state(r, sizeof *store);
    Avanta__AuditLog__ErrorAlerts *ask = arena_alloc(req_arena(r), sizeof *ask);

    if (ask == NULL) {
        return no_memory(r);
    }
    avanta__audit_log__error_alerts__init(ask);
    ask->n_fingerprints = store->batch->group_count;
    ask->fingerprints = store->fingerprints;
    ask->has_alerts_max = true;
    ask->alerts_max = (int64_t)error_intake_alerts(self->errors, clock_mono_us());
    return req_query_from(r, Q_ERROR_ALERT, &ask->base);
}

static enum step store_emit(struct req *r)
{
    const struct audit *self = req_service(r);

    for (size_t i = 0; i < req_rows(r); i++) {
        Avanta__AuditLog__ErrorAppeared event = AVANTA__AUDIT_LOG__ERROR_APPEARED__INIT;
        const Avanta__AuditLog__ErrorAlert *row =
            (const Avanta__AuditLog__ErrorAlert *)(const void *)req_row_new(r, i);

        if (row == NULL) {
            return STEP_FAIL;
        }
        event.id = row->id;
        event.source = row->source;
        event.service = row->service;
        event.name = row->name;
        event.message = row->message;
        event.has_count = event.has_again = true;
        event.count = row->count;
        event.again = row->again;
        req_emit_for(r, nobody, &event.base, row->id);
    }
    error_intake_alerted(self->errors, (uint32_t)req_rows(r), clock_mono_us());
    error_intake_written(self->errors, str_from(req_id(r)));
    return STEP_DONE;
}

const struct op op_audit_log_errors_store = {
    TX_WRITE_ALONE,
    {store_groups, store_samples, store_hours, store_prune, store_alert, store_emit}
};

/* --- taking away -------------------------------------------------------------------------------
 */

static enum step purge(struct req *r, uint16_t query)
{
    const struct audit *self = req_service(r);
    Avanta__AuditLog__ErrorKept *kept = arena_alloc(req_arena(r), sizeof *kept);

    if (kept == NULL) {
        return no_memory(r);
    }
    avanta__audit_log__error_kept__init(kept);
    kept->has_days = kept->has_groups_max = true;
    kept->days = (int64_t)self->config.errors_days;
    kept->groups_max = (int64_t)self->config.errors_groups;
    return req_query_from(r, query, &kept->base);
}

static enum step purge_groups(struct req *r)
{
    return purge(r, Q_ERROR_PURGE);
}

static enum step purge_samples(struct req *r)
{
    return purge(r, Q_ERROR_PURGE_SAMPLES);
}

static enum step purge_done(struct req *r)
{
    (void)r;
    return STEP_DONE;
}

const struct op op_audit_log_errors_purge = {
    TX_WRITE_ALONE, {purge_groups, purge_samples, purge_done}
};
