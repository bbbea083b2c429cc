#include "proto/tools/apigen_read.h"

#include "libcommon/base/limits.h"

#include <assert.h>
#include <string.h>

/* --- rpcs ---------------------------------------------------------------------------------- */

static bool verb_known(const char *verb)
{
    static const char *const verbs[] = {"GET", "POST", "PUT", "PATCH", "DELETE"};
    assert(verb != NULL);
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        if (strcmp(verbs[i], verb) == 0) {
            return true;
        }
    }
    return false;
}

/* Two paths are one route when they differ only in the names of parameters. */
static bool path_same(const char *a, const char *b)
{
    assert(a != NULL);
    assert(b != NULL);
    while (*a != '\0' && *b != '\0') {
        if (*a != *b) {
            return false;
        }
        if (*a == '{') {
            a += strcspn(a, "}");
            b += strcspn(b, "}");
        } else {
            a++;
            b++;
        }
    }
    return *a == *b;
}

/* A parameter is a whole segment: "/{name}" with "/" or the end behind it. */
static bool path_well_formed(const char *path)
{
    assert(path != NULL);
    if (path[0] != '/' || strstr(path, "//") != NULL || strpbrk(path, "?# %") != NULL) {
        return false;
    }
    for (const char *c = path; *c != '\0'; c++) {
        if (*c == '}') {
            return false;
        }
        if (*c != '{') {
            continue;
        }
        size_t len = strcspn(c + 1, "{}/");
        const char *end = c + 1 + len;
        if (c[-1] != '/' || len == 0 || *end != '}' || (end[1] != '/' && end[1] != '\0')) {
            return false;
        }
        c = end;
    }
    return true;
}

static void check_path(struct gen *gen, const struct gen_rpc *rpc, const char *path)
{
    if (!path_well_formed(path)) {
        gen_error_rpc(gen, rpc, "path \"%s\" is not well-formed", path);
        return;
    }
    size_t at = 0;
    for (char *name = gen_path_parameter(path, &at); name != NULL;
         name = gen_path_parameter(path, &at)) {
        const struct gen_field *field = gen_field_find(rpc->in, name);
        if (field == NULL) {
            gen_error_rpc(
                gen, rpc, "path parameter {%s} is no field of %s", name, rpc->in->full_name);
        } else if (field->rule->source != 0 || (field->flags & (RULE_HIDDEN | RULE_NULLS)) != 0) {
            gen_error_rpc(gen, rpc, "path parameter {%s} has another source", name);
        }
    }
}

static void
check_route_pair(struct gen *gen, const struct gen_route *route, const struct gen_route *earlier)
{
    const struct gen_rpc *other = earlier->rpc;
    assert(route != earlier);
    if (!path_same(earlier->path, route->path)) {
        return;
    }
    if (strcmp(earlier->path, route->path) != 0) {
        gen_error_rpc(gen,
                      route->rpc,
                      "path %s is written %s in rpc %s.%s",
                      route->path,
                      earlier->path,
                      other->service->proto_name,
                      other->proto->name);
    }
    if (strcmp(earlier->verb, route->verb) == 0) {
        gen_error_rpc(gen,
                      route->rpc,
                      "%s %s is already bound to rpc %s.%s",
                      route->verb,
                      route->path,
                      other->service->proto_name,
                      other->proto->name);
    }
}

static void check_route(struct gen *gen, size_t index)
{
    assert(index < gen->route_count);
    const struct gen_route *route = &gen->routes[index];
    if (!verb_known(route->verb)) {
        gen_error_rpc(gen, route->rpc, "unknown method \"%s\"", route->verb);
    }
    check_path(gen, route->rpc, route->path);
    for (size_t i = 0; i < index; i++) {
        check_route_pair(gen, route, &gen->routes[i]);
    }
}

