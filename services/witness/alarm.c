#include "services/witness/alarm.h"

#include "api.gen.h"
#include "avanta/audit_log.pb-c.h"
#include "avanta/common.pb-c.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/id.h"
#include "libcommon/base/log.h"
#include "libcommon/codec/transcode.h"
#include "libcommon/io/digest.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AGAIN_MS       (UINT64_C(3600) * 1000)
#define ACK_MS         3000
#define DETAIL_BYTES   160
#define DIGEST_BYTES   6 /* of a note, in a file's name */
#define MESSAGE_BYTES  ((size_t)64 * 1024)
#define EVIDENCE_BYTES ((size_t)32 * 1024)
#define SUBJECTS       2 /* the event's own, and the alert's */

const char *const why_names[WHY_COUNT + 1] = {
    [WHY_SIGNATURE] = "signature",
    [WHY_FORK] = "fork",
    [WHY_SHRUNK] = "shrunk",
    [WHY_INCONSISTENT] = "inconsistent",
    [WHY_UNPROVEN] = "unproven",
    [WHY_COUNT] = NULL,
};

/* What was told last for a reason. */
struct told {
    struct alarm *alarm;
    enum why why;
    uint64_t told_ms; /* loop time; 0: never */
    uint64_t occurred_ms;
    uint64_t size;
    uint64_t last_size;
    char id[UUID_TEXT_BYTES];
    char detail[DETAIL_BYTES];
    char evidence[KEEP_NAME_BYTES_MAX]; /* "": it could not be kept */
    bool taken[SUBJECTS];
    bool offered[SUBJECTS];
};

struct alarm {
    struct alarm_options options;
    struct told told[WHY_COUNT];
    char evidence[EVIDENCE_BYTES];
};

struct alarm *alarm_open(const struct alarm_options *options)
{
    struct alarm *alarm = calloc(1, sizeof *alarm);

    assert(options->keep != NULL);
    assert(options->bus != NULL);
    if (alarm == NULL) {
        return NULL;
    }
    alarm->options = *options;
    for (int i = 0; i < WHY_COUNT; i++) {
        alarm->told[i] = (struct told){
            .alarm = alarm, .why = (enum why)i, .taken = {true, true}
        };
    }
    return alarm;
}

void alarm_close(struct alarm **alarm)
{
    assert(alarm != NULL);
    free(*alarm);
    *alarm = NULL;
}

/* --- evidence ------------------------------------------------------------------------------- */

static void note_put(struct buf *out, const char *title, const struct seen *seen)
{
    assert(title != NULL);
    assert(seen == NULL || seen->len <= SEEN_BYTES_MAX);
    buf_printf(out, "\n--- %s ---\n", title);
    if (seen == NULL || seen->len == 0) {
        buf_text(out, "none\n");
    } else {
        buf_append(out, seen->note, seen->len);
    }
}

static void proof_put(struct buf *out, const struct merkle_proof *proof)
{
    char text[MERKLE_HASH_BYTES * 2];

    buf_text(out, "\n--- the consistency proof (RFC 6962 2.1.2) that was given for them ---\n");
    if (proof == NULL) {
        buf_text(out, "none\n");
        return;
    }
    assert(proof->count <= MERKLE_PROOF_MAX);
    for (size_t i = 0; i < proof->count; i++) {
        (void)base64_encode(
            proof->hashes[i].bytes, sizeof proof->hashes[i].bytes, text, sizeof text);
        buf_printf(out, "%s\n", text);
    }
}

static void evidence_put(struct told *told, const struct finding *finding)
{
    struct alarm *alarm = told->alarm;
    struct buf text = buf_over(alarm->evidence, sizeof alarm->evidence);
    char time[TIMESTAMP_TEXT_BYTES];
    uint8_t digest[SHA256_BYTES];
    char hex[2 * DIGEST_BYTES + 1];

    assert(finding->why == told->why);
    assert(told->detail[0] != '\0');
    timestamp_format(told->occurred_ms, time);
    buf_printf(&text,
               "A checkpoint of the audit log that was not cosigned.\n"
               "witness: %s\nwhy: %s\ndetail: %s\ntime: %s\n",
               alarm->options.witness,
               why_names[told->why],
               told->detail,
               time);
    note_put(&text, "the checkpoint that was cosigned last", finding->last);
    note_put(&text, "the checkpoint that was refused", finding->refused);
    proof_put(&text, finding->proof);
    assert(!text.overflow);
    sha256((struct str){finding->refused->note, finding->refused->len}, digest);
    hex_encode(digest, DIGEST_BYTES, hex);
    (void)snprintf(told->evidence,
                   sizeof told->evidence,
                   "evidence-%s-%llu-%s",
                   why_names[told->why],
                   (unsigned long long)told->size,
                   hex);
    if (!keep_evidence(alarm->options.keep, told->evidence, buf_view(&text))) {
        log_event(LOG_ERROR, "evidence_not_kept", LOG_S("file", told->evidence));
        told->evidence[0] = '\0';
    }
}

/* --- telling -------------------------------------------------------------------------------- */

static const struct api_event *event_row(void)
{
    for (size_t i = 0; i < API_EVENT_COUNT; i++) {
        if (api_events[i].descriptor == &avanta__audit_log__checkpoint_refused__descriptor) {
            return &api_events[i];
        }
    }
    abort(); /* the message carries the event option */
}

