#pragma once
/*
 * Configuration from the environment. Each component declares its rows once, as an X-macro:
 *
 *   #define GATEWAY_CONFIG(X)                                                                   \
 *       X(UINT, http_port, "AVANTA_HTTP_PORT", "8080", 1, 65535, PLAIN, "port the API listens on")
 *
 * CONFIG_STRUCT(gateway_config, GATEWAY_CONFIG) declares the struct; GATEWAY_CONFIG(CONFIG_ROW) is
 * the body of its row table. A value that is out of range, or an AVANTA_* variable that no row of
 * the program knows, stops the start. Values are copied; secrets may come from the file named by
 * <VARIABLE>_FILE and are masked in --print-config. The environment's copy of a secret is wiped.
 */

#include "libcommon/base/err.h"

#include <stdint.h>
#include <stdio.h>

enum config_type {
    CONFIG_TEXT, /* min..max bytes */
    CONFIG_UINT, /* min..max */
    CONFIG_BOOL  /* 0 1 true false */
};
enum config_visibility {
    CONFIG_PLAIN,
    CONFIG_SECRET
};

struct config_row {
    enum config_type type;
    const char *name;
    const char *variable;
    const char *fallback; /* NULL: the variable is required */
    uint64_t min;
    uint64_t max;
    enum config_visibility visibility;
    const char *help;
    size_t offset;
};

#define CONFIG_TEXT_BYTES_MAX 1024
typedef char config_text[CONFIG_TEXT_BYTES_MAX];
typedef uint64_t config_uint;
typedef bool config_bool;
#define CONFIG_CTYPE_TEXT config_text
#define CONFIG_CTYPE_UINT config_uint
#define CONFIG_CTYPE_BOOL config_bool
#define CONFIG_FIELD(type, name, variable, fallback, min, max, visibility, help) \
    CONFIG_CTYPE_##type name;

#define CONFIG_STRUCT(tag, MAP) \
    struct tag {                \
        MAP(CONFIG_FIELD)       \
    }

/* Use inside `static const struct config_row rows[] = {...}` after defining CONFIG_TARGET as the
 * struct tag:  #define CONFIG_TARGET struct gateway_config */
#define CONFIG_ROW(type, name, variable, fallback, min, max, visibility, help) \
    {CONFIG_##type,                                                            \
     #name,                                                                    \
     variable,                                                                 \
     fallback,                                                                 \
     min,                                                                      \
     max,                                                                      \
     CONFIG_##visibility,                                                      \
     help,                                                                     \
     offsetof(CONFIG_TARGET, name)},

struct config_table {
    const struct config_row *rows;
    size_t row_count;
    void *target;
};

/* Loads every table from the environment. `known` more variables may be present without a row
 * (AVANTA_STATE). Reports the first problem in err with the variable as its field. */
enum code config_load(const struct config_table *tables,
                      size_t table_count,
                      const char *const *known,
                      struct err *err) MUST_CHECK;
void config_help(FILE *out, const struct config_table *tables, size_t table_count);
void config_print(FILE *out, const struct config_table *tables, size_t table_count);
/* Markdown table for docs/reference. */
void config_markdown(FILE *out, const struct config_table *tables, size_t table_count);
/* Overwrites the secrets in the targets; the other values stay. */
void config_wipe(const struct config_table *tables, size_t table_count);

/* The exit status of a program that does not start: its settings or its command line are wrong. */
#define EXIT_SETTINGS 2
/* That, when `err` is a setting's; else 1. */
int config_exit_status(const struct err *err);
