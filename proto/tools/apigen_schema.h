#pragma once
/* Fields and messages as JSON Schema (2020-12, the dialect of OpenAPI 3.1). */

#include "proto/tools/apigen_json.h"
#include "proto/tools/apigen_read.h"

/* The same field reads differently: what we accept is wider than what we send. */
enum gen_schema_use {
    GEN_SCHEMA_REPLY,
    GEN_SCHEMA_BODY, /* of a request */
    GEN_SCHEMA_TEXT  /* path, query, cookie, header */
};

/* The schema of one field as an object under `key`. */
void gen_schema_field(struct gen_json *json,
                      const char *key,
                      const struct gen_field *field,
                      enum gen_schema_use use);
/* The component's name: "ledger.Transaction". */
char *gen_schema_name(const struct gen_message *message, enum gen_schema_use use) RETURNS_NONNULL;
/* "#/components/schemas/ledger.Transaction"; a message that is both sent and accepted has two. */
char *gen_schema_reference(const struct gen_message *message,
                           enum gen_schema_use use) RETURNS_NONNULL;
/* Seen from outside in this use? */
bool gen_schema_shows(const struct gen_field *field, enum gen_schema_use use);
bool gen_schema_has_body(const struct gen_message *in);
/* The field's description and other names; NULL when it has neither. */
char *gen_schema_description(const struct gen_field *field, enum gen_schema_use use);
/* The default of an unset field as JSON shows it (texts without quotes); NULL: none declared. */
char *gen_schema_default_text(const struct gen_field *field);

/* The refusals a client meets, with what they mean. */
struct gen_problem {
    int status;
    const char *text;
    bool retry; /* may carry Retry-After */
};
#define GEN_PROBLEM_COUNT 12
extern const struct gen_problem gen_problems[GEN_PROBLEM_COUNT];

/* The `components` member: messages, the problem document, its responses, security schemes. */
void gen_schema_components(const struct gen *gen, struct gen_json *json);
