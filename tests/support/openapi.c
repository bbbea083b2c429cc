#include "tests/support/openapi.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define PROBLEM_TYPE "application/problem+json"

static bool fault(struct schema_check *check, const struct openapi_exchange *x, const char *text)
{
    (void)snprintf(
        check->why, sizeof check->why, "%s %.200s -> %ld: %s", x->verb, x->path, x->status, text);
    return false;
}

/* jansson's iterators want what is not const, and change nothing. */
static json_t *iterable(const json_t *object)
{
    return (json_t *)(uintptr_t)object;
}

/* --- the document ----------------------------------------------------------------------- */

static bool content_readable(struct schema_check *check, const json_t *holder)
{
    const char *type = NULL;
    json_t *media = NULL;

    json_object_foreach(iterable(json_object_get(holder, "content")), type, media)
    {
        if (!schema_readable(check, json_object_get(media, "schema"))) {
            return false;
        }
    }
    return true;
}

static bool operation_readable(struct schema_check *check, const json_t *operation)
{
    const json_t *parameters = json_object_get(operation, "parameters");
    const char *status = NULL;
    json_t *response = NULL;

    for (size_t i = 0; i < json_array_size(parameters); i++) {
        const json_t *schema = json_object_get(json_array_get(parameters, i), "schema");

        if (schema != NULL && !schema_readable(check, schema)) {
            return false;
        }
    }
    json_object_foreach(iterable(json_object_get(operation, "responses")), status, response)
    {
        if (!content_readable(check, response)) {
            return false;
        }
    }
    return content_readable(check, json_object_get(operation, "requestBody"));
}

bool openapi_readable(struct schema_check *check)
{
    const json_t *schemas = schema_resolve(check->document, "#/components/schemas");
    const char *name = NULL;
    const char *verb = NULL;
    json_t *item = NULL;
    json_t *operation = NULL;

    if (json_object_size(schemas) == 0 ||
        json_object_size(json_object_get(check->document, "paths")) == 0) {
        (void)snprintf(check->why, sizeof check->why, "no schemas or no paths");
        return false;
    }
    json_object_foreach(iterable(schemas), name, item)
    {
        if (!schema_readable(check, item)) {
            return false;
        }
    }
    json_object_foreach(iterable(json_object_get(check->document, "paths")), name, item)
    {
        json_object_foreach(item, verb, operation)
        {
            if (!operation_readable(check, operation)) {
                return false;
            }
        }
    }
    return true;
}

/* --- the operation ---------------------------------------------------------------------- */

/* How many segments are alike to the letter; -1 when the path is not of that template. */
static int template_match(struct str template, struct str path)
{
    struct str part = STR_EMPTY;
    struct str wanted = STR_EMPTY;
    int literal = 0;

    while (str_split(&template, '/', &wanted)) {
        if (!str_split(&path, '/', &part)) {
            return -1;
        }
        if (str_starts(wanted, STR("{"))) {
            if (part.len == 0) {
                return -1;
            }
        } else if (str_eq(part, wanted)) {
            literal++;
        } else {
            return -1;
        }
    }
    return str_split(&path, '/', &part) ? -1 : literal;
}

/* /api/v1 is the same tree as /api. */
static const json_t *path_find(const json_t *document, const char *asked)
{
    struct str path = {asked, strcspn(asked, "?")};
    char plain[4096];
    const json_t *found = NULL;
    const char *template = NULL;
    json_t *item = NULL;
    int best = -1;

    if (str_starts(path, STR("/api/v1/"))) {
        (void)snprintf(plain, sizeof plain, "/api%.*s", (int)path.len - 7, path.ptr + 7);
        path = str_from(plain);
    }
    json_object_foreach(iterable(json_object_get(document, "paths")), template, item)
    {
        int literal = template_match(str_from(template), path);

        if (literal > best) {
            best = literal;
            found = item;
        }
    }
    return found;
}

static const json_t *operation_find(const json_t *item, const char *verb)
{
    char lower[16];
    size_t i = 0;

    for (i = 0; verb[i] != '\0' && i < sizeof lower - 1; i++) {
        lower[i] = (char)tolower((unsigned char)verb[i]);
    }
    lower[i] = '\0';
    return json_object_get(item, strcmp(lower, "head") == 0 ? "get" : lower);
}

