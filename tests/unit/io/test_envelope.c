#include "avanta/common.pb-c.h"
#include "tests/support/check.h"

#include "libcommon/base/limits.h"
#include "libcommon/io/envelope.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#define NOW         UINT64_C(1750000000000)
#define ARENA_BYTES (1024UL * 1024)
#define FRAME_MAX   4096

static const uint8_t key[ENVELOPE_KEY_BYTES] = {1, 2, 3, 4, 5, 6, 7, 8, 250, 251, 252, 253};
static uint8_t nonce[ENVELOPE_NONCE_BYTES];

/* Says which row gave which code. */
static void expect(size_t row, enum code wanted, enum code got)
{
    if (wanted != got) {
        fail_msg("row %zu: %s wanted, %s given", row, code_wire(wanted), code_wire(got));
    }
}

struct fixture {
    struct arena_pool *pool;
    struct arena *arena;
    struct sealer *sealer;
    struct replay_guard *guard;
    Avanta__Request request;
    Avanta__Reply reply;
    char method[32];
    char request_id[32];
    char code[8];
    uint8_t body[300];
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    f->pool = arena_pool_open(ARENA_CHUNK_BYTES, 256);
    f->arena = arena_open(f->pool, ARENA_BYTES);
    f->sealer = sealer_open(key);
    f->guard = replay_guard_open(1024);
    assert_non_null(f->arena);
    assert_non_null(f->sealer);
    assert_non_null(f->guard);
    memset(nonce, 7, sizeof(nonce));
    memset(f->body, 'b', sizeof(f->body));
    memcpy(f->method, "ledger.CreateTransaction", 25);
    memcpy(f->request_id, "req-1", 6);
    memcpy(f->code, "OK", 3);
    avanta__request__init(&f->request);
    f->request.method = f->method;
    f->request.request_id = f->request_id;
    f->request.nonce = (ProtobufCBinaryData){sizeof(nonce), nonce};
    f->request.issued_ms = NOW;
    f->request.deadline_ms = NOW + 2000;
    f->request.has_body = true;
    f->request.body = (ProtobufCBinaryData){sizeof(f->body), f->body};
    avanta__reply__init(&f->reply);
    f->reply.nonce = f->request.nonce;
    f->reply.code = f->code;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    replay_guard_close(&f->guard);
    sealer_close(&f->sealer);
    assert_null(f->sealer);
    arena_dispose(&f->arena);
    arena_pool_close(&f->pool);
    free(f);
    return 0;
}

static struct str seal(struct fixture *f)
{
    struct str frame = STR_EMPTY;
    struct err err = {0};

    assert_int_equal(OK, envelope_seal_request(f->sealer, &f->request, f->arena, &frame, &err));
    return frame;
}

static enum code open_at(struct fixture *f, struct str frame, uint64_t now_ms)
{
    Avanta__Request *out = NULL;
    struct err err = {0};
    enum code code =
        envelope_open_request(f->sealer, f->guard, frame, now_ms, f->arena, &out, &err);

    assert_true((code == OK) == (out != NULL));
    assert_true(code == OK || err.code == code);
    return code;
}

static enum code open_reply(struct fixture *f, struct str frame)
{
    Avanta__Reply *out = NULL;
    struct err err = {0};

    return envelope_open_reply(f->sealer, frame, nonce, f->arena, &out, &err);
}

/* Somebody else's implementation of the same layout. */
static struct str sign(char kind, const uint8_t *message, size_t len)
{
    static uint8_t frame[FRAME_MAX];
    uint8_t covered[FRAME_MAX];
    unsigned mac_len = 0;

