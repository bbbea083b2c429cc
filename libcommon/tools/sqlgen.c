/*
 * sqlgen: the SQL files of a service become a table of statements, its migrations a table of steps.
 *
 *   sqlgen queries-h    SERVICE OUT FILE...   build/gen/<service>_sql.gen.h
 *   sqlgen queries-c    SERVICE OUT FILE...   build/gen/<service>_sql.gen.c
 *   sqlgen scope        SERVICE OUT TABLES FILE...   the exceptions to the rule of sqlgen_scope.h
 *   sqlgen migrations-h SERVICE OUT FILE...   build/gen/<service>_migrations.gen.h
 *   sqlgen migrations-c SERVICE OUT FILE...   build/gen/<service>_migrations.gen.c
 */

#include "libcommon/tools/host.h"
#include "libcommon/tools/sqlgen_write.h"

#include <string.h>

struct mode {
    const char *name;
    void (*write)(FILE *out, const char *service, const struct sqlgen_files *files);
};

static const struct mode modes[] = {
    {"queries-h",    sqlgen_write_queries_header   },
    {"queries-c",    sqlgen_write_queries_table    },
    {"scope",        sqlgen_write_scope            },
    {"migrations-h", sqlgen_write_migrations_header},
    {"migrations-c", sqlgen_write_migrations_table },
};

static const struct mode *mode_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        if (strcmp(name, modes[i].name) == 0) {
            return &modes[i];
        }
    }
    host_die("unknown mode %s: queries-h, queries-c, scope, migrations-h or migrations-c", name);
}

int main(int argc, char **argv)
{
    host_name_set("sqlgen");
    if (argc < 5) {
        host_die("usage: sqlgen MODE SERVICE OUT FILE..., MODE one of queries-h, queries-c, scope,"
                 " migrations-h, migrations-c");
    }
    const struct mode *mode = mode_find(argv[1]);
    struct sqlgen_files files = {argv + 4, (size_t)argc - 4};
    struct host_out out;
    host_out_open(&out);
    mode->write(out.file, argv[2], &files);
    host_out_commit(&out, argv[3]);
    return 0;
}
