#include "api.gen.h"
#include "avanta/audit_log.pb-c.h"
#include "avanta/common.pb-c.h"
#include "services/witness/witness_internal.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/codec/transcode.h"

#include <assert.h>
#include <string.h>

#define QUIET_MS      2000 /* without a checkpoint; then the newest is asked for */
#define RECORDS_BYTES ((size_t)4 * 1024 * 1024) /* a message of the bus, unpacked */

/* As the metric names them, in its order. */
enum outcome {
    OUTCOME_COSIGNED,
    OUTCOME_LATE,
    OUTCOME_REFUSED,
    OUTCOME_FAILED,
    OUTCOME_NONE /* nothing was looked at */
};

/* --- the end of one ------------------------------------------------------------------------- */

static void on_bus_drained(void *arg)
{
    struct witness *w = arg;

    assert(w->draining);
    assert(!w->busy);
    bus_unsubscribe(&w->checkpoints);
    log_bus_close(&w->log_bus);
    bus_close(&w->bus);
    w->asker.bus = NULL;
    w->drained(w->drained_arg);
}

void witness_drain(struct witness *witness, void (*done)(void *arg), void *arg)
{
    assert(!witness->draining);
    assert(done != NULL);
    witness->draining = true;
    witness->drained = done;
    witness->drained_arg = arg;
    loop_timer_close(&witness->tick);
    if (!witness->busy) {
        bus_drain(witness->bus, on_bus_drained, witness);
    }
}

static void job_end(struct witness *w, enum outcome outcome)
{
    assert(w->busy);
    w->busy = false;
    if (outcome != OUTCOME_NONE) {
        metric_add(w->metrics, WITNESS_METRIC_CHECKPOINTS, outcome, 1);
    }
    if (w->draining) {
        bus_drain(w->bus, on_bus_drained, w);
    } else if (w->heard_count > 0) {
        loop_timer_start(w->tick, 0, WITNESS_TICK_MS);
    }
}

static void good(struct witness *w)
{
    assert(w->last.size > 0);
    metric_set(w->metrics, WITNESS_METRIC_ALARM, 0, 0);
    metric_set(w->metrics, WITNESS_METRIC_COSIGNED_AT, 0, (int64_t)(clock_wall_ms() / 1000));
}

static void
refuse(struct witness *w, enum why why, const struct merkle_proof *proof, const char *detail)
{
    const struct finding finding = {
        .why = why,
        .refused = &w->now,
        .last = w->last.size == 0 ? NULL : &w->last,
        .proof = proof,
        .detail = detail,
    };

    assert(w->busy);
    metric_add(w->metrics, WITNESS_METRIC_REFUSED, why, 1);
    metric_set(w->metrics, WITNESS_METRIC_ALARM, 0, 1);
    alarm_raise(w->alarm, &finding);
    job_end(w, OUTCOME_REFUSED);
}

/* --- cosigning ------------------------------------------------------------------------------ */

static void on_added(void *ctx, enum code code, bool from_log, const ProtobufCMessage *reply)
{
    struct witness *w = ctx;

    (void)reply;
    (void)from_log;
    assert(w->busy);
    assert(w->now.size == w->last.size);
    if (code != OK) { /* the next look at the newest one shows that it is missing */
        if (log_rate_allows(&w->not_taken_logged_ms)) {
            log_event(LOG_WARN,
                      "cosignature_not_taken",
                      LOG_U("size", w->now.size),
                      LOG_S("code", code_wire(code)));
        }
        job_end(w, OUTCOME_FAILED);
        return;
    }
    log_event(LOG_DEBUG, "cosigned", LOG_U("size", w->now.size));
    good(w);
    job_end(w, OUTCOME_COSIGNED);
}

static void line_send(struct witness *w)
{
    Avanta__AuditLog__AddCosignatureRequest in = AVANTA__AUDIT_LOG__ADD_COSIGNATURE_REQUEST__INIT;

    assert(w->last.size == w->now.size);
    assert(w->is_kept);
    in.has_size = true;
    in.size = (int64_t)w->now.size;
    in.line = w->line;
    if (!ask_log(&w->asker, &api_methods[API_AUDIT_LOG_ADD_COSIGNATURE], &in.base, on_added, w)) {
        job_end(w, OUTCOME_FAILED);
    }
}

static void keep_work(void *arg)
{
    struct witness *w = arg;

    assert(w->busy);
    assert(w->kept_len > w->now.len);
    w->is_kept = keep_last(&w->keep, (struct str){w->kept, w->kept_len});
}

