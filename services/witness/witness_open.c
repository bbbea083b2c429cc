#include "services/witness/witness_internal.h"

#include "libcommon/base/limits.h"
#include "libcommon/base/log.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define ANSWERED_MS  30000 /* since the last answer; then the log counts as away */
#define ARENA_CHUNKS 1024
#define CALLS_MAX    64

static const char *const outcomes[] = {"cosigned", "late", "refused", "failed", NULL};

const struct metric_row witness_metric_rows[WITNESS_METRIC_COUNT] = {
    [WITNESS_METRIC_CHECKPOINTS] =
        {METRIC_COUNTER,
                                      "avanta_witness_checkpoints_total", "outcome",
                                      outcomes,  "checkpoints looked at; late: an older one, which holds; failed: to be looked at again"},
    [WITNESS_METRIC_REFUSED] = {METRIC_COUNTER,
                                      "avanta_witness_refused_total",     "why",
                                      why_names, "checkpoints that do not hold"                                                         },
    [WITNESS_METRIC_SIZE] = {METRIC_GAUGE,
                                      "avanta_witness_size",              NULL,
                                      NULL,      "records in the checkpoint cosigned last"                                              },
    [WITNESS_METRIC_COSIGNED_AT] = {METRIC_GAUGE,
                                      "avanta_witness_cosigned_seconds",  NULL,
                                      NULL,      "when a checkpoint was last found good, Unix time"                                     },
    [WITNESS_METRIC_ALARM] = {METRIC_GAUGE,
                                      "avanta_witness_alarm",             NULL,
                                      NULL,      "1 from a checkpoint that does not hold until the newest one holds"                    },
};

enum code
witness_signer(const struct witness_config *config, struct note_signer *out, struct err *err)
{
    uint8_t seed[ED25519_KEY_BYTES];
    size_t len = 0;
    enum code code = OK;

    assert(out != NULL);
    if (!hex_decode(str_from(config->key), seed, sizeof seed, &len) || len != sizeof seed) {
        code = err_set_field(err,
                             ERR_INVALID,
                             "AVANTA_WITNESS_KEY",
                             "AVANTA_WITNESS_KEY must be %d hex digits",
                             2 * ED25519_KEY_BYTES);
    } else {
        code = note_signer_make(str_from(config->name), NOTE_COSIGNATURE, seed, out, err);
    }
    explicit_bzero(seed, sizeof seed);
    return code;
}

static enum code keys_read(struct witness *w, const struct witness_config *config, struct err *err)
{
    uint8_t key[ENVELOPE_KEY_BYTES];
    size_t len = 0;
    enum code code = witness_signer(config, &w->signer, err);

    if (code == OK && (note_verifier_parse(str_from(config->log_key), &w->log, NULL) != OK ||
                       w->log.algorithm != NOTE_ED25519)) {
        code = err_set_field(err,
                             ERR_INVALID,
                             "AVANTA_WITNESS_LOG_KEY",
                             "AVANTA_WITNESS_LOG_KEY is not what audit-log --verifier-key shows");
    }
    if (code == OK && (!hex_decode(str_from(config->key_audit_log), key, sizeof key, &len) ||
                       len != sizeof key)) {
        code = err_set_field(err,
                             ERR_INVALID,
                             "AVANTA_ENVELOPE_KEY_AUDIT_LOG",
                             "AVANTA_ENVELOPE_KEY_AUDIT_LOG must be %d hex digits",
                             2 * ENVELOPE_KEY_BYTES);
    }
    if (code == OK) {
        w->asker.sealer = sealer_open(key);
        code = w->asker.sealer == NULL ? err_set(err, ERR_INTERNAL, "no memory for a sealer") : OK;
    }
    explicit_bzero(key, sizeof key);
    return code;
}

/* A checkpoint that is not what we wrote is no reason to trust the log anew. */
static enum code last_read(struct witness *w, const char *dir, struct err *err)
{
    struct buf kept = buf_over(w->kept, sizeof w->kept);
    struct err why = {.code = OK};
    enum code code = keep_open(&w->keep, dir, err);

