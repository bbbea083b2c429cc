#pragma once
/*
 * Exchanges against the OpenAPI document: path and method, status, media type, body. A document
 * that is loaded is only read, by any thread. The document itself is checked when it is loaded: all
 * its schemas must be readable.
 */

#include "tests/support/schema.h"

#include "libcommon/base/str.h"

struct openapi_exchange {
    const char *verb;
    const char *path; /* with or without its query */
    long status;
    const char *media_type; /* of the answer, its parameters after ';' are left out; NULL: none */
    struct str body;
    bool unknown; /* the request was for something that the document may not have */
};

/* False when a schema cannot be read, see check->why. */
bool openapi_readable(struct schema_check *check);
/* check->document is the document; check->why tells what was not as documented. */
bool openapi_valid(struct schema_check *check, const struct openapi_exchange *exchange);
/* The body is a problem document with that status. */
bool openapi_problem_valid(struct schema_check *check, long status, struct str body);
