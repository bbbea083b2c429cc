/* The rules that only the whole tree shows: what nobody uses, and the figures. */
#include "libcommon/tools/tidy.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define FOLDERS_MAX 64
/* Assertions per hundred functions of what runs in production. Raised when the figure rises. */
#define ASSERTS_PER_100_MIN 103

/* --- words of a file, sorted --------------------------------------------------------------- */

static int word_compare(const void *a, const void *b)
{
    const struct str *left = a;
    const struct str *right = b;
    size_t len = left->len < right->len ? left->len : right->len;
    int order = memcmp(left->ptr, right->ptr, len);
    if (order != 0) {
        return order;
    }
    return left->len < right->len ? -1 : left->len > right->len;
}

static void words_collect(struct tidy_file *file)
{
    size_t at = 0;
    struct str word;
    assert(file->macros != NULL);
    assert(file->words == NULL);
    while (tidy_word_next(file->macros, &at, &word)) {
        file->words = host_grow(file->words, file->word_count, sizeof(*file->words));
        file->words[file->word_count++] = word;
    }
    if (file->word_count > 0) {
        qsort(file->words, file->word_count, sizeof(*file->words), word_compare);
    }
}

static size_t word_uses(const struct tidy_file *file, const char *name)
{
    struct str wanted = {name, strlen(name)};
    size_t low = 0;
    size_t high = file->word_count;
    assert(name != NULL);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (word_compare(&file->words[middle], &wanted) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    size_t count = 0;
    while (low + count < file->word_count &&
           word_compare(&file->words[low + count], &wanted) == 0) {
        count++;
    }
    return count;
}

/* --- functions nobody calls ---------------------------------------------------------------- */

static const struct tidy_declaration *
find(const struct tidy_file *file, enum tidy_kind kind, const char *name)
{
    assert(name != NULL);
    for (size_t i = 0; i < file->declaration_count; i++) {
        const struct tidy_declaration *row = &file->declarations[i];
        if (row->kind == kind && strcmp(row->name, name) == 0) {
            return row;
        }
    }
    return NULL;
}

/* Prototypes are no use; a call from a test is none of what production exports. */
static bool uses(const struct tidy_file *user, const struct tidy_file *definer, const char *name)
{
    assert(user != definer);
    if (tidy_starts(user->path, "tests/") && !tidy_starts(definer->path, "tests/")) {
        return false;
    }
    size_t count = word_uses(user, name);
    bool prototype = count > 0 && find(user, TIDY_PROTOTYPE, name) != NULL;
    return count > (prototype ? 1 : 0);
}

static void
check_used(struct tidy_tree *tree, struct tidy_file *definer, const struct tidy_declaration *row)
{
    struct tidy_file *where = definer;
    size_t line = row->first;
    assert(row->name != NULL);
    if (definer->header && word_uses(definer, row->name) > 1) {
        return;
    }
    for (size_t i = 0; i < tree->count; i++) {
        struct tidy_file *file = &tree->files[i];
        if (file != definer && uses(file, definer, row->name)) {
            return;
        }
        const struct tidy_declaration *prototype =
            file->header ? find(file, TIDY_PROTOTYPE, row->name) : NULL;
        if (prototype != NULL) {
            where = file;
            line = prototype->first;
        }
    }
    tidy_complain(tree,
                  where,
                  line,
                  "unused",
                  "%s is called by nothing but tests outside of its file",
                  row->name);
}

static void check_functions(struct tidy_tree *tree, struct tidy_file *file)
{
    for (size_t i = 0; i < file->declaration_count; i++) {
        const struct tidy_declaration *row = &file->declarations[i];
        bool exported = file->header || !row->is_static;
        if (row->kind == TIDY_FUNCTION && exported && strcmp(row->name, "main") != 0 &&
            strcmp(row->name, "LLVMFuzzerTestOneInput") != 0) {
            check_used(tree, file, row);
        }
    }
}

/* --- files nobody needs -------------------------------------------------------------------- */

static bool is_included(const struct tidy_tree *tree, const struct tidy_file *header)
{
    const char *line = host_format("#include \"%s\"", header->path);
    for (size_t i = 0; i < tree->count; i++) {
        const struct tidy_file *file = &tree->files[i];
        if (file != header && strstr(file->text.ptr, line) != NULL) {
            return true;
        }
    }
    return false;
}

static void check_needed(struct tidy_tree *tree, struct tidy_file *file)
{
    if (file->header && !is_included(tree, file)) {
        tidy_complain(tree, file, 1, "dead", "no file includes it");
    }
    if (!file->header && !file->built) {
        tidy_complain(tree, file, 1, "dead", "no program is made of it");
    }
}

/* An allowance that nothing needs any more would hide the next mistake. */
static void check_allowances(struct tidy_tree *tree, struct tidy_file *file)
{
    for (size_t i = 0; i < file->allowance_count; i++) {
        const struct tidy_allowance *row = &file->allowances[i];
        if (!row->used) {
            tidy_complain(
                tree, file, row->written, "allowance", "%s is not broken here", row->rule);
        }
    }
}

/* --- figures ------------------------------------------------------------------------------- */

struct figures {
    const char *folder;
    size_t files;
    size_t lines;
    size_t functions;
    size_t longest;
    size_t asserts;
    size_t globals;
    size_t statics;
};

static void figures_add(struct figures *sum, const struct tidy_file *file)
{
    sum->files++;
    sum->lines += file->line_count;
    sum->asserts += file->asserts;
    for (size_t i = 0; i < file->declaration_count; i++) {
        const struct tidy_declaration *row = &file->declarations[i];
        size_t lines = row->last - row->first + 1;
        bool variable = row->kind == TIDY_OBJECT && !row->is_const && !row->is_extern;
        sum->globals += variable && !row->is_static ? 1 : 0;
        sum->statics += variable && row->is_static ? 1 : 0;
        if (row->kind == TIDY_FUNCTION) {
            sum->functions++;
            sum->longest = lines > sum->longest ? lines : sum->longest;
        }
    }
}

static void figures_print(const struct figures *sum)
{
    size_t density = sum->functions == 0 ? 0 : sum->asserts * 100 / sum->functions;
    assert(sum->folder != NULL);
    (void)printf("  %-24s %5zu %7zu %9zu %7zu %7zu %5zu.%02zu %8zu %8zu\n",
                 sum->folder,
                 sum->files,
                 sum->lines,
                 sum->functions,
                 sum->longest,
                 sum->asserts,
                 density / 100,
                 density % 100,
                 sum->globals,
                 sum->statics);
}

/* "libcommon/base", "services/ledger", "tests", "gateway". */
static char *folder_of(const char *path)
{
    assert(path != NULL);
    size_t len = strcspn(path, "/");
    if (!tidy_starts(path, "tests/") && strchr(path + len + 1, '/') != NULL) {
        len += 1 + strcspn(path + len + 1, "/");
    }
    return host_copy(path, len);
}

static struct figures *figures_find(struct figures *folders, size_t *count, const char *path)
{
    char *folder = folder_of(path);
    assert(*count <= FOLDERS_MAX);
    for (size_t i = 0; i < *count; i++) {
        if (strcmp(folders[i].folder, folder) == 0) {
            return &folders[i];
        }
    }
    if (*count == FOLDERS_MAX) {
        host_die("more than %d folders", FOLDERS_MAX);
    }
    folders[*count].folder = folder;
    return &folders[(*count)++];
}

static void check_density(struct tidy_tree *tree, const struct figures *sum)
{
    size_t density =
        sum->functions == 0 ? ASSERTS_PER_100_MIN : sum->asserts * 100 / sum->functions;
    if (density < ASSERTS_PER_100_MIN) {
        host_complain("density: %zu assertions per 100 functions of %s, at least %d",
                      density,
                      sum->folder,
                      ASSERTS_PER_100_MIN);
        tree->complaints++;
    }
}

static void figures_all(struct tidy_tree *tree)
{
    struct figures folders[FOLDERS_MAX] = {{0}};
    struct figures production = {.folder = "production"};
    size_t count = 0;
    for (size_t i = 0; i < tree->count; i++) {
        const struct tidy_file *file = &tree->files[i];
        if (!file->own) {
            continue;
        }
        figures_add(figures_find(folders, &count, file->path), file);
        if (tidy_is_production(file)) {
            figures_add(&production, file);
        }
    }
    (void)printf("  %-24s %5s %7s %9s %7s %7s %8s %8s %8s\n",
                 "folder",
                 "files",
                 "lines",
                 "functions",
                 "longest",
                 "asserts",
                 "each",
                 "globals",
                 "statics");
    for (size_t i = 0; i < count; i++) {
        figures_print(&folders[i]);
    }
    figures_print(&production);
    check_density(tree, &production);
}

void tidy_check_tree(struct tidy_tree *tree)
{
    assert(tree != NULL);
    for (size_t i = 0; i < tree->count; i++) {
        words_collect(&tree->files[i]);
    }
    for (size_t i = 0; i < tree->count; i++) {
        if (tree->files[i].own) {
            check_functions(tree, &tree->files[i]);
            check_needed(tree, &tree->files[i]);
        }
    }
    for (size_t i = 0; i < tree->count; i++) {
        check_allowances(tree, &tree->files[i]);
    }
    figures_all(tree);
}