    assert_true(len + ENVELOPE_HEAD_BYTES <= sizeof(frame));
    covered[0] = 'A';
    covered[1] = 'V';
    covered[2] = '1';
    covered[3] = (uint8_t)kind;
    memcpy(covered + 4, message, len);
    memcpy(frame, covered, 4);
    memcpy(frame + ENVELOPE_HEAD_BYTES, message, len);
    assert_non_null(
        HMAC(EVP_sha256(), key, (int)sizeof(key), covered, 4 + len, frame + 4, &mac_len));
    assert_int_equal(32, mac_len);
    return (struct str){(const char *)frame, ENVELOPE_HEAD_BYTES + len};
}

static void a_request_crosses(void **state)
{
    struct fixture *f = *state;
    const struct str frame = seal(f);
    Avanta__Request *out = NULL;
    struct err err = {0};

    assert_int_equal(ENVELOPE_HEAD_BYTES + avanta__request__get_packed_size(&f->request),
                     frame.len);
    assert_int_equal(
        OK, envelope_open_request(f->sealer, f->guard, frame, NOW + 5, f->arena, &out, &err));
    assert_string_equal(f->method, out->method);
    assert_string_equal(f->request_id, out->request_id);
    assert_int_equal(NOW, out->issued_ms);
    assert_int_equal(sizeof(f->body), out->body.len);
    assert_memory_equal(f->body, out->body.data, sizeof(f->body));
    assert_null(out->principal);
}

static void the_layout_is_what_the_header_says(void **state)
{
    struct fixture *f = *state;
    uint8_t packed[FRAME_MAX];
    const size_t len = avanta__request__pack(&f->request, packed);
    const struct str ours = seal(f);
    const struct str theirs = sign('Q', packed, len);

    assert_int_equal(ours.len, theirs.len);
    assert_memory_equal(ours.ptr, theirs.ptr, ours.len);
    assert_int_equal(OK, open_at(f, theirs, NOW));
}

static void a_reply_crosses(void **state)
{
    struct fixture *f = *state;
    struct str frame = STR_EMPTY;
    Avanta__Reply *out = NULL;
    struct err err = {0};

    assert_int_equal(OK, envelope_seal_reply(f->sealer, &f->reply, f->arena, &frame, &err));
    assert_int_equal(OK, envelope_open_reply(f->sealer, frame, nonce, f->arena, &out, &err));
    assert_string_equal("OK", out->code);
    /* It answers one request only. */
    nonce[15] ^= 1;
    assert_int_equal(ERR_UNAUTHENTICATED, open_reply(f, frame));
}

static void every_changed_bit_is_noticed(void **state)
{
    struct fixture *f = *state;
    const struct str frame = seal(f);
    char changed[FRAME_MAX];

    for (size_t at = 0; at < frame.len; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            memcpy(changed, frame.ptr, frame.len);
            changed[at] = (char)(changed[at] ^ (1 << bit));
            expect(at, ERR_UNAUTHENTICATED, open_at(f, (struct str){changed, frame.len}, NOW));
        }
    }
    assert_int_equal(OK, open_at(f, frame, NOW)); /* and nothing of it was remembered */
}

static void every_other_length_is_noticed(void **state)
{
    struct fixture *f = *state;
    const struct str frame = seal(f);
    char longer[FRAME_MAX] = {0};

    for (size_t len = 0; len < frame.len; len++) {
        expect(len, ERR_UNAUTHENTICATED, open_at(f, (struct str){frame.ptr, len}, NOW));
        expect(len, ERR_UNAUTHENTICATED, open_reply(f, (struct str){frame.ptr, len}));
    }
    memcpy(longer, frame.ptr, frame.len);
    assert_int_equal(ERR_UNAUTHENTICATED, open_at(f, (struct str){longer, frame.len + 1}, NOW));
}

