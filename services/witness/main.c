/* The witness of the audit log: a program with a key of its own and no database, best run where
 * those who run the log cannot reach it. */
#include "services/witness/witness.h"

#include "libcommon/base/id.h"
#include "libcommon/base/limits.h"
#include "libcommon/base/log.h"
#include "libcommon/base/version.h"
#include "libcommon/io/note_key.h"
#include "libcommon/service/admin.h"
#include "libcommon/service/admin_ask.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOG_FLUSH_MS 200

struct process {
    const struct witness_config *config;
    struct loop *loop;
    struct loop_timer *log_timer;
    struct loop_timer *end_timer; /* while draining: the deadline, then the end */
    struct metrics *metrics;
    struct witness *witness;
    struct admin *admin;
    bool ending;
    bool drained;
};

#define CONFIG_TARGET struct witness_config
static const struct config_row config_rows[] = {WITNESS_CONFIG(CONFIG_ROW)};

/* --- the end -------------------------------------------------------------------------------- */

static void process_close(struct process *process)
{
    assert(process->ending);
    witness_close(&process->witness);
    if (process->admin != NULL) {
        admin_close(&process->admin);
    }
    loop_timer_close(&process->log_timer);
    loop_timer_close(&process->end_timer);
    loop_stop(process->loop);
}

static void on_end_timer(void *arg)
{
    struct process *process = arg;

    assert(process->ending);
    if (process->drained) {
        process_close(process);
        return;
    }
    log_event(LOG_ERROR, "drain_stuck", LOG_S("action", "exit"));
    log_flush();
    _exit(EXIT_FAILURE);
}

static void on_admin_drained(void *arg)
{
    struct process *process = arg;

    assert(process->ending);
    assert(!process->drained);
    process->drained = true;
    loop_timer_start(process->end_timer, 0, 0); /* closed from the loop, not from a callback */
}

static void on_witness_drained(void *arg)
{
    struct process *process = arg;

    assert(process->ending);
    admin_drain(process->admin, on_admin_drained, process);
}

static void on_signal(void *arg, int signum)
{
    struct process *process = arg;

    assert(process->witness != NULL);
    if (process->ending) {
        log_flush();
        _exit(EXIT_FAILURE); /* asked twice: at once */
    }
    process->ending = true;
    log_event(LOG_INFO, "draining", LOG_I("signal", signum));
    loop_timer_start(process->end_timer, DRAIN_MS_MAX, 0);
    witness_drain(process->witness, on_witness_drained, process);
}

/* --- the beginning -------------------------------------------------------------------------- */

static bool is_running(void *ctx)
{
    return !((const struct process *)ctx)->ending;
}

static bool bus_is_ready(void *ctx)
{
    return witness_bus_ready(((const struct process *)ctx)->witness);
}

static bool log_is_ready(void *ctx)
{
    return witness_log_ready(((const struct process *)ctx)->witness);
}

static void write_metrics(void *ctx, struct buf *out)
{
    assert(out != NULL);
    metrics_write(((const struct process *)ctx)->metrics, out);
}

static enum code admin_start(struct process *process, struct err *err)
{
    static const struct admin_check checks[] = {
        {"running",   is_running  },
        {"bus",       bus_is_ready},
        {"audit-log", log_is_ready},
    };
    const struct admin_options options = {
        .address = process->config->admin_address,
        .port = (uint16_t)process->config->admin_port,
        .checks = checks,
        .check_count = ARRAY_LEN(checks),
        .write_metrics = write_metrics,
        .ctx = process,
    };

    assert(process->witness != NULL);
    return admin_open(process->loop, &options, &process->admin, err);
}

static void on_log_timer(void *arg)
{
    (void)arg;
    log_flush();
}

static enum code process_open(struct process *process, struct err *err)
{
    enum code code = OK;

    assert(process->loop == NULL);
    process->loop = loop_open();
    process->metrics = metrics_open(witness_metric_rows, WITNESS_METRIC_COUNT);
    if (process->loop == NULL || process->metrics == NULL) {
        return err_set(err, ERR_INTERNAL, "no memory");
    }
    process->log_timer = loop_timer_open(process->loop, on_log_timer, process);
    process->end_timer = loop_timer_open(process->loop, on_end_timer, process);
    if (process->log_timer == NULL || process->end_timer == NULL) {
        return err_set(err, ERR_INTERNAL, "no memory");
    }
    code = witness_open(process->loop, process->config, process->metrics, &process->witness, err);
    if (code == OK) {
        code = admin_start(process, err);
    }
    if (code == OK) {
        loop_timer_start(process->log_timer, LOG_FLUSH_MS, LOG_FLUSH_MS);
        loop_on_signal(process->loop, SIGTERM, on_signal, process);
        loop_on_signal(process->loop, SIGINT, on_signal, process);
    }
    return code;
}

