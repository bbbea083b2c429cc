#include "services/audit-log/error_intake.h"

#include "libcommon/base/attr.h"
#include "libcommon/base/table.h"
#include "libcommon/codec/network.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define MINUTE_US        UINT64_C(60000000)
#define ADDRESS_SETS     512
#define ADDRESS_WAYS     8 /* places for an address */
#define IPV6_CLIENT_BITS 64
#define RUN_BYTES        64
#define ATTEMPTS_MAX     240 /* then what cannot be written makes room */

_Static_assert(UUID_TEXT_BYTES <= RUN_BYTES, "a run's id fits");

/* A token bucket as the time when it is full again (GCRA): a minute's worth may come at once. */
struct bucket {
    uint64_t full_us;
};

struct address {
    uint64_t key;
    struct bucket bucket;
};

/* One half is being filled while the other is being written. */
struct half {
    struct error_batch batch;
    struct table *groups;
};

struct error_intake {
    struct error_limits limits;
    struct half halves[2];
    size_t filling;
    bool writing;        /* the other half is not known to be written */
    bool written;        /* its statements succeeded */
    char run[RUN_BYTES]; /* which run has it */
    uint32_t attempts;
    struct bucket sources[ERROR_SOURCE_COUNT];
    struct bucket alerts;
    uint64_t seed;
    struct address addresses[ADDRESS_SETS][ADDRESS_WAYS];
};

/* --- buckets --------------------------------------------------------------------------------- */

/* How many are in it. */
static uint64_t bucket_level(const struct bucket *bucket, uint64_t per_minute, uint64_t now_us)
{
    uint64_t each_us = MINUTE_US / per_minute;
    uint64_t owed_us = bucket->full_us > now_us ? bucket->full_us - now_us : 0;
    uint64_t taken = (owed_us + each_us - 1) / each_us;

    assert(per_minute > 0);
    return taken < per_minute ? per_minute - taken : 0;
}

static void bucket_take(struct bucket *bucket, uint64_t per_minute, uint64_t count, uint64_t now_us)
{
    uint64_t from = bucket->full_us > now_us ? bucket->full_us : now_us;

    assert(per_minute > 0);
    bucket->full_us = from + count * (MINUTE_US / per_minute);
}

/* --- addresses ---------------------------------------------------------------------------------
 */

/* Of IPv6 the network, since one subscriber has all of it. What is no address counts as one. */
static uint64_t address_key(const struct error_intake *intake, struct str address)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct network network;
    size_t bytes = sizeof network.address;

    assert(intake != NULL);
    if (!network_parse(address, &network)) {
        return intake->seed;
    }
    if (memcmp(network.address, mapped, sizeof mapped) != 0) {
        bytes = IPV6_CLIENT_BITS / 8;
    }
    return hash_bytes(network.address, bytes, intake->seed);
}

/* An address that is not known takes the place of the one that has been quiet for the longest: that
 * has least to lose. */
static struct bucket *address_bucket(struct error_intake *intake, struct str address)
{
    uint64_t key = address_key(intake, address);
    struct address *set = intake->addresses[key % ADDRESS_SETS];
    struct address *quiet = &set[0];

    for (size_t i = 0; i < ADDRESS_WAYS; i++) {
        if (set[i].key == key) {
            return &set[i].bucket;
        }
        if (set[i].bucket.full_us < quiet->bucket.full_us) {
            quiet = &set[i];
        }
    }
    *quiet = (struct address){.key = key};
    return &quiet->bucket;
}

/* --- taking ------------------------------------------------------------------------------------
 */

static struct error_batch *filling(struct error_intake *intake)
{
    assert(intake != NULL);
    return &intake->halves[intake->filling].batch;
}

