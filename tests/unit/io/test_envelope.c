#include "avanta/common.pb-c.h"
#include "tests/support/check.h"

#include "libcommon/base/id.h"
#include "libcommon/base/limits.h"
#include "libcommon/io/envelope.h"

#include <string.h>

#define NOW_MS  UINT64_C(1795000000000)
#define LIFE_MS 5000
#define GUARD   256

struct rig {
    struct arena_pool *pool;
    struct arena *arena;
    struct sealer *sealer;
    struct replay_guard *guard;
    uint8_t nonce[ENVELOPE_NONCE_BYTES];
};

static struct sealer *sealer_of(uint8_t fill)
{
    uint8_t key[ENVELOPE_KEY_BYTES];
    struct sealer *sealer = NULL;

    memset(key, fill, sizeof key);
    sealer = sealer_open(key);
    assert_non_null(sealer);
    return sealer;
}

static int setup(void **state)
{
    static struct rig rig;

    rig.pool = arena_pool_open(ARENA_CHUNK_BYTES, 256);
    rig.arena = arena_open(rig.pool, 2 * 1024 * 1024);
    rig.sealer = sealer_of(1);
    rig.guard = replay_guard_open(GUARD);
    random_bytes(rig.nonce, sizeof rig.nonce);
    *state = &rig;
    return rig.arena == NULL || rig.guard == NULL;
}

static int teardown(void **state)
{
    struct rig *rig = *state;

    replay_guard_close(&rig->guard);
    sealer_close(&rig->sealer);
    arena_dispose(&rig->arena);
    arena_pool_close(&rig->pool);
    return 0;
}

static struct str request_frame(struct rig *rig, uint64_t issued_ms, uint64_t deadline_ms)
{
    static char method[] = "ledger.ListAccounts";
    static char id[] = "0191d6a2-7b1c-7000-8000-000000000001";
    Avanta__Request request = AVANTA__REQUEST__INIT;
    struct str frame = STR_EMPTY;
    struct err err = {.code = OK};

    request.method = method;
    request.request_id = id;
    request.nonce = (ProtobufCBinaryData){sizeof rig->nonce, rig->nonce};
    request.issued_ms = issued_ms;
    request.deadline_ms = deadline_ms;
    assert_int_equal(envelope_seal_request(rig->sealer, &request, rig->arena, &frame, &err), OK);
    return frame;
}

static enum code
request_open(struct rig *rig, struct sealer *sealer, struct str frame, uint64_t now_ms)
{
    Avanta__Request *request = NULL;
    struct err err = {.code = OK};
    enum code code =
        envelope_open_request(sealer, rig->guard, frame, now_ms, rig->arena, &request, &err);

    assert_int_equal(code == OK, request != NULL);
    if (request != NULL) {
        assert_string_equal(request->method, "ledger.ListAccounts");
    }
    return code;
}

static void opens_what_was_sealed_once(void **state)
{
    struct rig *rig = *state;
    struct str frame = request_frame(rig, NOW_MS, NOW_MS + LIFE_MS);

    assert_int_equal(request_open(rig, rig->sealer, frame, NOW_MS + 10), OK);
    assert_int_equal(request_open(rig, rig->sealer, frame, NOW_MS + 20), ERR_UNAUTHENTICATED);
}

static void every_changed_byte_is_refused(void **state)
{
    struct rig *rig = *state;
    struct str frame = request_frame(rig, NOW_MS, NOW_MS + LIFE_MS);
    char *bytes = (char *)(uintptr_t)frame.ptr;

    for (size_t i = 0; i < frame.len; i++) {
        bytes[i] = (char)(bytes[i] ^ 0x40);
        assert_row(i, request_open(rig, rig->sealer, frame, NOW_MS) == ERR_UNAUTHENTICATED);
        bytes[i] = (char)(bytes[i] ^ 0x40);
    }
    for (size_t len = 0; len < frame.len; len++) {
        assert_row(len,
                   request_open(rig, rig->sealer, str_sub(frame, 0, len), NOW_MS) ==
                       ERR_UNAUTHENTICATED);
    }
    assert_int_equal(request_open(rig, rig->sealer, frame, NOW_MS), OK);
}

