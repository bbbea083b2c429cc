/* Exports of the audit trail: anybody verifies them, and whatever is changed in them is found. */
#include "tests/support/audit_rig.h"
#include "tests/support/check.h"
#include "tests/support/scratch_pg.h"

#include "libcommon/io/note_key.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FILE_BYTES (1024UL * 1024)
#define LINES_MAX  2048
#define CHANGES    40

static char plain[64];
static char packed[64];
static char changed[64];

static int setup(void **state)
{
    (void)state;
    (void)snprintf(plain, sizeof plain, "/tmp/avanta-export-%ld.ndjson", (long)getpid());
    (void)snprintf(packed, sizeof packed, "%.48s.gz", plain);
    (void)snprintf(changed, sizeof changed, "%.48s.changed", plain);
    audit_rig_open();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)unlink(plain);
    (void)unlink(packed);
    (void)unlink(changed);
    audit_rig_close();
    return 0;
}

static void test_an_export_needs_nothing_to_be_verified(void **state)
{
    const char *const all[] = {"--export", packed, NULL};
    const char *const no_key[] = {"--verify", packed, NULL};
    const char *const key[] = {"--verifier-key", NULL};
    char other[NOTE_KEY_TEXT_BYTES_MAX];
    const char *const by_other[] = {"--verify", packed, "--log-key", other, NULL};
    const char *const no_vkey[] = {"--verify", packed, "--log-key", "x", NULL};
    char line[64];

    (void)state;
    assert_int_equal(audit_command(AUDIT_ENVIRONMENT_FULL, key), 0);
    assert_string_equal(audit_command_text(), AUDIT_RIG_KEY "\n");
    assert_int_equal(audit_command(AUDIT_ENVIRONMENT_FULL, all), 0);
    assert_int_equal(audit_command_verify(packed), 0);
    (void)snprintf(line, sizeof line, "records:     %d\n", audit_rig->published);
    audit_command_says(line);
    audit_command_says("a range: none of the records between was left out");
    assert_int_equal(audit_command_export(plain, "37", "411"), 0);
    assert_int_equal(audit_command_verify(plain), 0);
    audit_command_says("records:     375\n");
    audit_command_says("leaves:      37 to 411\n");
    assert_int_equal(audit_command(AUDIT_ENVIRONMENT_OTHER_KEY, key), 0);
    (void)snprintf(other,
                   sizeof other,
                   "%.*s",
                   (int)strcspn(audit_command_text(), "\n"),
                   audit_command_text());
    assert_int_equal(audit_command(AUDIT_ENVIRONMENT_EMPTY, by_other), 1);
    audit_command_says("line 1: ");
    assert_int_equal(audit_command(AUDIT_ENVIRONMENT_EMPTY, no_vkey), 2);
    assert_int_equal(audit_command(AUDIT_ENVIRONMENT_EMPTY, no_key), 2);
    assert_int_equal(audit_command_export(changed, "0", "999999"), 1);
    audit_command_says("the newest checkpoint covers the records up to");
    assert_int_not_equal(access(changed, F_OK), 0);
}

/* --- changed files ---------------------------------------------------------------------------- */

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

static void found(const char *what, size_t at)
{
    store(changed);
    if (audit_command_verify(changed) != 1) {
        fail_msg("%s at %zu is not found", what, at);
    }
    audit_command_says(changed);
}

/* The line that begins there, with its newline. */
static size_t line_at(size_t from)
{
    const char *newline = memchr(bytes + from, '\n', len - from);

    assert_non_null(newline);
    return (size_t)(newline - (bytes + from)) + 1;
}

static size_t line_choose(void)
{
    size_t lines[LINES_MAX] = {0};
    size_t count = 0;

    for (size_t at = 0; at < len && count < LINES_MAX; at += line_at(at)) {
        lines[count++] = at;
    }
    assert_true(count > 3);
    return lines[audit_rig_random() % (count > 3 ? count - 2 : 1)];
}

static void test_every_change_of_a_file_is_found(void **state)
{
    static const size_t gzip_head = 10; /* its time and system say nothing of the content */

    (void)state;
    for (int i = 0; i < CHANGES; i++) {
        bool compressed = i % 4 == 3;
        size_t head = compressed ? gzip_head : 0;
        size_t at = 0;

        load(compressed ? packed : plain);
        at = head + audit_rig_random() % (len - head);
        bytes[at] = (char)(bytes[at] ^ (1 << audit_rig_random() % 8));
        found("a byte", at);
        load(compressed ? packed : plain);
        len = audit_rig_random() % len;
        found("a cut", len);
    }
}

