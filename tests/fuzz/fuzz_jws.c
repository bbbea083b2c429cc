/*
 * Tokens of arbitrary bytes at the gateway's door. The first byte chooses: bit 0 the rest is a
 * token as it comes; else it is a header and claims, a line break between them, that our key signs,
 * so that the bytes get past the signature. Checked besides memory: what is taken was signed for
 * us, is in force, does not live too long, and is taken again from the cache. The same parts are
 * also read as those of an ID token.
 */
#include "api.gen.h"
#include "avanta/google.pb-c.h"
#include "avanta/identity.pb-c.h"
#include "gateway/auth.h"

#include "libcommon/base/limits.h"
#include "libcommon/codec/jws.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define NOW_MS        UINT64_C(1795000000000)
#define ARENA_MAX     ((size_t)4 * 1024 * 1024)
#define TOKEN_MAX     ((size_t)64 * 1024)
#define TOKEN_BIT     1U
#define COORDINATE    44
#define SKEW_MS       1000
#define INPUT_MAX     ((size_t)16 * 1024)
#define SUB_BYTES_MAX 255

/* NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct arena_pool *pool;
static struct ecdsa_key *key;
static struct key_set keys;
static struct auth *auth;

static void publish(void)
{
    static char kid[] = "k1";
    Avanta__Identity__GetKeysReply reply = AVANTA__IDENTITY__GET_KEYS_REPLY__INIT;
    Avanta__Identity__Key row = AVANTA__IDENTITY__KEY__INIT;
    Avanta__Identity__Key *list[] = {&row};
    char text[2][COORDINATE];
    uint8_t x[32];
    uint8_t y[32];

    ecdsa_public(key, x, y);
    (void)base64url_encode(x, sizeof x, text[0], COORDINATE);
    (void)base64url_encode(y, sizeof y, text[1], COORDINATE);
    row.kid = kid;
    row.x = text[0];
    row.y = text[1];
    reply.keys = list;
    reply.n_keys = 1;
    key_set_replace(&keys, &reply);
    assert(keys.count == 1);
}

static void open_all(void)
{
    static const struct auth_options options = {"avanta", "avanta-api", &keys};
    uint8_t scalar[ECDSA_SCALAR_BYTES];
    struct err err = {.code = OK};
    enum code code = OK;

    memset(scalar, 7, sizeof scalar);
    pool = arena_pool_open(ARENA_CHUNK_BYTES, 1024);
    code = ecdsa_open(scalar, &key, &err);
    assert(code == OK);
    publish();
    auth = auth_open(&options);
    assert(pool != NULL);
    assert(auth != NULL);
}

static void put_part(struct buf *b, const void *bytes, size_t len)
{
    char *room = buf_reserve(b, len * 2 + 4);

    assert(room != NULL);
    buf_commit(b, base64url_encode(bytes, len, room, len * 2 + 4));
}

static struct str sign(struct str header, struct str claims, struct arena *arena)
{
    char *memory = arena_alloc(arena, TOKEN_MAX);
    struct buf b = buf_over(memory, TOKEN_MAX);
    uint8_t signature[ECDSA_SIGNATURE_BYTES];
    struct err err = {.code = OK};
    enum code code = OK;

    put_part(&b, header.ptr, header.len);
    buf_char(&b, '.');
    put_part(&b, claims.ptr, claims.len);
    code = ecdsa_sign(key, buf_view(&b), signature, &err);
    assert(code == OK);
    buf_char(&b, '.');
    put_part(&b, signature, sizeof signature);
    assert(!b.overflow);
    return buf_view(&b);
}

static enum code verify(struct str token, struct arena *arena, struct auth_principal *out)
{
    struct err err = {.code = OK};
    bool unknown = false;
    enum code code =
        auth_verify(auth, (struct auth_input){token, NOW_MS, arena, &unknown}, out, &err);

    assert(code == OK || code == ERR_UNAUTHENTICATED);
    assert(code == err.code);
    assert(!unknown || code != OK);
    return code;
}

static void as_access_token(struct str token, bool signed_by_us, struct arena *arena)
{
    struct auth_principal first;
    struct auth_principal again;

    memset(&first, 0, sizeof first);
    memset(&again, 0, sizeof again);
    if (verify(token, arena, &first) != OK) {
        return;
    }
    assert(signed_by_us);
    assert(token.len <= AUTH_TOKEN_BYTES_MAX);
    assert(first.issued_ms <= NOW_MS + SKEW_MS);
    assert(first.issued_ms + AUTH_TOKEN_LIFE_MS > NOW_MS);
    assert(strlen(first.user_id) < sizeof first.user_id);
    assert(strlen(first.role) < sizeof first.role);
    assert(verify(token, arena, &again) == OK);
    assert(strcmp(first.user_id, again.user_id) == 0);
    assert(strcmp(first.session_id, again.session_id) == 0);
}

static void as_id_token(struct str token, struct arena *arena)
{
    ProtobufCMessage *message = NULL;
    struct jws parts;

    if (!jws_split(token, &parts)) {
        return;
    }
    assert(parts.header.len + 1 + parts.claims.len == parts.signed_part.len);
    assert(parts.signed_part.len + 1 + parts.signature.len == token.len);
    (void)!jws_part_read(parts.header, &rules_avanta_google_header, arena, &message);
    if (jws_part_read(parts.claims, &rules_avanta_google_id_token, arena, &message)) {
        const Avanta__Google__IdToken *claims = (const void *)message;

        assert(claims->sub[0] != '\0');
        assert(strlen(claims->sub) <= 4UL * SUB_BYTES_MAX);
        assert(strchr(claims->email, '@') != NULL);
        assert(claims->exp > 0);
        assert(claims->iat > 0);
        assert(claims->has_email_verified);
    }
    (void)!jws_part_read(parts.claims, &rules_avanta_google_jwks, arena, &message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = STR_EMPTY;
    struct str header = STR_EMPTY;
    struct arena *arena = NULL;
    char *copy = NULL;

    if (pool == NULL) {
        open_all();
    }
    if (size < 2 || size > INPUT_MAX) {
        return 0;
    }
    rest = (struct str){(const char *)data + 1, size - 1};
    arena = arena_open(pool, ARENA_MAX);
    assert(arena != NULL);
    if ((data[0] & TOKEN_BIT) == 0) {
        (void)str_split(&rest, '\n', &header);
        rest = sign(header, rest, arena);
    }
    copy = malloc(rest.len + 1); /* of exactly its length, so that a read past the end is found */
    assert(copy != NULL);
    memcpy(copy, rest.ptr, rest.len);
    rest.ptr = copy;
    as_access_token(rest, (data[0] & TOKEN_BIT) == 0, arena);
    as_id_token(rest, arena);
    free(copy);
    arena_dispose(&arena);
    return 0;
}
