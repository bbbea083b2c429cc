/* The witness beside a real log: it cosigns what continues the checkpoint it cosigned last, also
 * after a restart, and nothing else; what does not hold is an alarm with its evidence kept. */
#include "avanta/audit_log.pb-c.h"
#include "avanta/common.pb-c.h"
#include "tests/support/check.h"
#include "tests/support/scratch_pg.h"
#include "tests/support/service_rig.h"
#include "tests/support/witness_rig.h"

#include "libcommon/base/clock.h"
#include "libcommon/codec/transcode.h"

#include <stdio.h>
#include <string.h>

#define USER        "0191d6a2-7b1c-7000-8000-00000000000a"
#define SIGNING_KEY "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
#define OTHER_KEY   "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"
#define SOON_MS     20000
#define COSIGNED_MS 2000
#define BATCH       20
#define NOTE_BYTES  WITNESS_RIG_NOTE_BYTES

static struct service_rig rig;
static struct witness_rig witness;
static struct note_signer log_signer;
static struct note_signer other_signer;
static int published; /* records, ever */

/* --- alarms ---------------------------------------------------------------------------------- */

static int alarms;
static char alarm_why[32];
static char alarm_evidence[128];

static void on_alert(void *ctx, struct bus_message *message)
{
    struct str data = bus_message_data(message);
    Avanta__Records *records =
        avanta__records__unpack(NULL, data.len, (const uint8_t *)(const void *)data.ptr);

    (void)ctx;
    assert_non_null(records);
    for (size_t i = 0; i < records->n_record; i++) {
        Avanta__EventRecord *record =
            avanta__event_record__unpack(NULL, records->record[i].len, records->record[i].data);

        assert_non_null(record);
        if (strcmp(record->subject, "evt.audit-log.checkpoint.refused") == 0) {
            Avanta__AuditLog__CheckpointRefused *event =
                avanta__audit_log__checkpoint_refused__unpack(
                    NULL, record->body.len, record->body.data);

            assert_non_null(event);
            assert_string_equal(event->witness, "avanta/witness");
            (void)snprintf(alarm_why, sizeof alarm_why, "%s", event->why);
            (void)snprintf(alarm_evidence, sizeof alarm_evidence, "%s", event->evidence);
            avanta__audit_log__checkpoint_refused__free_unpacked(event, NULL);
            alarms++;
        }
        avanta__event_record__free_unpacked(record, NULL);
    }
    avanta__records__free_unpacked(records, NULL);
    bus_message_destroy(message);
}

/* The next alarm is of that reason, and its evidence holds this text. */
static void until_alarm(int before, const char *why, const char *text)
{
    if (!bus_rig_until(&rig.loop, &alarms, before + 1, SOON_MS)) {
        fail_msg("no alarm: %s", why);
    }
    assert_int_equal(alarms, before + 1);
    assert_string_equal(alarm_why, why);
    const char *evidence = witness_rig_file(&witness, alarm_evidence);

    assert_non_null(strstr(evidence, why));
    if (strstr(evidence, text) == NULL) {
        fail_msg("the evidence lacks \"%s\":\n%s", text, evidence);
    }
}

/* --- setup ------------------------------------------------------------------------------------ */

static void signer_make(const char *hex, const char *name, struct note_signer *out)
{
    uint8_t seed[ED25519_KEY_BYTES];
    size_t len = 0;
    struct err err = {.code = OK};

    assert_true(hex_decode(str_from(hex), seed, sizeof seed, &len));
    assert_int_equal(note_signer_make(str_from(name), NOTE_ED25519, seed, out, &err), OK);
}

static int setup(void **state)
{
    static char witness_key[NOTE_KEY_TEXT_BYTES_MAX];
    static char log_key[NOTE_KEY_TEXT_BYTES_MAX];
    struct buf text = buf_over(log_key, sizeof log_key);

    (void)state;
    signer_make(SIGNING_KEY, WITNESS_RIG_ORIGIN, &log_signer);
    signer_make(OTHER_KEY, WITNESS_RIG_ORIGIN, &other_signer);
    note_verifier_write(&log_signer.verifier, &text);
    assert_true(buf_terminate(&text));
    witness_rig_make(&witness, log_key, witness_key);
    service_rig_setting("AVANTA_AUDIT_SIGNING_KEY", SIGNING_KEY);
    service_rig_setting("AVANTA_WITNESS_KEYS", witness_key);
    service_rig_open(&rig, "audit-log", 1);
    (void)bus_rig_subscribe(rig.bus, "alert.critical.audit-log", NULL, on_alert, NULL);
    assert_true(bus_rig_until_up(&rig.loop, SOON_MS));
    witness_rig_start(&witness, rig.nats_url);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    witness_rig_stop(&witness);
    witness_rig_remove(&witness);
    service_rig_close(&rig);
    return 0;
}