static void on_kept(void *arg)
{
    struct witness *w = arg;

    assert(w->busy);
    if (!w->is_kept) {
        log_event(LOG_ERROR, "checkpoint_not_kept", LOG_U("size", w->now.size));
        job_end(w, OUTCOME_FAILED);
        return;
    }
    w->last = w->now;
    metric_set(w->metrics, WITNESS_METRIC_SIZE, 0, (int64_t)w->last.size);
    line_send(w);
}

/* What was cosigned may not be forgotten, so it is on the disk before the cosignature leaves. */
static void cosign(struct witness *w)
{
    struct buf line = buf_over(w->line, sizeof w->line);
    struct buf kept = buf_over(w->kept, sizeof w->kept);
    struct err err = {.code = OK};
    enum code code = note_sign(&w->signer, seen_text(&w->now), clock_wall_ms() / 1000, &line, &err);

    assert(w->busy);
    if (code == OK && !buf_terminate(&line)) {
        code = ERR_TOO_LARGE;
    }
    buf_append(&kept, w->now.note, w->now.len);
    buf_str(&kept, buf_view(&line));
    assert(!kept.overflow);
    w->kept_len = kept.len;
    if (code == OK) {
        code = loop_work(w->loop, keep_work, on_kept, w, &err);
    }
    if (code != OK) {
        log_event(LOG_ERROR, "cosigning_failed", LOG_S("why", err.text));
        job_end(w, OUTCOME_FAILED);
    }
}

/* --- looking -------------------------------------------------------------------------------- */

static bool proof_read(const Avanta__AuditLog__WitnessConsistencyReply *in,
                       struct merkle_proof *out)
{
    assert(in != NULL);
    out->count = 0;
    for (size_t i = 0; i < in->n_hashes; i++) {
        if (i == MERKLE_PROOF_MAX || in->hashes[i].len != MERKLE_HASH_BYTES) {
            return false;
        }
        memcpy(out->hashes[i].bytes, in->hashes[i].data, MERKLE_HASH_BYTES);
        out->count++;
    }
    return true;
}

static void proof_missing(struct witness *w, enum code code, bool from_log)
{
    assert(code != OK);
    assert(w->now.size != w->last.size);
    if (!from_log || code_retryable(code)) {
        job_end(w, OUTCOME_FAILED);
    } else if (w->now.size < w->last.size) {
        refuse(w, WHY_SHRUNK, NULL, "the log has fewer records than were cosigned");
    } else {
        refuse(w, WHY_UNPROVEN, NULL, "the log gives no proof that this continues the last one");
    }
}

static void on_proof(void *ctx, enum code code, bool from_log, const ProtobufCMessage *reply)
{
    struct witness *w = ctx;

    assert(w->busy);
    if (code != OK) {
        proof_missing(w, code, from_log);
        return;
    }
    if (!proof_read((const Avanta__AuditLog__WitnessConsistencyReply *)(const void *)reply,
                    &w->proof) ||
        !seen_proven(&w->last, &w->now, &w->proof)) {
        refuse(w, WHY_INCONSISTENT, &w->proof, "the proof that one continues the other is false");
    } else if (w->now.size < w->last.size) {
        job_end(w, OUTCOME_LATE);
    } else {
        cosign(w);
    }
}

static void proof_ask(struct witness *w)
{
    Avanta__AuditLog__WitnessConsistencyRequest in =
        AVANTA__AUDIT_LOG__WITNESS_CONSISTENCY_REQUEST__INIT;
    const bool grown = w->now.size > w->last.size;

    assert(w->last.size > 0);
    assert(w->now.size != w->last.size);
    in.has_from = in.has_to = true;
    in.from = (int64_t)(grown ? w->last.size : w->now.size);
    in.to = (int64_t)(grown ? w->now.size : w->last.size);
    if (!ask_log(
            &w->asker, &api_methods[API_AUDIT_LOG_WITNESS_CONSISTENCY], &in.base, on_proof, w)) {
        job_end(w, OUTCOME_FAILED);
    }
}

/* `busy` is set; one of the ends above follows. */
static void look(struct witness *w, struct str note)
{
    struct err err = {.code = OK};

    assert(w->busy);
    if (seen_read(note, &w->log, &w->now, &err) != OK) {
        refuse(w, WHY_SIGNATURE, NULL, err.text);
    } else if (w->last.size == 0) {
        log_event(LOG_WARN, "first_checkpoint_trusted", LOG_U("size", w->now.size));
        cosign(w);
    } else if (w->now.size != w->last.size) {
        if (w->newest && w->now.size < w->floor) {
            refuse(w, WHY_SHRUNK, NULL, "the log has fewer records than were cosigned");
        } else {
            proof_ask(w);
        }
    } else if (!seen_same_tree(&w->last, &w->now)) {
        refuse(w, WHY_FORK, NULL, "there are two trees of this size");
    } else if (w->newest && seen_cosigned(&w->now, &w->signer.verifier)) {
        good(w);
        job_end(w, OUTCOME_NONE);
    } else {
        cosign(w);
    }
}