static void another_key_or_kind_is_refused(void **state)
{
    struct fixture *f = *state;
    const struct str request = seal(f);
    struct str reply = STR_EMPTY;
    struct sealer *own = f->sealer;
    uint8_t other[ENVELOPE_KEY_BYTES];
    struct err err = {0};

    assert_int_equal(OK, envelope_seal_reply(f->sealer, &f->reply, f->arena, &reply, &err));
    assert_int_equal(ERR_UNAUTHENTICATED, open_at(f, reply, NOW));
    assert_int_equal(ERR_UNAUTHENTICATED, open_reply(f, request));
    for (size_t i = 0; i < sizeof(key); i++) {
        memcpy(other, key, sizeof(key));
        other[i] ^= 0x80;
        f->sealer = sealer_open(other);
        expect(i, ERR_UNAUTHENTICATED, open_at(f, request, NOW));
        sealer_close(&f->sealer);
    }
    f->sealer = own;
    assert_int_equal(OK, open_at(f, request, NOW));
}

static void times_are_checked(void **state)
{
    static const struct {
        int64_t issued;   /* from now */
        int64_t deadline; /* from now */
        enum code code;
    } rows[] = {
        {0,                        1,                                                  OK                 },
        {0,                        0,                                                  ERR_TIMEOUT        },
        {-60000,                   -1,                                                 ERR_TIMEOUT        },
        {-20000,                   100,                                                OK                 },
        {ENVELOPE_SKEW_MS_MAX,     ENVELOPE_SKEW_MS_MAX + 10,                          OK                 },
        {ENVELOPE_SKEW_MS_MAX + 1, ENVELOPE_SKEW_MS_MAX + 10,                          ERR_UNAUTHENTICATED},
        {0,                        REQUEST_DEADLINE_MS_MAX + ENVELOPE_SKEW_MS_MAX,     OK                 },
        {0,                        REQUEST_DEADLINE_MS_MAX + ENVELOPE_SKEW_MS_MAX + 1, ERR_UNAUTHENTICATED},
        {0,                        INT64_MAX - (int64_t)NOW,                           ERR_UNAUTHENTICATED},
        {INT64_MAX - (int64_t)NOW, INT64_MAX - (int64_t)NOW,                           ERR_UNAUTHENTICATED},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        nonce[0] = (uint8_t)i;
        f->request.issued_ms = (uint64_t)((int64_t)NOW + rows[i].issued);
        f->request.deadline_ms = (uint64_t)((int64_t)NOW + rows[i].deadline);
        expect(i, rows[i].code, open_at(f, seal(f), NOW));
    }
    f->request.issued_ms = UINT64_MAX;
    f->request.deadline_ms = UINT64_MAX;
    assert_int_equal(ERR_UNAUTHENTICATED, open_at(f, seal(f), NOW));
}

static void a_frame_is_taken_once(void **state)
{
    struct fixture *f = *state;
    const struct str frame = seal(f);

    assert_int_equal(OK, open_at(f, frame, NOW));
    assert_int_equal(ERR_UNAUTHENTICATED, open_at(f, frame, NOW));
    assert_int_equal(ERR_UNAUTHENTICATED, open_at(f, frame, NOW + 1999));
    assert_int_equal(ERR_TIMEOUT, open_at(f, frame, NOW + 2000));
    /* Another frame with the same nonce is no better. */
    f->request.deadline_ms += 1000;
    assert_int_equal(ERR_UNAUTHENTICATED, open_at(f, seal(f), NOW + 2500));
    /* The clock may be set back by as much as clocks may differ. */
    assert_int_equal(ERR_UNAUTHENTICATED, open_at(f, frame, NOW + 1500));
    nonce[3] = 1;
    assert_int_equal(OK, open_at(f, seal(f), NOW));
    /* Long after both, the nonce is free again. */
    nonce[3] = 7;
    f->request.issued_ms = NOW + 60000;
    f->request.deadline_ms = NOW + 61000;
    assert_int_equal(OK, open_at(f, seal(f), NOW + 60000));
}

