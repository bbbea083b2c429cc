#include "proto/tools/apigen_schema.h"

#include <assert.h>

#define SESSION_COOKIE          "avanta_session"
#define IDEMPOTENCY_KEY_LEN_MAX 512 /* in quotes, every character escaped */
#define PROBLEM_REFERENCE       "#/components/schemas/Problem"

const struct gen_problem gen_problems[GEN_PROBLEM_COUNT] = {
    {400, "The request is not valid; every wrong field is named",                         false},
    {401, "No valid credential",                                                          false},
    {403, "The caller may not do this",                                                   false},
    {404, "There is no such record, or it is someone else's",                             false},
    {409, "The request conflicts with the current state",                                 false},
    {413, "The request is too large",                                                     false},
    {415, "The body is not JSON, or it is coded",                                         false},
    {422, "A referenced record does not exist, or the key was used with another request", false},
    {429, "Too many requests",                                                            true },
    {500, "Something went wrong on our side",                                             false},
    {503, "A part of the system is not available",                                        true },
    {504, "The answer took too long",                                                     false},
};

/* --- messages ------------------------------------------------------------------------------ */

static bool is_always_there(const struct gen_field *field, enum gen_schema_use use)
{
    if (use == GEN_SCHEMA_BODY) {
        return (field->flags & RULE_REQUIRED) != 0 && field->rule->n_alias == 0;
    }
    return gen_is_required_label(field) || field->repeated || (field->flags & RULE_NULL_SHOWN) != 0;
}

static void
put_required(struct gen_json *json, const struct gen_message *message, enum gen_schema_use use)
{
    bool open = false;
    for (size_t i = 0; i < message->field_count; i++) {
        const struct gen_field *field = &message->fields[i];
        if (!gen_schema_shows(field, use) || !is_always_there(field, use)) {
            continue;
        }
        if (!open) {
            gen_json_array(json, "required");
            open = true;
        }
        gen_json_string(json, NULL, field->name);
    }
    if (open) {
        gen_json_end(json);
    }
}

static void put_required_name(struct gen_json *json, const char *name)
{
    assert(name != NULL);
    gen_json_object(json, NULL);
    gen_json_array(json, "required");
    gen_json_string(json, NULL, name);
    gen_json_end(json);
    gen_json_end(json);
}

/* A required field with other names must be there under one of them. */
static void put_required_aliases(struct gen_json *json, const struct gen_message *message)
{
    bool open = false;
    for (size_t i = 0; i < message->field_count; i++) {
        const struct gen_field *field = &message->fields[i];
        if (!gen_schema_shows(field, GEN_SCHEMA_BODY) || field->rule->n_alias == 0 ||
            (field->flags & RULE_REQUIRED) == 0) {
            continue;
        }
        if (!open) {
            gen_json_array(json, "allOf");
            open = true;
        }
        gen_json_object(json, NULL);
        gen_json_array(json, "anyOf");
        put_required_name(json, field->name);
        for (size_t k = 0; k < field->rule->n_alias; k++) {
            put_required_name(json, field->rule->alias[k]);
        }
        gen_json_end(json);
        gen_json_end(json);
    }
    if (open) {
        gen_json_end(json);
    }
}

static void
put_component(struct gen_json *json, const struct gen_message *message, enum gen_schema_use use)
{
    gen_json_object(json, gen_schema_name(message, use));
    gen_json_string(json, "type", "object");
    put_required(json, message, use);
    if (use == GEN_SCHEMA_BODY) {
        put_required_aliases(json, message);
    }
    gen_json_object(json, "properties");
    for (size_t i = 0; i < message->field_count; i++) {
        const struct gen_field *field = &message->fields[i];
        if (!gen_schema_shows(field, use)) {
            continue;
        }
        gen_schema_field(json, field->name, field, use);
        for (size_t k = 0; k < field->rule->n_alias && use == GEN_SCHEMA_BODY; k++) {
            gen_schema_field(json, field->rule->alias[k], field, use);
        }
    }
    gen_json_end(json);
    if (use == GEN_SCHEMA_BODY && message->shape->strict != 0) {
        gen_json_bool(json, "additionalProperties", false);
    }
    gen_json_end(json);
}

static void put_messages(const struct gen *gen, struct gen_json *json)
{
    for (size_t i = 0; i < gen->message_count; i++) {
        const struct gen_message *message = &gen->messages[i];
        if ((message->marks & GEN_HTTP_REQUEST) != 0 && gen_schema_has_body(message)) {
            put_component(json, message, GEN_SCHEMA_BODY);
        }
        if ((message->marks & GEN_HTTP_REPLY) != 0) {
            put_component(json, message, GEN_SCHEMA_REPLY);
        }
    }
}

/* --- problems ------------------------------------------------------------------------------ */

static void put_typed(struct gen_json *json, const char *key, const char *type)
{
    assert(type != NULL);
    gen_json_object(json, key);
    gen_json_string(json, "type", type);
    gen_json_end(json);
}

/* The machine codes: those of the error map and the domain refusals. */
static void put_codes(const struct gen *gen, struct gen_json *json)
{
#define X(code, http, retry, category, wire, title) wire,
    static const char *const wires[] = {ERR_MAP(X)};
#undef X
    gen_json_object(json, "code");
    gen_json_string(json, "type", "string");
    gen_json_array(json, "enum");
    for (size_t i = 1; i < ARRAY_LEN(wires); i++) {
        gen_json_string(json, NULL, wires[i]);
    }
    for (size_t i = 1; i < gen->reason_count; i++) {
        if (gen->reasons[i].name != NULL) {
            gen_json_string(json, NULL, gen->reasons[i].name);
        }
    }
    gen_json_end(json);
    gen_json_end(json);
}

