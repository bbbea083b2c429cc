/*
 * Services decide for themselves: every operation of every service is asked for over the bus, past
 * the gateway, by every kind of caller, and answers as its declared permission says. What a caller
 * may do gets as far as its input, which is empty here.
 */
#include "api.gen.h"
#include "tests/support/check.h"
#include "tests/support/service_rig.h"

#include "libcommon/codec/access.h"
#include "libcommon/codec/transcode.h"

#include <string.h>

#define SECRETS_KEY "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define ANA         "00000000-0000-4000-8000-00000000000a"
#define EVA         "00000000-0000-4000-8000-00000000000e"

static const char *const services[] = {
    "ledger", "audit-log", "identity"} /* its setting is last: others refuse it */;
static size_t cases;

/* Asks with an empty request; the code. */
static enum code ask(struct service_rig *rig, struct service_call *call)
{
    ProtobufCMessage *in = NULL;
    struct arena *arena = arena_open(rig->arenas, (size_t)64 * 1024);
    enum code code = OK;

    assert_non_null(arena);
    in = transcode_new(call->method->in->descriptor, arena);
    assert_non_null(in);
    call->in = in;
    code = service_call(rig, call);
    if (call->bus != OK) {
        fail_msg("%s as %s: %s", call->method->full_name, call->role, code_wire(call->bus));
    }
    service_call_end(call);
    arena_dispose(&arena);
    return code;
}

static void expect(struct service_rig *rig, struct service_call call, const char *who, bool may)
{
    enum code code = ask(rig, &call);
    bool by_permission = call.reason == AVANTA__REASON__NONE; /* not by what the operation says */

    cases++;
    if ((code == ERR_FORBIDDEN && by_permission) == may ||
        (code == ERR_UNAUTHENTICATED && by_permission)) {
        fail_msg("%s as %s: %s", call.method->full_name, who, code_wire(code));
    }
}

static void ask_as_roles(struct service_rig *rig, const struct api_method *method)
{
    for (int role = 0; role <= ROLE_COUNT; role++) { /* one more: a role that does not exist */
        const char *name = role < ROLE_COUNT ? role_name((enum role)role) : "root";
        bool has = role < ROLE_COUNT &&
                   (permission_roles(method->permission) & (1U << (unsigned)role)) != 0;

        expect(rig, (struct service_call){.method = method, .user = ANA, .role = name}, name, has);
    }
}

static void ask_as_keys(struct service_rig *rig, const struct api_method *method)
{
    struct service_call call = {.method = method, .user = ANA, .role = "user", .by_key = true};

    expect(rig, call, "an API key without scopes", false);
    call.scope = "no:such";
    expect(rig, call, "an API key with a scope that does not exist", false);
    call.scope = permission_name(method->permission);
    expect(rig,
           call,
           "an API key with the scope",
           permission_keyed(method->permission) &&
               (permission_roles(method->permission) & ROLE_BIT(USER)) != 0);
}

static void ask_on_behalf(struct service_rig *rig, const struct api_method *method)
{
    static const struct {
        const char *grant;
        enum access_grant is;
    } grants[] = {
        {NULL,    GRANT_NONE },
        {"all",   GRANT_NONE },
        {"read",  GRANT_READ },
        {"write", GRANT_WRITE},
    };
    enum access_grant needed = permission_grant(method->permission);
    struct service_call call = {.method = method, .user = ANA, .actor = EVA};

    for (size_t i = 0; i < ARRAY_LEN(grants); i++) {
        call.role = "accountant";
        call.grant = grants[i].grant;
        expect(rig, call, "an accountant", needed != GRANT_NEVER && grants[i].is >= needed);
        call.role = "admin";
        expect(rig, call, "an administrator in another's name", false);
    }
}

static void ask_as_nobody(struct service_rig *rig, const struct api_method *method)
{
    struct service_call call = {.method = method};

    cases++;
    assert_int_equal(ask(rig, &call), ERR_UNAUTHENTICATED);
}

static void every_operation_asks_who_calls(void **state)
{
    (void)state;
    for (size_t s = 0; s < ARRAY_LEN(services); s++) {
        struct service_rig rig = {0};
        size_t from = cases;

        service_rig_settings_forget();
        if (strcmp(services[s], "identity") == 0) {
            service_rig_setting("AVANTA_SECRETS_KEY", SECRETS_KEY);
        } else if (strcmp(services[s], "audit-log") == 0) {
            service_rig_setting("AVANTA_AUDIT_SIGNING_KEY", SECRETS_KEY);
        }
        service_rig_open(&rig, services[s], 1);
        for (size_t i = 0; i < API_METHOD_COUNT; i++) {
            const struct api_method *method = &api_methods[i];

            if (strcmp(method->service, services[s]) == 0 && method->permission != API_PUBLIC) {
                ask_as_nobody(&rig, method);
                ask_as_roles(&rig, method);
                ask_as_keys(&rig, method);
                ask_on_behalf(&rig, method);
            }
        }
        service_rig_close(&rig);
        print_message("  %s: %zu cases\n", services[s], cases - from);
        assert_true(cases > from);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation_asks_who_calls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
