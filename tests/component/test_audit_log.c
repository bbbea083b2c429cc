/* Records become leaves: in order, once each, provable within a second; and whoever changes the
 * database behind the service is found out. */
#include "avanta/audit_log.pb-c.h"
#include "avanta/common.pb-c.h"
#include "tests/support/check.h"
#include "tests/support/scratch_pg.h"
#include "tests/support/service_rig.h"

#include "libcommon/base/clock.h"
#include "libcommon/codec/transcode.h"
#include "libcommon/io/merkle.h"
#include "libcommon/io/note_key.h"

#include <stdio.h>
#include <string.h>

#define USER        "0191d6a2-7b1c-7000-8000-00000000000a"
#define OTHER       "0191d6a2-7b1c-7000-8000-00000000000b"
#define SIGNING_KEY "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
#define SOON_MS     15000
#define PROVABLE_MS 5000
#define BATCH       50
#define FINDING_MS  60000

static struct service_rig rig;
static int alerts;
static int published; /* records, ever */

static int setup(void **state)
{
    (void)state;
    service_rig_setting("AVANTA_AUDIT_SIGNING_KEY", SIGNING_KEY);
    service_rig_open(&rig, "audit-log", 2);
    (void)bus_rig_subscribe(rig.bus, "alert.critical.audit-log", NULL, bus_rig_count, &alerts);
    assert_true(bus_rig_until_up(&rig.loop, SOON_MS));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    service_rig_close(&rig);
    return 0;
}

/* --- publishing as a service does ----------------------------------------------------------- */

static void record_fill(Avanta__AuditRecord *record, const char *user, int number, char id[32])
{
    avanta__audit_record__init(record);
    (void)snprintf(id, 32, "%d", number);
    record->user_id = transcode_constant(user);
    record->action_type = transcode_constant(number % 2 == 0 ? "create" : "update");
    record->entity_type = transcode_constant("transaction");
    record->entity_id = id;
    record->details = transcode_constant("{\"description\":\"Ni\xc3\xb1o \\\"x\\\"\"}");
    record->before = number % 2 == 0 ? NULL : transcode_constant("{\"amount\":10.50}");
    record->occurred_ms = clock_wall_ms();
    record->severity = transcode_constant("low");
    record->status = transcode_constant("success");
    record->service = transcode_constant("ledger");
    record->method = transcode_constant("ledger.UpdateTransaction");
}

static void publish_as(const char *message_id, const char *user, int first, int count)
{
    Avanta__AuditRecord record;
    static uint8_t packed[BATCH][1024];
    static uint8_t message[BATCH * 1024];
    ProtobufCBinaryData parts[BATCH];
    Avanta__Records pack = AVANTA__RECORDS__INIT;
    struct bus_outcome outcome = {.count = 0};
    struct err err = {.code = OK};

    assert_true(count <= BATCH);
    for (int i = 0; i < count; i++) {
        char id[32];

        record_fill(&record, user, first + i, id);
        assert_true(avanta__audit_record__get_packed_size(&record) <= sizeof packed[i]);
        parts[i] = (ProtobufCBinaryData){avanta__audit_record__pack(&record, packed[i]), packed[i]};
    }
    pack.n_record = (size_t)count;
    pack.record = parts;
    assert_true(avanta__records__get_packed_size(&pack) <= sizeof message);
    struct str payload = {(const char *)message, avanta__records__pack(&pack, message)};

    assert_int_equal(bus_stream_publish(rig.bus,
                                        "audit.ledger",
                                        message_id,
                                        payload,
                                        clock_mono_ms() + SOON_MS,
                                        bus_rig_called,
                                        &outcome,
                                        &err),
                     OK);
    assert_true(bus_rig_until(&rig.loop, &outcome.count, 1, SOON_MS));
    assert_int_equal(outcome.code, OK);
    published += count;
}