/* --- the log ---------------------------------------------------------------------------------- */

static void record_pack(int number, uint8_t out[512], ProtobufCBinaryData *part)
{
    Avanta__AuditRecord record = AVANTA__AUDIT_RECORD__INIT;
    char id[32];

    (void)snprintf(id, sizeof id, "%d", number);
    record.user_id = transcode_constant(USER);
    record.action_type = transcode_constant("create");
    record.entity_type = transcode_constant("transaction");
    record.entity_id = id;
    record.occurred_ms = clock_wall_ms();
    record.severity = transcode_constant("low");
    record.status = transcode_constant("success");
    record.service = transcode_constant("ledger");
    assert_true(avanta__audit_record__get_packed_size(&record) <= 512);
    *part = (ProtobufCBinaryData){avanta__audit_record__pack(&record, out), out};
}

static void stream_publish(const char *subject, const Avanta__Records *pack)
{
    static uint8_t message[BATCH * 1024];
    static int messages;
    struct bus_outcome outcome = {.count = 0};
    struct err err = {.code = OK};
    char id[32];

    assert_true(avanta__records__get_packed_size(pack) <= sizeof message);
    struct str payload = {(const char *)message, avanta__records__pack(pack, message)};

    (void)snprintf(id, sizeof id, "test-%d", messages++);
    assert_int_equal(bus_stream_publish(rig.bus,
                                        subject,
                                        id,
                                        payload,
                                        clock_mono_ms() + SOON_MS,
                                        bus_rig_called,
                                        &outcome,
                                        &err),
                     OK);
    assert_true(bus_rig_until(&rig.loop, &outcome.count, 1, SOON_MS));
    assert_int_equal(outcome.code, OK);
}

static void until(const char *sql, const char *wanted)
{
    const uint64_t end = clock_mono_ms() + SOON_MS;

    while (strcmp(scratch_pg_ask(rig.dsn, sql), wanted) != 0) {
        if (clock_mono_ms() > end) {
            fail_msg("%s: %s and not %s", sql, scratch_pg_ask(rig.dsn, sql), wanted);
        }
        bus_rig_run(&rig.loop, 10);
    }
}

static int64_t ask_number(const char *sql)
{
    int64_t value = 0;

    assert_true(str_to_int64(str_from(scratch_pg_ask(rig.dsn, sql)), &value));
    return value;
}

static int64_t newest_size(void)
{
    return ask_number("SELECT coalesce(max(size), 0) FROM audit_checkpoint");
}

/* Records, until the checkpoint that covers them is made. There may be more: the log's own auditor
 * notes what is done behind it. */
static void grow(int count)
{
    static uint8_t packed[BATCH][512];
    ProtobufCBinaryData parts[BATCH];
    Avanta__Records pack = AVANTA__RECORDS__INIT;
    const int64_t size = newest_size() + count;
    char sql[128];

    assert_true(count <= BATCH);
    for (int i = 0; i < count; i++) {
        record_pack(published++, packed[i], &parts[i]);
    }
    pack.n_record = (size_t)count;
    pack.record = parts;
    stream_publish("audit.ledger", &pack);
    (void)snprintf(sql,
                   sizeof sql,
                   "SELECT (coalesce(max(size), 0) >= %lld)::text FROM audit_checkpoint",
                   (long long)size);
    until(sql, "true");
}

/* The newest checkpoint has its cosignature. */
static void until_cosigned(void)
{
    until("SELECT count(*) FROM audit_cosignature WHERE size = (SELECT max(size) FROM"
          " audit_checkpoint)",
          "1");
}

/* --- what is no checkpoint of the log -----------------------------------------------------------
 */

/* As if the log had published it. */
static void tell(char *note)
{
    static uint8_t body[8192];
    static uint8_t packed[8192];
    Avanta__AuditLog__CheckpointMade event = AVANTA__AUDIT_LOG__CHECKPOINT_MADE__INIT;
    Avanta__EventRecord record = AVANTA__EVENT_RECORD__INIT;
    Avanta__Records pack = AVANTA__RECORDS__INIT;

    event.checkpoint = note;
    assert_true(avanta__audit_log__checkpoint_made__get_packed_size(&event) <= sizeof body);
    record.subject = transcode_constant("evt.audit.checkpoint");
    record.user_id = transcode_constant("");
    record.occurred_ms = clock_wall_ms();
    record.body =
        (ProtobufCBinaryData){avanta__audit_log__checkpoint_made__pack(&event, body), body};
    assert_true(avanta__event_record__get_packed_size(&record) <= sizeof packed);
    ProtobufCBinaryData one = {avanta__event_record__pack(&record, packed), packed};

    pack.n_record = 1;
    pack.record = &one;
    stream_publish("evt.audit.checkpoint", &pack);
}

