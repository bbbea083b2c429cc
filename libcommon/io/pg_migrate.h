#pragma once
/*
 * Forward-only migrations at deployment time, blocking, before any loop runs (`X --migrate`). An
 * advisory lock keeps two migrators apart; each step is one transaction and one row in
 * schema_migration with the text's SHA-256: a step whose text changed after it was applied is
 * refused.
 */

#include "libcommon/base/err.h"
#include "libcommon/io/pg_query.h"

struct pg_migration_set {
    const char *name; /* "service", "ledger": numbered apart */
    const struct pg_migration *steps;
    size_t count;
};

/* Applies what is missing; `on_step` reports progress (may be NULL). */
enum code pg_migrate(const char *dsn,
                     const struct pg_migration_set *sets,
                     size_t set_count,
                     void (*on_step)(const char *set, const struct pg_migration *step),
                     struct err *err) MUST_CHECK;
