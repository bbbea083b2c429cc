#pragma once
/*
 * A client of the HTTP interface for tests: libcurl and jansson. Failures fail the test. Every
 * answer is held against the OpenAPI document that the server itself serves.
 */

#include "tests/support/check.h"
#include "tests/support/openapi.h"

#include <jansson.h>

struct api {
    void *curl;
    const char *url;
    char token[4096];    /* "" : no Authorization header */
    char key[128];       /* Idempotency-Key of the next requests, "" : none */
    bool unknown;        /* the next request is for something that is not in the document */
    const char *header;  /* more header lines, '\n' between them, or NULL */
    char headers[16384]; /* of the last answer */
    long status;         /* of the last answer; 0: no answer */
    json_t *body; /* of the last answer, NULL when it is no JSON; freed by the next request */
};

/* The first one fetches the document. */
void api_open(struct api *api, const char *url);
void api_close(struct api *api);
void api_forget_cookies(struct api *api);
/* `json` may be NULL (no body). The status is also returned. */
long api_call(struct api *api, const char *verb, const char *path, const char *json, size_t length);
long api_get(struct api *api, const char *path);
/* Takes the JSON over. */
long api_send(struct api *api, const char *verb, const char *path, json_t *json);
/* Registers a user of that name and keeps its token. */
void api_register(struct api *api, const char *name);
/* Dotted path into the last body: "data.id", "errors.0.field"; fails when it is not there. */
json_t *api_at(struct api *api, const char *path);
const char *api_text(struct api *api, const char *path);
int64_t api_int(struct api *api, const char *path);
/* A money value in centavos; fails unless it is a number with at most two decimals. */
int64_t api_centavos(struct api *api, const char *path);
/* For clients that do not come through here, in any thread: false and why when the exchange is not
 * as documented. After the first api_open(). */
bool api_documented(const struct openapi_exchange *exchange, char why[SCHEMA_WHY_BYTES]);
/* The same for a bare problem document. */
bool api_problem_documented(long status, struct str body, char why[SCHEMA_WHY_BYTES]);