static void another_key_is_refused(void **state)
{
    struct rig *rig = *state;
    struct sealer *other = sealer_of(2);

    assert_int_equal(request_open(rig, other, request_frame(rig, NOW_MS, NOW_MS + LIFE_MS), NOW_MS),
                     ERR_UNAUTHENTICATED);
    sealer_close(&other);
    assert_null(other);
}

static void times_are_bounded(void **state)
{
    static const struct {
        int64_t issued;
        int64_t deadline;
        enum code code;
    } cases[] = {
        {0,                        LIFE_MS,                                            OK                 },
        {-LIFE_MS,                 0,                                                  ERR_TIMEOUT        },
        {-LIFE_MS,                 1,                                                  OK                 },
        {ENVELOPE_SKEW_MS_MAX,     LIFE_MS + ENVELOPE_SKEW_MS_MAX,                     OK                 },
        {ENVELOPE_SKEW_MS_MAX + 1, LIFE_MS + ENVELOPE_SKEW_MS_MAX,                     ERR_UNAUTHENTICATED},
        {0,                        REQUEST_DEADLINE_MS_MAX + ENVELOPE_SKEW_MS_MAX,     OK                 },
        {0,                        REQUEST_DEADLINE_MS_MAX + ENVELOPE_SKEW_MS_MAX + 1, ERR_UNAUTHENTICATED},
    };
    struct rig *rig = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str frame = STR_EMPTY;

        random_bytes(rig->nonce, sizeof rig->nonce);
        frame = request_frame(
            rig, NOW_MS + (uint64_t)cases[i].issued, NOW_MS + (uint64_t)cases[i].deadline);
        assert_row(i, request_open(rig, rig->sealer, frame, NOW_MS) == cases[i].code);
    }
}

/* A full guard refuses instead of forgetting; what has expired makes room. */
static void a_full_guard_fails_closed(void **state)
{
    struct rig *rig = *state;
    uint32_t admitted = 0;
    enum code code = OK;

    for (int i = 0; i < 4 * GUARD && code == OK; i++) {
        random_bytes(rig->nonce, sizeof rig->nonce);
        code = request_open(rig, rig->sealer, request_frame(rig, NOW_MS, NOW_MS + LIFE_MS), NOW_MS);
        admitted += code == OK;
    }
    assert_int_equal(code, ERR_OVERLOADED);
    assert_true(admitted >= GUARD / 4);
    assert_int_equal(request_open(rig,
                                  rig->sealer,
                                  request_frame(rig, NOW_MS + 60000, NOW_MS + 60000 + LIFE_MS),
                                  NOW_MS + 60000),
                     OK);
}

static void replies_answer_their_request_only(void **state)
{
    static char code_text[] = "OK";
    struct rig *rig = *state;
    Avanta__Reply reply = AVANTA__REPLY__INIT;
    Avanta__Reply *opened = NULL;
    struct str frame = STR_EMPTY;
    struct err err = {.code = OK};
    uint8_t other[ENVELOPE_NONCE_BYTES];

    reply.nonce = (ProtobufCBinaryData){sizeof rig->nonce, rig->nonce};
    reply.code = code_text;
    assert_int_equal(envelope_seal_reply(rig->sealer, &reply, rig->arena, &frame, &err), OK);
    assert_int_equal(envelope_open_reply(rig->sealer, frame, rig->nonce, rig->arena, &opened, &err),
                     OK);
    assert_string_equal(opened->code, "OK");
    memcpy(other, rig->nonce, sizeof other);
    other[0] ^= 1;
    assert_int_equal(envelope_open_reply(rig->sealer, frame, other, rig->arena, &opened, &err),
                     ERR_UNAUTHENTICATED);
    assert_int_equal(request_open(rig, rig->sealer, frame, NOW_MS), ERR_UNAUTHENTICATED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(opens_what_was_sealed_once, setup, teardown),
        cmocka_unit_test_setup_teardown(every_changed_byte_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(another_key_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(times_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_guard_fails_closed, setup, teardown),
        cmocka_unit_test_setup_teardown(replies_answer_their_request_only, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
