/*
 * apigen: from the declarations in proto/avanta to tables and documents.
 *
 *   apigen methods-h|methods-c DESCRIPTOR_SET OUT           build/gen/api.gen.h, api.gen.c
 *   apigen ops-h|ops-c         DESCRIPTOR_SET OUT SERVICE   build/gen/<service>_ops.gen.h, .c
 *   apigen openapi             DESCRIPTOR_SET OUT VERSION   OpenAPI 3.1, JSON
 *   apigen markdown            DESCRIPTOR_SET OUT           the reference of the interface
 *   apigen errors|events       DESCRIPTOR_SET OUT           the reference of refusals, of events
 *
 * The descriptor set comes from `protoc --include_imports --descriptor_set_out`.
 */

#include "proto/tools/apigen_write.h"

#include <string.h>

struct kind {
    const char *name;
    const char *argument; /* what the fourth argument is; NULL: there is none */
    void (*write)(const struct gen *gen, FILE *file, const char *argument);
};

static const struct kind kinds[] = {
    {"methods-h",   NULL,      gen_write_methods_header},
    {"methods-c",   NULL,      gen_write_methods_table },
    {"ops-h",       "SERVICE", gen_write_ops_header    },
    {"ops-c",       "SERVICE", gen_write_ops_table     },
    {"openapi",     "VERSION", gen_write_openapi       },
    {"markdown",    NULL,      gen_write_markdown      },
    {"errors",      NULL,      gen_write_errors        },
    {"events",      NULL,      gen_write_events        },
    {"permissions", NULL,      gen_write_permissions   },
};

static const struct kind *kind_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (strcmp(kinds[i].name, name) == 0) {
            return &kinds[i];
        }
    }
    host_die("unknown kind %s: methods-h, methods-c, ops-h, ops-c, openapi, markdown, errors, "
             "events or permissions",
             name);
}

int main(int argc, char **argv)
{
    host_name_set("apigen");
    if (argc < 4) {
        host_die("usage: apigen KIND DESCRIPTOR_SET OUT [SERVICE|VERSION]");
    }
    const struct kind *kind = kind_find(argv[1]);
    if (argc != (kind->argument == NULL ? 4 : 5)) {
        host_die("usage: apigen %s DESCRIPTOR_SET OUT %s",
                 kind->name,
                 kind->argument == NULL ? "" : kind->argument);
    }
    struct gen gen;
    gen_read(&gen, argv[2]);
    gen_resolve(&gen);
    gen_check(&gen);
    if (gen.errors > 0) {
        host_die("%zu errors in the declarations", gen.errors);
    }
    struct host_out out;
    host_out_open(&out);
    kind->write(&gen, out.file, argc > 4 ? argv[4] : NULL);
    host_out_commit(&out, argv[3]);
    return 0;
}
