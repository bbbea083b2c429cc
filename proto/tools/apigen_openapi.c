#include "proto/tools/apigen_schema.h"
#include "proto/tools/apigen_write.h"

#include <assert.h>
#include <string.h>

/* --- one operation ------------------------------------------------------------------------- */

static bool is_gateway(const struct gen_rpc *rpc)
{
    return strcmp(rpc->service->name, "gateway") == 0;
}

static bool problem_applies(const struct gen_rpc *rpc, int status)
{
    bool writes = rpc->http->writes != 0;
    bool public = rpc->permission == API_PUBLIC;
    bool body = gen_schema_has_body(rpc->in);
    switch (status) {
    case 400:
        return rpc->in->field_count > 0 || writes;
    case 401: /* writing without a credential is logging in */
    case 403:
        return !public || writes;
    case 404:
        return strchr(rpc->bindings[0].path, '{') != NULL;
    case 409:
        return writes;
    case 413:
    case 415:
        return body;
    case 422:
        return writes || body;
    case 504:
        return !is_gateway(rpc);
    default:
        return true;
    }
}

static bool sets_cookies(const struct gen_message *out)
{
    for (size_t i = 0; i < out->field_count; i++) {
        if (out->fields[i].rule->cookie != NULL) {
            return true;
        }
    }
    return false;
}

/* The `schema` member of a successful answer, into the open object. */
static void put_reply_schema(struct gen_json *json, const struct gen_rpc *rpc)
{
    assert(rpc->http != NULL);
    assert(rpc->http->media_type == NULL);
    if (rpc->body_field >= 0) {
        const struct gen_field *field = &rpc->out->fields[rpc->body_field];
        gen_schema_field(json, "schema", field, GEN_SCHEMA_REPLY);
        return;
    }
    gen_json_object(json, "schema");
    gen_json_string(json, "$ref", gen_schema_reference(rpc->out, GEN_SCHEMA_REPLY));
    gen_json_end(json);
}

/* A file in any of its media types, which a comma separates. Of JSON nothing is said: the records
 * have their schema elsewhere. */
static void put_files(struct gen_json *json, const char *media_types)
{
    size_t len = 0;

    assert(media_types[0] != '\0');
    for (const char *at = media_types; *at != '\0'; at += len + strspn(at + len, ", ")) {
        len = strcspn(at, ",");
        char *name = host_copy(at, len);

        gen_json_object(json, name);
        gen_json_object(json, "schema");
        if (strcmp(name, "application/json") != 0) {
            gen_json_string(json, "type", "string");
        }
        gen_json_end(json);
        gen_json_end(json);
    }
}

static void put_reply_content(struct gen_json *json, const struct gen_rpc *rpc)
{
    if (rpc->http->media_type != NULL) {
        put_files(json, rpc->http->media_type);
        return;
    }
    gen_json_object(json, "application/json");
    put_reply_schema(json, rpc);
    gen_json_end(json);
}

static void put_success(struct gen_json *json, const struct gen_rpc *rpc)
{
    assert(rpc->http != NULL);
    gen_json_object(json, host_format("%u", rpc->http->status));
    gen_json_string(json, "description", "The request succeeded");
    if (sets_cookies(rpc->out)) {
        gen_json_object(json, "headers");
        gen_json_object(json, "Set-Cookie");
        gen_json_object(json, "schema");
        gen_json_string(json, "type", "string");
        gen_json_end(json);
        gen_json_end(json);
        gen_json_end(json);
    }
    if (rpc->http->status != 204) {
        gen_json_object(json, "content");
        put_reply_content(json, rpc);
        gen_json_end(json);
    }
    gen_json_end(json);
}

/* The gateway's own operations report what is not well in their reply: a 503 of either form. */
static void put_gateway_unavailable(struct gen_json *json, const struct gen_rpc *rpc)
{
    gen_json_object(json, "503");
    gen_json_string(json, "description", "Not ready");
    gen_json_object(json, "content");
    put_reply_content(json, rpc);
    gen_json_object(json, "application/problem+json");
    gen_json_object(json, "schema");
    gen_json_string(json, "$ref", "#/components/schemas/Problem");
    gen_json_end(json);
    gen_json_end(json);
    gen_json_end(json);
    gen_json_end(json);
}

