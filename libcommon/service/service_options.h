#pragma once
/* What a service does besides serving: the options of its command line. Blocking, before any loop.
 */

#include "libcommon/io/pg_bind.h"
#include "libcommon/service/service.h"
#include "libcommon/service/service_config.h"

/* Handles argv. True: that was all, exit with *out_status; false: the configuration is loaded,
 * serve. */
bool service_options(int argc,
                     char **argv,
                     const struct service *self,
                     struct service_config *config,
                     int *out_status);
/* Both components' tables, the skeleton's first. */
size_t service_config_tables(const struct service *self,
                             struct service_config *config,
                             struct config_table out[2]);
/* The tables of statements by enum statement_table, and their plans; closed by the caller. */
enum code service_plans_open(const struct service *self,
                             struct pg_query_table tables[],
                             struct pg_plan *plans[],
                             struct err *err) MUST_CHECK;
