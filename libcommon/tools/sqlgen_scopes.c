/* The mode `scope`: every statement of a service against the tables that have a user_id. */
#include "libcommon/tools/host.h"
#include "libcommon/tools/sqlgen_scope.h"
#include "libcommon/tools/sqlgen_write.h"

#include <assert.h>
#include <string.h>

#define TABLES_MAX 1024

struct tables {
    char *names[TABLES_MAX];
    size_t count;
};

/* One name in each line. */
static void tables_read(const char *path, struct tables *out)
{
    const char *at = host_read(path).data;
    assert(out != NULL);
    while (*at != '\0') {
        size_t len = strcspn(at, "\n");
        if (out->count == TABLES_MAX) {
            host_die("%s: more than %d tables", path, TABLES_MAX);
        }
        if (len > 0) {
            out->names[out->count++] = host_copy(at, len);
        }
        at += len + (at[len] == '\n' ? 1 : 0);
    }
}

/* The number of :user_id from 1, 0: not used. */
static size_t user_parameter(const struct sqlgen_statement *row)
{
    for (size_t i = 0; i < row->parameter_count; i++) {
        if (strcmp(row->parameters[i], "user_id") == 0 ||
            strcmp(row->parameters[i], "ctx_user_id") == 0) {
            return i + 1;
        }
    }
    return 0;
}

/* True when the statement is as it should be. */
static bool check(FILE *out, const struct sqlgen_statement *row, const struct tables *tables)
{
    const char *fault =
        sqlgen_scope_fault(row->text, user_parameter(row), tables->names, tables->count);
    assert(row->name != NULL);
    if (fault != NULL && row->unscoped == NULL) {
        host_complain("%s:%zu: %s %s", row->path, row->line, row->name, fault);
        return false;
    }
    if (fault == NULL && row->unscoped != NULL) {
        host_complain("%s:%zu: %s is scoped: take its \"-- unscoped:\" away",
                      row->path,
                      row->line,
                      row->name);
        return false;
    }
    if (row->unscoped != NULL) {
        (void)fprintf(out, "%s: %s\n", row->name, row->unscoped);
    }
    return true;
}

void sqlgen_write_scope(FILE *out, const char *service, const struct sqlgen_files *files)
{
    assert(service != NULL);
    assert(files->count > 0);
    static struct tables tables;
    struct sqlgen_files rest = {files->paths + 1, files->count - 1};
    struct sqlgen_statements statements;
    size_t faults = 0;
    tables_read(files->paths[0], &tables);
    if (rest.count == 0) {
        host_die("%s has no statements", service);
    }
    sqlgen_read(&rest, &statements);
    for (size_t i = 0; i < statements.count; i++) {
        faults += check(out, &statements.rows[i], &tables) ? 0 : 1;
    }
    if (faults > 0) {
        host_die("%zu statements of %s touch rows of any user", faults, service);
    }
}
