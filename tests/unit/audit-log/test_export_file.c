/* Files of exports on the disk: compressed or not, whole or not there. */
#include "services/audit-log/export_file.h"
#include "services/audit-log/export_input.h"
#include "tests/support/check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TEXT_BYTES  (256UL * 1024)
#define LINE_BYTES  1000
#define GZIP_HEAD   10
#define GZIP_CHANGE 300

static char dir[] = "/tmp/avanta_file_XXXXXX";
static char path[64];
static char part[80];
static char text[TEXT_BYTES];
static char stored[4 * TEXT_BYTES];
static char back[4 * TEXT_BYTES];
static uint64_t random_state;

static uint64_t next_random(void)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return random_state >> 33;
}

static int setup(void **state)
{
    (void)state;
    random_state = (uint64_t)time(NULL);
    print_message("seed %" PRIu64 "\n", random_state);
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = i % LINE_BYTES == LINE_BYTES - 1 ? '\n' : (char)('a' + next_random() % 26);
    }
    return mkdtemp(dir) == NULL;
}

static int teardown(void **state)
{
    (void)state;
    (void)unlink(path);
    return rmdir(dir);
}

/* Of as many whole lines as fit into `len`; how many bytes these are. */
static size_t write_file(const char *name, size_t len)
{
    struct export_file *file = NULL;
    struct err err = {.code = OK};
    size_t at = 0;

    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    (void)snprintf(part, sizeof part, "%s.part", path);
    assert_int_equal(export_file_open(path, &file, &err), OK);
    for (; at + LINE_BYTES <= len; at += LINE_BYTES) {
        struct str line = {text + at, LINE_BYTES - 1};

        assert_int_equal(export_file_line(file, line, &err), OK);
    }
    assert_int_equal(access(part, F_OK), 0);
    assert_int_equal(export_file_finish(file, &err), OK);
    export_file_close(&file);
    assert_int_not_equal(access(part, F_OK), 0);
    return at;
}

static size_t load(void)
{
    FILE *file = fopen(path, "rb");
    size_t len = 0;

    assert_non_null(file);
    len = fread(stored, 1, sizeof stored, file);
    (void)fclose(file);
    return len;
}

static void store(size_t len)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(stored, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

/* Reads all of it in pieces; the code it ended with. */
static enum code read_file(size_t piece, size_t *out_len)
{
    struct export_input *input = NULL;
    struct err err = {.code = OK};
    uint8_t wanted[SHA256_BYTES];
    uint8_t digest[SHA256_BYTES];
    size_t took = piece;
    enum code code = OK;

    *out_len = 0;
    assert_int_equal(export_input_open(path, &input, &err), OK);
    while (code == OK && took == piece) {
        assert_true(*out_len + piece <= sizeof back);
        code = export_input_read(input, back + *out_len, piece, &took, &err);
        *out_len += took;
    }
    if (code == OK) {
        export_input_sha256(input, digest);
        sha256((struct str){stored, load()}, wanted);
        assert_memory_equal(digest, wanted, sizeof digest);
    }
    export_input_close(&input);
    return code;
}

static void what_is_written_is_read(void **state)
{
    static const char *const names[] = {"plain", "packed.gz"};
    static const size_t lens[] = {0, 1000, 65000, 131000, TEXT_BYTES};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names) * ARRAY_LEN(lens); i++) {
        size_t wrote = write_file(names[i % 2], lens[i / 2]);
        size_t len = 0;

        assert_row(i, read_file(1 + next_random() % 100000, &len) == OK);
        assert_row(i, len == wrote && memcmp(back, text, len) == 0);
        assert_int_equal(unlink(path), 0);
    }
}

static void a_compressed_file_that_was_changed_is_found(void **state)
{
    size_t len = 0;
    size_t size = 0;

    (void)state;
    (void)write_file("packed.gz", TEXT_BYTES);
    size = load();
    for (int i = 0; i < GZIP_CHANGE; i++) {
        size_t at = GZIP_HEAD + next_random() % (size - GZIP_HEAD);
        char bit = (char)(1 << next_random() % 8);

        stored[at] = (char)(stored[at] ^ bit);
        store(size);
        assert_row(at, read_file(4096, &len) == ERR_INVALID);
        stored[at] = (char)(stored[at] ^ bit);
    }
    for (int i = 0; i < GZIP_CHANGE; i++) {
        size_t cut = 2 + next_random() % (size - 2);

        store(cut);
        assert_row(cut, read_file(4096, &len) == ERR_INVALID);
        assert_row(cut, memcmp(back, text, len) == 0); /* what came before is good */
    }
}

static void members_stand_behind_each_other_and_nothing_else(void **state)
{
    size_t wrote = write_file("packed.gz", 5000);
    size_t size = load();
    size_t len = 0;

    (void)state;
    memcpy(stored + size, stored, size);
    store(2 * size);
    assert_int_equal(read_file(777, &len), OK);
    assert_int_equal(len, 2 * wrote);
    assert_memory_equal(back + wrote, text, wrote);
    stored[size] = '\0';
    store(size + 1);
    assert_int_equal(read_file(777, &len), ERR_INVALID);
    store(0);
    assert_int_equal(read_file(777, &len), OK);
    assert_int_equal(len, 0);
    stored[0] = 0x1F;
    store(1);
    assert_int_equal(read_file(777, &len), OK); /* one byte is no gzip */
    assert_int_equal(len, 1);
}

static void what_is_not_finished_is_not_there(void **state)
{
    struct export_file *file = NULL;
    struct export_file *second = NULL;
    struct err err = {.code = OK};

    (void)state;
    (void)unlink(path);
    (void)snprintf(path, sizeof path, "%s/left", dir);
    (void)snprintf(part, sizeof part, "%s.part", path);
    assert_int_equal(export_file_open(path, &file, &err), OK);
    assert_int_equal(export_file_open(path, &second, &err), ERR_CONFLICT);
    assert_null(second);
    assert_int_equal(access(part, F_OK), 0);
    export_file_close(&file);
    assert_int_not_equal(access(part, F_OK), 0);
    assert_int_not_equal(access(path, F_OK), 0);
    err = (struct err){.code = OK};
    assert_int_equal(export_file_open("/nonexistent/x", &file, &err), ERR_UNAVAILABLE);
    assert_null(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(a_compressed_file_that_was_changed_is_found),
        cmocka_unit_test(members_stand_behind_each_other_and_nothing_else),
        cmocka_unit_test(what_is_not_finished_is_not_there),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