static void check_http(struct gen *gen, const struct gen_rpc *rpc)
{
    const Avanta__Http *http = rpc->http;
    assert(http != NULL);
    if (http->status < 200 || http->status > 299) {
        gen_error_rpc(gen, rpc, "status %u is no success", http->status);
    }
    if (http->deadline_ms == 0 || http->deadline_ms > REQUEST_DEADLINE_MS_MAX) {
        gen_error_rpc(gen, rpc, "deadline_ms must be 1 to %d", REQUEST_DEADLINE_MS_MAX);
    }
    if (http->media_type != NULL) {
        const struct gen_field *body =
            rpc->body_field < 0 ? NULL : &rpc->out->fields[rpc->body_field];
        if (body == NULL || body->kind > GEN_BYTES || body->repeated) {
            gen_error_rpc(gen, rpc, "media_type needs a response_body that is string or bytes");
        }
    }
}

/* An rpc that lacks HTTP by oversight shows in messages that only rpcs with HTTP use otherwise. */
static void check_internal(struct gen *gen, const struct gen_rpc *rpc)
{
    assert(rpc->http == NULL);
    for (size_t i = 0; i < gen->rpc_count; i++) {
        const struct gen_rpc *other = &gen->rpcs[i];
        bool shared = other->in == rpc->in || other->out == rpc->out || other->in == rpc->out ||
                      other->out == rpc->in;
        if (other->http != NULL && shared) {
            gen_error_rpc(gen,
                          rpc,
                          "no http option, but its messages are those of rpc %s.%s",
                          other->service->proto_name,
                          other->proto->name);
            return;
        }
    }
}

/* protobuf-c gives fields named like C words another name, but not methods. */
static bool is_keyword(const char *ident)
{
    static const char *const words[] = {
        "auto",     "break",  "case",     "char",   "const",    "continue", "default",
        "do",       "double", "else",     "enum",   "extern",   "float",    "for",
        "goto",     "if",     "inline",   "int",    "long",     "return",   "short",
        "register", "signed", "sizeof",   "static", "struct",   "restrict", "switch",
        "typedef",  "union",  "volatile", "void",   "unsigned", "while"};
    assert(ident != NULL);
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcmp(words[i], ident) == 0) {
            return true;
        }
    }
    return false;
}

static void check_rpc(struct gen *gen, const struct gen_rpc *rpc)
{
    if (rpc->proto->client_streaming != 0 || rpc->proto->server_streaming != 0) {
        gen_error_rpc(gen, rpc, "streams are not supported");
    }
    if (is_keyword(rpc->ident)) {
        gen_error_rpc(gen, rpc, "protobuf-c would name a member with the C word %s", rpc->ident);
    }
    if (rpc->http == NULL) {
        check_internal(gen, rpc);
    } else {
        check_http(gen, rpc);
    }
}

static void check_reasons(struct gen *gen)
{
#define X(code, http, retry, category, wire, title) #code,
    static const char *const codes[] = {ERR_MAP(X)};
#undef X
    for (size_t i = 0; i < gen->reason_count; i++) {
        const struct gen_reason *reason = &gen->reasons[i];
        bool known = reason->error == NULL;
        for (size_t k = 0; k < ARRAY_LEN(codes) && !known; k++) {
            known = strcmp(codes[k], reason->error) == 0;
        }
        if (!known || (i > 0 && reason->error != NULL && strcmp(reason->error, "OK") == 0)) {
            gen->errors++;
            host_complain("%s: enum Reason, value %s: unknown error code \"%s\"",
                          gen->reasons_file,
                          reason->name,
                          reason->error);
        }
    }
}

static void check_services(struct gen *gen)
{
    for (size_t i = 0; i < gen->service_count; i++) {
        const struct gen_service *service = &gen->services[i];
        const struct gen_service *first = gen_service_find(gen, service->name);
        if (first != service) {
            gen->errors++;
            host_complain("%s: service %s is also declared in %s",
                          service->file,
                          service->proto_name,
                          first->file);
        }
    }
}

void gen_check(struct gen *gen)
{
    assert(gen->set != NULL);
    for (size_t i = 0; i < gen->message_count; i++) {
        gen_check_message(gen, i);
    }
    for (size_t i = 0; i < gen->rpc_count; i++) {
        check_rpc(gen, &gen->rpcs[i]);
    }
    for (size_t i = 0; i < gen->route_count; i++) {
        check_route(gen, i);
    }
    check_services(gen);
    check_reasons(gen);
}