static const char *subject_of(size_t at)
{
    const struct api_event *row = event_row();

    assert(at < SUBJECTS);
    assert(row->alert != NULL);
    return at == 0 ? row->alert : row->subject;
}

static void on_alert_taken(void *ctx, enum code code, struct str payload)
{
    struct told *told = ctx;

    (void)payload;
    assert(told->offered[0]);
    assert(!told->taken[0]);
    told->offered[0] = false;
    told->taken[0] = code == OK;
}

static void on_event_taken(void *ctx, enum code code, struct str payload)
{
    struct told *told = ctx;

    (void)payload;
    assert(told->offered[1]);
    assert(!told->taken[1]);
    told->offered[1] = false;
    told->taken[1] = code == OK;
}

static size_t event_pack(const struct told *told, uint8_t *out, size_t cap)
{
    Avanta__AuditLog__CheckpointRefused event = AVANTA__AUDIT_LOG__CHECKPOINT_REFUSED__INIT;

    event.witness = transcode_constant(told->alarm->options.witness);
    event.why = transcode_constant(why_names[told->why]);
    event.has_size = told->size > 0;
    event.size = (int64_t)told->size;
    event.has_last_size = true;
    event.last_size = (int64_t)told->last_size;
    event.detail = transcode_constant(told->detail);
    event.evidence = told->evidence[0] == '\0' ? NULL : transcode_constant(told->evidence);
    assert(avanta__audit_log__checkpoint_refused__get_packed_size(&event) <= cap);
    return avanta__audit_log__checkpoint_refused__pack(&event, out);
}

/* As the relay of a service packs its events: Records with one EventRecord. Empty: no memory. */
static struct str message_pack(const struct told *told, struct arena *arena)
{
    Avanta__EventRecord record = AVANTA__EVENT_RECORD__INIT;
    Avanta__Records pack = AVANTA__RECORDS__INIT;
    ProtobufCBinaryData one = {0, NULL};
    uint8_t body[1024];
    uint8_t *message = NULL;

    assert(told->told_ms > 0);
    assert(arena != NULL);
    record.subject = transcode_constant(subject_of(1));
    record.user_id = transcode_constant("");
    record.occurred_ms = told->occurred_ms;
    record.body = (ProtobufCBinaryData){event_pack(told, body, sizeof body), body};
    one.data = arena_alloc(arena, avanta__event_record__get_packed_size(&record));
    if (one.data == NULL) {
        return STR_EMPTY;
    }
    one.len = avanta__event_record__pack(&record, one.data);
    pack.n_record = 1;
    pack.record = &one;
    message = arena_alloc(arena, avanta__records__get_packed_size(&pack));
    if (message == NULL) {
        return STR_EMPTY;
    }
    return (struct str){(const char *)message, avanta__records__pack(&pack, message)};
}

static void offer(struct told *told, size_t at)
{
    const struct alarm_options *options = &told->alarm->options;
    struct arena *arena = NULL;
    struct err err = {.code = OK};
    char id[UUID_TEXT_BYTES + 16];

    assert(at < SUBJECTS);
    if (told->taken[at] || told->offered[at] || !bus_connected(options->bus)) {
        return;
    }
    arena = arena_open(options->arenas, MESSAGE_BYTES);
    struct str message = arena == NULL ? STR_EMPTY : message_pack(told, arena);

    (void)snprintf(id, sizeof id, "witness-%s-%zu", told->id, at);
    told->offered[at] =
        message.len > 0 && bus_stream_publish(options->bus,
                                              subject_of(at),
                                              id,
                                              message,
                                              loop_now_ms(options->loop) + ACK_MS,
                                              at == 0 ? on_alert_taken : on_event_taken,
                                              told,
                                              &err) == OK;
    arena_dispose(&arena);
}

void alarm_tick(struct alarm *alarm)
{
    assert(alarm != NULL);
    for (size_t i = 0; i < WHY_COUNT; i++) {
        assert(alarm->told[i].alarm == alarm);
        for (size_t at = 0; at < SUBJECTS; at++) {
            offer(&alarm->told[i], at);
        }
    }
}

void alarm_raise(struct alarm *alarm, const struct finding *finding)
{
    struct told *told = &alarm->told[finding->why];
    uint64_t now = loop_now_ms(alarm->options.loop);

    assert(finding->why < WHY_COUNT);
    assert(finding->refused != NULL);
    if (told->told_ms != 0 && now < told->told_ms + AGAIN_MS) {
        return;
    }
    told->told_ms = now;
    told->occurred_ms = clock_wall_ms();
    told->size = finding->refused->size;
    told->last_size = finding->last == NULL ? 0 : finding->last->size;
    uuid_v7(told->id);
    (void)snprintf(told->detail, sizeof told->detail, "%s", finding->detail);
    log_event(LOG_ERROR,
              "checkpoint_refused",
              LOG_S("why", why_names[told->why]),
              LOG_U("size", told->size),
              LOG_U("last_size", told->last_size),
              LOG_S("detail", told->detail));
    evidence_put(told, finding);
    for (size_t at = 0; at < SUBJECTS; at++) {
        told->taken[at] = false;
    }
    alarm_tick(alarm);
}