static void put_problems(struct gen_json *json, const struct gen_rpc *rpc)
{
    for (size_t i = 0; i < GEN_PROBLEM_COUNT; i++) {
        if (gen_problems[i].status == 503 && is_gateway(rpc)) {
            put_gateway_unavailable(json, rpc);
        } else if (problem_applies(rpc, gen_problems[i].status)) {
            gen_json_object(json, host_format("%d", gen_problems[i].status));
            gen_json_string(
                json,
                "$ref",
                host_format("#/components/responses/Problem%d", gen_problems[i].status));
            gen_json_end(json);
        }
    }
    gen_json_object(json, "default");
    gen_json_string(json, "$ref", "#/components/responses/Problem");
    gen_json_end(json);
}

/* Where the parameter is; NULL when this binding does not have it. */
static const char *parameter_place(const struct gen_field *field, const struct gen_binding *binding)
{
    switch (field->source) {
    case API_SOURCE_PATH:
        return gen_path_has(binding->path, field->name) ? "path" : NULL;
    case API_SOURCE_QUERY:
        return "query";
    case API_SOURCE_COOKIE:
        return "cookie";
    case API_SOURCE_HEADER:
        return "header";
    case API_SOURCE_BODY:
    default:
        return NULL;
    }
}

static const char *parameter_name(const struct gen_field *field)
{
    if (field->source == API_SOURCE_COOKIE) {
        return field->rule->cookie->name;
    }
    return field->source == API_SOURCE_HEADER ? field->rule->header : field->name;
}

static void put_parameter(struct gen_json *json, const struct gen_field *field, const char *place)
{
    assert(place != NULL);
    gen_json_object(json, NULL);
    gen_json_string(json, "name", parameter_name(field));
    gen_json_string(json, "in", place);
    if (strcmp(place, "path") == 0 || (field->flags & RULE_REQUIRED) != 0) {
        gen_json_bool(json, "required", true);
    }
    char *description = gen_schema_description(field, GEN_SCHEMA_TEXT);
    if (description != NULL) {
        gen_json_string(json, "description", description);
    }
    gen_schema_field(json, "schema", field, GEN_SCHEMA_TEXT);
    gen_json_end(json);
}

static void
put_parameters(struct gen_json *json, const struct gen_rpc *rpc, const struct gen_binding *binding)
{
    assert(rpc->http != NULL);
    gen_json_array(json, "parameters");
    for (size_t i = 0; i < rpc->in->field_count; i++) {
        const struct gen_field *field = &rpc->in->fields[i];
        const char *place = parameter_place(field, binding);
        if (place != NULL && gen_schema_shows(field, GEN_SCHEMA_TEXT)) {
            put_parameter(json, field, place);
        }
    }
    if (gen_rpc_is_keyed(rpc)) {
        gen_json_object(json, NULL);
        gen_json_string(json, "$ref", "#/components/parameters/IdempotencyKey");
        gen_json_end(json);
    }
    if (permission_grant(rpc->permission) != GRANT_NEVER) {
        gen_json_object(json, NULL);
        gen_json_string(json, "$ref", "#/components/parameters/AccountOwner");
        gen_json_end(json);
    }
    gen_json_end(json);
}

static void
put_request_content(struct gen_json *json, const struct gen_rpc *rpc, const char *media_type)
{
    gen_json_object(json, media_type);
    gen_json_object(json, "schema");
    gen_json_string(json, "$ref", gen_schema_reference(rpc->in, GEN_SCHEMA_BODY));
    gen_json_end(json);
    gen_json_end(json);
}

static void put_request_body(struct gen_json *json, const struct gen_rpc *rpc)
{
    if (!gen_schema_has_body(rpc->in)) {
        return;
    }
    bool required = false;
    for (size_t i = 0; i < rpc->in->field_count; i++) {
        const struct gen_field *field = &rpc->in->fields[i];
        required = required || (gen_schema_shows(field, GEN_SCHEMA_BODY) &&
                                (field->flags & RULE_REQUIRED) != 0);
    }
    gen_json_object(json, "requestBody");
    gen_json_bool(json, "required", required);
    gen_json_object(json, "content");
    put_request_content(json, rpc, "application/json");
    if (rpc->http->beacon != 0) {
        put_request_content(json, rpc, "text/plain");
    }
    gen_json_end(json);
    gen_json_end(json);
}

