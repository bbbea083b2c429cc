#include "tests/support/api.h"

#include "libcommon/base/money.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_BYTES_MAX (8 * 1024 * 1024)
#define REQUEST_SECONDS  30L

static char answer[ANSWER_BYTES_MAX];
static json_t *document; /* as the server gives it; of the whole test process */
static size_t answer_length;

static size_t take_body(char *data, size_t size, size_t count, void *ctx)
{
    (void)ctx;
    assert_true(answer_length + size * count < sizeof answer);
    memcpy(answer + answer_length, data, size * count);
    answer_length += size * count;
    return size * count;
}

static size_t take_header(char *data, size_t size, size_t count, void *ctx)
{
    struct api *api = ctx;
    size_t at = strlen(api->headers);

    if (at + size * count < sizeof api->headers) {
        memcpy(api->headers + at, data, size * count);
        api->headers[at + size * count] = '\0';
    }
    return size * count;
}

/* --- one exchange --- */

static struct curl_slist *headers_of(const struct api *api, bool has_body)
{
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    struct str rest = str_from(api->header);
    struct str more = STR_EMPTY;
    char line[4200];

    if (has_body && (api->header == NULL || strstr(api->header, "Content-Type:") == NULL)) {
        list = curl_slist_append(list, "Content-Type: application/json");
    }
    if (api->token[0] != '\0') {
        (void)snprintf(line, sizeof line, "Authorization: Bearer %s", api->token);
        list = curl_slist_append(list, line);
    }
    if (api->key[0] != '\0') {
        (void)snprintf(line, sizeof line, "Idempotency-Key: \"%s\"", api->key);
        list = curl_slist_append(list, line);
    }
    while (str_split(&rest, '\n', &more)) {
        (void)snprintf(line, sizeof line, "%.*s", STR_FMT(more));
        list = curl_slist_append(list, line);
    }
    return list;
}

