#include "libcommon/service/service_options.h"

#include "service_migrations.gen.h"
#include "service_sql.gen.h"

#include "libcommon/base/id.h"
#include "libcommon/base/limits.h"
#include "libcommon/base/log.h"
#include "libcommon/io/pg_migrate.h"
#include "libcommon/io/pg_pool.h"
#include "libcommon/io/pg_tls.h"
#include "libcommon/service/admin_ask.h"
#include "libcommon/service/effects.h"
#include "libcommon/service/service_metrics.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK_SQL_MS_MAX 15000
#define CONFIG_ROWS_MAX  128

#define CONFIG_TARGET struct service_config
/* Marks the processes of one stack; no setting. */
static const char *const known_variables[] = {"AVANTA_STATE", NULL};

static const struct config_row config_rows[] = {SERVICE_CONFIG(CONFIG_ROW)};

size_t service_config_tables(const struct service *self,
                             struct service_config *config,
                             struct config_table out[2])
{
    assert(config != NULL);
    assert(out != NULL);
    out[0] = (struct config_table){config_rows, ARRAY_LEN(config_rows), config};
    if (self->config == NULL) {
        return 1;
    }
    out[1] = *self->config;
    return 2;
}

enum code service_plans_open(const struct service *self,
                             struct pg_query_table tables[],
                             struct pg_plan *plans[],
                             struct err *err)
{
    enum code code = OK;

    assert(tables != NULL);
    assert(plans != NULL);
    tables[TABLE_SKELETON] = (struct pg_query_table){service_queries, SERVICE_QUERY_COUNT};
    tables[TABLE_SERVICE] = (struct pg_query_table){self->queries, self->query_count};
    for (size_t i = 0; i < TABLE_COUNT && code == OK; i++) {
        code = pg_plans_open(&tables[i], &plans[i], err);
    }
    return code;
}

/* --- texts ------------------------------------------------------------------------------- */

static int help(const struct service *self, struct service_config *config)
{
    struct config_table tables[2];
    size_t count = service_config_tables(self, config, tables);

    assert(self != NULL);
    (void)printf("%s %s: %s\n\n"
                 "Without an option it serves until SIGTERM or SIGINT.\n"
                 "  --migrate          bring the database up to date, then exit\n"
                 "  --check-sql        prepare every statement on the database, then exit\n"
                 "  --ready            ask the admin port of the running service, then exit\n"
                 "  --print-config     show the settings in force, secrets masked\n"
                 "  --config-markdown  the settings as a table for the documentation\n"
                 "  --metrics-markdown the metrics as a table for the documentation\n"
                 "  --version\n  --help\n%s\n",
                 self->name,
                 self->version,
                 self->description,
                 self->command_help == NULL ? "" : self->command_help);
    config_help(stdout, tables, count);
    return EXIT_SUCCESS;
}

static int markdown(const struct service *self, struct service_config *config)
{
    struct config_table tables[2];
    size_t count = service_config_tables(self, config, tables);

    config_markdown(stdout, tables, count);
    return EXIT_SUCCESS;
}

static int metrics(const struct service *self, struct service_config *config)
{
    assert(self != NULL);
    (void)config;
    service_metrics_markdown(stdout, self->metrics, self->metric_count);
    return EXIT_SUCCESS;
}

static int version(const struct service *self, struct service_config *config)
{
    assert(self != NULL);
    (void)config;
    (void)printf("%s %s\n", self->name, self->version);
    return EXIT_SUCCESS;
}

static int complain(const struct service *self, const struct err *err)
{
    assert(err->code != OK);
    (void)fprintf(stderr, "%s: %s\n", self->name, err->text);
    return config_exit_status(err);
}

static void row_relax(struct config_row *row)
{
    assert(row != NULL);
    if (row->fallback == NULL) {
        row->fallback = row->type == CONFIG_TEXT ? "" : "0";
        row->min = 0;
    }
}

/* Loads as if required settings had an empty default: for options that can do without them. */
static enum code load_relaxed(const struct service *self,
                              struct service_config *config,
                              struct config_table tables[2],
                              size_t *out_count,
                              struct err *err)
{
    static struct config_row relaxed[2][CONFIG_ROWS_MAX];

    assert(out_count != NULL);
    *out_count = service_config_tables(self, config, tables);
    for (size_t t = 0; t < *out_count; t++) {
        assert(tables[t].row_count <= CONFIG_ROWS_MAX);
        for (size_t i = 0; i < tables[t].row_count; i++) {
            relaxed[t][i] = tables[t].rows[i];
            row_relax(&relaxed[t][i]);
        }
        tables[t].rows = relaxed[t];
    }
    return config_load(tables, *out_count, known_variables, err);
}

static enum code
log_options_read(const struct service_config *config, struct log_options *out, struct err *err)
{
    assert(config != NULL);
    assert(out != NULL);
    out->sample = config->log_sample;
    out->slow_ms = config->log_slow_ms;
    return log_config_read(config->log_level, config->log_format, config->log_ship, out, err);
}

