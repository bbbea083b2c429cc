#include "services/identity/password.h"

#include "libcommon/base/id.h"

#include <argon2.h>
#include <assert.h>
#include <string.h>

#define SALT_BYTES 16
#define HASH_BYTES 32

static struct metrics *counted; /* set while no hash is computed */
static size_t counted_row;

void password_counted(struct metrics *metrics, size_t row)
{
    counted = metrics;
    counted_row = row;
}

static void count(void)
{
    if (counted != NULL) {
        metric_add(counted, counted_row, 0, 1);
    }
}

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
    count();
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
    count();
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