    assert(w->last.size == 0);
    if (code == OK) {
        code = keep_load(&w->keep, &kept, err);
    }
    if (code != OK || kept.len == 0) {
        return code;
    }
    if (seen_read(buf_view(&kept), &w->log, &w->last, &why) != OK) {
        return err_set_field(err,
                             ERR_INVALID,
                             "AVANTA_WITNESS_DIR",
                             "the last checkpoint in AVANTA_WITNESS_DIR: %s",
                             why.text);
    }
    metric_set(w->metrics, WITNESS_METRIC_SIZE, 0, (int64_t)w->last.size);
    log_event(LOG_INFO, "last_checkpoint", LOG_U("size", w->last.size));
    return OK;
}

static enum code bus_start(struct witness *w, const struct witness_config *config, struct err *err)
{
    const struct bus_options options = {
        .url = config->nats_url,
        .user = config->nats_user,
        .password = config->nats_password,
        .ca_file = config->nats_ca_file,
        .cert_file = config->nats_cert_file,
        .key_file = config->nats_key_file,
        .name = "witness",
        .in_flight_max = CALLS_MAX,
    };
    enum code code = bus_open(w->loop, &options, &w->bus, err);

    if (code == OK) {
        code = bus_subscribe(
            w->bus, "evt.audit.checkpoint", NULL, witness_on_checkpoints, w, &w->checkpoints, err);
    }
    code = code == OK ? log_bus_open(w->bus, "witness", &w->log_bus, err) : code;
    w->asker.loop = w->loop;
    w->asker.bus = w->bus;
    return code;
}

static enum code parts_open(struct witness *w, const struct witness_config *config, struct err *err)
{
    struct alarm_options alarm = {.loop = w->loop, .keep = &w->keep, .witness = config->name};
    enum code code = OK;

    assert(w->bus == NULL);
    assert(w->asker.sealer != NULL);
    w->asker.arenas = arena_pool_open(ARENA_CHUNK_BYTES, ARENA_CHUNKS);
    w->tick = loop_timer_open(w->loop, witness_on_tick, w);
    if (w->asker.arenas == NULL || w->tick == NULL) {
        return err_set(err, ERR_INTERNAL, "no memory for the witness");
    }
    code = bus_start(w, config, err);
    if (code != OK) {
        return code;
    }
    alarm.bus = w->bus;
    alarm.arenas = w->asker.arenas;
    w->alarm = alarm_open(&alarm);
    if (w->alarm == NULL) {
        return err_set(err, ERR_INTERNAL, "no memory for the witness");
    }
    loop_timer_start(w->tick, WITNESS_TICK_MS, WITNESS_TICK_MS);
    return OK;
}

enum code witness_open(struct loop *loop,
                       const struct witness_config *config,
                       struct metrics *metrics,
                       struct witness **out,
                       struct err *err)
{
    struct witness *w = calloc(1, sizeof *w);
    enum code code = OK;

    assert(loop != NULL);
    assert(metrics != NULL);
    if (w == NULL) {
        return err_set(err, ERR_INTERNAL, "no memory for the witness");
    }
    *out = w;
    w->loop = loop;
    w->metrics = metrics;
    w->keep.dir = -1;
    code = keys_read(w, config, err);
    if (code == OK) {
        code = last_read(w, config->dir, err);
    }
    return code == OK ? parts_open(w, config, err) : code;
}

bool witness_bus_ready(const struct witness *witness)
{
    return witness->bus != NULL && bus_connected(witness->bus);
}

bool witness_log_ready(const struct witness *witness)
{
    uint64_t answered = witness->asker.answered_ms;

    assert(witness->loop != NULL);
    return answered != 0 && loop_now_ms(witness->loop) < answered + ANSWERED_MS;
}

void witness_close(struct witness **witness)
{
    struct witness *w = *witness;

    *witness = NULL;
    if (w == NULL) {
        return;
    }
    assert(!w->busy);
    alarm_close(&w->alarm);
    sealer_close(&w->asker.sealer);
    if (w->asker.arenas != NULL) {
        arena_pool_close(&w->asker.arenas);
    }
    keep_close(&w->keep);
    note_signer_wipe(&w->signer);
    free(w);
}