static void put_violations(struct gen_json *json)
{
    static const char *const members[] = {"field", "code", "message"};
    gen_json_object(json, "errors");
    gen_json_string(json, "type", "array");
    gen_json_object(json, "items");
    gen_json_string(json, "type", "object");
    gen_json_array(json, "required");
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        gen_json_string(json, NULL, members[i]);
    }
    gen_json_end(json);
    gen_json_object(json, "properties");
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        put_typed(json, members[i], "string");
    }
    gen_json_end(json);
    gen_json_end(json);
    gen_json_end(json);
}

static void put_request_id(struct gen_json *json)
{
    gen_json_object(json, "request_id");
    gen_json_string(
        json, "description", "null when no request was read: there are too many connections");
    gen_json_array(json, "type");
    gen_json_string(json, NULL, "string");
    gen_json_string(json, NULL, "null");
    gen_json_end(json);
    gen_json_end(json);
}

static void put_problem_schema(const struct gen *gen, struct gen_json *json)
{
    static const struct {
        const char *name;
        const char *type;
    } members[] = {
        {"type",      "string" },
        {"title",     "string" },
        {"status",    "integer"},
        {"detail",    "string" },
        {"error",     "string" },
        {"message",   "string" },
        {"category",  "string" },
        {"retryable", "boolean"},
    };
    gen_json_object(json, "Problem");
    gen_json_string(json, "description", "RFC 9457; `code` is the stable machine code");
    gen_json_string(json, "type", "object");
    gen_json_array(json, "required");
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        gen_json_string(json, NULL, members[i].name);
    }
    gen_json_string(json, NULL, "code");
    gen_json_string(json, NULL, "request_id");
    gen_json_end(json);
    gen_json_object(json, "properties");
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        put_typed(json, members[i].name, members[i].type);
    }
    put_typed(json, "instance", "string");
    put_request_id(json);
    put_codes(gen, json);
    put_violations(json);
    gen_json_end(json);
    gen_json_end(json);
}

static void
put_problem_response(struct gen_json *json, const char *name, const char *text, bool retry)
{
    assert(text != NULL);
    gen_json_object(json, name);
    gen_json_string(json, "description", text);
    if (retry) {
        gen_json_object(json, "headers");
        gen_json_object(json, "Retry-After");
        gen_json_object(json, "schema");
        gen_json_string(json, "type", "integer");
        gen_json_end(json);
        gen_json_end(json);
        gen_json_end(json);
    }
    gen_json_object(json, "content");
    gen_json_object(json, "application/problem+json");
    gen_json_object(json, "schema");
    gen_json_string(json, "$ref", PROBLEM_REFERENCE);
    gen_json_end(json);
    gen_json_end(json);
    gen_json_end(json);
    gen_json_end(json);
}

static void put_idempotency_key(struct gen_json *json)
{
    gen_json_object(json, "IdempotencyKey");
    gen_json_string(json, "name", "Idempotency-Key");
    gen_json_string(json, "in", "header");
    gen_json_string(
        json,
        "description",
        "A text of the client's choice in double quotes, or without them when it is of "
        "letters, digits and !#$%&'*+-.^_`|~:/= alone. The same key with the same request "
        "is answered with the stored reply instead of doing it twice");
    gen_json_object(json, "schema");
    gen_json_string(json, "type", "string");
    gen_json_int(json, "minLength", 1);
    gen_json_int(json, "maxLength", IDEMPOTENCY_KEY_LEN_MAX);
    gen_json_end(json);
    gen_json_end(json);
}

static void put_owner_parameter(struct gen_json *json)
{
    gen_json_object(json, "AccountOwner");
    gen_json_string(json, "name", "X-Avanta-Account-Owner");
    gen_json_string(json, "in", "header");
    gen_json_string(json,
                    "description",
                    "The user whose books are meant, who granted the caller access; the caller's "
                    "own when left out");
    gen_json_object(json, "schema");
    gen_json_string(json, "type", "string");
    gen_json_string(json, "format", "uuid");
    gen_json_end(json);
    gen_json_end(json);
}

/* A credential in one header or cookie. */
static void put_key_scheme(struct gen_json *json, const char *name, const char *in, const char *key)
{
    gen_json_object(json, name);
    gen_json_string(json, "type", "apiKey");
    gen_json_string(json, "in", in);
    gen_json_string(json, "name", key);
    gen_json_end(json);
}

static void put_security_schemes(struct gen_json *json)
{
    gen_json_object(json, "securitySchemes");
    gen_json_object(json, "bearerAuth");
    gen_json_string(json, "type", "http");
    gen_json_string(json, "scheme", "bearer");
    gen_json_string(json, "bearerFormat", "JWT");
    gen_json_end(json);
    put_key_scheme(json, "cookieAuth", "cookie", SESSION_COOKIE);
    put_key_scheme(json, "apiKeyAuth", "header", "X-API-Key");
    put_key_scheme(json, "signatureAuth", "header", "X-Avanta-Signature");
    gen_json_end(json);
}

void gen_schema_components(const struct gen *gen, struct gen_json *json)
{
    gen_json_object(json, "components");
    gen_json_object(json, "schemas");
    put_problem_schema(gen, json);
    put_messages(gen, json);
    gen_json_end(json);
    gen_json_object(json, "responses");
    put_problem_response(json, "Problem", "Any other refusal", false);
    for (size_t i = 0; i < GEN_PROBLEM_COUNT; i++) {
        char *name = host_format("Problem%d", gen_problems[i].status);
        put_problem_response(json, name, gen_problems[i].text, gen_problems[i].retry);
    }
    gen_json_end(json);
    gen_json_object(json, "parameters");
    put_idempotency_key(json);
    put_owner_parameter(json);
    gen_json_end(json);
    put_security_schemes(json);
    gen_json_end(json);
}
