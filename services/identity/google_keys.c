#include "services/identity/google_keys.h"

#include "api.gen.h"
#include "avanta/google.pb-c.h"

#include "libcommon/codec/rules.h"
#include "libcommon/codec/transcode.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is(const char *value, const char *wanted)
{
    assert(wanted != NULL);
    return value != NULL && strcmp(value, wanted) == 0;
}

/* `use` and `alg` may be left out, but say nothing else. */
static bool usable(const Avanta__Google__Jwk *jwk)
{
    return is(jwk->kty, "RSA") && (jwk->use == NULL || is(jwk->use, "sig")) &&
           (jwk->alg == NULL || is(jwk->alg, "RS256")) && jwk->kid != NULL && jwk->kid[0] != '\0' &&
           strlen(jwk->kid) < GOOGLE_KID_BYTES && jwk->n != NULL && jwk->e != NULL;
}

static bool named_twice(const Avanta__Google__Jwks *set, const char *kid)
{
    size_t times = 0;

    assert(kid != NULL);
    for (size_t i = 0; i < set->n_keys; i++) {
        times += is(set->keys[i]->kid, kid) ? 1 : 0;
    }
    return times > 1;
}

static bool key_take(const Avanta__Google__Jwk *jwk, struct google_key *out)
{
    uint8_t modulus[RSA_SIGNATURE_BYTES];
    uint8_t exponent[8];
    size_t modulus_len = 0;
    size_t exponent_len = 0;

    assert(out->verifier == NULL);
    if (!base64url_decode(str_from(jwk->n), modulus, sizeof modulus, &modulus_len) ||
        !base64url_decode(str_from(jwk->e), exponent, sizeof exponent, &exponent_len) ||
        rsa_verifier_open((struct str){(const char *)modulus, modulus_len},
                          (struct str){(const char *)exponent, exponent_len},
                          &out->verifier,
                          NULL) != OK) {
        return false;
    }
    memcpy(out->kid, jwk->kid, strlen(jwk->kid) + 1);
    return true;
}

static enum code
set_read(struct str json, struct arena *arena, const Avanta__Google__Jwks **out, struct err *err)
{
    const struct message_rules *rules = &rules_avanta_google_jwks;
    ProtobufCMessage *message = transcode_new(rules->descriptor, arena);
    struct violations *violations = arena_alloc(arena, sizeof *violations);
    enum code code = OK;

    assert(out != NULL);
    if (message == NULL || violations == NULL) {
        return err_set(err, ERR_TOO_LARGE, "no memory for the keys");
    }
    violations_init(violations, arena);
    code = transcode_from_json(json, rules, arena, message, violations, err);
    if (code == OK) {
        rules_check(message, rules, date_in_mexico_city(clock_wall_ms()), violations);
    }
    if (code != OK || violations->count > 0) {
        return err_set(err, ERR_INVALID, "not a JWKS");
    }
    *out = (const Avanta__Google__Jwks *)(const void *)message;
    return OK;
}

enum code
google_keys_load(struct google_keys *keys, struct str json, struct arena *arena, struct err *err)
{
    const Avanta__Google__Jwks *set = NULL;
    struct google_keys next = {.count = 0};
    enum code code = set_read(json, arena, &set, err);

    assert(keys != NULL);
    if (code != OK) {
        return code;
    }
    assert(set != NULL);
    for (size_t i = 0; i < set->n_keys && next.count < GOOGLE_KEYS_MAX; i++) {
        if (usable(set->keys[i]) && !named_twice(set, set->keys[i]->kid) &&
            key_take(set->keys[i], &next.keys[next.count])) {
            next.count++;
        }
    }
    if (next.count == 0) {
        return err_set(err, ERR_INVALID, "no RS256 key of 2048 bits or more");
    }
    next.stamp = keys->stamp;
    google_keys_clear(keys);
    *keys = next;
    return OK;
}

void google_keys_clear(struct google_keys *keys)
{
    assert(keys != NULL);
    assert(keys->count <= GOOGLE_KEYS_MAX);
    for (uint32_t i = 0; i < keys->count; i++) {
        rsa_verifier_close(&keys->keys[i].verifier);
    }
    keys->count = 0;
}

const struct rsa_verifier *google_keys_find(const struct google_keys *keys, const char *kid)
{
    assert(keys != NULL);
    assert(kid != NULL);
    for (uint32_t i = 0; i < keys->count; i++) {
        if (strcmp(keys->keys[i].kid, kid) == 0) {
            return keys->keys[i].verifier;
        }
    }
    return NULL;
}

/* --- the file --- */

static bool stamp_same(const struct google_stamp *a, const struct google_stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

static enum code file_take(struct google_file *file, int fd)
{
    struct stat facts;
    struct google_stamp stamp;

    assert(fd >= 0);
    if (fstat(fd, &facts) != 0 || !S_ISREG(facts.st_mode)) {
        return err_set(&file->err, ERR_INVALID, "it is not a file");
    }
    stamp = (struct google_stamp){facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtim};
    file->same = stamp_same(&stamp, &file->stamp);
    file->stamp = stamp;
    if (file->same) {
        return OK;
    }
    if (facts.st_size <= 0 || facts.st_size > (off_t)GOOGLE_FILE_BYTES_MAX) {
        return err_set(&file->err, ERR_INVALID, "it is empty or longer than 64 KiB");
    }
    while (file->len < (size_t)facts.st_size) {
        ssize_t n = read(fd, file->bytes + file->len, (size_t)facts.st_size - file->len);

        if (n <= 0) {
            return err_set(&file->err, ERR_INVALID, "it could not be read whole");
        }
        file->len += (size_t)n;
    }
    return OK;
}

void google_file_read(struct google_file *file)
{
    int fd = -1;

    assert(file->path != NULL);
    assert(file->bytes != NULL);
    file->len = 0;
    file->same = false;
    fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        file->code = err_set(&file->err, ERR_INVALID, "it cannot be opened: errno %d", errno);
        return;
    }
    file->code = file_take(file, fd);
    (void)close(fd);
}
