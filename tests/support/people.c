#include "tests/support/people.h"

#include "tests/support/stack.h"

#include <stdio.h>
#include <string.h>

void people_log_in(struct api *api, const char *url, const char *email, const char *password)
{
    api_open(api, url);
    api_send(api,
             "POST",
             "/api/auth/login",
             json_pack("{s:s,s:s}", "email", email, "password", password));
    assert_int_equal(api->status, 200);
    (void)snprintf(api->token, sizeof api->token, "%s", api_text(api, "token"));
}

void people_log_in_admin(struct api *api)
{
    char email[256];

    (void)snprintf(email, sizeof email, "%s", stack_value("AVANTA_ADMIN_EMAIL"));
    people_log_in(api, stack_url(), email, stack_value("AVANTA_ADMIN_PASSWORD"));
}

void people_id(struct api *api, char out[PEOPLE_ID_BYTES])
{
    assert_int_equal(api_get(api, "/api/auth/me"), 200);
    (void)snprintf(out, PEOPLE_ID_BYTES, "%s", api_text(api, "id"));
}

void people_give_role(struct api *admin, const char *id, const char *role)
{
    char path[128];

    (void)snprintf(path, sizeof path, "/api/admin/users/%s", id);
    assert_int_equal(api_send(admin, "PUT", path, json_pack("{s:s}", "role", role)), 200);
}

void people_with_header(struct api *api, const char *url, const char *name, const char *value)
{
    static char header[256];

    api_open(api, url);
    (void)snprintf(header, sizeof header, "%s: %s", name, value);
    api->header = header;
}

void people_expect(struct api *api, long status, const char *code)
{
    if (api->status != status || strcmp(api_text(api, "code"), code) != 0) {
        fail_msg("%ld %s instead of %ld %s", api->status, api_text(api, "code"), status, code);
    }
}