/* --- what comes ----------------------------------------------------------------------------- */

static void on_newest(void *ctx, enum code code, bool from_log, const ProtobufCMessage *reply)
{
    struct witness *w = ctx;

    assert(w->busy);
    if (code == OK) {
        const Avanta__AuditLog__WitnessCheckpointReply *out =
            (const Avanta__AuditLog__WitnessCheckpointReply *)(const void *)reply;

        look(w, str_from(out->checkpoint));
    } else if (code == ERR_NOT_FOUND && from_log && w->floor > 0) {
        w->now = (struct seen){.size = 0};
        refuse(w, WHY_SHRUNK, NULL, "the log has no checkpoint any more");
    } else {
        job_end(w, OUTCOME_NONE);
    }
}

static void newest_ask(struct witness *w)
{
    const Avanta__AuditLog__WitnessCheckpointRequest in =
        AVANTA__AUDIT_LOG__WITNESS_CHECKPOINT_REQUEST__INIT;

    assert(w->busy);
    w->newest = true;
    w->floor = w->last.size;
    if (!ask_log(
            &w->asker, &api_methods[API_AUDIT_LOG_WITNESS_CHECKPOINT], &in.base, on_newest, w)) {
        job_end(w, OUTCOME_NONE);
    }
}

/* The next one heard, or the newest when it was quiet for a while. */
static void look_on(struct witness *w)
{
    uint64_t now = loop_now_ms(w->loop);

    assert(w->heard_count <= WITNESS_HEARD_MAX);
    assert(w->heard_first < WITNESS_HEARD_MAX);
    if (w->busy || w->draining) {
        return;
    }
    if (w->heard_count > 0) {
        const struct heard *heard = &w->heard[w->heard_first];

        w->heard_first = (w->heard_first + 1) % WITNESS_HEARD_MAX;
        w->heard_count--;
        w->quiet_until_ms = now + QUIET_MS;
        w->busy = true;
        w->newest = false;
        look(w, (struct str){heard->note, heard->len});
    } else if (now >= w->quiet_until_ms) {
        w->quiet_until_ms = now + QUIET_MS;
        w->busy = true;
        newest_ask(w);
    }
}

static void hear(struct witness *w, const char *note)
{
    struct heard *heard = &w->heard[(w->heard_first + w->heard_count) % WITNESS_HEARD_MAX];
    struct str text = str_from(note);

    assert(w->heard_count <= WITNESS_HEARD_MAX);
    if (w->heard_count == WITNESS_HEARD_MAX) {
        return; /* the newest is asked for anyway */
    }
    heard->len = text.len < sizeof heard->note ? text.len : sizeof heard->note;
    memcpy(heard->note, text.ptr, heard->len);
    w->heard_count++;
}

static void record_hear(struct witness *w, const ProtobufCBinaryData *packed, struct arena *arena)
{
    ProtobufCAllocator allocator;
    Avanta__EventRecord *record = NULL;
    Avanta__AuditLog__CheckpointMade *event = NULL;

    assert(arena != NULL);
    transcode_allocator(&allocator, arena);
    record = avanta__event_record__unpack(&allocator, packed->len, packed->data);
    if (record != NULL) {
        event = avanta__audit_log__checkpoint_made__unpack(
            &allocator, record->body.len, record->body.data);
    }
    hear(w, event == NULL || event->checkpoint == NULL ? "" : event->checkpoint);
}

void witness_on_checkpoints(void *ctx, struct bus_message *message)
{
    struct witness *w = ctx;
    struct str data = bus_message_data(message);
    struct arena *arena = arena_open(w->asker.arenas, RECORDS_BYTES);
    ProtobufCAllocator allocator;
    Avanta__Records *records = NULL;

    if (arena != NULL) {
        transcode_allocator(&allocator, arena);
        records = avanta__records__unpack(&allocator, data.len, (const uint8_t *)data.ptr);
    }
    for (size_t i = 0; records != NULL && i < records->n_record; i++) {
        record_hear(w, &records->record[i], arena);
    }
    arena_dispose(&arena);
    bus_message_destroy(message);
    look_on(w);
}

void witness_on_tick(void *ctx)
{
    struct witness *w = ctx;

    assert(!w->draining);
    log_bus_tick(w->log_bus);
    alarm_tick(w->alarm);
    look_on(w);
}
