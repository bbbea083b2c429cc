#include "tests/support/witness_rig.h"

#include "tests/support/check.h"
#include "tests/support/scratch_pg.h"

#include "libcommon/base/attr.h"
#include "libcommon/base/clock.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEED_HEX      "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7"
#define KEY_HEX       "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define READY_MS_MAX  30000
#define END_MS_MAX    20000
#define LOGGED_MS_MAX 2000
#define FILE_BYTES    (256 * 1024)
#define ENTRIES_MAX   16

void witness_rig_make(struct witness_rig *rig,
                      const char *log_key,
                      char out_key[NOTE_KEY_TEXT_BYTES_MAX])
{
    uint8_t seed[ED25519_KEY_BYTES];
    size_t len = 0;
    struct buf key = buf_over(out_key, NOTE_KEY_TEXT_BYTES_MAX);
    struct err err = {.code = OK};

    *rig = (struct witness_rig){.pid = 0, .dir = "/tmp/avanta-witness-XXXXXX"};
    assert_non_null(mkdtemp(rig->dir));
    (void)snprintf(rig->log_path, sizeof rig->log_path, "%s.log", rig->dir);
    assert_true(str_copy(str_from(log_key), rig->log_key, sizeof rig->log_key));
    assert_true(hex_decode(STR(SEED_HEX), seed, sizeof seed, &len));
    assert_int_equal(
        note_signer_make(STR("avanta/witness"), NOTE_COSIGNATURE, seed, &rig->signer, &err), OK);
    note_verifier_write(&rig->signer.verifier, &key);
    assert_true(buf_terminate(&key));
}

struct environment {
    char texts[ENTRIES_MAX][512];
    char *entries[ENTRIES_MAX + 1];
    size_t count;
};

static void entry_add(struct environment *e, const char *name, const char *value)
{
    assert_true(e->count < ENTRIES_MAX);
    (void)snprintf(e->texts[e->count], sizeof e->texts[0], "%s=%s", name, value);
    e->entries[e->count] = e->texts[e->count];
    e->count++;
    e->entries[e->count] = NULL;
}

static void environment_fill(struct environment *e, const struct witness_rig *rig, const char *url)
{
    static const char *const kept[] = {
        "PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS"};

    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        if (getenv(kept[i]) != NULL) {
            entry_add(e, kept[i], getenv(kept[i]));
        }
    }
    entry_add(e, "AVANTA_NATS_URL", url);
    entry_add(e, "AVANTA_WITNESS_KEY", SEED_HEX);
    entry_add(e, "AVANTA_WITNESS_LOG_KEY", rig->log_key);
    entry_add(e, "AVANTA_WITNESS_DIR", rig->dir);
    entry_add(e, "AVANTA_ENVELOPE_KEY_AUDIT_LOG", KEY_HEX);
    entry_add(e, "AVANTA_LOG_LEVEL", "debug");
}

static const char *file_text(const char *path)
{
    static char text[FILE_BYTES];
    FILE *file = fopen(path, "r");

    if (file == NULL) {
        fail_msg("%s is not there", path);
    }
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    (void)fclose(file);
    return text;
}

static bool logged_until(const struct witness_rig *rig, const char *text, uint64_t ms_max)
{
    const uint64_t end = clock_mono_ms() + ms_max;

    while (strstr(file_text(rig->log_path), text) == NULL) {
        if (clock_mono_ms() > end || waitpid(rig->pid, NULL, WNOHANG) != 0) {
            return false;
        }
        (void)usleep(20000);
    }
    return true;
}

void witness_rig_start(struct witness_rig *rig, const char *nats_url)
{
    const char *build = getenv("AVANTA_BUILD");
    struct environment e = {.count = 0};
    char program[512];
    char *argv[] = {program, NULL};
    int fd = open(rig->log_path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);

    assert_non_null(build);
    assert_true(fd >= 0);
    assert_int_equal(rig->pid, 0);
    (void)snprintf(program, sizeof program, "%s/bin/witness", build);
    environment_fill(&e, rig, nats_url);
    rig->pid = fork();
    assert_true(rig->pid >= 0);
    if (rig->pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)dup2(fd, STDOUT_FILENO);
        (void)dup2(fd, STDERR_FILENO);
        (void)execve(program, argv, e.entries);
        _exit(127);
    }
    (void)close(fd);
    if (!logged_until(rig, "event=ready", READY_MS_MAX)) {
        print_error("%s", file_text(rig->log_path));
        fail_msg("the witness is not ready");
    }
}

