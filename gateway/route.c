#include "gateway/route.h"

#include "libcommon/base/buf.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define ROUTE_NODES_MAX 2048

enum verb {
    VERB_GET,
    VERB_POST,
    VERB_PUT,
    VERB_PATCH,
    VERB_DELETE,
    VERB_COUNT
};

static const struct str verb_names[VERB_COUNT] = {
    [VERB_GET] = {"GET",    3},
    [VERB_POST] = {"POST",   4},
    [VERB_PUT] = {"PUT",    3},
    [VERB_PATCH] = {"PATCH",  5},
    [VERB_DELETE] = {"DELETE", 6},
};

/* One segment of a path. Children are a linked list: a path has few alternatives per level. */
struct node {
    struct str text; /* literal segment; for a parameter the name inside the braces */
    struct node *child;
    struct node *parameter; /* the child that matches any segment */
    struct node *next;
    const struct api_route *routes[VERB_COUNT];
};

struct router {
    const struct api_method *methods;
    size_t node_count;
    struct node nodes[ROUTE_NODES_MAX];
};

static bool verb_find(struct str text, enum verb *out)
{
    assert(out != NULL);
    for (int i = 0; i < VERB_COUNT; i++) {
        if (str_eq(text, verb_names[i])) {
            *out = (enum verb)i;
            return true;
        }
    }
    return false;
}

static struct node *node_new(struct router *router, struct str text)
{
    struct node *node = NULL;

    assert(router->node_count < ROUTE_NODES_MAX);
    node = &router->nodes[router->node_count++];
    node->text = text;
    return node;
}

static struct node *node_literal(const struct node *parent, struct str segment)
{
    assert(parent != NULL);
    for (struct node *child = parent->child; child != NULL; child = child->next) {
        if (str_eq(child->text, segment)) {
            return child;
        }
    }
    return NULL;
}

/* The child for one template segment, made when it is missing. */
static struct node *node_for(struct router *router, struct node *parent, struct str segment)
{
    struct node *child = NULL;

    assert(parent != NULL);
    assert(segment.len > 0);
    if (segment.len > 2 && segment.ptr[0] == '{') {
        assert(segment.ptr[segment.len - 1] == '}');
        if (parent->parameter == NULL) {
            parent->parameter = node_new(router, str_sub(segment, 1, segment.len - 1));
        }
        return parent->parameter;
    }
    child = node_literal(parent, segment);
    if (child == NULL) {
        child = node_new(router, segment);
        child->next = parent->child;
        parent->child = child;
    }
    return child;
}

static void router_add(struct router *router, const struct api_route *route)
{
    struct node *node = &router->nodes[0];
    struct str rest = str_from(route->path);
    struct str segment = STR_EMPTY;
    enum verb verb = VERB_GET;
    bool known = false;

    assert(rest.len > 1);
    assert(rest.ptr[0] == '/');
    rest = str_sub(rest, 1, rest.len);
    while (str_split(&rest, '/', &segment)) {
        node = node_for(router, node, segment);
    }
    known = verb_find(str_from(route->verb), &verb);
    assert(known);
    assert(node->routes[verb] == NULL);
    node->routes[verb] = route;
}

struct router *
router_open(const struct api_route *routes, size_t route_count, const struct api_method *methods)
{
    struct router *router = calloc(1, sizeof *router);

    assert(routes != NULL);
    assert(methods != NULL);
    assert(route_count > 0);
    if (router == NULL) {
        return NULL;
    }
    router->methods = methods;
    (void)node_new(router, STR_EMPTY);
    for (size_t i = 0; i < route_count; i++) {
        router_add(router, &routes[i]);
    }
    return router;
}

void router_close(struct router **router)
{
    assert(router != NULL);
    free(*router);
    *router = NULL;
}

static bool node_answers(const struct node *node)
{
    assert(node != NULL);
    for (int i = 0; i < VERB_COUNT; i++) {
        if (node->routes[i] != NULL) {
            return true;
        }
    }
    return false;
}

/* What is known of a path whatever the verb. */
static void path_describe(const struct node *node, struct route_match *out)
{
    struct buf b = buf_over(out->allow, sizeof out->allow);

    assert(out != NULL);
    assert(node_answers(node));
    for (int i = 0; i < VERB_COUNT; i++) {
        if (node->routes[i] != NULL) {
            out->path = node->routes[i]->path;
            buf_str(&b, verb_names[i]);
            buf_text(&b, i == VERB_GET ? ", HEAD, " : ", ");
        }
    }
    buf_text(&b, "OPTIONS");
    (void)buf_terminate(&b);
    assert(!b.overflow);
}

/* Parameter names may differ between the templates of one node, so they are taken from the route.
 */
static void parameters_name(struct route_match *match, const char *template)
{
    struct str rest = str_from(template);
    struct str segment = STR_EMPTY;
    uint32_t at = 0;

    assert(template != NULL);
    assert(match->parameter_count <= ROUTE_PARAMETERS_MAX);
    while (str_split(&rest, '/', &segment)) {
        if (segment.len > 2 && segment.ptr[0] == '{') {
            assert(at < match->parameter_count);
            match->parameters[at++].name = str_sub(segment, 1, segment.len - 1);
        }
    }
    assert(at == match->parameter_count);
}

bool router_match(const struct router *router,
                  struct str verb,
                  struct str path,
                  struct route_match *out)
{
    static const struct str version = {"/api/v1/", 8};
    const struct node *node = &router->nodes[0];
    struct str segment = STR_EMPTY;
    enum verb which = VERB_GET;
    bool versioned = str_starts(path, version);

    assert(path.len > 0);
    assert(router->node_count > 0);
    assert(out != NULL);
    out->method = NULL;
    out->path = NULL;
    out->parameter_count = 0;
    if (versioned) {
        node = node_literal(node, STR("api"));
        path = str_sub(path, version.len, path.len);
    } else {
        path = str_sub(path, 1, path.len);
    }
    while (node != NULL && str_split(&path, '/', &segment)) {
        const struct node *literal = node_literal(node, segment);

        if (literal == NULL && node->parameter != NULL && segment.len > 0 &&
            out->parameter_count < ROUTE_PARAMETERS_MAX) {
            out->parameters[out->parameter_count++].value = segment;
            literal = node->parameter;
        }
        node = literal;
    }
    if (node == NULL || !node_answers(node)) {
        return false;
    }
    path_describe(node, out);
    if (str_eq(verb, STR("HEAD"))) {
        verb = STR("GET");
    }
    if (verb_find(verb, &which) && node->routes[which] != NULL) {
        out->method = &router->methods[node->routes[which]->method];
        out->path = node->routes[which]->path;
        parameters_name(out, out->path);
    }
    return true;
}
