#pragma once
/*
 * The generated routes compiled into a tree of path segments. Built once at start, then constant:
 * any thread may match. Literal segments go before parameters; `/api/v1/...` is the same tree as
 * `/api/...`.
 */

#include "libcommon/base/str.h"
#include "libcommon/codec/api.h"

#define ROUTE_PARAMETERS_MAX 4

struct router;

struct route_match {
    const struct api_method *method; /* NULL: the path exists, the verb does not */
    const char *path;                /* the template; NULL: there is none */
    uint32_t parameter_count;
    struct {
        struct str name;  /* API name in the template */
        struct str value; /* as sent, still percent-encoded */
    } parameters[ROUTE_PARAMETERS_MAX];
    char allow[48]; /* verbs of the path: "GET, HEAD, POST, OPTIONS" */
};

/* Aborts on a template that apigen should have refused. NULL when memory is refused. */
struct router *
router_open(const struct api_route *routes, size_t route_count, const struct api_method *methods);
void router_close(struct router **router);
/* False: no such path. `verb` HEAD matches GET. `path` starts with '/', without the query. */
bool router_match(const struct router *router,
                  struct str verb,
                  struct str path,
                  struct route_match *out);
