/*
 * Publishes audit records as a busy service would: packs of PACK_RECORDS, a window of packs
 * unacknowledged. Prints nothing but what failed; tests/bench/run.sh measures what the stack makes
 * of it.
 *
 *   bench_audit NATS_URL USER PASSWORD RECORDS PER_SECOND
 */
#include "avanta/common.pb-c.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/id.h"
#include "libcommon/codec/transcode.h"
#include "libcommon/io/bus.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PACK_RECORDS 64
#define WINDOW       64
#define USERS        1000
#define RECORD_BYTES 1024
#define TICK_MS      2

static struct {
    struct loop *loop;
    struct bus *bus;
    struct loop_timer *timer;
    const char *user;
    uint64_t wanted;
    uint64_t per_second;
    uint64_t sent;
    uint64_t stored;
    uint64_t begun_ms;
    uint32_t under_way;
    char run[UUID_TEXT_BYTES];
} load;

static void fail(const char *what)
{
    (void)fprintf(stderr, "bench_audit: %s\n", what);
    exit(1);
}

static void record_fill(Avanta__AuditRecord *record, uint64_t number, char texts[5][64])
{
    avanta__audit_record__init(record);
    (void)snprintf(texts[0], 64, "0191d6a2-7b1c-7000-8000-%012" PRIx64, number % USERS);
    (void)snprintf(texts[1], 64, "%" PRIu64, number);
    uuid_v7(texts[2]);
    (void)snprintf(texts[3], 64, "0191d6a2-0000-7000-8000-%012" PRIx64, number % USERS);
    (void)snprintf(texts[4], 64, "%016" PRIx64 "%016" PRIx64, number, number);
    record->user_id = texts[0];
    record->action_type = transcode_constant(number % 10 == 0 ? "update" : "create");
    record->entity_type = transcode_constant("transaction");
    record->entity_id = texts[1];
    record->details = transcode_constant(
        "{\"transaction\":{\"id\":17,\"date\":\"2025-02-03\",\"description\":\"Comida del "
        "equipo\",\"amount\":10.50,\"type\":\"gasto\",\"category\":\"personal\"}}");
    record->ip_address = transcode_constant("203.0.113.7");
    record->user_agent = transcode_constant("Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101");
    record->session_id = texts[3];
    record->occurred_ms = clock_wall_ms();
    record->severity = transcode_constant(number % 100 == 0 ? "medium" : "low");
    record->status = transcode_constant("success");
    record->request_id = texts[2];
    record->service = transcode_constant("ledger");
    record->method = transcode_constant("ledger.CreateTransaction");
    record->trace_id = texts[4];
    record->credential = transcode_constant("session");
}

static void on_stored(void *ctx, enum code code, struct str payload)
{
    (void)ctx;
    (void)payload;
    if (code != OK) {
        fail("a pack was not stored");
    }
    load.under_way--;
    load.stored += PACK_RECORDS;
    if (load.stored >= load.wanted) {
        loop_timer_close(&load.timer);
        bus_close(&load.bus);
        loop_stop(load.loop);
    }
}

static void pack_send(void)
{
    static uint8_t packed[PACK_RECORDS][RECORD_BYTES];
    static uint8_t message[PACK_RECORDS * RECORD_BYTES];
    ProtobufCBinaryData parts[PACK_RECORDS];
    Avanta__Records pack = AVANTA__RECORDS__INIT;
    char id[96];
    struct err err = {.code = OK};

    for (int i = 0; i < PACK_RECORDS; i++) {
        Avanta__AuditRecord record;
        char texts[5][64];

        record_fill(&record, load.sent + (uint64_t)i, texts);
        parts[i] = (ProtobufCBinaryData){avanta__audit_record__pack(&record, packed[i]), packed[i]};
    }
    pack.n_record = PACK_RECORDS;
    pack.record = parts;
    (void)snprintf(id, sizeof id, "bench-%s-%" PRIu64, load.run, load.sent);
    struct str payload = {(const char *)message, avanta__records__pack(&pack, message)};

    if (bus_stream_publish(load.bus,
                           "audit.ledger",
                           id,
                           payload,
                           loop_now_ms(load.loop) + 20000,
                           on_stored,
                           NULL,
                           &err) != OK) {
        fail(err.text);
    }
    load.under_way++;
    load.sent += PACK_RECORDS;
}

static void on_tick(void *arg)
{
    uint64_t due = 0;

    (void)arg;
    if (!bus_connected(load.bus)) {
        return;
    }
    if (load.begun_ms == 0) {
        load.begun_ms = loop_now_ms(load.loop);
    }
    due = (loop_now_ms(load.loop) - load.begun_ms) * load.per_second / 1000;
    while (load.sent < load.wanted && load.sent < due && load.under_way < WINDOW) {
        pack_send();
    }
}

int main(int argc, char **argv)
{
    struct bus_options options = {.name = "ledger", .in_flight_max = WINDOW * 2};
    struct err err = {.code = OK};

    if (argc != 6 || !str_to_uint64(str_from(argv[4]), &load.wanted) ||
        !str_to_uint64(str_from(argv[5]), &load.per_second)) {
        fail("usage: bench_audit NATS_URL USER PASSWORD RECORDS PER_SECOND");
    }
    options.url = argv[1];
    options.user = argv[2];
    options.password = argv[3];
    uuid_v7(load.run);
    load.loop = loop_open();
    if (load.loop == NULL || bus_open(load.loop, &options, &load.bus, &err) != OK) {
        fail(err.text);
    }
    load.timer = loop_timer_open(load.loop, on_tick, NULL);
    if (load.timer == NULL) {
        fail("no memory");
    }
    loop_timer_start(load.timer, TICK_MS, TICK_MS);
    loop_run(load.loop);
    loop_close(&load.loop);
    return 0;
}
