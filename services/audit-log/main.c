/* Who did what: consumes the AUDIT stream into an append-only table and shows callers their own
 * records. */
#include "api.gen.h"
#include "audit_log_migrations.gen.h"
#include "audit_log_ops.gen.h"
#include "audit_log_sql.gen.h"
#include "avanta/common.pb-c.h"
#include "services/audit-log/audit.h"

#include "libcommon/base/version.h"
#include "libcommon/service/service.h"

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

int main(int argc, char **argv)
{
    const struct service self = {
        .name = "audit-log",
        .version = AVANTA_VERSION,
        .description = "The audit trail: who did what.",
        .ops = audit_log_op_rows,
        .op_count = AUDIT_LOG_OP_ROW_COUNT,
        .queries = audit_log_queries,
        .query_count = AUDIT_LOG_QUERY_COUNT,
        .migrations = audit_log_migrations,
        .migration_count = audit_log_migration_count,
        .consumers = consumers,
        .consumer_count = ARRAY_LEN(consumers),
    };

    return service_main(argc, argv, &self);
}
