/* Months of the audit trail leave the database for sealed files, whatever happens on the way. */
#include "avanta/audit_log.pb-c.h"
#include "tests/support/audit_rig.h"
#include "tests/support/check.h"
#include "tests/support/scratch_pg.h"

#include "libcommon/base/clock.h"
#include "libcommon/io/merkle.h"

#include <libpq-fe.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_BYTES  (1024UL * 1024)
#define DECEMBER_MS UINT64_C(1701561600000) /* 2023-12-03 */
#define JANUARY_MS  UINT64_C(1705744800000) /* 2024-01-20 */
#define KILLS       12
#define WAITS_FOR_SEAL \
    "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND relation = 'audit_seal'::regclass"

static char dir[] = "/tmp/avanta-seal-XXXXXX";
static char plain[64];

static int setup(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(plain, sizeof plain, "/tmp/avanta-export-%ld.ndjson", (long)getpid());
    audit_rig_open();
    return 0;
}

static int teardown(void **state)
{
    char path[64];

    (void)state;
    (void)unlink(plain);
    for (int month = 1; month <= 3; month++) {
        (void)snprintf(path, sizeof path, "%s/audit-2024-%02d.ndjson.gz", dir, month);
        (void)unlink(path);
    }
    (void)rmdir(dir);
    audit_rig_close();
    return 0;
}

static int seal(const char *month)
{
    const char *const args[] = {"--seal", month, "--dir", dir, NULL};

    return audit_command(AUDIT_ENVIRONMENT_FULL, args);
}

static int seals(void)
{
    const char *const args[] = {"--seals", dir, NULL};

    return audit_command(AUDIT_ENVIRONMENT_FULL, args);
}

static char bytes[FILE_BYTES];
static size_t len;

static void load(const char *path)
{
    FILE *file = fopen(path, "rb");

    assert_non_null(file);
    len = fread(bytes, 1, sizeof bytes, file);
    (void)fclose(file);
    assert_in_range(len, 1, sizeof bytes - 1);
}

static void store(const char *path)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

/* --- sealing ---------------------------------------------------------------------------------- */

static void test_months_are_sealed_in_order_and_when_they_are_over(void **state)
{
    char now[TIMESTAMP_TEXT_BYTES];

    (void)state;
    assert_int_equal(seal("2024-02"), 1);
    audit_command_says("audit_record_2024_01 is there: months are sealed in their order");
    timestamp_format(clock_wall_ms(), now);
    now[7] = '\0';
    assert_int_equal(seal(now), 1);
    audit_command_says("is not over since 365 days");
    assert_int_equal(seal("2024-13"), 2);
    assert_int_equal(seal("2023-11"), 1);
    audit_command_says("there is no partition");
    audit_rig_publish(DECEMBER_MS);
    assert_int_equal(seal("2023-12"), 1);
    audit_command_says("50 records of 2023-12 lie in audit_record_default");
    assert_string_equal(scratch_pg_ask(audit_rig->service.dsn, "SELECT count(*) FROM audit_seal"),
                        "0");
}

static PGconn *locked(const char *sql)
{
    PGconn *pq = PQconnectdb(audit_rig->service.dsn);

    assert_int_equal(PQstatus(pq), CONNECTION_OK);
    PQclear(PQexec(pq, "BEGIN"));
    PGresult *result = PQexec(pq, sql);
    assert_int_equal(PQresultStatus(result), PGRES_COMMAND_OK);
    PQclear(result);
    return pq;
}

/* Either it is all there or it has gone, with its row. */
static void is_whole(const char *month)
{
    char sql[512];

    (void)snprintf(sql,
                   sizeof sql,
                   "SELECT (to_regclass('audit_record_' || replace('%s', '-', '_')) IS NULL) ="
                   " EXISTS (SELECT FROM audit_seal WHERE month = '%s-01')",
                   month,
                   month);
    assert_string_equal(scratch_pg_ask(audit_rig->service.dsn, sql), "t");
}

