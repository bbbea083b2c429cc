#include "proto/tools/apigen_schema.h"

#include <assert.h>

#define SESSION_COOKIE          "avanta_session"
#define IDEMPOTENCY_KEY_LEN_MAX 257 /* with its quotes */
#define PROBLEM_REFERENCE       "#/components/schemas/Problem"

const struct gen_problem gen_problems[GEN_PROBLEM_COUNT] = {
    {400, "The request is not valid; every wrong field is named",                         false},
    {401, "No valid credential",                                                          false},
    {403, "The caller may not do this",                                                   false},
    {404, "There is no such record, or it is someone else's",                             false},
    {409, "The request conflicts with the current state",                                 false},
    {413, "The request is too large",                                                     false},
    {422, "A referenced record does not exist, or the key was used with another request", false},
    {429, "Too many requests",                                                            true },
    {500, "Something went wrong on our side",                                             false},
    {503, "A part of the system is not available",                                        true },
    {504, "The answer took too long",                                                     false},
};

static void put_typed(struct gen_json *json, const char *key, const char *type)
{
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

static void put_problem_schema(const struct gen *gen, struct gen_json *json)
{
    static const struct {
        const char *name;
        const char *type;
    } members[] = {
        {"type",       "string" },
        {"title",      "string" },
        {"status",     "integer"},
        {"detail",     "string" },
        {"error",      "string" },
        {"message",    "string" },
        {"category",   "string" },
        {"request_id", "string" },
        {"retryable",  "boolean"},
    };
    gen_json_object(json, "Problem");
    gen_json_string(json, "description", "RFC 9457; `code` is the stable machine code");
    gen_json_string(json, "type", "object");
    gen_json_array(json, "required");
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        gen_json_string(json, NULL, members[i].name);
    }
    gen_json_string(json, NULL, "code");
    gen_json_end(json);
    gen_json_object(json, "properties");
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        put_typed(json, members[i].name, members[i].type);
    }
    put_typed(json, "instance", "string");
    put_codes(gen, json);
    put_violations(json);
    gen_json_end(json);
    gen_json_end(json);
}

static void
put_problem_response(struct gen_json *json, const char *name, const char *text, bool retry)
{
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
    gen_json_string(json,
                    "description",
                    "A quoted text of the client's choice. The same key with the same request "
                    "is answered with the stored reply instead of doing it twice");
    gen_json_object(json, "schema");
    gen_json_string(json, "type", "string");
    gen_json_int(json, "minLength", 1);
    gen_json_int(json, "maxLength", IDEMPOTENCY_KEY_LEN_MAX);
    gen_json_end(json);
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
    gen_json_object(json, "cookieAuth");
    gen_json_string(json, "type", "apiKey");
    gen_json_string(json, "in", "cookie");
    gen_json_string(json, "name", SESSION_COOKIE);
    gen_json_end(json);
    gen_json_end(json);
}

void gen_schema_components(const struct gen *gen, struct gen_json *json)
{
    gen_json_object(json, "components");
    gen_json_object(json, "schemas");
    put_problem_schema(gen, json);
    gen_schema_messages(gen, json);
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
    gen_json_end(json);
    put_security_schemes(json);
    gen_json_end(json);
}
