#include "tests/support/suites.h"

#include "tests/support/check.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

static void suite_path(char *out, size_t cap, const char *folder, const char *name)
{
    const char *root = getenv("AVANTA_SUITES");
    struct buf b = buf_over(out, cap);

    if (root == NULL) {
        fail_msg("AVANTA_SUITES is not set: it names the folder with the test data");
    }
    buf_printf(&b, "%s/%s%s%s", root, folder, name[0] == '\0' ? "" : "/", name);
    assert_true(buf_terminate(&b));
}

struct str suite_file(struct arena *arena, const char *folder, const char *name)
{
    char path[1024];
    char *bytes = NULL;
    FILE *file = NULL;
    long size = 0;
    size_t read = 0;

    suite_path(path, sizeof path, folder, name);
    file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
        fail_msg("%s cannot be read", path);
    }
    size = ftell(file);
    assert_true(size >= 0);
    bytes = arena_alloc(arena, (size_t)size + 1);
    assert_non_null(bytes);
    rewind(file);
    read = fread(bytes, 1, (size_t)size, file);
    assert_int_equal(read, size);
    assert_int_equal(fclose(file), 0);
    return (struct str){bytes, read};
}

size_t suite_each(const char *folder, void (*fn)(void *ctx, const char *name), void *ctx)
{
    char path[1024];
    DIR *directory = NULL;
    size_t count = 0;

    suite_path(path, sizeof path, folder, "");
    directory = opendir(path);
    if (directory == NULL) {
        fail_msg("%s cannot be read", path);
        return 0;
    }
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        if (entry->d_name[0] != '.') {
            fn(ctx, entry->d_name);
            count++;
        }
    }
    (void)closedir(directory);
    assert_true(count > 0);
    return count;
}