/* --- the tests ----------------------------------------------------------------------------------
 */

static void test_a_checkpoint_is_cosigned_within_two_seconds(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        grow(3);
        until_cosigned();
    }
    assert_int_equal(ask_number("SELECT count(*) FROM audit_checkpoint LEFT JOIN audit_cosignature"
                                " USING (size) WHERE line IS NULL"),
                     0);
    int64_t slowest = ask_number("SELECT (extract(epoch FROM max(received_at - made_at)) *"
                                 " 1000)::bigint FROM audit_checkpoint JOIN audit_cosignature"
                                 " USING (size)");

    print_message("slowest: %lld ms\n", (long long)slowest);
    assert_true(slowest < COSIGNED_MS);
    assert_true(witness_rig_logged(&witness, "event=first_checkpoint_trusted"));
    assert_int_equal(alarms, 0);
}

static void test_the_cosignature_is_shown_and_verifies(void **state)
{
    Avanta__AuditLog__GetCheckpointRequest in = AVANTA__AUDIT_LOG__GET_CHECKPOINT_REQUEST__INIT;
    struct service_call call = {
        .method = service_method("audit-log.GetCheckpoint"), .in = &in.base, .user = USER};
    struct note note;
    struct err err = {.code = OK};
    uint64_t time_s = 0;

    (void)state;
    assert_int_equal(service_call(&rig, &call), OK);
    const Avanta__AuditLog__CheckpointReply *out = call.out;

    assert_int_equal(out->witnesses, 1);
    assert_int_equal(note_parse(str_from(out->checkpoint), &note, &err), OK);
    assert_int_equal(note_verify(&note, &log_signer.verifier, &time_s, &err), OK);
    assert_int_equal(note_verify(&note, &witness.signer.verifier, &time_s, &err), OK);
    assert_true(time_s * 1000 + 60000 > clock_wall_ms());
    assert_true(time_s * 1000 <= clock_wall_ms());
    service_call_end(&call);
}

static enum code add(int64_t size, char *line)
{
    Avanta__AuditLog__AddCosignatureRequest in = AVANTA__AUDIT_LOG__ADD_COSIGNATURE_REQUEST__INIT;
    struct service_call call = {.method = service_method("audit-log.AddCosignature"),
                                .in = &in.base};

    in.has_size = true;
    in.size = size;
    in.line = line;
    enum code code = service_call(&rig, &call);

    service_call_end(&call);
    return code;
}

/* Audit-log looks for itself before it keeps a line. */
static void test_only_known_witnesses_are_kept(void **state)
{
    const int64_t size = newest_size();
    char line[1024];
    char note[NOTE_BYTES];
    struct note_signer stranger;
    struct err err = {.code = OK};

    (void)state;
    (void)snprintf(line,
                   sizeof line,
                   "%s",
                   scratch_pg_ask(rig.dsn,
                                  "SELECT line FROM audit_cosignature ORDER BY size"
                                  " DESC LIMIT 1"));
    assert_int_equal(add(size, line), OK); /* once more changes nothing */
    assert_int_equal(add(size + 1000, line), ERR_NOT_FOUND);
    assert_int_equal(add(ask_number("SELECT min(size) FROM audit_checkpoint"), line), ERR_INVALID);
    (void)snprintf(
        note,
        sizeof note,
        "%s",
        scratch_pg_ask(rig.dsn, "SELECT note FROM audit_checkpoint ORDER BY size DESC LIMIT 1"));
    char *end = strstr(note, "\n\n");

    assert_non_null(end);
    assert_int_equal(add(size, end + 2), ERR_INVALID); /* the log's own signature */
    assert_int_equal(
        note_signer_make(
            STR("avanta/witness"), NOTE_COSIGNATURE, other_signer.seed, &stranger, &err),
        OK);
    struct buf text = buf_over(line, sizeof line);

    assert_int_equal(
        note_sign(&stranger, (struct str){note, (size_t)(end - note) + 1}, 1, &text, &err), OK);
    assert_true(buf_terminate(&text));
    assert_int_equal(add(size, line), ERR_INVALID);
    assert_int_equal(add(size, transcode_constant("nothing\n")), ERR_INVALID);
    assert_int_equal(ask_number("SELECT count(*) FROM audit_cosignature WHERE size ="
                                " (SELECT max(size) FROM audit_checkpoint)"),
                     1);
}

static void test_a_restart_goes_on(void **state)
{
    (void)state;
    witness_rig_stop(&witness);
    grow(BATCH);
    grow(BATCH);
    witness_rig_start(&witness, rig.nats_url);
    until_cosigned();
    assert_true(witness_rig_logged(&witness, "event=last_checkpoint"));
    assert_false(witness_rig_logged(&witness, "event=first_checkpoint_trusted"));
    assert_int_equal(alarms, 0);
}

