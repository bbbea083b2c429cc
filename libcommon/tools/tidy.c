/*
 * tidy: what docs and style ask of the C files and no compiler checks.
 *
 *   tidy ROOT LIST
 *
 * LIST has a file of the tree in each line, its path from ROOT, after one word: `own` to be
 * checked, `built` a .c file that a program is made of, `gen` generated code (it only uses what
 * others export). Complaints go to stderr, the table of figures to stdout; status 1 when there is a
 * complaint. An exception is written at the place, with its reason: see struct tidy_allowance.
 */
#include "libcommon/tools/tidy.h"

#include <assert.h>
#include <stdarg.h>
#include <string.h>

static bool
is_allowed(struct tidy_tree *tree, struct tidy_file *file, size_t line, const char *rule)
{
    assert(line >= 1);
    assert(rule != NULL);
    for (size_t i = 0; i < file->allowance_count; i++) {
        struct tidy_allowance *row = &file->allowances[i];
        if ((row->line == 0 || row->line == line) && strcmp(row->rule, rule) == 0) {
            tree->allowances += row->used ? 0 : 1;
            row->used = true;
            return true;
        }
    }
    return false;
}

void tidy_complain(struct tidy_tree *tree,
                   struct tidy_file *file,
                   size_t line,
                   const char *rule,
                   const char *fmt,
                   ...)
{
    if (is_allowed(tree, file, line, rule)) {
        return;
    }
    char *text = NULL;
    va_list args;
    va_start(args, fmt);
    int len = vasprintf(&text, fmt, args);
    va_end(args);
    if (len < 0) {
        host_die("out of memory");
    }
    (void)fprintf(stderr, "%s:%zu: %s: %s\n", file->path, line, rule, text);
    tree->complaints++;
}

static struct tidy_file *file_find(struct tidy_tree *tree, const char *path)
{
    assert(path != NULL);
    for (size_t i = 0; i < tree->count; i++) {
        if (strcmp(tree->files[i].path, path) == 0) {
            return &tree->files[i];
        }
    }
    return NULL;
}

static struct tidy_file *file_add(struct tidy_tree *tree, const char *root, const char *path)
{
    assert(root != NULL);
    struct host_bytes bytes = host_read(host_format("%s/%s", root, path));
    size_t len = strlen(path);
    tree->files = host_grow(tree->files, tree->count, sizeof(*tree->files));
    struct tidy_file *file = &tree->files[tree->count++];
    file->path = path;
    file->text = (struct str){bytes.data, bytes.len};
    file->header = len > 2 && strcmp(path + len - 2, ".h") == 0;
    return file;
}

static void entry_read(struct tidy_tree *tree, const char *root, struct str entry)
{
    assert(entry.len > 0);
    const char *space = memchr(entry.ptr, ' ', entry.len);
    if (space == NULL) {
        host_die("\"%.*s\" is not a word and a path", (int)entry.len, entry.ptr);
    }
    size_t len = (size_t)(space - entry.ptr);
    char *path = host_copy(space + 1, entry.len - len - 1);
    struct str word = {entry.ptr, len};
    struct tidy_file *file = file_find(tree, path);
    file = file == NULL ? file_add(tree, root, path) : file;
    if (tidy_is(word, "own")) {
        file->own = true;
    } else if (tidy_is(word, "built")) {
        file->built = true;
    } else if (!tidy_is(word, "gen")) {
        host_die("unknown word \"%.*s\": own, built or gen", (int)len, entry.ptr);
    }
}

static void list_read(struct tidy_tree *tree, const char *root, const char *list)
{
    struct host_bytes bytes = host_read(list);
    const char *at = bytes.data;
    while (*at != '\0') {
        size_t len = strcspn(at, "\n");
        if (len > 0) {
            entry_read(tree, root, (struct str){at, len});
        }
        at += len + (at[len] == '\n' ? 1 : 0);
    }
}

int main(int argc, char **argv)
{
    struct tidy_tree tree = {0};
    host_name_set("tidy");
    if (argc != 3) {
        host_die("usage: tidy ROOT LIST");
    }
    list_read(&tree, argv[1], argv[2]);
    for (size_t i = 0; i < tree.count; i++) {
        tidy_scan(&tree.files[i]);
        tidy_declare(&tree.files[i]);
    }
    for (size_t i = 0; i < tree.count; i++) {
        if (tree.files[i].own) {
            tidy_check_file(&tree, &tree.files[i]);
        }
    }
    tidy_check_tree(&tree);
    (void)printf(
        "  %zu complaints, %zu exceptions with a reason\n", tree.complaints, tree.allowances);
    return tree.complaints == 0 ? 0 : 1;
}
