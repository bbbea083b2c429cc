#pragma once
/* The outputs of sqlgen for a service ("audit-log"), each from the paths of its files. */

#include "libcommon/tools/sqlgen_blocks.h"

#include <stdio.h>

void sqlgen_write_queries_header(FILE *out, const char *service, const struct sqlgen_files *files);
void sqlgen_write_queries_table(FILE *out, const char *service, const struct sqlgen_files *files);
/* The first file names the tables that have a user_id, one a line, the others are the statements.
 * Writes the exceptions with their reasons; a statement that touches rows of any user ends the
 * process. */
void sqlgen_write_scope(FILE *out, const char *service, const struct sqlgen_files *files);
/* NNNN_name.sql in any order; the numbers must run from 1 without gaps. */
void sqlgen_write_migrations_header(FILE *out,
                                    const char *service,
                                    const struct sqlgen_files *files);
void sqlgen_write_migrations_table(FILE *out,
                                   const char *service,
                                   const struct sqlgen_files *files);
