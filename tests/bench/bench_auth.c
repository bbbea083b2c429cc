/*
 * What it costs the gateway to know who calls: real access tokens of identity, each seen for the
 * first time, then again and again. Prints the time of one call and how many signatures were
 * verified.
 */
#include "avanta/identity.pb-c.h"
#include "gateway/auth.h"
#include "services/identity/token.h"

#include "libcommon/base/limits.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TOKENS       4000 /* fewer than the cache holds */
#define CACHED_CALLS 2000000
#define CHUNKS_MAX   64
#define NOW_S        UINT64_C(1795000000)

static char tokens[TOKENS][1024];
static struct key_set keys;

static void check(bool good, const char *what)
{
    if (!good) {
        (void)fprintf(stderr, "bench_auth: %s\n", what);
        exit(1);
    }
}

static struct ecdsa_key *key_publish(void)
{
    uint8_t scalar[ECDSA_SCALAR_BYTES];
    uint8_t x[32];
    uint8_t y[32];
    char x_text[64];
    char y_text[64];
    char kid[TOKEN_KID_BYTES];
    struct ecdsa_key *key = NULL;
    struct err err = {.code = OK};
    Avanta__Identity__GetKeysReply reply = AVANTA__IDENTITY__GET_KEYS_REPLY__INIT;
    Avanta__Identity__Key row = AVANTA__IDENTITY__KEY__INIT;
    Avanta__Identity__Key *rows[] = {&row};

    memset(scalar, 7, sizeof scalar);
    check(ecdsa_open(scalar, &key, &err) == OK, err.text);
    token_kid(key, kid);
    ecdsa_public(key, x, y);
    (void)base64url_encode(x, sizeof x, x_text, sizeof x_text);
    (void)base64url_encode(y, sizeof y, y_text, sizeof y_text);
    row.kid = kid;
    row.x = x_text;
    row.y = y_text;
    reply.n_keys = 1;
    reply.keys = rows;
    key_set_replace(&keys, &reply);
    check(keys.count == 1, "the key was not taken");
    return key;
}

static void tokens_make(const struct ecdsa_key *key)
{
    for (size_t i = 0; i < TOKENS; i++) {
        struct buf out = buf_over(tokens[i], sizeof tokens[i]);
        struct err err = {.code = OK};
        char id[37];

        (void)snprintf(id, sizeof id, "0191d6a2-7b1c-7000-8000-%012zu", i);
        const struct token_claims claims = {.issuer = "avanta",
                                            .audience = "avanta-api",
                                            .user_id = id,
                                            .email = "ana.maria@example.com",
                                            .name = "Ana María Núñez",
                                            .role = "user",
                                            .session_id = id,
                                            .token_id = id,
                                            .issued_s = NOW_S,
                                            .expires_s = NOW_S + 900};
        check(token_make(key, &claims, &out, &err) == OK, err.text);
    }
}

/* Of this process alone, whatever else the machine does. */
static uint64_t cpu_us(void)
{
    struct timespec now = {0, 0};

    check(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) == 0, "no clock");
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Nanoseconds of one call. */
static uint64_t
calls_ns(struct auth *auth, struct arena_pool *pool, size_t calls, uint64_t *out_verifications)
{
    const uint64_t verified = auth_verifications(auth);
    const uint64_t began_us = cpu_us();
    struct arena *arena = arena_open(pool, (size_t)CHUNKS_MAX * ARENA_CHUNK_BYTES);
    const struct arena_mark mark = arena_mark(arena);

    for (size_t i = 0; i < calls; i++) {
        struct auth_principal principal;
        struct err err = {.code = OK};
        const struct auth_input input = {
            .token = str_from(tokens[i % TOKENS]), .now_wall_ms = NOW_S * 1000, .arena = arena};

        check(auth_verify(auth, input, &principal, &err) == OK, err.text);
        arena_rewind(arena, mark);
    }
    arena_dispose(&arena);
    *out_verifications = auth_verifications(auth) - verified;
    return (cpu_us() - began_us) * 1000 / calls;
}

int main(void)
{
    const struct auth_options options = {"avanta", "avanta-api", &keys};
    struct arena_pool *pool = arena_pool_open(ARENA_CHUNK_BYTES, CHUNKS_MAX);
    struct ecdsa_key *key = key_publish();
    struct auth *auth = auth_open(&options);
    uint64_t cold_verified = 0;
    uint64_t cached_verified = 0;

    check(auth != NULL && pool != NULL, "no memory");
    tokens_make(key);
    uint64_t cold_ns = calls_ns(auth, pool, TOKENS, &cold_verified);
    uint64_t cached_ns = calls_ns(auth, pool, CACHED_CALLS, &cached_verified);
    (void)printf("cold verification %" PRIu64 ".%" PRIu64 " us; cached verification %" PRIu64
                 ".%02" PRIu64 " us of CPU time (target <= 2 us)\n",
                 cold_ns / 1000,
                 cold_ns % 1000 / 100,
                 cached_ns / 1000,
                 cached_ns % 1000 / 10);
    (void)printf("ES256 verifications: %" PRIu64 " for %d distinct tokens, %" PRIu64
                 " in %d further calls (target: as many as distinct tokens)\n",
                 cold_verified,
                 TOKENS,
                 cached_verified,
                 CACHED_CALLS);
    check(cold_verified == TOKENS && cached_verified == 0, "not as many as distinct tokens");
    auth_close(&auth);
    key_set_clear(&keys);
    ecdsa_close(&key);
    arena_pool_close(&pool);
    return 0;
}
