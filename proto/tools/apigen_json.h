#pragma once
/* JSON text for people and machines: indented, keys in the order they are put. The caller keeps the
 * nesting right; it is asserted. Keys are NULL inside arrays. */

#include "libcommon/tools/host.h"

#include <stdint.h>

#define GEN_JSON_DEPTH_MAX 32

struct gen_json {
    FILE *file;
    unsigned depth;
    char closers[GEN_JSON_DEPTH_MAX];
    bool filled[GEN_JSON_DEPTH_MAX]; /* something stands at this level already */
};

void gen_json_init(struct gen_json *json, FILE *file);
void gen_json_object(struct gen_json *json, const char *key);
void gen_json_array(struct gen_json *json, const char *key);
void gen_json_end(struct gen_json *json); /* of the innermost object or array */
void gen_json_string(struct gen_json *json, const char *key, const char *text);
void gen_json_bool(struct gen_json *json, const char *key, bool value);
void gen_json_int(struct gen_json *json, const char *key, int64_t value);
/* value / 10^decimals, exactly: -12345 with 2 is -123.45 */
void gen_json_decimal(struct gen_json *json, const char *key, int64_t value, unsigned decimals);
/* A number or word that is JSON already. */
void gen_json_literal(struct gen_json *json, const char *key, const char *text);
void gen_json_null(struct gen_json *json, const char *key);

/* The text of such a decimal. */
char *gen_decimal_text(int64_t value, unsigned decimals) RETURNS_NONNULL;
