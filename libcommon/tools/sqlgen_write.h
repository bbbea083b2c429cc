#pragma once
/* The outputs of sqlgen for a service ("audit-log"), each from the paths of its files. */

#include "libcommon/tools/sqlgen_blocks.h"

#include <stdio.h>

void sqlgen_write_queries_header(FILE *out, const char *service, const struct sqlgen_files *files);
void sqlgen_write_queries_table(FILE *out, const char *service, const struct sqlgen_files *files);
/* NNNN_name.sql in any order; the numbers must run from 1 without gaps. */
void sqlgen_write_migrations_header(FILE *out,
                                    const char *service,
                                    const struct sqlgen_files *files);
void sqlgen_write_migrations_table(FILE *out,
                                   const char *service,
                                   const struct sqlgen_files *files);
