#include "proto/tools/apigen_json.h"

#include <assert.h>
#include <inttypes.h>

void gen_json_init(struct gen_json *json, FILE *file)
{
    assert(file != NULL);
    *json = (struct gen_json){.file = file};
}

static void put_text(struct gen_json *json, const char *text)
{
    assert(text != NULL);
    (void)fputc('"', json->file);
    for (const char *c = text; *c != '\0'; c++) {
        unsigned char byte = (unsigned char)*c;
        if (*c == '"' || *c == '\\') {
            (void)fprintf(json->file, "\\%c", *c);
        } else if (byte < 0x20 || byte == 0x7f) {
            (void)fprintf(json->file, "\\u%04x", (unsigned)byte);
        } else {
            (void)fputc(*c, json->file);
        }
    }
    (void)fputc('"', json->file);
}

/* Comma, line and key in front of every value. */
static void put_start(struct gen_json *json, const char *key)
{
    unsigned depth = json->depth;
    assert(depth < GEN_JSON_DEPTH_MAX);
    assert(depth == 0 || (key != NULL) == (json->closers[depth - 1] == '}'));
    if (depth > 0) {
        (void)fprintf(json->file, "%s\n%*s", json->filled[depth] ? "," : "", (int)depth * 2, "");
    }
    json->filled[depth] = true;
    if (key != NULL) {
        put_text(json, key);
        (void)fputs(": ", json->file);
    }
}

static void put_open(struct gen_json *json, const char *key, char opener, char closer)
{
    put_start(json, key);
    (void)fputc(opener, json->file);
    json->closers[json->depth] = closer;
    json->depth++;
    assert(json->depth < GEN_JSON_DEPTH_MAX);
    json->filled[json->depth] = false;
}

void gen_json_object(struct gen_json *json, const char *key)
{
    put_open(json, key, '{', '}');
}

void gen_json_array(struct gen_json *json, const char *key)
{
    put_open(json, key, '[', ']');
}

void gen_json_end(struct gen_json *json)
{
    assert(json->depth > 0);
    bool filled = json->filled[json->depth];
    json->depth--;
    if (filled) {
        (void)fprintf(json->file, "\n%*s", (int)json->depth * 2, "");
    }
    (void)fputc(json->closers[json->depth], json->file);
    if (json->depth == 0) {
        (void)fputc('\n', json->file);
    }
}

void gen_json_string(struct gen_json *json, const char *key, const char *text)
{
    put_start(json, key);
    put_text(json, text);
}

void gen_json_bool(struct gen_json *json, const char *key, bool value)
{
    gen_json_literal(json, key, value ? "true" : "false");
}

void gen_json_int(struct gen_json *json, const char *key, int64_t value)
{
    put_start(json, key);
    (void)fprintf(json->file, "%" PRId64, value);
}

void gen_json_literal(struct gen_json *json, const char *key, const char *text)
{
    assert(text != NULL);
    put_start(json, key);
    (void)fputs(text, json->file);
}

void gen_json_null(struct gen_json *json, const char *key)
{
    gen_json_literal(json, key, "null");
}

char *gen_decimal_text(int64_t value, unsigned decimals)
{
    assert(decimals < 19);
    /* The magnitude of INT64_MIN is no int64_t. */
    uint64_t magnitude = value < 0 ? UINT64_C(0) - (uint64_t)value : (uint64_t)value;
    uint64_t scale = 1;
    for (unsigned i = 0; i < decimals; i++) {
        scale *= 10;
    }
    const char *sign = value < 0 ? "-" : "";
    if (decimals == 0) {
        return host_format("%s%" PRIu64, sign, magnitude);
    }
    return host_format(
        "%s%" PRIu64 ".%0*" PRIu64, sign, magnitude / scale, (int)decimals, magnitude % scale);
}

void gen_json_decimal(struct gen_json *json, const char *key, int64_t value, unsigned decimals)
{
    gen_json_literal(json, key, gen_decimal_text(value, decimals));
}
