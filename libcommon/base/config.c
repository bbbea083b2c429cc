#include "libcommon/base/config.h"

#include "libcommon/base/config_row.h"
#include "libcommon/base/str.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PREFIX             "AVANTA_"
#define VARIABLE_BYTES_MAX 64
#define SHOWN_BYTES_MAX    40

/* What the environment, a secret's file or the default gives for one row, before it is checked. */
struct raw_value {
    size_t len;
    char text[CONFIG_TEXT_BYTES_MAX];
};

/* --- unknown variables --------------------------------------------------------- */

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Levenshtein distance of two names, each at most VARIABLE_BYTES_MAX. */
static size_t distance(struct str a, struct str b)
{
    size_t row[VARIABLE_BYTES_MAX + 1];

    assert(a.len <= VARIABLE_BYTES_MAX);
    assert(b.len <= VARIABLE_BYTES_MAX);
    for (size_t j = 0; j <= b.len; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= a.len; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t replaced = diagonal + (a.ptr[i - 1] == b.ptr[j - 1] ? 0 : 1);

            diagonal = row[j];
            row[j] = smaller(replaced, smaller(row[j], row[j - 1]) + 1);
        }
    }
    return row[b.len];
}

/* The variable itself or, for a secret, the name of its file. */
static bool names_row(struct str name, const struct config_row *row)
{
    struct str variable = str_from(row->variable);

    assert(row->variable != NULL);
    if (!str_starts(name, variable)) {
        return false;
    }
    return name.len == variable.len ||
           (config_is_secret(row) &&
            str_eq(str_sub(name, variable.len, name.len), STR(CONFIG_FILE_SUFFIX)));
}

static bool is_known(struct str name, struct config_walk walk, const char *const *known)
{
    const struct config_row *row = NULL;
    void *field = NULL;

    assert(str_starts(name, STR(PREFIX)));
    while ((row = config_next(&walk, &field)) != NULL) {
        if (names_row(name, row)) {
            return true;
        }
    }
    for (size_t i = 0; known != NULL && known[i] != NULL; i++) {
        if (str_eq(name, str_from(known[i]))) {
            return true;
        }
    }
    return false;
}

/* The known name most like a misspelt one; NULL when none is near enough to be meant. */
static const char *nearest(struct str name, struct config_walk walk)
{
    const struct config_row *row = NULL;
    const char *best = NULL;
    size_t best_distance = name.len / 4 + 1;
    void *field = NULL;

    if (name.len > VARIABLE_BYTES_MAX) {
        return NULL;
    }
    while ((row = config_next(&walk, &field)) != NULL) {
        size_t edits = distance(name, str_from(row->variable));

        if (edits < best_distance) {
            best = row->variable;
            best_distance = edits;
        }
    }
    return best;
}

/* A variable that nothing reads is a mistake: a misspelt limit would leave the default in force. */
static enum code refuse_unknown(struct config_walk walk, const char *const *known, struct err *err)
{
    for (char **entry = environ; entry != NULL && *entry != NULL; entry++) {
        char name[VARIABLE_BYTES_MAX + 1];
        struct str view = str_from(*entry);
        const char *meant = NULL;
        size_t end = view.len;

        (void)str_find_char(view, '=', &end);
        view.len = end;
        if (!str_starts(view, STR(PREFIX)) || is_known(view, walk, known)) {
            continue;
        }
        meant = nearest(view, walk);
        (void)snprintf(name, sizeof(name), "%.*s", STR_FMT(view));
        if (meant == NULL) {
            return err_set_field(err, ERR_INVALID, name, "%s is not known here; unset it", name);
        }
        return err_set_field(err,
                             ERR_INVALID,
                             name,
                             "%s is not known here; did you mean %s? Rename or unset it",
                             name,
                             meant);
    }
    return OK;
}

/* --- one value ----------------------------------------------------------------- */

/* Up to a full buffer of what the file holds; -1 with errno when it cannot be read. */
static ssize_t read_file(const char *path, char *out, size_t cap)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t len = 0;
    ssize_t got = 0;

    assert(path != NULL);
    assert(cap > 0);
    if (fd < 0) {
        return -1;
    }
    do {
        got = read(fd, out + len, cap - len);
        len += got > 0 ? (size_t)got : 0;
    } while (len < cap && (got > 0 || (got < 0 && errno == EINTR)));
    (void)close(fd);
    return got < 0 ? -1 : (ssize_t)len;
}

