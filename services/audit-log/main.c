/* Who did what: consumes the AUDIT stream into an append-only table whose records are leaves of a
 * Merkle tree, signs checkpoints of it, and shows records and proofs. */
#include "api.gen.h"
#include "audit_log_migrations.gen.h"
#include "audit_log_ops.gen.h"
#include "audit_log_sql.gen.h"
#include "avanta/common.pb-c.h"
#include "services/audit-log/audit.h"
#include "services/audit-log/commands.h"
#include "services/audit-log/error_intake.h"

#include "libcommon/base/version.h"
#include "libcommon/service/service.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define CHECKPOINT_EVERY_MS 250
#define AUDITOR_EVERY_MS    100
#define FILES_EVERY_MS      1000
#define PARTITIONS_EVERY_MS (UINT64_C(3600) * 1000)
#define ERRORS_EVERY_MS     500
#define ERRORS_PURGE_MS     10000

static struct audit instance;

#define CONFIG_TARGET struct audit_config
static const struct config_row config_rows[] = {AUDIT_CONFIG(CONFIG_ROW)};
static const struct config_table config = {config_rows, ARRAY_LEN(config_rows), &instance.config};

/* Records are unpacked and bound by descriptor alone; no rule applies to what services write. */
static const struct message_rules record_rules = {.descriptor = &avanta__audit_record__descriptor};

static const struct consumer_row consumers[] = {
    {
     .stream = "AUDIT",
     .durable = "audit-log",
     .filter_subject = "audit.>",
     .in = &record_rules,
     .op = &op_audit_log_append,
     },
};

static const struct periodic_row periodics[] = {
    {"partitions",       PARTITIONS_EVERY_MS, &op_audit_log_partitions,       false},
    {"partitions_first", FILES_EVERY_MS,      &op_audit_log_partitions,       true },
    {"checkpoint",       CHECKPOINT_EVERY_MS, &op_audit_log_checkpoint,       false},
    {"auditor",          AUDITOR_EVERY_MS,    &op_audit_log_auditor,          false},
    {"checkpoint_files", FILES_EVERY_MS,      &op_audit_log_checkpoint_files, false},
    {"errors_store",     ERRORS_EVERY_MS,     &op_audit_log_errors_store,     false},
    {"errors_purge",     ERRORS_PURGE_MS,     &op_audit_log_errors_purge,     false},
};

static const struct listener_row listeners[] = {
    {"log.*.error", errors_on_line},
};

static enum code errors_open(struct err *err)
{
    const struct error_limits limits = {
        .address_per_minute = instance.config.errors_address_per_minute,
        .frontend_per_minute = instance.config.errors_per_minute,
        .server_per_minute = instance.config.errors_server_per_minute,
        .alerts_per_minute = instance.config.errors_alerts_per_minute,
    };

    assert(instance.errors == NULL);
    instance.errors = error_intake_open(&limits);
    return instance.errors == NULL ? err_set(err, ERR_OVERLOADED, "no memory for the error log")
                                   : OK;
}

static enum code on_start(void **out_state, struct err *err)
{
    enum code code = audit_signer_make(&instance.config, &instance.signer, err);

    assert(instance.filed == 0);
    *out_state = &instance;
    code = code == OK ? audit_witnesses_read(&instance, err) : code;
    return code == OK ? errors_open(err) : code;
}

static void on_stop(void *state)
{
    struct audit *self = state;

    assert(self == &instance);
    note_signer_wipe(&self->signer);
    error_intake_close(&self->errors);
}

int main(int argc, char **argv)
{
    const struct service self = {
        .name = "audit-log",
        .version = AVANTA_VERSION,
        .description = "The audit trail: who did what, provably.",
        .ops = audit_log_op_rows,
        .op_count = AUDIT_LOG_OP_ROW_COUNT,
        .queries = audit_log_queries,
        .query_count = AUDIT_LOG_QUERY_COUNT,
        .migrations = audit_log_migrations,
        .migration_count = audit_log_migration_count,
        .consumers = consumers,
        .consumer_count = ARRAY_LEN(consumers),
        .periodics = periodics,
        .periodic_count = ARRAY_LEN(periodics),
        .last_job = "errors_store",
        .listeners = listeners,
        .listener_count = ARRAY_LEN(listeners),
        .config = &config,
        .on_start = on_start,
        .on_stop = on_stop,
        .commands = audit_commands,
        .command_count = audit_command_count,
        .command_help = audit_command_help,
    };

    return service_main(argc, argv, &self);
}
