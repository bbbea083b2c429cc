/* The books: accounts, categories, transactions, imports. */
#include "avanta/common.pb-c.h"
#include "ledger_migrations.gen.h"
#include "ledger_ops.gen.h"
#include "ledger_sql.gen.h"

#include "libcommon/base/version.h"
#include "libcommon/service/service.h"

static const struct constraint_row constraints[] = {
    {"account_initial_balance_date", AVANTA__REASON__DUPLICATE_ERROR, "balance_date"},
    {"category_name",                AVANTA__REASON__DUPLICATE_ERROR, "name"        },
};

int main(int argc, char **argv)
{
    const struct service self = {
        .name = "ledger",
        .version = AVANTA_VERSION,
        .description = "The books: accounts, categories, transactions, imports.",
        .ops = ledger_op_rows,
        .op_count = LEDGER_OP_ROW_COUNT,
        .queries = ledger_queries,
        .query_count = LEDGER_QUERY_COUNT,
        .migrations = ledger_migrations,
        .migration_count = ledger_migration_count,
        .constraints = constraints,
        .constraint_count = ARRAY_LEN(constraints),
    };

    return service_main(argc, argv, &self);
}
