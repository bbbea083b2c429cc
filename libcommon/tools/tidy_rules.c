/* The rules that one file alone can break. */
#include "libcommon/tools/tidy.h"

#include <assert.h>
#include <string.h>

#define FILE_LINES_MAX     500
#define FUNCTION_LINES_MAX 70
#define COLUMNS_MAX        100
#define TABLE_COLUMNS_MAX  180 /* of rows in an initialiser, and between clang-format off and on */

static bool is_in(const struct tidy_file *file, const char *folder)
{
    assert(folder != NULL);
    return tidy_starts(file->path, folder);
}

static bool is_tool(const struct tidy_file *file)
{
    return is_in(file, "libcommon/tools/") || is_in(file, "proto/tools/");
}

bool tidy_is_production(const struct tidy_file *file)
{
    return !is_in(file, "tests/") && !is_tool(file);
}

/* --- sizes --------------------------------------------------------------------------------- */

/* UTF-8 bytes that continue a character take no column. */
static size_t columns(struct str line)
{
    size_t count = 0;
    for (size_t i = 0; i < line.len; i++) {
        count += ((unsigned char)line.ptr[i] & 0xC0) == 0x80 ? 0 : 1;
    }
    return count;
}

static bool holds(struct str line, const char *part)
{
    assert(part[0] != '\0');
    return memmem(line.ptr, line.len, part, strlen(part)) != NULL;
}

static bool holds_word(struct str line, const char *word)
{
    assert(word[0] != '\0');
    const char *at = memmem(line.ptr, line.len, word, strlen(word));
    bool before = at != NULL && at > line.ptr && tidy_word_char(at[-1]);
    bool after = at != NULL && tidy_word_char(at[strlen(word)]);
    return at != NULL && !before && !after;
}

static void check_unfinished(struct tidy_tree *tree, struct tidy_file *file, size_t n)
{
    /* tidy: allow unfinished: the words themselves */
    static const char *const unfinished[] = {"TODO", "FIXME", "XXX"};
    for (size_t i = 0; i < ARRAY_LEN(unfinished); i++) {
        if (holds_word(tidy_line(file, n), unfinished[i])) {
            tidy_complain(
                tree, file, n, "unfinished", "%s: do it or write down why not", unfinished[i]);
        }
    }
}

static void check_lines(struct tidy_tree *tree, struct tidy_file *file)
{
    size_t off_max = COLUMNS_MAX;
    if (file->line_count > FILE_LINES_MAX) {
        tidy_complain(
            tree, file, 1, "lines", "%zu lines, at most %d", file->line_count, FILE_LINES_MAX);
    }
    for (size_t n = 1; n <= file->line_count; n++) {
        struct str line = tidy_line(file, n);
        off_max = holds(line, "clang-format off") ? TABLE_COLUMNS_MAX : off_max;
        off_max = holds(line, "clang-format on") ? COLUMNS_MAX : off_max;
        size_t max = file->tables[n - 1] ? TABLE_COLUMNS_MAX : off_max;
        if (columns(line) > max) {
            tidy_complain(tree, file, n, "columns", "%zu columns, at most %zu", columns(line), max);
        }
        check_unfinished(tree, file, n);
    }
}

static void check_declarations(struct tidy_tree *tree, struct tidy_file *file)
{
    for (size_t i = 0; i < file->declaration_count; i++) {
        const struct tidy_declaration *row = &file->declarations[i];
        size_t lines = row->last - row->first + 1;
        if (row->kind == TIDY_FUNCTION && lines > FUNCTION_LINES_MAX) {
            tidy_complain(tree,
                          file,
                          row->first,
                          "function",
                          "%s has %zu lines, at most %d",
                          row->name,
                          lines,
                          FUNCTION_LINES_MAX);
        }
        if (row->kind == TIDY_OBJECT && !row->is_static && !row->is_extern && !row->is_const) {
            tidy_complain(
                tree, file, row->first, "global", "%s can be changed from anywhere", row->name);
        }
    }
}