enum error_verdict error_intake_admit(struct error_intake *intake,
                                      enum error_source source,
                                      struct str address,
                                      uint64_t now_us,
                                      uint64_t *out_wait_ms)
{
    uint64_t per_minute = source == ERROR_FRONTEND ? intake->limits.frontend_per_minute
                                                   : intake->limits.server_per_minute;
    struct bucket *own = NULL;

    assert(source < ERROR_SOURCE_COUNT);
    assert(out_wait_ms != NULL);
    *out_wait_ms = 0;
    if (source == ERROR_FRONTEND) {
        uint64_t of_address = intake->limits.address_per_minute;

        own = address_bucket(intake, address);
        if (bucket_level(own, of_address, now_us) == 0) {
            *out_wait_ms =
                (own->full_us - now_us - (of_address - 1) * (MINUTE_US / of_address)) / 1000 + 1;
            filling(intake)->dropped[source]++;
            return ERROR_TOO_MANY_OF_ADDRESS;
        }
    }
    if (bucket_level(&intake->sources[source], per_minute, now_us) == 0) {
        filling(intake)->dropped[source]++;
        return ERROR_TOO_MANY;
    }
    bucket_take(&intake->sources[source], per_minute, 1, now_us);
    if (own != NULL) {
        bucket_take(own, intake->limits.address_per_minute, 1, now_us);
    }
    return ERROR_ADMITTED;
}

static void put(struct str text, char *out, size_t cap)
{
    bool fits = str_copy(text, out, cap);

    assert(fits); /* error_text() bounds it */
    (void)fits;
}

static struct error_pending *pending_of(struct half *half, const struct error_report *report)
{
    const struct str key = {(const char *)report->fingerprint, SHA256_BYTES};
    struct error_batch *batch = &half->batch;
    struct error_pending *pending = table_get(half->groups, key);

    if (pending != NULL || batch->group_count == ERROR_GROUPS_WAITING_MAX) {
        return pending;
    }
    pending = &batch->groups[batch->group_count];
    if (!table_put(half->groups, key, pending)) {
        return NULL;
    }
    batch->group_count++;
    *pending = (struct error_pending){.source = report->source, .first_ms = report->at_ms};
    memcpy(pending->fingerprint, report->fingerprint, SHA256_BYTES);
    put(report->service, pending->service, sizeof pending->service);
    put(report->name, pending->name, sizeof pending->name);
    return pending;
}

static void sample_add(struct error_batch *batch, size_t group, const struct error_report *report)
{
    struct error_sample *sample = &batch->samples[batch->sample_count++];

    assert(group < batch->group_count);
    sample->group = group;
    sample->at_ms = report->at_ms;
    memcpy(sample->id, report->id, sizeof sample->id);
    put(report->message, sample->message, sizeof sample->message);
    put(report->stack, sample->stack, sizeof sample->stack);
    put(report->context, sample->context, sizeof sample->context);
    put(report->url, sample->url, sizeof sample->url);
    put(report->agent, sample->agent, sizeof sample->agent);
    put(report->network, sample->network, sizeof sample->network);
    put(report->reporter, sample->reporter, sizeof sample->reporter);
    put(report->request, sample->request, sizeof sample->request);
    put(report->release, sample->release, sizeof sample->release);
}

bool error_intake_add(struct error_intake *intake, const struct error_report *report)
{
    struct half *half = &intake->halves[intake->filling];
    struct error_batch *batch = &half->batch;
    struct error_pending *pending = pending_of(half, report);

    assert(report->source < ERROR_SOURCE_COUNT);
    if (pending == NULL) {
        batch->dropped[report->source]++;
        return false;
    }
    pending->count++;
    pending->last_ms = report->at_ms > pending->last_ms ? report->at_ms : pending->last_ms;
    put(report->message, pending->message, sizeof pending->message);
    batch->until_ms = pending->last_ms > batch->until_ms ? pending->last_ms : batch->until_ms;
    if (pending->samples < ERROR_SAMPLES_EACH_MAX &&
        batch->sample_count < ERROR_SAMPLES_WAITING_MAX) {
        pending->samples++;
        sample_add(batch, (size_t)(pending - batch->groups), report);
    }
    return true;
}

/* --- writing -----------------------------------------------------------------------------------
 */