void witness_rig_stop(struct witness_rig *rig)
{
    const uint64_t end = clock_mono_ms() + END_MS_MAX;
    int status = -1;

    if (rig->pid == 0) {
        return;
    }
    assert_int_equal(kill(rig->pid, SIGTERM), 0);
    while (waitpid(rig->pid, &status, WNOHANG) != rig->pid) {
        if (clock_mono_ms() > end) {
            (void)kill(rig->pid, SIGKILL);
        }
        (void)usleep(5000);
    }
    rig->pid = 0;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || getenv("SERVICE_RIG_LOG") != NULL) {
        print_error("status %x\n%s", (unsigned)status, file_text(rig->log_path));
    }
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

void witness_rig_remove(struct witness_rig *rig)
{
    DIR *list = opendir(rig->dir);
    char path[512];

    assert_int_equal(rig->pid, 0);
    if (list != NULL) {
        for (const struct dirent *row = NULL; (row = readdir(list)) != NULL;) {
            (void)snprintf(path, sizeof path, "%s/%s", rig->dir, row->d_name);
            (void)unlink(path);
        }
        (void)closedir(list);
    }
    (void)rmdir(rig->dir);
    (void)unlink(rig->log_path);
}

bool witness_rig_logged(const struct witness_rig *rig, const char *text)
{
    return logged_until(rig, text, LOGGED_MS_MAX);
}

const char *witness_rig_file(const struct witness_rig *rig, const char *name)
{
    char path[512];

    (void)snprintf(path, sizeof path, "%s/%s", rig->dir, name);
    return file_text(path);
}

/* --- beside the witness ------------------------------------------------------------------------
 */

char *witness_rig_note(const struct note_signer *signer,
                       int64_t size,
                       uint8_t fill,
                       char out[WITNESS_RIG_NOTE_BYTES])
{
    struct checkpoint checkpoint = {
        .origin = STR(WITNESS_RIG_ORIGIN), .size = (uint64_t)size, .extensions = STR_EMPTY};
    struct buf text = buf_over(out, WITNESS_RIG_NOTE_BYTES);
    struct err err = {.code = OK};

    memset(checkpoint.root, fill, sizeof checkpoint.root);
    assert_int_equal(checkpoint_write(&checkpoint, &text, &err), OK);
    struct str body = buf_view(&text);

    buf_char(&text, '\n');
    assert_int_equal(note_sign(signer, body, 0, &text, &err), OK);
    assert_true(buf_terminate(&text));
    return out;
}

/* --- what a superuser does behind the log -------------------------------------------------------
 */

#define BEHIND "SET session_replication_role = replica; "

static const char *const tables[] = {
    "audit_record", "audit_leaf", "audit_node", "audit_checkpoint", "audit_cosignature"};

void witness_rig_log_copy(const char *dsn, const char *name)
{
    char sql[1024];
    struct buf text = buf_over(sql, sizeof sql);

    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        buf_printf(&text, "CREATE TABLE %s_%s AS SELECT * FROM %s;", name, tables[i], tables[i]);
    }
    assert_true(buf_terminate(&text));
    scratch_pg_run(dsn, sql);
}

void witness_rig_log_restore(const char *dsn, const char *name)
{
    char sql[2048];
    struct buf text = buf_over(sql, sizeof sql);

    buf_text(&text,
             BEHIND "TRUNCATE audit_record, audit_leaf, audit_node, audit_checkpoint,"
                    " audit_cosignature;");
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        buf_printf(&text, "INSERT INTO %s SELECT * FROM %s_%s;", tables[i], name, tables[i]);
    }
    assert_true(buf_terminate(&text));
    scratch_pg_run(dsn, sql);
}
