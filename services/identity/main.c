/* Users, credentials, sessions, signing keys. */
#include "identity_migrations.gen.h"
#include "identity_ops.gen.h"
#include "identity_sql.gen.h"
#include "services/identity/identity.h"
#include "services/identity/session_list.h"
#include "services/identity/users.h"

#include "libcommon/base/version.h"

#include <assert.h>
#include <string.h>

#define ARGON2_LANES       1
#define BOOTSTRAP_EVERY_MS 2000
#define PURGE_EVERY_MS     (UINT64_C(10) * 60 * 1000)

static struct identity instance;
struct identity *const identity_state = &instance;

#define CONFIG_TARGET struct identity_config
static const struct config_row config_rows[] = {IDENTITY_CONFIG(CONFIG_ROW)};
static const struct config_table config = {config_rows, ARRAY_LEN(config_rows), &instance.config};

static const struct periodic_row periodics[] = {
    {"bootstrap",     BOOTSTRAP_EVERY_MS, &op_identity_bootstrap,      true },
    {"session purge", PURGE_EVERY_MS,     &op_identity_purge_sessions, false},
};

/* A setting of 64 hex digits. */
static enum code
key_from_hex(const char *setting, const char *hex, uint8_t out[32], struct err *err)
{
    size_t len = 0;

    assert(setting != NULL);
    assert(hex != NULL);
    if (!hex_decode(str_from(hex), out, 32, &len) || len != 32) {
        return err_set_field(err, ERR_INVALID, setting, "%s must be 64 hex digits", setting);
    }
    return OK;
}

static enum code vault_start(struct err *err)
{
    uint8_t key[VAULT_KEY_BYTES];
    enum code code = key_from_hex("AVANTA_SECRETS_KEY", instance.config.secrets_key, key, err);

    assert(instance.vault == NULL);
    if (code == OK) {
        instance.vault = vault_open(key);
        code = instance.vault == NULL ? err_set(err, ERR_INTERNAL, "no memory for a key") : OK;
    }
    explicit_bzero(key, sizeof key);
    return code;
}

static enum code on_start(void **out_state, struct err *err)
{
    uint8_t scalar[ECDSA_SCALAR_BYTES];
    enum code code = vault_start(err);

    assert(out_state != NULL);
    assert(instance.key == NULL);
    if (code == OK) {
        code = key_from_hex("AVANTA_SIGNING_KEY", instance.config.signing_key, scalar, err);
    }
    if (code != OK) {
        return code;
    }
    code = ecdsa_open(scalar, &instance.key, err);
    explicit_bzero(scalar, sizeof scalar);
    if (code != OK) {
        return err_prefix(err, "AVANTA_SIGNING_KEY");
    }
    token_kid(instance.key, instance.kid);
    assert(instance.kid[TOKEN_KID_BYTES - 1] == '\0');
    instance.cost = (struct password_cost){
        .memory_kib = (uint32_t)instance.config.argon2_kib,
        .passes = (uint32_t)instance.config.argon2_passes,
        .lanes = ARGON2_LANES,
    };
    *out_state = &instance;
    return OK;
}

static void on_stop(void *state)
{
    struct identity *self = state;

    assert(self == &instance);
    ecdsa_close(&self->key);
    vault_close(&self->vault);
}

int main(int argc, char **argv)
{
    const struct service self = {
        .name = "identity",
        .version = AVANTA_VERSION,
        .description = "Users, credentials, sessions and the keys that sign access tokens.",
        .ops = identity_op_rows,
        .op_count = IDENTITY_OP_ROW_COUNT,
        .queries = identity_queries,
        .query_count = IDENTITY_QUERY_COUNT,
        .migrations = identity_migrations,
        .migration_count = identity_migration_count,
        .periodics = periodics,
        .periodic_count = ARRAY_LEN(periodics),
        .config = &config,
        .on_start = on_start,
        .on_stop = on_stop,
    };

    return service_main(argc, argv, &self);
}