static int print_config(const struct service *self, struct service_config *config)
{
    struct config_table tables[2];
    size_t count = 0;
    struct log_options log = {0};
    struct err err = {0};

    if (load_relaxed(self, config, tables, &count, &err) != OK ||
        log_options_read(config, &log, &err) != OK) {
        return complain(self, &err);
    }
    config_print(stdout, tables, count);
    config_wipe(tables, count);
    return EXIT_SUCCESS;
}

/* --- the running service ---------------------------------------------------------------- */

static int ready(const struct service *self, struct service_config *config)
{
    struct config_table tables[2];
    size_t count = 0;
    struct err err = {0};
    enum code code = load_relaxed(self, config, tables, &count, &err);

    assert(config != NULL);
    if (code == OK && config->admin_port == 0) {
        code = err_set(&err, ERR_INVALID, "AVANTA_ADMIN_PORT is required for --ready");
    }
    if (code == OK) {
        code = admin_ask_ready(config->admin_address, (uint16_t)config->admin_port, &err);
    }
    config_wipe(tables, count);
    return code == OK ? EXIT_SUCCESS : complain(self, &err);
}

/* --- the database -------------------------------------------------------------------------- */

static enum code load(const struct service *self, struct service_config *config, struct err *err)
{
    struct config_table tables[2];
    size_t count = service_config_tables(self, config, tables);
    struct log_options log = {.service = self->name, .instance = instance_id()};
    enum code code = config_load(tables, count, known_variables, err);

    assert(config != NULL);
    if (code == OK) {
        code = log_options_read(config, &log, err);
    }
    if (code == OK && config->pg_tls) {
        code = pg_tls_check(config->pg_dsn, "AVANTA_PG_DSN", err);
    }
    if (code == OK) {
        log_open(&log);
    }
    return code;
}

static void on_step(const char *set, const struct pg_migration *step)
{
    assert(set != NULL);
    assert(step->name != NULL);
    (void)printf("migrated %s %04u %s\n", set, step->number, step->name);
}

static int migrate(const struct service *self, struct service_config *config)
{
    struct pg_migration_set sets[] = {
        {"service",  service_migrations, SERVICE_MIGRATION_COUNT},
        {self->name, self->migrations,   self->migration_count  },
    };
    struct config_table tables[2];
    size_t count = 0;
    struct err err = {0};

    assert(config != NULL);
    /* Only the owner's address of the database is needed, so only it is asked for. */
    if (load_relaxed(self, config, tables, &count, &err) != OK) {
        return complain(self, &err);
    }
    if (config->pg_migrate_dsn[0] == '\0') {
        (void)err_set(&err, ERR_INVALID, "AVANTA_PG_MIGRATE_DSN is required for --migrate");
        return complain(self, &err);
    }
    if (config->pg_tls &&
        pg_tls_check(config->pg_migrate_dsn, "AVANTA_PG_MIGRATE_DSN", &err) != OK) {
        return complain(self, &err);
    }
    if (pg_migrate(config->pg_migrate_dsn, sets, ARRAY_LEN(sets), on_step, &err) != OK) {
        return complain(self, &err);
    }
    config_wipe(tables, count);
    return EXIT_SUCCESS;
}

struct sql_check {
    struct loop *loop;
    struct pg_pool *pool;
    struct loop_timer *timer;
    struct err err;
    bool ended;
};

static void check_drained(void *arg)
{
    struct sql_check *check = arg;

    assert(check->ended);
    pg_pool_close(&check->pool);
    loop_timer_close(&check->timer);
    loop_stop(check->loop);
}

static void check_end(struct sql_check *check)
{
    assert(check->timer != NULL);
    if (!check->ended) {
        check->ended = true;
        loop_timer_stop(check->timer);
        pg_pool_drain(check->pool, check_drained, check);
    }
}

static void check_ready(void *ctx, bool any_ready)
{
    if (any_ready) {
        check_end(ctx);
    }
}

static void check_fatal(void *ctx, const struct err *err)
{
    struct sql_check *check = ctx;

    assert(err->code != OK);
    check->err = *err;
    check_end(check);
}

static void check_late(void *arg)
{
    struct sql_check *check = arg;

    (void)err_set(&check->err, ERR_TIMEOUT, "the database cannot be reached");
    check_end(check);
}

static enum code check_run(const struct service *self,
                           const struct service_config *config,
                           struct sql_check *check,
                           struct err *err)
{
    struct pg_query_table tables[TABLE_COUNT];
    struct pg_plan *plans[TABLE_COUNT] = {NULL, NULL};
    struct pg_pool_options options = {.dsn = config->pg_dsn,
                                      .application_name = self->name,
                                      .connections = 1,
                                      .tables = tables,
                                      .plans = plans,
                                      .table_count = TABLE_COUNT,
                                      .statement_ms_max = PG_STATEMENT_MS_MAX,
                                      .on_ready = check_ready,
                                      .on_fatal = check_fatal,
                                      .ctx = check};
    enum code code = service_plans_open(self, tables, plans, err);