static void put_security(struct gen_json *json, const struct gen_rpc *rpc)
{
    static const struct {
        const char *name;
        bool key; /* where the permission may be a scope of an API key */
    } schemes[] = {
        {"bearerAuth",    false},
        {"cookieAuth",    false},
        {"apiKeyAuth",    true },
        {"signatureAuth", true },
    };
    gen_json_array(json, "security");
    for (size_t i = 0; i < ARRAY_LEN(schemes) && rpc->permission != API_PUBLIC; i++) {
        if (schemes[i].key && !permission_keyed(rpc->permission)) {
            continue;
        }
        gen_json_object(json, NULL);
        gen_json_array(json, schemes[i].name);
        gen_json_end(json);
        gen_json_end(json);
    }
    gen_json_end(json);
}

static void put_operation(struct gen_json *json, const struct gen_rpc *rpc, size_t index)
{
    assert(index < rpc->binding_count);
    const struct gen_binding *binding = &rpc->bindings[index];
    const Avanta__Http *http = rpc->http;
    gen_json_object(json, host_lower(binding->verb));
    /* Unique in the document although several bindings share the operation. */
    const char *id = host_format("%s_%s", rpc->service->ident, rpc->ident);
    gen_json_string(json, "operationId", index == 0 ? id : host_format("%s_%zu", id, index + 1));
    gen_json_array(json, "tags");
    gen_json_string(json, NULL, rpc->service->name);
    gen_json_end(json);
    if (http->summary != NULL) {
        gen_json_string(json, "summary", http->summary);
    }
    if (http->description != NULL) {
        gen_json_string(json, "description", http->description);
    }
    gen_json_string(json, "x-permission", permission_name(rpc->permission));
    put_security(json, rpc);
    put_parameters(json, rpc, binding);
    put_request_body(json, rpc);
    gen_json_object(json, "responses");
    put_success(json, rpc);
    put_problems(json, rpc);
    gen_json_end(json);
    gen_json_end(json);
}

/* --- paths --------------------------------------------------------------------------------- */

/* All operations of the path; `first` is the first route that has it. */
static void put_path(const struct gen *gen, struct gen_json *json, size_t first)
{
    assert(first < gen->route_count);
    const char *path = gen->routes[first].path;
    gen_json_object(json, path);
    for (size_t i = first; i < gen->route_count; i++) {
        if (strcmp(gen->routes[i].path, path) == 0) {
            put_operation(json, gen->routes[i].rpc, gen->routes[i].index);
        }
    }
    gen_json_end(json);
}

static bool path_seen(const struct gen *gen, size_t route)
{
    assert(route < gen->route_count);
    for (size_t i = 0; i < route; i++) {
        if (strcmp(gen->routes[i].path, gen->routes[route].path) == 0) {
            return true;
        }
    }
    return false;
}

static void put_paths(const struct gen *gen, struct gen_json *json)
{
    gen_json_object(json, "paths");
    for (size_t i = 0; i < gen->route_count; i++) {
        if (!path_seen(gen, i)) {
            put_path(gen, json, i);
        }
    }
    gen_json_end(json);
}

/* --- the document -------------------------------------------------------------------------- */

static void put_document(const struct gen *gen, struct gen_json *json, const char *version)
{
    assert(version != NULL);
    gen_json_object(json, NULL);
    gen_json_string(json, "openapi", "3.1.0");
    gen_json_object(json, "info");
    gen_json_string(json, "title", "Avanta API");
    gen_json_string(json, "version", version);
    gen_json_string(json,
                    "description",
                    "Amounts are decimals with two places. /api/v1 is the same tree as /api");
    gen_json_end(json);
    gen_json_array(json, "tags");
    for (size_t i = 0; i < gen->service_count; i++) {
        gen_json_object(json, NULL);
        gen_json_string(json, "name", gen->services[i].name);
        gen_json_end(json);
    }
    gen_json_end(json);
    put_paths(gen, json);
    gen_schema_components(gen, json);
    gen_json_end(json);
}

void gen_write_openapi(const struct gen *gen, FILE *file, const char *argument)
{
    assert(argument != NULL);
    struct gen_json json;
    gen_json_init(&json, file);
    put_document(gen, &json, argument);
    assert(json.depth == 0);
}
