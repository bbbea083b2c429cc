#include "tests/support/google_issuer.h"

#include "tests/support/check.h"
#include "tests/support/rsa_key.h"
#include "tests/support/stack.h"

#include "libcommon/base/clock.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CLIENT "client-1.apps.example.com"
#define ISSUER "https://accounts.example.com"

static struct rsa_key *keys[GOOGLE_ISSUER_KEYS];
static char directory[] = "/tmp/avanta-google-XXXXXX";
static char file_path[64];

void google_issuer_put(size_t key, const char *kid)
{
    char memory[4096];
    char fresh[80];
    struct buf b = buf_over(memory, sizeof memory);
    FILE *file = NULL;

    assert_true(key < GOOGLE_ISSUER_KEYS);
    buf_text(&b, "{\"keys\":[");
    rsa_key_jwk(keys[key], kid, ",\"use\":\"sig\",\"alg\":\"RS256\"", &b);
    buf_text(&b, "]}");
    (void)snprintf(fresh, sizeof fresh, "%s.new", file_path);
    file = fopen(fresh, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(memory, 1, b.len, file), b.len);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(rename(fresh, file_path), 0);
}

void google_issuer_open(const char *settings)
{
    char all[512];

    if (getenv("AVANTA_BUILD") == NULL) {
        fail_msg("this test needs a stack of its own");
    }
    for (size_t i = 0; i < GOOGLE_ISSUER_KEYS; i++) {
        keys[i] = rsa_key_make(2048);
    }
    assert_non_null(mkdtemp(directory));
    (void)snprintf(file_path, sizeof file_path, "%s/jwks.json", directory);
    google_issuer_put(0, "g1");
    (void)snprintf(
        all,
        sizeof all,
        "AVANTA_GOOGLE_CLIENT_ID=%s AVANTA_GOOGLE_JWKS_FILE=%s AVANTA_GOOGLE_ISSUER=%s%s",
        CLIENT,
        file_path,
        ISSUER,
        settings);
    stack_identity_settings(all);
}

void google_issuer_close(void)
{
    for (size_t i = 0; i < GOOGLE_ISSUER_KEYS; i++) {
        rsa_key_free(&keys[i]);
    }
    (void)unlink(file_path);
    (void)rmdir(directory);
}

const char *google_token_text(const struct google_token *token)
{
    static char memory[8192];
    struct buf b = buf_over(memory, sizeof memory);
    const int64_t now_s = (int64_t)(clock_wall_ms() / 1000);
    json_t *claims = json_pack("{s:s,s:s,s:s,s:s,s:b,s:s,s:s,s:I,s:I}",
                               "iss",
                               ISSUER,
                               "aud",
                               token->aud == NULL ? CLIENT : token->aud,
                               "sub",
                               token->sub,
                               "email",
                               token->email,
                               "email_verified",
                               token->unverified ? 0 : 1,
                               "name",
                               "Ana Pérez",
                               "picture",
                               "https://pictures.example.com/ana",
                               "iat",
                               (json_int_t)(now_s - token->age_s),
                               "exp",
                               (json_int_t)(now_s - token->age_s + 3600));
    char *text = json_dumps(claims, 0);

    assert_non_null(text);
    rsa_key_token(keys[token->key],
                  token->header == NULL ? "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"g1\"}"
                                        : token->header,
                  text,
                  &b);
    assert_true(buf_terminate(&b));
    free(text);
    json_decref(claims);
    return memory;
}
