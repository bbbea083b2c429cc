#include "services/identity/password.h"

#include "libcommon/base/id.h"

#include <argon2.h>
#include <assert.h>
#include <string.h>

#define SALT_BYTES 16
#define HASH_BYTES 32

enum code password_hash(struct str password,
                        const struct password_cost *cost,
                        char out[PASSWORD_HASH_BYTES],
                        struct err *err)
{
    uint8_t salt[SALT_BYTES];

    assert(password.len > 0);
    assert(cost->memory_kib >= 8);
    assert(cost->passes >= 1);
    assert(cost->lanes >= 1);
    random_bytes(salt, sizeof salt);
    if (argon2id_hash_encoded(cost->passes,
                              cost->memory_kib,
                              cost->lanes,
                              password.ptr,
                              password.len,
                              salt,
                              sizeof salt,
                              HASH_BYTES,
                              out,
                              PASSWORD_HASH_BYTES) != ARGON2_OK) {
        return err_set(err, ERR_INTERNAL, "the password could not be hashed");
    }
    assert(out[0] == '$');
    return OK;
}

bool password_verify(struct str password, const char *hash)
{
    assert(hash != NULL);
    assert(password.ptr != NULL);
    return argon2id_verify(hash, password.ptr, password.len) == ARGON2_OK;
}

void password_verify_nobody(struct str password, const struct password_cost *cost)
{
    char hash[PASSWORD_HASH_BYTES];

    assert(cost != NULL);
    if (password_hash(password.len > 0 ? password : STR("nobody"), cost, hash, NULL) == OK) {
        explicit_bzero(hash, sizeof hash);
    }
}

/* Each step between neighbours is the same and at most one: aaaaaaaa, 12345678, hgfedcba. */
static bool is_sequence(struct str s)
{
    int step = s.len > 1 ? s.ptr[1] - s.ptr[0] : 0;

    for (size_t i = 1; i < s.len; i++) {
        if (s.ptr[i] - s.ptr[i - 1] != step) {
            return false;
        }
    }
    return step >= -1 && step <= 1;
}

bool password_is_weak(struct str password, struct str email, struct str name)
{
    size_t at = 0;
    struct str local = str_find_char(email, '@', &at) ? str_sub(email, 0, at) : email;

    return is_sequence(password) || str_eq_nocase(password, email) ||
           str_eq_nocase(password, local) || str_eq_nocase(password, name) ||
           str_eq_nocase(password, STR("password"));
}