/* The file of a secret, without the newline that editors and `echo` leave at its end. */
static enum code
read_secret(const struct config_row *row, const char *path, struct raw_value *out, struct err *err)
{
    ssize_t len = read_file(path, out->text, sizeof(out->text));

    if (len < 0) {
        return err_set_field(err,
                             ERR_INVALID,
                             row->variable,
                             "%s" CONFIG_FILE_SUFFIX " names %.64s, which cannot be read (%s); "
                             "correct the path or the file's mode",
                             row->variable,
                             path,
                             strerrordesc_np(errno));
    }
    out->len = (size_t)len;
    if (out->len > 0 && out->text[out->len - 1] == '\n') {
        out->len--;
    }
    if (out->len > 0 && out->text[out->len - 1] == '\r') {
        out->len--;
    }
    return OK;
}

static enum code refuse_missing(const struct config_row *row, struct err *err)
{
    return err_set_field(err,
                         ERR_INVALID,
                         row->variable,
                         "%s is required (%s); set it%s",
                         row->variable,
                         row->help,
                         config_is_secret(row) ? ", or name a file in its _FILE twin" : "");
}

static enum code fetch(const struct config_row *row, struct raw_value *out, struct err *err)
{
    char file_variable[VARIABLE_BYTES_MAX + sizeof(CONFIG_FILE_SUFFIX)];
    const char *value = getenv(row->variable);
    const char *path = NULL;

    (void)snprintf(file_variable, sizeof(file_variable), "%s" CONFIG_FILE_SUFFIX, row->variable);
    if (config_is_secret(row)) {
        path = getenv(file_variable);
    }
    /* Which of the two was meant cannot be known. */
    if (value != NULL && path != NULL) {
        return err_set_field(err,
                             ERR_INVALID,
                             row->variable,
                             "%s and %s are both set; keep one of them",
                             row->variable,
                             file_variable);
    }
    if (path != NULL) {
        return read_secret(row, path, out, err);
    }
    if (value == NULL) {
        value = row->fallback;
    }
    if (value == NULL) {
        return refuse_missing(row, err);
    }
    out->len = strnlen(value, sizeof(out->text));
    memcpy(out->text, value, out->len);
    return OK;
}

static bool store_text(const struct config_row *row, struct str text, char *field)
{
    /* A secret may be a key in PEM lines. */
    const char *controls = config_is_secret(row) ? "\r\n\t" : NULL;

    assert(row->min <= row->max);
    assert(row->max < CONFIG_TEXT_BYTES_MAX);
    if (text.len < row->min || text.len > row->max || !utf8_valid(text) ||
        utf8_has_control(text, controls)) {
        return false;
    }
    memcpy(field, text.ptr, text.len);
    field[text.len] = '\0';
    return true;
}

static bool store_uint(const struct config_row *row, struct str text, config_uint *field)
{
    uint64_t number = 0;

    assert(row->min <= row->max);
    if (!str_to_uint64(text, &number) || number < row->min || number > row->max) {
        return false;
    }
    *field = number;
    return true;
}

static bool store_bool(struct str text, config_bool *field)
{
    bool truth = str_eq(text, STR("1")) || str_eq(text, STR("true"));

    *field = truth;
    return truth || str_eq(text, STR("0")) || str_eq(text, STR("false"));
}

/* Checks the value and writes it to its field; false when the row does not take it. */
static bool store(const struct config_row *row, struct str text, void *field)
{
    assert(field != NULL);
    switch (row->type) {
    case CONFIG_UINT:
        return store_uint(row, text, field);
    case CONFIG_BOOL:
        return store_bool(text, field);
    case CONFIG_TEXT:
    default:
        return store_text(row, text, field);
    }
}