/* --- words --------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    const char *instead;
    bool production; /* only there */
} banned[] = {
    {"strcpy",    "struct buf or memcpy",            false},
    {"stpcpy",    "struct buf or memcpy",            false},
    {"strcat",    "struct buf",                      false},
    {"strncpy",   "struct buf or memcpy",            false},
    {"strncat",   "struct buf",                      false},
    {"sprintf",   "struct buf or snprintf",          false},
    {"vsprintf",  "struct buf or vsnprintf",         false},
    {"gets",      "struct str",                      false},
    {"scanf",     "str_* parsers",                   false},
    {"sscanf",    "str_* parsers",                   false},
    {"fscanf",    "str_* parsers",                   false},
    {"strtok",    "str_split",                       false},
    {"strtok_r",  "str_split",                       true },
    {"atoi",      "str_int64",                       false},
    {"atol",      "str_int64",                       false},
    {"atoll",     "str_int64",                       false},
    {"atof",      "money.h",                         false},
    {"strtol",    "str_int64",                       true },
    {"strtoul",   "str_uint64",                      true },
    {"strtoll",   "str_int64",                       true },
    {"strtoull",  "str_uint64",                      true },
    {"strtod",    "money.h",                         false},
    {"alloca",    "struct arena",                    false},
    {"strdup",    "arena_copy",                      true },
    {"strndup",   "arena_copy",                      true },
    {"asprintf",  "struct buf",                      true },
    {"vasprintf", "struct buf",                      true },
    {"system",    "posix_spawn",                     false},
    {"popen",     "posix_spawn",                     false},
    {"rand",      "id.h",                            false},
    {"srand",     "id.h",                            false},
    {"random",    "id.h",                            true },
    {"drand48",   "id.h",                            false},
    {"asctime",   "clock.h",                         false},
    {"ctime",     "clock.h",                         false},
    {"localtime", "clock.h",                         false},
    {"gmtime",    "clock.h or gmtime_r",             false},
    {"mktemp",    "mkstemp",                         false},
    {"tmpnam",    "mkstemp",                         false},
    {"tempnam",   "mkstemp",                         false},
    {"strerror",  "a text of our own or strerror_r", true },
    {"sleep",     "loop_timer_start",                false},
    {"usleep",    "loop_timer_start",                true },
    {"setjmp",    "enum code",                       false},
    {"longjmp",   "enum code",                       false},
};

static const char *const allocating[] = {
    "malloc", "calloc", "realloc", "reallocarray", "aligned_alloc", "posix_memalign", "free"};

static bool is_one_of(struct str word, const char *const *list, size_t count)
{
    assert(word.len > 0);
    for (size_t i = 0; i < count; i++) {
        if (tidy_is(word, list[i])) {
            return true;
        }
    }
    return false;
}

/* Memory is taken where objects are opened and given back where they are closed, and the name of
 * the function says so; `_gone` ends the callbacks of closed handles. */