static void process_run(struct process *process)
{
    assert(process->admin != NULL);
    log_event(LOG_INFO,
              "ready",
              LOG_S("version", AVANTA_VERSION),
              LOG_S("witness", process->config->name),
              LOG_U("admin_port", admin_port(process->admin)));
    log_flush();
    loop_run(process->loop);
    loop_close(&process->loop);
    metrics_close(&process->metrics);
    log_event(LOG_INFO, "stopped", LOG_S("witness", process->config->name));
    log_flush();
}

/* --- the command line ----------------------------------------------------------------------- */

static int usage(const struct config_table *table)
{
    (void)puts("witness: cosigns the audit log's checkpoints.\n\n"
               "  --help             this text\n"
               "  --verifier-key     what its cosignatures are verified with\n"
               "  --ready            ask the admin port of the running witness\n"
               "  --print-config     the settings in force, secrets masked\n"
               "  --config-markdown  the settings as a table for the reference\n"
               "  --metrics-markdown the metrics as a table for the reference\n"
               "  --version\n");
    config_help(stdout, table, 1);
    return 0;
}

static int complain(const struct err *err)
{
    assert(err->code != OK);
    (void)fprintf(stderr, "witness: %s\n", err->text);
    return config_exit_status(err);
}

static int verifier_key(const struct config_table *table)
{
    const struct witness_config *config = table->target;
    struct note_signer signer;
    char memory[NOTE_KEY_TEXT_BYTES_MAX];
    struct buf key = buf_over(memory, sizeof memory);
    struct err err = {.code = OK};

    assert(config != NULL);
    if (witness_signer(config, &signer, &err) != OK) {
        return complain(&err);
    }
    note_verifier_write(&signer.verifier, &key);
    note_signer_wipe(&signer);
    config_wipe(table, 1);
    return buf_terminate(&key) && puts(memory) >= 0 ? 0 : 1;
}

/* Whether the process that runs with these settings is ready. */
static int ask_ready(const struct config_table *table)
{
    const struct witness_config *config = table->target;
    struct err err = {.code = OK};
    enum code code = ERR_INVALID;

    assert(config != NULL);
    if (config->admin_port == 0) {
        (void)err_set(&err, code, "AVANTA_ADMIN_PORT is required for --ready");
    } else {
        code = admin_ask_ready(config->admin_address, (uint16_t)config->admin_port, &err);
    }
    config_wipe(table, 1);
    return code == OK ? 0 : complain(&err);
}

static int print_config(const struct config_table *table)
{
    config_print(stdout, table, 1);
    return 0;
}

static int serve(const struct config_table *table)
{
    static struct process process;
    struct err err = {.code = OK};

    assert(process.loop == NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    process.config = table->target;
    if (process_open(&process, &err) != OK) {
        return complain(&err);
    }
    process_run(&process);
    config_wipe(table, 1);
    return 0;
}

static enum code
load(const struct config_table *table, const struct witness_config *config, struct err *err)
{
    static const char *const known[] = {"AVANTA_STATE", NULL};
    struct log_options log = {.service = "witness", .instance = instance_id()};
    enum code code = config_load(table, 1, known, err);

    if (code == OK) {
        code = log_config_read(config->log_level, config->log_format, config->log_ship, &log, err);
    }
    if (code == OK) {
        log_open(&log);
    }
    return code;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(const struct config_table *table);
    } options[] = {
        {"",               serve       },
        {"--verifier-key", verifier_key},
        {"--ready",        ask_ready   },
        {"--print-config", print_config},
    };
    static struct witness_config config;
    const struct config_table table = {config_rows, ARRAY_LEN(config_rows), &config};
    const char *option = argc > 1 ? argv[1] : "";
    struct err err = {.code = OK};

    if (strcmp(option, "--help") == 0) {
        return usage(&table);
    }
    if (strcmp(option, "--version") == 0) {
        return puts("witness " AVANTA_VERSION) < 0;
    }
    if (strcmp(option, "--config-markdown") == 0) {
        config_markdown(stdout, &table, 1);
        return 0;
    }
    if (strcmp(option, "--metrics-markdown") == 0) {
        metrics_markdown(stdout, witness_metric_rows, WITNESS_METRIC_COUNT);
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        if (strcmp(option, options[i].name) == 0) {
            return load(&table, &config, &err) == OK ? options[i].run(&table) : complain(&err);
        }
    }
    (void)fprintf(stderr, "witness: unknown option %s; --help lists them\n", option);
    return EXIT_SETTINGS;
}