static void half_clear(struct half *half)
{
    struct error_batch *batch = &half->batch;

    for (size_t i = 0; i < batch->group_count; i++) {
        const struct str key = {(const char *)batch->groups[i].fingerprint, SHA256_BYTES};
        const void *removed = table_remove(half->groups, key);

        assert(removed == &batch->groups[i]);
        (void)removed;
    }
    batch->group_count = 0;
    batch->sample_count = 0;
    memset(batch->dropped, 0, sizeof batch->dropped);
    assert(table_count(half->groups) == 0);
}

static bool is_empty(const struct error_batch *batch)
{
    assert(batch != NULL);
    return batch->group_count == 0 && batch->dropped[ERROR_FRONTEND] == 0 &&
           batch->dropped[ERROR_SERVER] == 0;
}

static bool is_run(const struct error_intake *intake, struct str run)
{
    assert(intake != NULL);
    return intake->writing && str_eq(run, str_from(intake->run));
}

static void give_up(struct error_intake *intake, const struct error_batch *batch)
{
    assert(batch != NULL);
    for (size_t i = 0; i < ERROR_SOURCE_COUNT; i++) {
        filling(intake)->dropped[i] += batch->dropped[i];
    }
    for (size_t i = 0; i < batch->group_count; i++) {
        filling(intake)->dropped[batch->groups[i].source] += batch->groups[i].count;
    }
}

const struct error_batch *error_intake_begin(struct error_intake *intake, struct str run)
{
    struct half *other = &intake->halves[1 - intake->filling];

    assert(run.len > 0);
    if (is_run(intake, run)) { /* its transaction did not hold */
        intake->written = false;
        return &other->batch;
    }
    if (intake->writing && (intake->written || intake->attempts >= ATTEMPTS_MAX)) {
        if (!intake->written) {
            give_up(intake, &other->batch);
        }
        half_clear(other);
        intake->writing = false;
    }
    if (!intake->writing) {
        if (is_empty(filling(intake))) {
            return NULL;
        }
        intake->filling = 1 - intake->filling;
        other = &intake->halves[1 - intake->filling];
        intake->attempts = 0;
    }
    intake->attempts++;
    intake->writing = true;
    intake->written = false;
    put(run, intake->run, sizeof intake->run);
    return &other->batch;
}

void error_intake_written(struct error_intake *intake, struct str run)
{
    assert(is_run(intake, run));
    intake->written = true;
}

uint32_t error_intake_alerts(const struct error_intake *intake, uint64_t now_us)
{
    assert(intake != NULL);
    return (uint32_t)bucket_level(&intake->alerts, intake->limits.alerts_per_minute, now_us);
}

void error_intake_alerted(struct error_intake *intake, uint32_t count, uint64_t now_us)
{
    assert(intake != NULL);
    bucket_take(&intake->alerts, intake->limits.alerts_per_minute, count, now_us);
}

/* --- open and close ----------------------------------------------------------------------------
 */

struct error_intake *error_intake_open(const struct error_limits *limits)
{
    struct error_intake *intake = calloc(1, sizeof *intake);

    assert(limits->address_per_minute > 0);
    assert(limits->frontend_per_minute > 0);
    assert(limits->server_per_minute > 0);
    assert(limits->alerts_per_minute > 0);
    if (intake == NULL) {
        return NULL;
    }
    intake->limits = *limits;
    random_bytes(&intake->seed, sizeof intake->seed);
    for (size_t i = 0; i < ARRAY_LEN(intake->halves); i++) {
        uint64_t seed = 0;

        random_bytes(&seed, sizeof seed);
        intake->halves[i].groups = table_open(ERROR_GROUPS_WAITING_MAX, seed);
        if (intake->halves[i].groups == NULL) {
            error_intake_close(&intake);
            return NULL;
        }
    }
    return intake;
}

void error_intake_close(struct error_intake **intake)
{
    struct error_intake *closing = *intake;

    *intake = NULL;
    if (closing == NULL) {
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(closing->halves); i++) {
        table_close(&closing->halves[i].groups);
    }
    free(closing);
}