/* The start of a value for an error text, harmless for a terminal. */
static const char *shown(struct str value, char out[SHOWN_BYTES_MAX + sizeof("...")])
{
    size_t len = smaller(value.len, SHOWN_BYTES_MAX);

    assert(out != NULL);
    for (size_t i = 0; i < len; i++) {
        bool printable = value.ptr[i] >= ' ' && value.ptr[i] <= '~';

        memcpy(out + i, printable ? value.ptr + i : "?", 1);
    }
    if (len < value.len) {
        memcpy(out + len, "...", sizeof("..."));
    } else {
        out[len] = '\0';
    }
    return out;
}

/* Says what is there, what would be right, and what to do. */
static enum code refuse(const struct config_row *row, struct str value, struct err *err)
{
    char text[SHOWN_BYTES_MAX + sizeof("...")];
    char range[CONFIG_RANGE_BYTES_MAX];

    if (config_is_secret(row)) {
        return err_set_field(err,
                             ERR_INVALID,
                             row->variable,
                             "%s has a value (not shown) that is not %s; correct it",
                             row->variable,
                             config_range(row, range));
    }
    return err_set_field(err,
                         ERR_INVALID,
                         row->variable,
                         "%s is \"%s\" but must be %s; correct it%s",
                         row->variable,
                         shown(value, text),
                         config_range(row, range),
                         row->fallback == NULL ? "" : " or unset it for the default");
}

static enum code load_row(const struct config_row *row, void *field, struct err *err)
{
    struct raw_value raw = {.len = 0};
    enum code code = OK;

    assert(row->type != CONFIG_TEXT || row->max < CONFIG_TEXT_BYTES_MAX);
    assert(strlen(row->variable) <= VARIABLE_BYTES_MAX);
    assert(str_starts(str_from(row->variable), STR(PREFIX)));
    code = fetch(row, &raw, err);
    if (code == OK) {
        struct str text = {raw.text, raw.len};

        /* A full buffer is longer than any row takes, so what was cut off does not matter. */
        if (!store(row, text, field)) {
            code = refuse(row, text, err);
        }
    }
    explicit_bzero(&raw, sizeof(raw));
    return code;
}

/* --- interface ----------------------------------------------------------------- */

/* The strings are the process's own environment block, which /proc would show to the same user.
 * Wiped after all rows are loaded, since two tables may share a secret. */
static void wipe_environment(struct config_walk walk)
{
    const struct config_row *row = NULL;
    void *field = NULL;

    while ((row = config_next(&walk, &field)) != NULL) {
        char *value = config_is_secret(row) ? getenv(row->variable) : NULL;

        if (value != NULL) {
            explicit_bzero(value, strlen(value));
            (void)unsetenv(row->variable);
        }
    }
}

enum code config_load(const struct config_table *tables,
                      size_t table_count,
                      const char *const *known,
                      struct err *err)
{
    struct config_walk start = {tables, table_count, 0, 0};
    struct config_walk walk = start;
    const struct config_row *row = NULL;
    void *field = NULL;
    enum code code = OK;

    assert(tables != NULL);
    assert(table_count > 0);
    /* First, so that a misspelt name is reported as such and not as a missing variable. */
    code = refuse_unknown(start, known, err);
    while (code == OK && (row = config_next(&walk, &field)) != NULL) {
        code = load_row(row, field, err);
    }
    wipe_environment(start);
    return code;
}

void config_wipe(const struct config_table *tables, size_t table_count)
{
    static const size_t bytes[] = {
        [CONFIG_TEXT] = CONFIG_TEXT_BYTES_MAX,
        [CONFIG_UINT] = sizeof(config_uint),
        [CONFIG_BOOL] = sizeof(config_bool),
    };
    struct config_walk walk = {tables, table_count, 0, 0};
    const struct config_row *row = NULL;
    void *field = NULL;

    assert(tables != NULL);
    while ((row = config_next(&walk, &field)) != NULL) {
        assert((unsigned)row->type < ARRAY_LEN(bytes));
        if (config_is_secret(row)) {
            explicit_bzero(field, bytes[row->type]);
        }
    }
}

int config_exit_status(const struct err *err)
{
    assert(err->code != OK);
    return err->code == ERR_INVALID ? EXIT_SETTINGS : EXIT_FAILURE;
}
