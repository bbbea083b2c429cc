/* Access for accountants: what a grant opens, what it does not, and that it ends at every gateway
 * within a second. */
#include "tests/support/people.h"
#include "tests/support/stack.h"

#include "libcommon/base/clock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HEARD_MS_MAX 1000

static struct api admin;
static struct api ana;   /* has books */
static struct api carla; /* is an accountant */
static const char *second_url;
static char ana_id[64];
static char carla_id[64];

static int setup(void **state)
{
    if (stack_setup(state) != 0) {
        return 1;
    }
    second_url = stack_second_gateway();
    people_log_in_admin(&admin);
    api_open(&ana, stack_url());
    api_register(&ana, "ana");
    people_id(&ana, ana_id);
    api_open(&carla, stack_url());
    api_register(&carla, "carla");
    people_id(&carla, carla_id);
    people_give_role(&admin, carla_id, "accountant");
    api_close(&carla);
    people_log_in(&carla, stack_url(), "carla@example.com", PEOPLE_PASSWORD);
    assert_int_equal(
        api_send(
            &ana,
            "POST",
            "/api/accounts",
            json_pack("{s:s,s:s,s:s}", "name", "Caja de Ana", "type", "cash", "balance", "10.00")),
        201);
    return 0;
}

static int teardown(void **state)
{
    api_close(&admin);
    api_close(&ana);
    api_close(&carla);
    return stack_teardown(state);
}

static long as_accountant(const char *url, const char *verb, const char *path, const char *body)
{
    struct api acting;
    long status = 0;

    people_with_header(&acting, url, "X-Avanta-Account-Owner", ana_id);
    (void)snprintf(acting.token, sizeof acting.token, "%s", carla.token);
    status = api_call(&acting, verb, path, body, body == NULL ? 0 : strlen(body));
    if (status == 200 && strcmp(verb, "GET") == 0 && strcmp(path, "/api/accounts") == 0) {
        assert_string_equal(
            json_string_value(json_object_get(json_array_get(acting.body, 0), "name")),
            "Caja de Ana");
    }
    api_close(&acting);
    return status;
}

static void grant(const char *access, char out_id[64])
{
    assert_int_equal(
        api_send(&ana,
                 "POST",
                 "/api/access-grants",
                 json_pack("{s:s,s:s}", "email", "Carla@example.com", "access", access)),
        201);
    (void)snprintf(out_id, 64, "%s", api_text(&ana, "id"));
}

static const char account[] = "{\"name\":\"De la contadora\",\"type\":\"checking\"}";

static void without_a_grant_there_is_no_access(void **state)
{
    (void)state;
    assert_int_equal(as_accountant(stack_url(), "GET", "/api/accounts", NULL), 403);
    assert_int_equal(as_accountant(stack_url(), "POST", "/api/accounts", account), 403);
    assert_int_equal(api_get(&carla, "/api/accounts"), 200); /* her own */
    assert_int_equal(json_array_size(carla.body), 0);
}

static void a_grant_to_read_reads_and_one_to_write_books(void **state)
{
    char id[64];

    (void)state;
    assert_int_equal(as_accountant(second_url, "GET", "/api/accounts", NULL), 403);
    grant("read", id);
    assert_int_equal(as_accountant(stack_url(), "GET", "/api/accounts", NULL), 200);
    assert_int_equal(as_accountant(stack_url(), "POST", "/api/accounts", account), 403);
    assert_int_equal(api_get(&carla, "/api/access-grants"), 200);
    assert_string_equal(api_text(&carla, "received.0.owner_id"), ana_id);
    assert_string_equal(api_text(&carla, "received.0.access"), "read");
    grant("write", id);
    assert_int_equal(as_accountant(stack_url(), "POST", "/api/accounts", account), 201);
    /* It is in Ana's books, and the trail says who did it. */
    assert_int_equal(api_get(&ana, "/api/accounts"), 200);
    assert_int_equal(json_array_size(ana.body), 2);
    assert_int_equal(api_get(&carla, "/api/accounts"), 200);
    assert_int_equal(json_array_size(carla.body), 0);
    /* Nothing but the books. */
    assert_int_equal(as_accountant(stack_url(), "GET", "/api/user-profile", NULL), 403);
    assert_int_equal(as_accountant(stack_url(), "GET", "/api/api-keys", NULL), 403);
    assert_int_equal(as_accountant(stack_url(), "POST", "/api/auth/sessions/end-others", NULL),
                     403);
}