/* A refusal may be the documented "any other"; a success may not. */
static const json_t *response_find(const json_t *document, const json_t *operation, long status)
{
    const json_t *responses = json_object_get(operation, "responses");
    char name[16];
    const json_t *response = NULL;
    const json_t *reference = NULL;

    (void)snprintf(name, sizeof name, "%ld", status);
    response = json_object_get(responses, name);
    if (response == NULL && status >= 400) {
        response = json_object_get(responses, "default");
    }
    reference = json_object_get(response, "$ref");
    return reference == NULL ? response : schema_resolve(document, json_string_value(reference));
}

/* --- the answer ------------------------------------------------------------------------- */

static const json_t *media_find(const json_t *response, const char *media_type)
{
    const json_t *content = json_object_get(response, "content");
    char name[128];

    if (media_type == NULL) {
        return NULL;
    }
    (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(media_type, "; \r\n"), media_type);
    return json_object_get(content, name);
}

static bool is_json(const char *media_type)
{
    return media_type == NULL || strstr(media_type, "json") != NULL;
}

static bool
body_valid(struct schema_check *check, const struct openapi_exchange *x, const json_t *schema)
{
    json_t *body =
        json_loadb(x->body.ptr, x->body.len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
    char why[SCHEMA_WHY_BYTES];
    bool good = false;

    if (!is_json(x->media_type) || (x->media_type != NULL && strstr(x->media_type, "ndjson"))) {
        json_decref(body);
        return true; /* a file */
    }
    if (body == NULL) {
        return fault(check, x, "the body is no JSON");
    }
    good = schema_valid(check, schema, body);
    json_decref(body);
    if (!good) {
        (void)snprintf(why, sizeof why, "%s", check->why);
        (void)fault(check, x, why);
    }
    return good;
}

bool openapi_problem_valid(struct schema_check *check, long status, struct str body)
{
    const struct openapi_exchange x = {.verb = "?", .path = "?", .status = status, .body = body};
    json_t *json = NULL;
    bool same = false;

    if (!body_valid(check, &x, schema_resolve(check->document, "#/components/schemas/Problem"))) {
        return false;
    }
    json = json_loadb(body.ptr, body.len, 0, NULL);
    same = json_integer_value(json_object_get(json, "status")) == status;
    json_decref(json);
    return same || fault(check, &x, "the problem names another status");
}

/* What is not in the document is refused as such. */
static bool unknown_valid(struct schema_check *check, const struct openapi_exchange *x)
{
    if (!x->unknown) {
        return fault(check, x, "this is not in the document");
    }
    if (x->status != 404 && x->status != 405) {
        return fault(check, x, "not in the document, and not refused as such");
    }
    return openapi_problem_valid(check, x->status, x->body);
}

bool openapi_valid(struct schema_check *check, const struct openapi_exchange *x)
{
    const json_t *item = path_find(check->document, x->path);
    const json_t *operation = operation_find(item, x->verb);
    const json_t *response = NULL;
    const json_t *media = NULL;
    bool problem = x->status >= 400 && x->media_type != NULL &&
                   strncmp(x->media_type, PROBLEM_TYPE, strlen(PROBLEM_TYPE)) == 0;

    if (operation == NULL) {
        return unknown_valid(check, x);
    }
    if (x->unknown) {
        return fault(check, x, "said to be unknown, and in the document");
    }
    response = response_find(check->document, operation, x->status);
    if (response == NULL) {
        return fault(check, x, "the status is not documented");
    }
    if (json_object_get(response, "content") == NULL) {
        return x->body.len == 0 || fault(check, x, "a body that is not documented");
    }
    media = media_find(response, x->media_type);
    if (media == NULL) {
        return fault(check, x, "the media type is not documented");
    }
    if (strcmp(x->verb, "HEAD") == 0) {
        return x->body.len == 0 || fault(check, x, "a body after HEAD");
    }
    return body_valid(check, x, json_object_get(media, "schema")) &&
           (!problem || openapi_problem_valid(check, x->status, x->body));
}
