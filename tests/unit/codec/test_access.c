#include "tests/support/check.h"

#include "libcommon/codec/access.h"

#include <string.h>

static enum code check(enum api_permission permission, struct access_caller caller)
{
    struct err err = {.code = OK};
    enum code code = access_check(permission, &caller, &err);

    assert_true(code == OK || code == ERR_FORBIDDEN);
    assert_int_equal(err.code, code);
    assert_int_equal(err.text[0] == '\0', code == OK);
    return code;
}

static struct access_caller session(const char *role)
{
    return (struct access_caller){.role = str_from(role)};
}

static struct access_caller key(const char *role, uint32_t scopes)
{
    return (struct access_caller){.role = str_from(role), .by_key = true, .scopes = scopes};
}

static struct access_caller accountant(enum access_grant grant)
{
    return (struct access_caller){.role = STR("accountant"), .on_behalf = true, .grant = grant};
}

/* Written out by hand: the table must say the same. */
static const struct {
    const char *role;
    const char *may;
} wanted[] = {
    {"admin",
     "public self:read self:write credentials access books:read books:write audit:read audit:admin "
     "users:admin system:admin"                                                                      },
    {"accountant",
     "public self:read self:write credentials access books:read books:write audit:read"              },
    {"user",       "public self:read self:write credentials access books:read books:write audit:read"},
    {"viewer",     "public self:read self:write credentials access books:read audit:read"            },
    {"service",    "public self:read books:read books:write audit:read"                              },
    {"enrolling",  "public self:read credentials"                                                    },
    {"Admin",      ""                                                                                },
    {"admin ",     ""                                                                                },
    {"",           ""                                                                                },
    {"root",       ""                                                                                },
};

static bool listed(const char *list, const char *name)
{
    struct str rest = str_from(list);
    struct str word = STR_EMPTY;

    while (str_split(&rest, ' ', &word)) {
        if (str_eq(word, str_from(name))) {
            return true;
        }
    }
    return false;
}

static void roles_have_what_is_written_and_nothing_else(void **state)
{
    size_t granted = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        for (int p = 0; p < API_PERMISSION_COUNT; p++) {
            bool may = listed(wanted[i].may, permission_name((enum api_permission)p));

            assert_int_equal(check((enum api_permission)p, session(wanted[i].role)),
                             may ? OK : ERR_FORBIDDEN);
            granted += may;
        }
    }
    assert_int_equal(granted, 11 + 8 + 8 + 7 + 5 + 3);
}

static void a_key_may_only_what_its_scopes_say(void **state)
{
    uint32_t all = UINT32_MAX;

    (void)state;
    assert_int_equal(check(API_BOOKS_READ, key("user", 1U << API_BOOKS_READ)), OK);
    assert_int_equal(check(API_BOOKS_WRITE, key("user", 1U << API_BOOKS_READ)), ERR_FORBIDDEN);
    assert_int_equal(check(API_BOOKS_READ, key("user", 0)), ERR_FORBIDDEN);
    /* The role bounds it: a viewer's key cannot book. */
    assert_int_equal(check(API_BOOKS_WRITE, key("viewer", all)), ERR_FORBIDDEN);
    for (int p = 0; p < API_PERMISSION_COUNT; p++) {
        enum api_permission permission = (enum api_permission)p;

        assert_int_equal(check(permission, key("admin", all)),
                         permission_keyed(permission) ? OK : ERR_FORBIDDEN);
    }
    assert_false(permission_keyed(API_CREDENTIALS));
    assert_false(permission_keyed(API_ACCESS));
    assert_false(permission_keyed(API_USERS_ADMIN));
}

static void a_grant_opens_the_books_and_nothing_else(void **state)
{
    (void)state;
    assert_int_equal(check(API_BOOKS_READ, accountant(GRANT_READ)), OK);
    assert_int_equal(check(API_BOOKS_WRITE, accountant(GRANT_READ)), ERR_FORBIDDEN);
    assert_int_equal(check(API_BOOKS_WRITE, accountant(GRANT_WRITE)), OK);
    assert_int_equal(check(API_BOOKS_READ, accountant(GRANT_NONE)), ERR_FORBIDDEN);
    assert_int_equal(check(API_BOOKS_READ, accountant(GRANT_NEVER)), ERR_FORBIDDEN);
    for (int p = 0; p < API_PERMISSION_COUNT; p++) {
        enum api_permission permission = (enum api_permission)p;
        bool books = permission == API_BOOKS_READ || permission == API_BOOKS_WRITE ||
                     permission == API_AUDIT_READ;

        assert_int_equal(check(permission, accountant(GRANT_WRITE)), books ? OK : ERR_FORBIDDEN);
    }
}

static void only_an_accountant_in_person_acts_for_others(void **state)
{
    static const char *const others[] = {"admin", "user", "viewer", "service", "enrolling"};
    struct access_caller caller = accountant(GRANT_WRITE);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        caller.role = str_from(others[i]);
        assert_int_equal(check(API_BOOKS_READ, caller), ERR_FORBIDDEN);
    }
    caller = accountant(GRANT_WRITE);
    caller.by_key = true;
    caller.scopes = UINT32_MAX;
    assert_int_equal(check(API_BOOKS_READ, caller), ERR_FORBIDDEN);
}

static void names_are_unique_and_found(void **state)
{
    (void)state;
    for (int p = 0; p < API_PERMISSION_COUNT; p++) {
        enum api_permission found = API_PERMISSION_COUNT;

        assert_true(permission_find(str_from(permission_name((enum api_permission)p)), &found));
        assert_int_equal(found, p);
    }
    for (int i = 0; i < ROLE_COUNT; i++) {
        enum role found = ROLE_COUNT;

        assert_true(role_find(str_from(role_name((enum role)i)), &found));
        assert_int_equal(found, i);
    }
    assert_int_equal(grant_find(STR("read")), GRANT_READ);
    assert_int_equal(grant_find(STR("write")), GRANT_WRITE);
    assert_int_equal(grant_find(STR("Read")), GRANT_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(roles_have_what_is_written_and_nothing_else),
        cmocka_unit_test(a_key_may_only_what_its_scopes_say),
        cmocka_unit_test(a_grant_opens_the_books_and_nothing_else),
        cmocka_unit_test(only_an_accountant_in_person_acts_for_others),
        cmocka_unit_test(names_are_unique_and_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