static bool is_allocators_name(const char *name)
{
    static const char *const endings[] = {"_open", "_new", "_make", "_close", "_free", "_gone"};
    size_t len = strlen(name);
    for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
        size_t end = strlen(endings[i]);
        if (len > end && strcmp(name + len - end, endings[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool may_allocate(const struct tidy_file *file, size_t line)
{
    assert(line >= 1);
    for (size_t i = 0; i < file->declaration_count; i++) {
        const struct tidy_declaration *row = &file->declarations[i];
        if (row->kind == TIDY_FUNCTION && line >= row->first && line <= row->last) {
            return is_allocators_name(row->name);
        }
    }
    return false;
}

static void check_call(struct tidy_tree *tree, struct tidy_file *file, struct str word, size_t line)
{
    bool production = tidy_is_production(file);
    assert(word.len > 0);
    assert(line >= 1);
    for (size_t i = 0; i < ARRAY_LEN(banned); i++) {
        if (tidy_is(word, banned[i].name) && (production || !banned[i].production)) {
            tidy_complain(
                tree, file, line, "banned", "%s: use %s", banned[i].name, banned[i].instead);
        }
    }
    if (production && is_one_of(word, allocating, ARRAY_LEN(allocating)) &&
        !may_allocate(file, line)) {
        tidy_complain(tree,
                      file,
                      line,
                      "alloc",
                      "%.*s outside of an object's open and close",
                      (int)word.len,
                      word.ptr);
    }
}

/* A call, not a member or a word in a declaration of our own: `x.free(`, `->free(`. */
static bool is_call(const char *code, struct str word, size_t end)
{
    const char *before = word.ptr;
    assert(word.ptr >= code);
    while (before > code && before[-1] == ' ') {
        before--;
    }
    bool member = before > code && (before[-1] == '.' ||
                                    (before[-1] == '>' && before - 1 > code && before[-2] == '-'));
    return code[end] == '(' && !member;
}

static void check_words(struct tidy_tree *tree, struct tidy_file *file)
{
    static const char *const floats[] = {"float", "double"};
    size_t at = 0;
    struct str word;
    while (tidy_word_next(file->macros, &at, &word)) {
        size_t line = tidy_line_of(file, (size_t)(word.ptr - file->macros));
        if (is_one_of(word, floats, ARRAY_LEN(floats))) {
            tidy_complain(tree,
                          file,
                          line,
                          "float",
                          "%.*s: money and time are integers",
                          (int)word.len,
                          word.ptr);
        }
        if (is_call(file->macros, word, at)) {
            check_call(tree, file, word, line);
        }
        if (is_call(file->macros, word, at) &&
            (tidy_is(word, "assert") || tidy_is(word, "_Static_assert"))) {
            file->asserts++;
        }
    }
}

/* --- headers ------------------------------------------------------------------------------- */

static void check_header(struct tidy_tree *tree, struct tidy_file *file)
{
    if (!file->header) {
        return;
    }
    if (file->line_count < 2 || !tidy_is(tidy_line(file, 1), "#pragma once")) {
        tidy_complain(tree, file, 1, "header", "starts with #pragma once");
    }
    if (file->line_count >= 2 && !tidy_starts(tidy_line(file, 2).ptr, "/*")) {
        tidy_complain(tree, file, 2, "header", "says what it is, right after #pragma once");
    }
}

/* --- layers -------------------------------------------------------------------------------- */

static const struct {
    const char *folder;
    int rank;
} layers[] = {
    {"libcommon/base/",    1},
    {"libcommon/codec/",   2},
    {"libcommon/io/",      3},
    {"libcommon/service/", 4},
    {"gateway/",           5},
    {"services/",          5},
    {"tests/",             6},
};

/* A third party's header and the only place in production code that may know it. */
static const struct {
    const char *header;
    const char *place;
} libraries[] = {
    {"uv.h",        "libcommon/io/"               },
    {"nats/",       "libcommon/io/"               },
    {"libpq-fe.h",  "libcommon/io/"               },
    {"openssl/",    "libcommon/io/"               },
    {"nghttp2/",    "libcommon/io/"               },
    {"llhttp.h",    "libcommon/codec/http_parse.c"},
    {"yajl/",       "libcommon/codec/"            },
    {"utf8proc.h",  "libcommon/codec/"            },
    {"protobuf-c/", "libcommon/codec/"            },
    {"protobuf-c/", "libcommon/io/pg_query.h"     },
    {"argon2.h",    "services/identity/"          },
    {"jwt.h",       "libcommon/io/"               },
};

static int rank_of(const char *path)
{
    assert(path != NULL);
    for (size_t i = 0; i < ARRAY_LEN(layers); i++) {
        if (tidy_starts(path, layers[i].folder)) {
            return layers[i].rank;
        }
    }
    return 0;
}

/* Of gateway/x "gateway/", of services/x/y "services/x/". */
static size_t program_len(const char *path)
{
    size_t len = strcspn(path, "/") + 1;
    return tidy_starts(path, "services/") ? len + strcspn(path + len, "/") + 1 : len;
}

static void
check_own_include(struct tidy_tree *tree, struct tidy_file *file, size_t line, const char *target)
{
    assert(target != NULL);
    int own = rank_of(file->path);
    int other = rank_of(target);
    bool sideways =
        own == 5 && other == 5 && strncmp(file->path, target, program_len(file->path)) != 0;
    if (own > 0 && (other > own || sideways)) {
        tidy_complain(tree, file, line, "layer", "%s is above or beside it", target);
    }
}

static void
check_library(struct tidy_tree *tree, struct tidy_file *file, size_t line, const char *target)
{
    const char *place = NULL;
    assert(target != NULL);
    for (size_t i = 0; i < ARRAY_LEN(libraries); i++) {
        if (!tidy_starts(target, libraries[i].header)) {
            continue;
        }
        if (is_in(file, libraries[i].place)) {
            return;
        }
        place = place == NULL ? libraries[i].place : place;
    }
    if (place != NULL) {
        tidy_complain(tree, file, line, "library", "<%s> belongs to %s", target, place);
    }
}

static void check_includes(struct tidy_tree *tree, struct tidy_file *file)
{
    static const char *const starts[] = {"#include \"", "#include <"};
    for (size_t n = 1; n <= file->line_count; n++) {
        const char *line = tidy_line(file, n).ptr;
        if (tidy_starts(line, starts[0])) {
            line += strlen(starts[0]);
            check_own_include(tree, file, n, host_copy(line, strcspn(line, "\"\n")));
        } else if (tidy_starts(line, starts[1]) && tidy_is_production(file)) {
            line += strlen(starts[1]);
            check_library(tree, file, n, host_copy(line, strcspn(line, ">\n")));
        }
    }
}

void tidy_check_file(struct tidy_tree *tree, struct tidy_file *file)
{
    assert(file->own);
    assert(file->code != NULL);
    check_lines(tree, file);
    check_declarations(tree, file);
    check_words(tree, file);
    check_header(tree, file);
    check_includes(tree, file);
}
