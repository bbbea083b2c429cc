/* The texts config.h makes for people, and the walk over tables that loading uses too. */
#include "libcommon/base/config.h"
#include "libcommon/base/config_row.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#define MASK        "********"
#define HELP_INDENT 35

/* Tables without rows are stepped over. */
const struct config_row *config_next(struct config_walk *walk, void **out_field)
{
    const struct config_table *table = NULL;

    assert(walk != NULL);
    assert(out_field != NULL);
    assert(walk->tables != NULL);
    while (walk->table < walk->table_count && walk->row == walk->tables[walk->table].row_count) {
        walk->table++;
        walk->row = 0;
    }
    if (walk->table == walk->table_count) {
        return NULL;
    }
    table = &walk->tables[walk->table];
    assert(table->target != NULL);
    *out_field = (char *)table->target + table->rows[walk->row].offset;
    return &table->rows[walk->row++];
}

const char *config_range(const struct config_row *row, char out[CONFIG_RANGE_BYTES_MAX])
{
    const char *noun = row->type == CONFIG_UINT ? "a whole number from" : "a text of";
    const char *unit = row->type == CONFIG_UINT ? "" : " bytes";

    assert(row->min <= row->max);
    if (row->type == CONFIG_BOOL) {
        (void)snprintf(out, CONFIG_RANGE_BYTES_MAX, "0, 1, true or false");
        return out;
    }
    if (row->type == CONFIG_TEXT && row->min == row->max) {
        (void)snprintf(out, CONFIG_RANGE_BYTES_MAX, "a text of %" PRIu64 " bytes", row->min);
        return out;
    }
    (void)snprintf(out,
                   CONFIG_RANGE_BYTES_MAX,
                   "%s %" PRIu64 " to %" PRIu64 "%s",
                   noun,
                   row->min,
                   row->max,
                   unit);
    return out;
}

static const char *default_of(const struct config_row *row)
{
    if (row->fallback == NULL) {
        return "required";
    }
    return row->fallback[0] == '\0' ? "empty" : row->fallback;
}

void config_help(FILE *out, const struct config_table *tables, size_t table_count)
{
    struct config_walk walk = {tables, table_count, 0, 0};
    const struct config_row *row = NULL;
    void *field = NULL;

    assert(out != NULL);
    assert(tables != NULL);
    while ((row = config_next(&walk, &field)) != NULL) {
        char range[CONFIG_RANGE_BYTES_MAX];

        (void)fprintf(out, "  %-*s%s\n", HELP_INDENT - 2, row->variable, row->help);
        (void)fprintf(out,
                      "%*s%s; %s%s\n",
                      HELP_INDENT,
                      "",
                      config_range(row, range),
                      row->fallback == NULL ? "" : "default ",
                      default_of(row));
        if (config_is_secret(row)) {
            (void)fprintf(out,
                          "%*ssecret; may be in the file that %s" CONFIG_FILE_SUFFIX " names\n",
                          HELP_INDENT,
                          "",
                          row->variable);
        }
    }
}

/* In the form the environment takes, so that the output can be copied into a file and corrected. */
static void print_value(FILE *out, const struct config_row *row, const void *field)
{
    const char *text = field;
    uint64_t number = 0;
    bool flag = false;

    assert(field != NULL);
    if (config_is_secret(row)) {
        bool empty = row->type == CONFIG_TEXT && text[0] == '\0';

        (void)fprintf(out, "%s=%s\n", row->variable, empty ? "" : MASK);
    } else if (row->type == CONFIG_TEXT) {
        (void)fprintf(out, "%s=%s\n", row->variable, text);
    } else if (row->type == CONFIG_UINT) {
        memcpy(&number, field, sizeof(number));
        (void)fprintf(out, "%s=%" PRIu64 "\n", row->variable, number);
    } else {
        memcpy(&flag, field, sizeof(flag));
        (void)fprintf(out, "%s=%s\n", row->variable, flag ? "true" : "false");
    }
}

void config_print(FILE *out, const struct config_table *tables, size_t table_count)
{
    struct config_walk walk = {tables, table_count, 0, 0};
    const struct config_row *row = NULL;
    void *field = NULL;

    assert(out != NULL);
    assert(tables != NULL);
    while ((row = config_next(&walk, &field)) != NULL) {
        print_value(out, row, field);
    }
}

/* A bar would end the cell. */
static void print_cell(FILE *out, const char *text)
{
    assert(text != NULL);
    (void)fputs("| ", out);
    for (const char *at = text; *at != '\0'; at++) {
        if (*at == '|') {
            (void)fputc('\\', out);
        }
        (void)fputc(*at, out);
    }
    (void)fputc(' ', out);
}

void config_markdown(FILE *out, const struct config_table *tables, size_t table_count)
{
    struct config_walk walk = {tables, table_count, 0, 0};
    const struct config_row *row = NULL;
    void *field = NULL;

    assert(out != NULL);
    assert(tables != NULL);
    (void)fputs("| Variable | Value | Default | Meaning |\n|---|---|---|---|\n", out);
    while ((row = config_next(&walk, &field)) != NULL) {
        char range[CONFIG_RANGE_BYTES_MAX];

        print_cell(out, row->variable);
        print_cell(out, config_range(row, range));
        print_cell(out, default_of(row));
        print_cell(out, row->help);
        (void)fprintf(out, "%s|\n", config_is_secret(row) ? "(secret, also by `_FILE`) " : "");
    }
}
