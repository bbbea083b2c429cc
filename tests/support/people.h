#pragma once
/* Users of a stack for tests: who logs in, with what role, and what they are refused. Failures fail
 * the test. */

#include "tests/support/api.h"

#define PEOPLE_PASSWORD "Una clave larga 7" /* of everybody that api_register() makes */
#define PEOPLE_ID_BYTES 64

/* Opens the client and keeps the token. */
void people_log_in(struct api *api, const char *url, const char *email, const char *password);
/* The stack's first administrator. */
void people_log_in_admin(struct api *api);
void people_id(struct api *api, char out[PEOPLE_ID_BYTES]);
/* By an administrator; the user's sessions end. */
void people_give_role(struct api *admin, const char *id, const char *role);
/* A client with a header in the place of a token; one at a time has it. */
void people_with_header(struct api *api, const char *url, const char *name, const char *value);
/* The last answer was this refusal. */
void people_expect(struct api *api, long status, const char *code);