static void publish(const char *user, int count)
{
    static int messages;
    char id[32];

    (void)snprintf(id, sizeof id, "test-%d", messages++);
    publish_as(id, user, published, count);
}

static void until(const char *sql, const char *wanted, long ms_max)
{
    const uint64_t end = clock_mono_ms() + (uint64_t)ms_max;

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

static void until_size(int size, long ms_max)
{
    char wanted[16];

    (void)snprintf(wanted, sizeof wanted, "%d", size);
    until("SELECT coalesce(max(size), 0) FROM audit_checkpoint", wanted, ms_max);
}

/* --- asking -------------------------------------------------------------------------------- */

static struct merkle_hash hash_read(const char *text)
{
    struct merkle_hash hash;
    size_t len = 0;

    assert_non_null(text);
    assert_true(base64_decode(str_from(text), hash.bytes, sizeof hash.bytes, &len));
    assert_int_equal(len, sizeof hash.bytes);
    return hash;
}

static struct merkle_proof proof_read(char **hashes, size_t count)
{
    struct merkle_proof proof = {.count = count};

    assert_true(count <= MERKLE_PROOF_MAX);
    for (size_t i = 0; i < count; i++) {
        proof.hashes[i] = hash_read(hashes[i]);
    }
    return proof;
}

/* The signature holds, and what was signed is this size and root. */
static void checkpoint_holds(const char *text, uint64_t size, const struct merkle_hash *root)
{
    struct note_signer signer;
    struct note note;
    struct checkpoint checkpoint;
    struct err err = {.code = OK};
    uint8_t seed[ED25519_KEY_BYTES];
    size_t len = 0;
    uint64_t time_s = 0;

    assert_true(hex_decode(STR(SIGNING_KEY), seed, sizeof seed, &len));
    assert_int_equal(note_signer_make(STR("avanta/audit-log"), NOTE_ED25519, seed, &signer, &err),
                     OK);
    assert_int_equal(note_parse(str_from(text), &note, &err), OK);
    assert_int_equal(note_verify(&note, &signer.verifier, &time_s, &err), OK);
    assert_int_equal(checkpoint_parse(note.text, &checkpoint, &err), OK);
    assert_int_equal(checkpoint.size, size);
    assert_memory_equal(checkpoint.root, root->bytes, sizeof checkpoint.root);
}

/* Asks for the proof of a record and verifies it from the record's text up. */
static enum code inclusion(const char *user, int64_t leaf_index)
{
    char id[32];
    Avanta__AuditLog__InclusionProofRequest in = AVANTA__AUDIT_LOG__INCLUSION_PROOF_REQUEST__INIT;
    struct service_call call = {
        .method = service_method("audit-log.GetInclusionProof"), .in = &in.base, .user = user};
    enum code code = OK;

    (void)snprintf(id, sizeof id, "audit_%lld", (long long)leaf_index);
    in.id = id;
    code = service_call(&rig, &call);
    if (code == OK) {
        const Avanta__AuditLog__InclusionProofReply *out = call.out;
        struct merkle_hash root = hash_read(out->root_hash);
        struct merkle_proof proof = proof_read(out->hashes, out->n_hashes);
        struct merkle_hash leaf;

        merkle_leaf_hash(str_from(out->record), &leaf);
        assert_int_equal(out->leaf_index, leaf_index);
        assert_true(merkle_inclusion_verify(
            (uint64_t)leaf_index, (uint64_t)out->tree_size, &leaf, &proof, &root));
        checkpoint_holds(out->checkpoint, (uint64_t)out->tree_size, &root);
    }
    service_call_end(&call);
    return code;
}

static void consistency(int64_t from, int64_t to)
{
    Avanta__AuditLog__ConsistencyProofRequest in =
        AVANTA__AUDIT_LOG__CONSISTENCY_PROOF_REQUEST__INIT;
    struct service_call call = {
        .method = service_method("audit-log.GetConsistencyProof"), .in = &in.base, .user = USER};

    in.has_from = in.has_to = true;
    in.from = from;
    in.to = to;
    assert_int_equal(service_call(&rig, &call), OK);
    const Avanta__AuditLog__ConsistencyProofReply *out = call.out;
    struct merkle_hash from_root = hash_read(out->from_root_hash);
    struct merkle_hash to_root = hash_read(out->to_root_hash);
    struct merkle_proof proof = proof_read(out->hashes, out->n_hashes);

    assert_true(from == 0 || merkle_consistency_verify(
                                 (uint64_t)from, (uint64_t)to, &from_root, &proof, &to_root));
    service_call_end(&call);
}

/* --- the tests ------------------------------------------------------------------------------ */

static void test_records_are_provable_within_a_second(void **state)
{
    (void)state;
    publish(USER, 1);
    until("SELECT count(*) FROM audit_record", "1", SOON_MS);
    until_size(1, PROVABLE_MS);
    assert_int_equal(inclusion(USER, 0), OK);
    for (int i = 0; i < 12; i++) {
        publish(i % 3 == 0 ? OTHER : USER, BATCH);
    }
    until_size(1 + 12 * BATCH, SOON_MS);
    /* Two replicas: which pack came first is theirs to say. */
    assert_int_equal(inclusion(USER,
                               ask_number("SELECT max(leaf_index) FROM audit_record WHERE"
                                          " user_id = '" USER "'")),
                     OK);
    assert_int_equal(inclusion(OTHER,
                               ask_number("SELECT min(leaf_index) FROM audit_record WHERE"
                                          " user_id = '" OTHER "'")),
                     OK);
    /* Another's record is not there, as is one that does not exist. */
    assert_int_equal(inclusion(OTHER, 0), ERR_NOT_FOUND);
    assert_int_equal(inclusion(USER, 1000000), ERR_NOT_FOUND);
}

static void test_every_tree_is_the_beginning_of_the_next(void **state)
{
    (void)state;
    const int size = published;

    for (int from = 0; from <= size; from += 37) {
        consistency(from, size);
        consistency(from, from + (size - from) / 2);
    }
    consistency(size, size);
}

static void test_a_record_delivered_again_is_no_second_leaf(void **state)
{
    (void)state;
    const int before = published;

    publish_as("again", USER, 7000, 3);
    until_size(before + 3, SOON_MS);
    /* Another message id on the stream, the same records: a stream that was made anew. */
    scratch_pg_run(
        rig.dsn,
        "SELECT audit_leaves_append(array_agg(message_id), array_agg(hash)) FROM audit_leaf");
    publish(USER, 1);
    published = before + 4;
    until_size(before + 4, SOON_MS);
    assert_string_equal(
        scratch_pg_ask(rig.dsn, "SELECT count(*) - count(DISTINCT message_id) FROM audit_record"),
        "0");
    assert_string_equal(scratch_pg_ask(rig.dsn,
                                       "SELECT count(*) FROM audit_leaf FULL JOIN audit_record"
                                       " USING (leaf_index) WHERE audit_leaf.hash IS NULL OR"
                                       " audit_record.service IS NULL"),
                        "0");
}

static void test_leaves_have_no_gap(void **state)
{
    (void)state;
    assert_string_equal(
        scratch_pg_ask(rig.dsn, "SELECT max(leaf_index) + 1 - count(*) FROM audit_leaf"), "0");
    assert_string_equal(scratch_pg_ask(rig.dsn, "SELECT min(leaf_index) FROM audit_leaf"), "0");
}

/* The hashes made by the service are those that SQL makes of the same record: the step that brought
 * older records in computes them so. */
static void test_sql_hashes_as_the_service_does(void **state)
{
    (void)state;
    assert_string_equal(
        scratch_pg_ask(
            rig.dsn,
            "SELECT count(*) FROM audit_record JOIN audit_leaf USING (leaf_index)"
            " WHERE hash <> sha256('\\x00'::bytea || convert_to('{' || concat_ws(',',"
            " '\"action_type\":' || to_json(action_type)::text,"
            " '\"actor_id\":' || to_json(actor_id)::text, '\"before\":' || to_json(before)::text,"
            " '\"credential\":' || to_json(credential)::text,"
            " '\"details\":' || to_json(action_details)::text,"
            " '\"entity_id\":' || to_json(entity_id)::text,"
            " '\"entity_type\":' || to_json(entity_type)::text,"
            " '\"id\":' || to_json(audit_record.message_id)::text,"
            " '\"ip_address\":' || to_json(ip_address)::text,"
            " '\"method\":' || to_json(method)::text,"
            " '\"occurred_ms\":' || (extract(epoch FROM occurred_at) * 1000)::bigint::text,"
            " '\"request_id\":' || to_json(request_id)::text,"
            " '\"service\":' || to_json(service)::text,"
            " '\"session_id\":' || to_json(session_id)::text,"
            " '\"severity\":' || to_json(severity)::text, '\"status\":' || to_json(status)::text,"
            " '\"trace_id\":' || to_json(trace_id)::text,"
            " '\"user_agent\":' || to_json(user_agent)::text,"
            " '\"user_id\":' || to_json(user_id::text)::text) || '}', 'UTF8'))"),
        "0");
}

/* The service's role may add and read; nobody's slip changes a row. */
static void test_records_are_append_only(void **state)
{
    (void)state;
    assert_string_equal(
        scratch_pg_ask(rig.dsn,
                       "SELECT count(*) FROM pg_class c, unnest(ARRAY['UPDATE', 'DELETE',"
                       " 'TRUNCATE']) AS right_to WHERE relname LIKE 'audit\\_%' AND relkind IN"
                       " ('r', 'p') AND has_table_privilege('audit_log', c.oid, right_to)"),
        "0");
    scratch_pg_run(rig.dsn,
                   "DO $$ BEGIN UPDATE audit_record SET status = 'failed'; RAISE 'changed';"
                   " EXCEPTION WHEN insufficient_privilege THEN NULL; END $$");
    scratch_pg_run(rig.dsn,
                   "DO $$ BEGIN DELETE FROM audit_leaf; RAISE 'changed';"
                   " EXCEPTION WHEN insufficient_privilege THEN NULL; END $$");
}

/* What a superuser does behind the service; undone by the last statement of each row. The finding
 * of a changed table makes a new checkpoint, so that the one that was changed is not the newest any
 * more. */
struct tampering {
    const char *name;
    const char *change;
    const char *undo;
    const char *found; /* condition on the event's `what` */
};

#define BEHIND "SET session_replication_role = replica; "
#define SWAP_RECORDS(a, b, sum)                                                              \
    "UPDATE audit_record SET leaf_index = -leaf_index WHERE leaf_index IN (" #a ", " #b ");" \
    "UPDATE audit_record SET leaf_index = " #sum " + leaf_index WHERE leaf_index < 0;"
#define SWAP_LEAVES(a, b, sum)                                                                 \
    "UPDATE audit_leaf SET leaf_index = leaf_index + 9000000 WHERE leaf_index IN (" #a ", " #b \
    ");"                                                                                       \
    "UPDATE audit_leaf SET leaf_index = 9000000 + " #sum                                       \
    " - leaf_index WHERE leaf_index > 9000000"
#define KEEP(table, where) "CREATE TABLE kept AS SELECT * FROM " table " " where ";"
#define NEWEST             "ORDER BY size DESC LIMIT 1"
#define UNKEEP             "; DROP TABLE kept"

/* clang-format off */
static const struct tampering tamperings[] = {
    {"an edited record",
     BEHIND "UPDATE audit_record SET action_details = '{}' WHERE leaf_index = 120",
     BEHIND "UPDATE audit_record SET action_details ="
            " (SELECT action_details FROM audit_record WHERE leaf_index = 121) WHERE leaf_index = 120",
     "record"},
    {"a deleted record",
     BEHIND KEEP("audit_record", "WHERE leaf_index = 130")
            "DELETE FROM audit_record WHERE leaf_index = 130",
     BEHIND "INSERT INTO audit_record SELECT * FROM kept" UNKEEP,
     "record"},
    {"records in another order",
     BEHIND SWAP_RECORDS(140, 141, 281),
     BEHIND SWAP_RECORDS(140, 141, 281),
     "record"},
    {"leaves and records in another order",
     BEHIND SWAP_RECORDS(150, 151, 301) SWAP_LEAVES(150, 151, 301),
     BEHIND SWAP_RECORDS(150, 151, 301) SWAP_LEAVES(150, 151, 301),
     "leaf"},
    {"a record with its leaf, and no more",
     BEHIND KEEP("audit_leaf", "WHERE leaf_index = 300")
            "UPDATE audit_leaf SET hash = sha256('x') WHERE leaf_index = 300",
     BEHIND "UPDATE audit_leaf SET hash = (SELECT hash FROM kept) WHERE leaf_index = 300" UNKEEP,
     "leaf"},
    {"a node",
     BEHIND KEEP("audit_node", "WHERE node_index = 0")
            "UPDATE audit_node SET hash = sha256('x') WHERE node_index = 0",
     BEHIND "UPDATE audit_node SET hash = (SELECT hash FROM kept) WHERE node_index = 0" UNKEEP,
     "node"},
    {"a checkpoint",
     BEHIND KEEP("audit_checkpoint", NEWEST)
            "DELETE FROM audit_checkpoint WHERE size = (SELECT size FROM kept)",
     BEHIND "INSERT INTO audit_checkpoint SELECT * FROM kept ON CONFLICT DO NOTHING" UNKEEP,
     "table"},
    {"the signed text",
     BEHIND KEEP("audit_checkpoint", NEWEST)
            "UPDATE audit_checkpoint SET note = replace(note, 'avanta', 'avantb')"
            " WHERE size = (SELECT size FROM kept)",
     BEHIND "UPDATE audit_checkpoint SET note = (SELECT note FROM kept)"
            " WHERE size = (SELECT size FROM kept)" UNKEEP,
     "table"},
};
/* clang-format on */

static void test_tampering_is_detected(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(tamperings); i++) {
        const struct tampering *t = &tamperings[i];
        const int before = alerts;
        char sql[512];
        uint64_t begun = clock_mono_ms();

        print_message("%s\n", t->name);
        (void)snprintf(
            sql,
            sizeof sql,
            "SELECT (count(*) > 0)::text FROM audit_record WHERE action_type = 'tampering'"
            " AND leaf_index > %s AND action_details LIKE '%%\"what\":\"%s\"%%'",
            scratch_pg_ask(rig.dsn, "SELECT max(leaf_index) FROM audit_leaf"),
            t->found);
        scratch_pg_run(rig.dsn, t->change);
        until(sql, "true", FINDING_MS);
        assert_true(bus_rig_until(&rig.loop, &alerts, before + 1, FINDING_MS));
        print_message("  found after %llu ms\n", (unsigned long long)(clock_mono_ms() - begun));
        scratch_pg_run(rig.dsn, t->undo);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records_are_provable_within_a_second),
        cmocka_unit_test(test_every_tree_is_the_beginning_of_the_next),
        cmocka_unit_test(test_a_record_delivered_again_is_no_second_leaf),
        cmocka_unit_test(test_leaves_have_no_gap),
        cmocka_unit_test(test_sql_hashes_as_the_service_does),
        cmocka_unit_test(test_records_are_append_only),
        cmocka_unit_test(test_tampering_is_detected),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