/* The state is cosigned by the witness, so it was written before that left. */
static void test_what_is_kept_is_the_newest_cosigned(void **state)
{
    char kept[NOTE_BYTES];
    struct note note;
    struct checkpoint checkpoint;
    struct err err = {.code = OK};
    uint64_t time_s = 0;

    (void)state;
    (void)snprintf(kept, sizeof kept, "%s", witness_rig_file(&witness, "last-checkpoint"));
    assert_int_equal(note_parse(str_from(kept), &note, &err), OK);
    assert_int_equal(note_verify(&note, &witness.signer.verifier, &time_s, &err), OK);
    assert_int_equal(checkpoint_parse(note.text, &checkpoint, &err), OK);
    assert_int_equal(checkpoint.size, newest_size());
}

/* What comes late holds, and is no alarm. */
static void test_an_old_checkpoint_is_no_alarm(void **state)
{
    char note[NOTE_BYTES];

    (void)state;
    (void)snprintf(note,
                   sizeof note,
                   "%s",
                   scratch_pg_ask(rig.dsn,
                                  "SELECT note FROM audit_checkpoint ORDER BY size"
                                  " LIMIT 1"));
    tell(note);
    grow(1); /* looked at behind the other one */
    until_cosigned();
    assert_int_equal(alarms, 0);
}

/* Whoever has the bus but not the log's key, and whoever has both. */
static void test_forged_checkpoints_are_refused(void **state)
{
    char note[NOTE_BYTES];
    int before = alarms;
    const int64_t size = newest_size();
    const int64_t cosigned = ask_number("SELECT count(*) FROM audit_cosignature");

    (void)state;
    tell(witness_rig_note(&other_signer, size + 1, 1, note));
    until_alarm(before++, "signature", note);
    tell(witness_rig_note(&log_signer, size, 2, note));
    until_alarm(before++, "fork", note);
    tell(witness_rig_note(&log_signer, size + 1000, 3, note));
    until_alarm(before++, "unproven", note);
    tell(witness_rig_note(&log_signer, size - 1, 4, note));
    until_alarm(before++, "inconsistent", note);
    /* The same again within the hour is known. */
    tell(witness_rig_note(&log_signer, size, 5, note));
    tell(witness_rig_note(&other_signer, size + 1, 6, note));
    tell(transcode_constant("nonsense"));
    grow(1);
    until_cosigned();
    assert_int_equal(alarms, before);
    assert_int_equal(ask_number("SELECT count(*) FROM audit_cosignature"), cosigned + 1);
}

/* A database that was restored and has grown differently. */
static void test_a_forked_log_is_refused(void **state)
{
    const int before = alarms;

    (void)state;
    witness_rig_log_copy(rig.dsn, "early");
    grow(5);
    until_cosigned();
    witness_rig_log_copy(rig.dsn, "honest");
    /* Nobody looks while it is done; a witness that starts again has told nothing yet. */
    witness_rig_stop(&witness);
    witness_rig_log_restore(rig.dsn, "early");
    grow(BATCH);
    witness_rig_start(&witness, rig.nats_url);
    until_alarm(before, "inconsistent", "the checkpoint that was cosigned last");
    grow(1);
    bus_rig_run(&rig.loop, 3000); /* it asks every two seconds */
    assert_int_equal(ask_number("SELECT count(*) FROM audit_cosignature AS now WHERE size >"
                                " (SELECT max(size) FROM early_audit_checkpoint)"),
                     0);
    assert_int_equal(alarms, before + 1);
    /* The honest log goes on where it was. */
    witness_rig_log_restore(rig.dsn, "honest");
    grow(1);
    until_cosigned();
    assert_int_equal(alarms, before + 1);
}

static void test_a_shrunk_log_is_refused(void **state)
{
    const int before = alarms;

    (void)state;
    witness_rig_log_restore(rig.dsn, "early");
    until_alarm(before, "shrunk", "fewer records");
    bus_rig_run(&rig.loop, 5000);
    assert_int_equal(alarms, before + 1); /* for each reason at most once an hour */
    witness_rig_log_restore(rig.dsn, "honest");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_checkpoint_is_cosigned_within_two_seconds),
        cmocka_unit_test(test_the_cosignature_is_shown_and_verifies),
        cmocka_unit_test(test_only_known_witnesses_are_kept),
        cmocka_unit_test(test_a_restart_goes_on),
        cmocka_unit_test(test_what_is_kept_is_the_newest_cosigned),
        cmocka_unit_test(test_an_old_checkpoint_is_no_alarm),
        cmocka_unit_test(test_forged_checkpoints_are_refused),
        cmocka_unit_test(test_a_forked_log_is_refused),
        cmocka_unit_test(test_a_shrunk_log_is_refused),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
