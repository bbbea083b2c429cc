#pragma once
/*
 * JSON Schema (2020-12) for tests, over jansson: the keywords our generator writes and no others. A
 * keyword, format or pattern it does not know is an error, so that nothing passes unchecked. Reads
 * only; several threads may check with the same document.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define SCHEMA_WHY_BYTES 512

struct schema_check {
    const json_t *document;     /* where "#/..." references point into */
    char why[SCHEMA_WHY_BYTES]; /* what is wrong and where, after false */
    bool broken;                /* the schema itself is at fault; then nothing is valid */
};

/* The target of "#/a/b~1c"; NULL when there is none. */
const json_t *schema_resolve(const json_t *document, const char *reference);
/* Every keyword, format and pattern in it is known, also where no value has led so far. */
bool schema_readable(struct schema_check *check, const json_t *schema);
bool schema_valid(struct schema_check *check, const json_t *schema, const json_t *value);