    assert(check->loop != NULL);
    check->timer = loop_timer_open(check->loop, check_late, check);
    if (code == OK && check->timer == NULL) {
        code = err_set(err, ERR_OVERLOADED, "no memory for a timer");
    }
    if (code == OK) {
        code = pg_pool_open(check->loop, &options, &check->pool, err);
    }
    if (code == OK) {
        loop_timer_start(check->timer, CHECK_SQL_MS_MAX, 0);
        loop_run(check->loop);
        code = check->err.code;
        *err = check->err;
    } else if (check->timer != NULL) {
        loop_timer_close(&check->timer);
        loop_stop(check->loop);
        loop_run(check->loop);
    }
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        pg_plans_close(&plans[i]);
    }
    return code;
}

static int check_sql(const struct service *self, struct service_config *config)
{
    struct sql_check check = {.loop = loop_open()};
    struct err err = {0};
    enum code code = load(self, config, &err);

    assert(self != NULL);
    if (code == OK && check.loop == NULL) {
        code = err_set(&err, ERR_OVERLOADED, "no memory for the loop");
    }
    if (code == OK) {
        code = check_run(self, config, &check, &err);
    }
    if (check.loop != NULL) {
        loop_close(&check.loop);
    }
    if (code != OK) {
        return complain(self, &err);
    }
    (void)printf("%d statements are fit for the database\n",
                 SERVICE_QUERY_COUNT + (int)self->query_count);
    return EXIT_SUCCESS;
}

/* --- commands of one service ----------------------------------------------------------------- */

static enum code command_dsn(enum service_needs needs,
                             const struct service_config *config,
                             const char **out,
                             struct err *err)
{
    bool owner = needs == SERVICE_NEEDS_PG_MIGRATE_DSN;
    const char *setting = owner ? "AVANTA_PG_MIGRATE_DSN" : "AVANTA_PG_DSN";
    const char *dsn = owner ? config->pg_migrate_dsn : config->pg_dsn;

    assert(out != NULL);
    assert(needs != SERVICE_NEEDS_NOTHING);
    *out = NULL;
    if (needs == SERVICE_NEEDS_SETTINGS) {
        return OK;
    }
    if (dsn[0] == '\0') {
        return err_set_field(err, ERR_INVALID, setting, "%s is required for this", setting);
    }
    *out = dsn;
    return config->pg_tls ? pg_tls_check(dsn, setting, err) : OK;
}

static int command_run(const struct service *self,
                       struct service_config *config,
                       const struct service_command *command,
                       int argc,
                       char **argv)
{
    struct config_table tables[2];
    size_t count = 0;
    struct command_settings settings = {.dsn = NULL};
    struct err err = {0};
    int status = EXIT_SUCCESS;

    assert(argc >= 0);
    assert(command->run != NULL);
    if (command->needs == SERVICE_NEEDS_NOTHING) {
        return command->run(argc, argv, &settings);
    }
    if (load_relaxed(self, config, tables, &count, &err) != OK ||
        command_dsn(command->needs, config, &settings.dsn, &err) != OK) {
        return complain(self, &err);
    }
    settings.own = self->config == NULL ? NULL : self->config->target;
    status = command->run(argc, argv, &settings);
    config_wipe(tables, count);
    return status;
}

/* --- the command line --------------------------------------------------------------------------
 */

static const struct {
    const char *name;
    int (*run)(const struct service *self, struct service_config *config);
} options[] = {
    {"--help",             help        },
    {"--version",          version     },
    {"--print-config",     print_config},
    {"--config-markdown",  markdown    },
    {"--metrics-markdown", metrics     },
    {"--ready",            ready       },
    {"--migrate",          migrate     },
    {"--check-sql",        check_sql   },
};

bool service_options(int argc,
                     char **argv,
                     const struct service *self,
                     struct service_config *config,
                     int *out_status)
{
    struct err err = {0};

    assert(argc > 0);
    assert(self != NULL);
    assert(config != NULL);
    assert(out_status != NULL);
    for (size_t i = 0; argc > 1 && i < ARRAY_LEN(options); i++) {
        if (strcmp(argv[1], options[i].name) == 0) {
            *out_status = options[i].run(self, config);
            return true;
        }
    }
    for (size_t i = 0; argc > 1 && i < self->command_count; i++) {
        if (strcmp(argv[1], self->commands[i].name) == 0) {
            *out_status = command_run(self, config, &self->commands[i], argc - 2, argv + 2);
            return true;
        }
    }
    if (argc > 1) {
        (void)fprintf(stderr, "%s: unknown option %s; --help lists them\n", self->name, argv[1]);
        *out_status = EXIT_SETTINGS;
        return true;
    }
    if (load(self, config, &err) != OK) {
        *out_status = complain(self, &err);
        return true;
    }
    return false;
}