static void test_every_change_of_lines_is_found(void **state)
{
    static char kept[FILE_BYTES];

    (void)state;
    for (int i = 0; i < CHANGES; i++) {
        size_t at = 0;
        size_t one = 0;
        size_t two = 0;

        load(plain);
        at = line_choose();
        one = line_at(at);
        two = line_at(at + one);
        memcpy(kept, bytes + at, one);
        if (i % 3 == 0) {
            memmove(bytes + at, bytes + at + one, len - at - one);
            len -= one;
            found("a line that was dropped", at);
        } else if (i % 3 == 1) {
            memmove(bytes + at + one, bytes + at, len - at);
            len += one;
            found("a line that is there twice", at);
        } else {
            memmove(bytes + at, bytes + at + one, two);
            memcpy(bytes + at + two, kept, one);
            found("two lines in another order", at);
        }
    }
}

/* --- witnesses -------------------------------------------------------------------------------- */

/* Signs the newest checkpoint as a witness does; its key. */
static void cosign(char vkey[NOTE_KEY_TEXT_BYTES_MAX])
{
    static const uint8_t seed[ED25519_KEY_BYTES] = {7};
    char memory[NOTE_LINE_BYTES_MAX];
    char sql[2048];
    struct note_signer signer;
    struct buf key = buf_over(vkey, NOTE_KEY_TEXT_BYTES_MAX);
    struct buf line = buf_over(memory, sizeof memory);
    struct err err = {.code = OK};
    static const char newest[] = "SELECT split_part(note, E'\n\n', 1) || E'\n' FROM"
                                 " audit_checkpoint ORDER BY size DESC LIMIT 1";

    assert_int_equal(
        note_signer_make(STR("witness.example/w1"), NOTE_COSIGNATURE, seed, &signer, &err), OK);
    note_verifier_write(&signer.verifier, &key);
    assert_true(buf_terminate(&key));
    assert_int_equal(note_sign(&signer,
                               str_from(scratch_pg_ask(audit_rig->service.dsn, newest)),
                               1735787045,
                               &line,
                               &err),
                     OK);
    assert_true(buf_terminate(&line));
    (void)snprintf(sql,
                   sizeof sql,
                   "INSERT INTO audit_cosignature (size, witness, line) SELECT max(size),"
                   " 'witness.example/w1', '%.1000s' FROM audit_checkpoint",
                   memory);
    scratch_pg_run(audit_rig->service.dsn, sql);
}

static void test_a_witness_is_asked_for_its_signature(void **state)
{
    char vkey[NOTE_KEY_TEXT_BYTES_MAX];
    char line[64];
    const char *const all[] = {"--export", packed, NULL};
    const char *const args[] = {
        "--verify", packed, "--log-key", AUDIT_RIG_KEY, "--witness-key", vkey, NULL};
    const int before = audit_rig->published;

    (void)state;
    cosign(vkey);
    /* Packed was made before it signed. */
    assert_int_equal(audit_command(AUDIT_ENVIRONMENT_EMPTY, args), 1);
    audit_rig_publish(0);
    assert_int_equal(audit_command(AUDIT_ENVIRONMENT_FULL, all), 0);
    audit_command_says("no witness has signed a checkpoint over the 50 newest records");
    assert_int_equal(audit_command(AUDIT_ENVIRONMENT_EMPTY, args), 0);
    audit_command_says("witness.example/w1 has signed the checkpoint at 2025-01-02T03:04:05.000Z");
    (void)snprintf(line, sizeof line, "records:     %d\n", before);
    audit_command_says(line);
    /* Who wants the newest gets them, with what there is. */
    (void)snprintf(line, sizeof line, "%d", audit_rig->published - 1);
    assert_int_equal(audit_command_export(packed, "0", line), 0);
    assert_int_equal(audit_command(AUDIT_ENVIRONMENT_EMPTY, args), 1);
    assert_int_equal(audit_command_verify(packed), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_export_needs_nothing_to_be_verified),
        cmocka_unit_test(test_every_change_of_a_file_is_found),
        cmocka_unit_test(test_every_change_of_lines_is_found),
        cmocka_unit_test(test_a_witness_is_asked_for_its_signature),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
