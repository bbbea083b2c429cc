#pragma once
/*
 * The statements in a service's *.sql files. A block is introduced by line comments:
 *
 *   -- name: transaction_list
 *   -- in: avanta.ledger.ListTransactionsRequest        (or none)
 *   -- out: avanta.ledger.Transaction                   (or none)
 *   -- each: ORDER = date_desc: date DESC, id DESC | date_asc: date ASC, id ASC
 *   -- unscoped: why it may touch rows of any user     (only there; see sqlgen_scope.h)
 *   SELECT ... ORDER BY {ORDER}
 *
 * A block with "-- set: place" answers for many requests at once: its parameters are arrays with an
 * element per request (see libcommon/io/pg_bind.h). Their unnest stands for :user_id.
 *
 * Every `each` line multiplies the block: one statement for each of its choices, named NAME_choice,
 * in consecutive order, the first `each` line turning slowest. `||` is the SQL operator, not a
 * separator. Whatever is wrong ends the process with file and line. Other comments are left out of
 * the statements.
 */

#include "libcommon/base/str.h"

#include <stdbool.h>

#define SQLGEN_NAME_BYTES_MAX 63 /* PostgreSQL cuts longer names of prepared statements */

struct sqlgen_files {
    char *const *paths;
    size_t count;
};

struct sqlgen_statement {
    const char *path; /* of the block */
    size_t line;
    const char *name;
    const char *text; /* $n form */
    const char **parameters;
    size_t parameter_count;
    const char *in; /* full message name, NULL: none */
    const char *out;
    bool set;
    const char *unscoped; /* why it may touch rows of any user; NULL: it may not */
    const char
        *family; /* the block's name on its first statement where `each` made several, else NULL */
};

struct sqlgen_statements {
    struct sqlgen_statement *rows;
    size_t count;
};

void sqlgen_read(const struct sqlgen_files *files, struct sqlgen_statements *out);