static void the_audit_trail_names_the_accountant(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        assert_int_equal(api_get(&ana, "/api/audit-log?entity_type=account&limit=50"), 200);
        for (size_t k = 0; k < json_array_size(api_at(&ana, "logs")); k++) {
            const char *actor = json_string_value(
                json_object_get(json_array_get(api_at(&ana, "logs"), k), "actor_id"));

            if (actor != NULL && strcmp(actor, carla_id) == 0) {
                return;
            }
        }
        (void)usleep(20000);
    }
    fail_msg("no record names the accountant");
}

static void nobody_else_acts_for_others(void **state)
{
    struct api acting;

    (void)state;
    people_with_header(&acting, stack_url(), "X-Avanta-Account-Owner", ana_id);
    (void)snprintf(acting.token, sizeof acting.token, "%s", admin.token);
    api_get(&acting, "/api/accounts");
    people_expect(&acting, 403, "FORBIDDEN");
    api_close(&acting);
    people_with_header(&acting, stack_url(), "X-Avanta-Account-Owner", "no id");
    (void)snprintf(acting.token, sizeof acting.token, "%s", carla.token);
    api_get(&acting, "/api/accounts");
    people_expect(&acting, 400, "VALIDATION_ERROR");
    api_close(&acting);
    people_with_header(&acting, stack_url(), "X-Avanta-Account-Owner", carla_id);
    (void)snprintf(acting.token, sizeof acting.token, "%s", carla.token);
    assert_int_equal(api_get(&acting, "/api/auth/me"), 200); /* oneself is nobody else */
    api_close(&acting);
}

static void a_grant_taken_back_ends_at_once(void **state)
{
    char id[64];
    char path[128];
    uint64_t since_ms = 0;

    (void)state;
    grant("read", id);
    assert_int_equal(as_accountant(stack_url(), "GET", "/api/accounts", NULL), 200);
    assert_int_equal(as_accountant(second_url, "GET", "/api/accounts", NULL), 200);
    (void)snprintf(path, sizeof path, "/api/access-grants/%s", id);
    api_call(&admin, "DELETE", path, NULL, 0);
    people_expect(&admin, 404, "NOT_FOUND");
    assert_int_equal(api_call(&ana, "DELETE", path, NULL, 0), 200);
    since_ms = clock_mono_ms();
    while (as_accountant(stack_url(), "GET", "/api/accounts", NULL) == 200 ||
           as_accountant(second_url, "GET", "/api/accounts", NULL) == 200) {
        assert_true(clock_mono_ms() - since_ms <= HEARD_MS_MAX);
        (void)usleep(5000);
    }
    print_message("  heard everywhere after %llu ms\n",
                  (unsigned long long)(clock_mono_ms() - since_ms));
    assert_int_equal(as_accountant(stack_url(), "GET", "/api/accounts", NULL), 403);
}

static void who_is_no_accountant_any_more_has_no_use_of_it(void **state)
{
    char id[64];

    (void)state;
    grant("write", id);
    people_give_role(&admin, carla_id, "user");
    api_close(&carla);
    people_log_in(&carla, stack_url(), "carla@example.com", PEOPLE_PASSWORD);
    assert_int_equal(as_accountant(stack_url(), "GET", "/api/accounts", NULL), 403);
    assert_int_equal(api_get(&carla, "/api/access-grants"), 200);
    assert_int_equal(json_array_size(api_at(&carla, "received")), 0);
    people_give_role(&admin, carla_id, "accountant");
    api_close(&carla);
    people_log_in(&carla, stack_url(), "carla@example.com", PEOPLE_PASSWORD);
    assert_int_equal(as_accountant(stack_url(), "GET", "/api/accounts", NULL), 200);
}

static void a_deactivated_owners_books_are_closed(void **state)
{
    char path[128];
    uint64_t since_ms = 0;

    (void)state;
    assert_int_equal(as_accountant(stack_url(), "GET", "/api/accounts", NULL), 200);
    (void)snprintf(path, sizeof path, "/api/admin/users/%s", ana_id);
    assert_int_equal(api_call(&admin, "DELETE", path, NULL, 0), 200);
    since_ms = clock_mono_ms();
    while (as_accountant(stack_url(), "GET", "/api/accounts", NULL) == 200) {
        assert_true(clock_mono_ms() - since_ms <= HEARD_MS_MAX);
        (void)usleep(5000);
    }
    assert_int_equal(as_accountant(stack_url(), "GET", "/api/accounts", NULL), 403);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_grant_there_is_no_access),
        cmocka_unit_test(a_grant_to_read_reads_and_one_to_write_books),
        cmocka_unit_test(the_audit_trail_names_the_accountant),
        cmocka_unit_test(nobody_else_acts_for_others),
        cmocka_unit_test(a_grant_taken_back_ends_at_once),
        cmocka_unit_test(who_is_no_accountant_any_more_has_no_use_of_it),
        cmocka_unit_test(a_deactivated_owners_books_are_closed),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