static long
exchange(struct api *api, const char *verb, const char *path, const char *json, size_t length)
{
    struct curl_slist *headers = headers_of(api, json != NULL);
    char url[4096];

    (void)snprintf(url, sizeof url, "%s%s", api->url, path);
    answer_length = 0;
    api->headers[0] = '\0';
    json_decref(api->body);
    api->body = NULL;
    api->status = 0;
    (void)curl_easy_setopt(api->curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(api->curl, CURLOPT_TIMEOUT, REQUEST_SECONDS);
    (void)curl_easy_setopt(api->curl, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(api->curl, CURLOPT_WRITEFUNCTION, take_body);
    (void)curl_easy_setopt(api->curl, CURLOPT_HEADERFUNCTION, take_header);
    (void)curl_easy_setopt(api->curl, CURLOPT_HEADERDATA, api);
    (void)curl_easy_setopt(api->curl, CURLOPT_HTTPGET, 1L);
    if (json != NULL) {
        (void)curl_easy_setopt(api->curl, CURLOPT_POSTFIELDS, json);
        (void)curl_easy_setopt(api->curl, CURLOPT_POSTFIELDSIZE, (long)length);
    }
    (void)curl_easy_setopt(api->curl, CURLOPT_CUSTOMREQUEST, verb);
    if (curl_easy_perform(api->curl) == CURLE_OK) {
        (void)curl_easy_getinfo(api->curl, CURLINFO_RESPONSE_CODE, &api->status);
        api->body = json_loadb(answer, answer_length, JSON_DECODE_ANY, NULL);
    }
    curl_slist_free_all(headers);
    return api->status;
}

/* --- the document --- */

/* The answer of `api` is as the document says. */
static void verify(const struct api *api, const char *verb, const char *path)
{
    char *media_type = NULL;
    char why[SCHEMA_WHY_BYTES];
    struct openapi_exchange x = {
        .verb = verb,
        .path = path,
        .status = api->status,
        .body = {answer, answer_length},
        .unknown = api->unknown,
    };

    (void)curl_easy_getinfo(api->curl, CURLINFO_CONTENT_TYPE, &media_type);
    x.media_type = media_type;
    if (!api_documented(&x, why)) {
        fail_msg("%s; the answer: %.*s",
                 why,
                 (int)(answer_length < 2000 ? answer_length : 2000),
                 answer);
    }
}

static void document_free(void)
{
    json_decref(document);
}

static void document_load(struct api *api)
{
    struct schema_check check = {.document = NULL};

    if (document != NULL) {
        return;
    }
    assert_int_equal(exchange(api, "GET", "/api/openapi.json", NULL, 0), 200);
    document = json_incref(api->body);
    assert_int_equal(atexit(document_free), 0);
    check.document = document;
    if (!openapi_readable(&check)) {
        fail_msg("the OpenAPI document: %s", check.why);
    }
    verify(api, "GET", "/api/openapi.json");
    json_decref(api->body); /* what the caller finds is of no request yet */
    api->body = NULL;
    api->status = 0;
}

bool api_documented(const struct openapi_exchange *exchange, char why[SCHEMA_WHY_BYTES])
{
    struct schema_check check = {.document = document};
    bool good = openapi_valid(&check, exchange);

    memcpy(why, check.why, SCHEMA_WHY_BYTES);
    return good;
}

bool api_problem_documented(long status, struct str body, char why[SCHEMA_WHY_BYTES])
{
    struct schema_check check = {.document = document};
    bool good = openapi_problem_valid(&check, status, body);

    memcpy(why, check.why, SCHEMA_WHY_BYTES);
    return good;
}

/* --- the client --- */

void api_open(struct api *api, const char *url)
{
    memset(api, 0, sizeof *api);
    api->curl = curl_easy_init();
    api->url = url;
    assert_non_null(api->curl);
    assert_int_equal(curl_easy_setopt(api->curl, CURLOPT_COOKIEFILE, ""), CURLE_OK);
    document_load(api);
}

void api_forget_cookies(struct api *api)
{
    assert_int_equal(curl_easy_setopt(api->curl, CURLOPT_COOKIELIST, "ALL"), CURLE_OK);
}

void api_close(struct api *api)
{
    json_decref(api->body);
    curl_easy_cleanup(api->curl);
    memset(api, 0, sizeof *api);
}

long api_call(struct api *api, const char *verb, const char *path, const char *json, size_t length)
{
    if (exchange(api, verb, path, json, length) != 0 && strcmp(verb, "OPTIONS") != 0) {
        verify(api, verb, path);
    }
    api->unknown = false;
    return api->status;
}

long api_get(struct api *api, const char *path)
{
    return api_call(api, "GET", path, NULL, 0);
}

long api_send(struct api *api, const char *verb, const char *path, json_t *json)
{
    char *text = NULL;
    long status = 0;

    assert_non_null(json);
    text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);
    assert_non_null(text);
    json_decref(json);
    status = api_call(api, verb, path, text, strlen(text));
    free(text);
    return status;
}

void api_register(struct api *api, const char *name)
{
    char email[128];

    (void)snprintf(email, sizeof email, "%s@example.com", name);
    api->token[0] = '\0';
    api_send(
        api,
        "POST",
        "/api/auth/register",
        json_pack("{s:s,s:s,s:s}", "email", email, "password", "Una clave larga 7", "name", name));
    assert_int_equal(api->status, 200);
    (void)snprintf(api->token, sizeof api->token, "%s", api_text(api, "token"));
}

json_t *api_at(struct api *api, const char *path)
{
    struct str rest = str_from(path);
    struct str part = STR_EMPTY;
    json_t *at = api->body;

    while (str_split(&rest, '.', &part)) {
        char name[64];
        uint64_t index = 0;

        assert_true(part.len < sizeof name);
        memcpy(name, part.ptr, part.len);
        name[part.len] = '\0';
        at = str_to_uint64(part, &index) ? json_array_get(at, index) : json_object_get(at, name);
    }
    if (at == NULL) {
        fail_msg("no %s in the answer %ld: %.*s", path, api->status, (int)answer_length, answer);
    }
    return at;
}

const char *api_text(struct api *api, const char *path)
{
    const char *text = json_string_value(api_at(api, path));

    if (text == NULL) {
        fail_msg("%s is no text in: %.*s", path, (int)answer_length, answer);
    }
    return text;
}

int64_t api_int(struct api *api, const char *path)
{
    json_t *value = api_at(api, path);

    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

int64_t api_centavos(struct api *api, const char *path)
{
    char text[64];
    int64_t centavos = 0;

    (void)snprintf(text, sizeof text, "%.2f", json_number_value(api_at(api, path)));
    assert_int_equal(decimal_parse(str_from(text), 2, &centavos), DECIMAL_OK);
    return centavos;
}