static void killed(pid_t pid, const char *month)
{
    (void)kill(pid, SIGKILL);
    assert_int_equal(audit_command_wait(pid), 128 + SIGKILL);
    audit_rig_until(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'audit-log-command'", "0");
    is_whole(month);
}

/* What is added to the month between the file and the transaction is not lost. */
static void test_a_record_that_comes_meanwhile_stops_the_seal(void **state)
{
    const char *const args[] = {"--seal", "2024-01", "--dir", dir, NULL};
    PGconn *lock = locked("LOCK TABLE audit_seal IN SHARE MODE");
    pid_t pid = audit_command_start(AUDIT_ENVIRONMENT_FULL, args);

    (void)state;
    audit_rig_until(WAITS_FOR_SEAL, "t");
    audit_rig_publish(JANUARY_MS);
    assert_int_equal(audit_command_wait(pid), 1);
    audit_command_says("records of 2024-01 came while it was sealed: run it again");
    PQfinish(lock);
    is_whole("2024-01");
    assert_string_equal(scratch_pg_ask(audit_rig->service.dsn, "SELECT count(*) FROM audit_seal"),
                        "0");
}

static void test_a_seal_that_is_killed_is_run_again(void **state)
{
    const char *const args[] = {"--seal", "2024-01", "--dir", dir, NULL};
    char part[96];
    PGconn *lock = locked("LOCK TABLE audit_node IN ACCESS EXCLUSIVE MODE");
    pid_t pid = audit_command_start(AUDIT_ENVIRONMENT_FULL, args);
    const uint64_t end = clock_mono_ms() + AUDIT_RIG_MS;

    (void)state;
    /* While it writes. */
    (void)snprintf(part, sizeof part, "%s/audit-2024-01.ndjson.gz.part", dir);
    while (access(part, F_OK) != 0) {
        assert_true(clock_mono_ms() < end);
        bus_rig_run(&audit_rig->service.loop, 5);
    }
    (void)kill(pid, SIGKILL);
    assert_int_equal(audit_command_wait(pid), 128 + SIGKILL);
    PQfinish(lock);
    killed(audit_command_start(AUDIT_ENVIRONMENT_FULL, args), "2024-01"); /* at once */
    /* With the file in its place, and nothing said of it in the database. */
    lock = locked("LOCK TABLE audit_seal IN SHARE MODE");
    pid = audit_command_start(AUDIT_ENVIRONMENT_FULL, args);
    audit_rig_until(WAITS_FOR_SEAL, "t");
    killed(pid, "2024-01");
    PQfinish(lock);
    part[strlen(part) - strlen(".part")] = '\0';
    assert_int_equal(audit_command_verify(part), 0);
    assert_int_equal(seal("2024-01"), 0);
    is_whole("2024-01");
    assert_int_equal(audit_command_verify(part), 0);
    audit_command_says("seal before: none");
    assert_int_equal(seal("2024-01"), 0);
    audit_command_says("2024-01 is sealed in audit-2024-01.ndjson.gz");
}

/* At whatever moment. */
static void test_a_seal_is_whole_or_not_there(void **state)
{
    const char *const args[] = {"--seal", "2024-02", "--dir", dir, NULL};

    (void)state;
    for (int i = 0; i < KILLS; i++) {
        pid_t pid = audit_command_start(AUDIT_ENVIRONMENT_FULL, args);

        bus_rig_run(&audit_rig->service.loop, (long)(audit_rig_random() % 150));
        (void)kill(pid, SIGKILL);
        (void)audit_command_wait(pid);
        audit_rig_until(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'audit-log-command'",
            "0");
        is_whole("2024-02");
    }
    assert_int_equal(seal("2024-02"), 0);
    is_whole("2024-02");
    assert_string_equal(
        scratch_pg_ask(audit_rig->service.dsn,
                       "SELECT count(*) FROM audit_record WHERE occurred_at >= '2024-01-01' AND"
                       " occurred_at < '2024-03-01'"),
        "0");
    assert_string_equal(
        scratch_pg_ask(audit_rig->service.dsn,
                       "SELECT count(*) + (SELECT sum(upper(r) - lower(r)) FROM audit_seal,"
                       " unnest(leaves) AS r) = (SELECT count(*) FROM audit_leaf)"
                       " FROM audit_record"),
        "t");
}

static void test_sealed_records_are_exported_no_more(void **state)
{
    (void)state;
    assert_int_equal(audit_command_export(plain, "0", "1100"), 1);
    audit_command_says("records of 2024-01 are sealed in audit-2024-01.ndjson.gz");
    audit_command_says("records of 2024-02 are sealed in audit-2024-02.ndjson.gz");
    assert_int_equal(audit_command_export(plain, "1000", "1100"), 0);
    assert_int_equal(audit_command_verify(plain), 0);
}

/* --- afterwards ------------------------------------------------------------------------------- */

static void consistent(int64_t from, int64_t to)
{
    Avanta__AuditLog__ConsistencyProofRequest in =
        AVANTA__AUDIT_LOG__CONSISTENCY_PROOF_REQUEST__INIT;
    struct service_call call = {.method = service_method("audit-log.GetConsistencyProof"),
                                .in = &in.base,
                                .user = AUDIT_RIG_USER};
    struct merkle_hash roots[2];
    struct merkle_proof proof = {.count = 0};
    size_t size = 0;

    in.has_from = in.has_to = true;
    in.from = from;
    in.to = to;
    assert_int_equal(service_call(&audit_rig->service, &call), OK);
    const Avanta__AuditLog__ConsistencyProofReply *out = call.out;

    assert_true(
        base64_decode(str_from(out->from_root_hash), roots[0].bytes, MERKLE_HASH_BYTES, &size));
    assert_true(
        base64_decode(str_from(out->to_root_hash), roots[1].bytes, MERKLE_HASH_BYTES, &size));
    for (size_t i = 0; i < out->n_hashes; i++) {
        assert_true(base64_decode(
            str_from(out->hashes[i]), proof.hashes[i].bytes, MERKLE_HASH_BYTES, &size));
    }
    proof.count = out->n_hashes;
    assert_true(
        merkle_consistency_verify((uint64_t)from, (uint64_t)to, &roots[0], &proof, &roots[1]));
    service_call_end(&call);
}

/* A pass of the auditor covers all leaves there are here: what it says of the record that is
 * changed now, and of no other, it says after it has seen the sealed ones. */
static void test_the_auditor_knows_what_was_sealed(void **state)
{
    (void)state;
    audit_rig_publish(0);
    consistent(100, audit_rig->published);
    assert_int_equal(audit_rig->alerts, 0);
    scratch_pg_run(audit_rig->service.dsn,
                   "SET session_replication_role = replica; UPDATE audit_record SET action_details"
                   " = '{}' WHERE leaf_index = (SELECT max(leaf_index) FROM audit_record)");
    audit_rig_until("SELECT count(*) > 0 FROM audit_record WHERE action_type = 'tampering' AND"
                    " action_details LIKE '%\"what\":\"record\"%'",
                    "t");
    assert_string_equal(scratch_pg_ask(audit_rig->service.dsn,
                                       "SELECT count(*) FROM audit_record WHERE action_type ="
                                       " 'tampering' AND action_details LIKE '%missing%'"),
                        "0");
    assert_true(bus_rig_until(&audit_rig->service.loop, &audit_rig->alerts, 1, AUDIT_RIG_MS));
}

static void chain_holds(void)
{
    assert_int_equal(seals(), 0);
    audit_command_says("2 of 2 seals hold");
}

static void test_the_chain_of_seals_holds(void **state)
{
    char path[64];
    char digits[128];

    (void)state;
    chain_holds();
    (void)snprintf(path, sizeof path, "%s/audit-2024-02.ndjson.gz", dir);
    assert_int_equal(audit_command_verify(path), 0);
    audit_command_says("month:       2024-02\n");
    audit_command_says(" gaps\n");
    (void)snprintf(digits,
                   sizeof digits,
                   "seal before: %s",
                   scratch_pg_ask(audit_rig->service.dsn,
                                  "SELECT encode(file_sha256, 'hex') FROM audit_seal WHERE month ="
                                  " '2024-01-01'"));
    audit_command_says(digits);
    /* Any byte of it, even of gzip's head. */
    load(path);
    for (size_t i = 0; i < 8; i++) {
        size_t at = i < 2 ? 4 + i : audit_rig_random() % len;
        char bit = (char)(1 << audit_rig_random() % 8);

        bytes[at] = (char)(bytes[at] ^ bit);
        store(path);
        assert_row(i, seals() == 1);
        audit_command_says("2024-02 audit-2024-02.ndjson.gz does not hold");
        audit_command_says("1 of 2 seals hold");
        assert_row(i, seal("2024-02") == 1);
        bytes[at] = (char)(bytes[at] ^ bit);
        store(path);
    }
    chain_holds();
    (void)unlink(path);
    assert_int_equal(seals(), 1);
    audit_command_says("the file cannot be opened");
    store(path);
}

/* Who takes a record out and says that it was sealed is found out, as is who changes the links. */
static void test_the_database_cannot_say_what_is_sealed(void **state)
{
    static const char *const changes[] = {
        "UPDATE audit_seal SET leaves = leaves + '{[1000,1001)}' WHERE month = '2024-02-01'",
        "UPDATE audit_seal SET previous_sha256 = NULL WHERE month = '2024-02-01'",
        "UPDATE audit_seal SET file_sha256 = sha256('x') WHERE month = '2024-01-01'",
        "DELETE FROM audit_seal WHERE month = '2024-01-01'",
        "UPDATE audit_seal SET file_name = '../x' WHERE month = '2024-01-01'",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        char sql[512];

        (void)snprintf(sql,
                       sizeof sql,
                       "SET session_replication_role = replica; CREATE TABLE kept AS SELECT * FROM"
                       " audit_seal; %s",
                       changes[i]);
        scratch_pg_run(audit_rig->service.dsn, sql);
        assert_row(i, seals() == 1);
        scratch_pg_run(audit_rig->service.dsn,
                       "SET session_replication_role = replica; DELETE FROM audit_seal; INSERT INTO"
                       " audit_seal SELECT * FROM kept; DROP TABLE kept");
    }
    chain_holds();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_months_are_sealed_in_order_and_when_they_are_over),
        cmocka_unit_test(test_a_record_that_comes_meanwhile_stops_the_seal),
        cmocka_unit_test(test_a_seal_that_is_killed_is_run_again),
        cmocka_unit_test(test_a_seal_is_whole_or_not_there),
        cmocka_unit_test(test_sealed_records_are_exported_no_more),
        cmocka_unit_test(test_the_auditor_knows_what_was_sealed),
        cmocka_unit_test(test_the_chain_of_seals_holds),
        cmocka_unit_test(test_the_database_cannot_say_what_is_sealed),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