static void a_full_guard_refuses(void **state)
{
    struct fixture *f = *state;
    const uint32_t capacity = 256;
    struct replay_guard *own = f->guard;
    struct arena_mark mark = arena_mark(f->arena);
    uint32_t taken = 0;
    enum code code = OK;

    f->guard = replay_guard_open(capacity);
    for (uint32_t i = 0; code == OK && i < 100 * capacity; i++) {
        memcpy(nonce, &i, sizeof(i));
        code = open_at(f, seal(f), NOW);
        taken += code == OK ? 1 : 0;
        arena_rewind(f->arena, mark);
    }
    assert_int_equal(ERR_OVERLOADED, code);
    assert_in_range(taken, capacity, 4 * capacity);
    /* What it holds it still knows, and when that is over there is room for new ones. */
    memset(nonce, 0, sizeof(uint32_t));
    assert_int_equal(ERR_UNAUTHENTICATED, open_at(f, seal(f), NOW + 1000));
    f->request.deadline_ms = NOW + 12000;
    for (uint32_t i = 0; i < capacity; i++) {
        memcpy(nonce, &i, sizeof(i));
        expect(i, OK, open_at(f, seal(f), NOW + 10000));
        arena_rewind(f->arena, mark);
    }
    replay_guard_close(&f->guard);
    assert_null(f->guard);
    f->guard = own;
}

static void a_signed_message_must_still_be_one(void **state)
{
    struct fixture *f = *state;
    uint8_t packed[FRAME_MAX];
    size_t len = avanta__request__pack(&f->request, packed);

    size_t required = 0; /* bytes before the only optional field */

    f->request.has_body = false;
    required = avanta__request__get_packed_size(&f->request);
    for (size_t i = 0; i < len; i++) {
        expect(i, i == required ? OK : ERR_UNAUTHENTICATED, open_at(f, sign('Q', packed, i), NOW));
    }
    assert_int_equal(ERR_UNAUTHENTICATED,
                     open_at(f, sign('Q', (const uint8_t *)"\xff\xff\xff\xff", 4), NOW));
    for (size_t nonce_len = 0; nonce_len < 18; nonce_len++) {
        uint8_t other[18] = {9, 9, 9};

        f->request.nonce = (ProtobufCBinaryData){nonce_len, other};
        len = avanta__request__pack(&f->request, packed);
        expect(nonce_len,
               nonce_len == ENVELOPE_NONCE_BYTES ? OK : ERR_UNAUTHENTICATED,
               open_at(f, sign('Q', packed, len), NOW));
        f->reply.nonce = f->request.nonce;
        len = avanta__reply__pack(&f->reply, packed);
        expect(nonce_len, ERR_UNAUTHENTICATED, open_reply(f, sign('R', packed, len)));
    }
}

static void a_full_arena_is_an_ordinary_error(void **state)
{
    struct fixture *f = *state;
    const struct str frame = seal(f);
    struct arena *small = arena_open(f->pool, 400);
    struct str out = STR_EMPTY;
    Avanta__Request *request = NULL;
    struct err err = {0};

    assert_non_null(small);
    assert_int_equal(ERR_TOO_LARGE,
                     envelope_open_request(f->sealer, f->guard, frame, NOW, small, &request, &err));
    arena_dispose(&small);
    small = arena_open(f->pool, 256);
    assert_int_equal(ERR_TOO_LARGE,
                     envelope_seal_request(f->sealer, &f->request, small, &out, NULL));
    arena_dispose(&small);
    assert_int_equal(OK, open_at(f, frame, NOW)); /* not counted as seen */
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_request_crosses),
        CASE(the_layout_is_what_the_header_says),
        CASE(a_reply_crosses),
        CASE(every_changed_bit_is_noticed),
        CASE(every_other_length_is_noticed),
        CASE(another_key_or_kind_is_refused),
        CASE(times_are_checked),
        CASE(a_frame_is_taken_once),
        CASE(a_full_guard_refuses),
        CASE(a_signed_message_must_still_be_one),
        CASE(a_full_arena_is_an_ordinary_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
