/* The witness's directory: what was written is read again, nobody shares it, and evidence has a
 * bound. */
#include "services/witness/keep.h"
#include "tests/support/check.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[32];

static int before(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof dir, "/tmp/avanta-keep-XXXXXX");
    assert_non_null(mkdtemp(dir));
    return 0;
}

static int after(void **state)
{
    DIR *list = opendir(dir);
    char path[512];

    (void)state;
    assert_non_null(list);
    for (const struct dirent *row = NULL; (row = readdir(list)) != NULL;) {
        (void)snprintf(path, sizeof path, "%s/%s", dir, row->d_name);
        (void)unlink(path);
    }
    (void)closedir(list);
    return rmdir(dir);
}

static void opened(struct keep *keep)
{
    struct err err = {.code = OK};

    assert_int_equal(keep_open(keep, dir, &err), OK);
}

static enum code load(const struct keep *keep, char *out, size_t cap)
{
    struct buf text = buf_over(out, cap - 1);
    struct err err = {.code = OK};
    enum code code = keep_load(keep, &text, &err);

    out[text.len] = '\0';
    return code;
}

static void test_the_last_is_read_again(void **state)
{
    struct keep keep;
    char text[64];
    char path[64];
    struct stat is;

    (void)state;
    opened(&keep);
    assert_int_equal(load(&keep, text, sizeof text), OK);
    assert_string_equal(text, "");
    assert_true(keep_last(&keep, STR("a longer first one\n")));
    assert_true(keep_last(&keep, STR("second\n")));
    keep_close(&keep);
    opened(&keep);
    assert_int_equal(load(&keep, text, sizeof text), OK);
    assert_string_equal(text, "second\n");
    (void)snprintf(path, sizeof path, "%s/last-checkpoint", dir);
    assert_int_equal(stat(path, &is), 0);
    assert_int_equal(is.st_mode & 07777, 0600);
    /* Larger than there is room for is none of ours. */
    assert_int_equal(load(&keep, text, 4), ERR_INVALID);
    keep_close(&keep);
    keep_close(&keep);
}

static void test_a_file_that_cannot_be_read_is_not_none(void **state)
{
    struct keep keep;
    char text[64];
    char path[64];

    (void)state;
    (void)snprintf(path, sizeof path, "%s/last-checkpoint", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    opened(&keep);
    assert_int_equal(load(&keep, text, sizeof text), ERR_INVALID);
    assert_false(keep_last(&keep, STR("x\n")));
    keep_close(&keep);
    assert_int_equal(rmdir(path), 0);
}

static void test_nobody_shares_it(void **state)
{
    struct keep keep;
    struct keep second;
    struct err err = {.code = OK};

    (void)state;
    opened(&keep);
    assert_int_equal(keep_open(&second, dir, &err), ERR_INVALID);
    assert_string_equal(err.field, "AVANTA_WITNESS_DIR");
    keep_close(&keep);
    opened(&second);
    keep_close(&second);
    assert_int_equal(keep_open(&second, "/tmp/avanta-no-such-directory", NULL), ERR_INVALID);
}

static void test_evidence_has_a_bound(void **state)
{
    struct keep keep;
    char name[64];
    char path[128];
    char text[64] = "";
    FILE *file = NULL;

    (void)state;
    opened(&keep);
    for (int i = 0; i < KEEP_EVIDENCE_MAX; i++) {
        (void)snprintf(name, sizeof name, "evidence-fork-%d", i);
        assert_row(i, keep_evidence(&keep, name, STR("first\n")));
    }
    assert_false(keep_evidence(&keep, "evidence-fork-more", STR("late\n")));
    /* What is there stays as it is. */
    assert_true(keep_evidence(&keep, "evidence-fork-0", STR("again\n")));
    (void)snprintf(path, sizeof path, "%s/evidence-fork-0", dir);
    file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(text, sizeof text, file));
    (void)fclose(file);
    assert_string_equal(text, "first\n");
    assert_true(keep_last(&keep, STR("goes on\n")));
    keep_close(&keep);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_last_is_read_again, before, after),
        cmocka_unit_test_setup_teardown(test_a_file_that_cannot_be_read_is_not_none, before, after),
        cmocka_unit_test_setup_teardown(test_nobody_shares_it, before, after),
        cmocka_unit_test_setup_teardown(test_evidence_has_a_bound, before, after),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
