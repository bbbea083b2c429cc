/*
 * sqlgen: the SQL files of a service become a table of statements, its migrations a table of steps.
 *
 *   sqlgen queries-h    SERVICE OUT FILE...   build/gen/<service>_sql.gen.h
 *   sqlgen queries-c    SERVICE OUT FILE...   build/gen/<service>_sql.gen.c
 *   sqlgen migrations-h SERVICE OUT FILE...   build/gen/<service>_migrations.gen.h
 *   sqlgen migrations-c SERVICE OUT FILE...   build/gen/<service>_migrations.gen.c
 */

#include "libcommon/base/attr.h"
#include "libcommon/tools/host.h"
#include "libcommon/tools/sqlgen_migrations.h"
#include "libcommon/tools/sqlgen_queries.h"

#include <assert.h>
#include <string.h>

struct mode {
    const char *name;
    void (*run)(const char *service, const char *out_path, const struct sqlgen_files *files);
};

static const struct mode modes[] = {
    {"queries-h",    sqlgen_queries_header   },
    {"queries-c",    sqlgen_queries_table    },
    {"migrations-h", sqlgen_migrations_header},
    {"migrations-c", sqlgen_migrations_table },
};

int main(int argc, char **argv)
{
    host_name_set("sqlgen");
    if (argc < 5) {
        host_die("usage: sqlgen queries-h|queries-c|migrations-h|migrations-c SERVICE OUT FILE...");
    }
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        if (strcmp(argv[1], modes[i].name) == 0) {
            struct sqlgen_files files = {argv + 4, (size_t)argc - 4};
            modes[i].run(argv[2], argv[3], &files);
            return 0;
        }
    }
    host_die("unknown mode %s", argv[1]);
}
