/* Users, credentials, sessions, signing keys. */
#include "identity_migrations.gen.h"
#include "identity_ops.gen.h"
#include "identity_sql.gen.h"
#include "services/identity/google.h"
#include "services/identity/identity.h"
#include "services/identity/lockout.h"
#include "services/identity/mfa.h"
#include "services/identity/password_policy.h"
#include "services/identity/session_list.h"
#include "services/identity/signatures.h"
#include "services/identity/signing_keys.h"
#include "services/identity/users.h"

#include "libcommon/base/version.h"

#include <assert.h>
#include <string.h>

#define ARGON2_LANES         1
#define BOOTSTRAP_EVERY_MS   2000
#define PURGE_EVERY_MS       (UINT64_C(10) * 60 * 1000)
#define FORGET_EVERY_MS      10000
#define GOOGLE_EVERY_MS      5000
#define KEYS_FIRST_EVERY_MS  200
#define KEYS_LOAD_EVERY_MS   1000
#define KEYS_ROTATE_EVERY_MS 5000

static struct identity instance;
struct identity *const identity_state = &instance;

#define CONFIG_TARGET struct identity_config
static const struct config_row config_rows[] = {IDENTITY_CONFIG(CONFIG_ROW)};
static const struct config_table config = {config_rows, ARRAY_LEN(config_rows), &instance.config};

static const struct periodic_row periodics[] = {
    {"signature purge",     FORGET_EVERY_MS,      &op_identity_purge_signatures,    false},
    {"session purge",       PURGE_EVERY_MS,       &op_identity_purge_sessions,      false},
    {"attempts_purge",      FORGET_EVERY_MS,      &op_identity_attempts_purge,      false},
    {"bootstrap",           BOOTSTRAP_EVERY_MS,   &op_identity_bootstrap,           true },
    {"google_keys",         GOOGLE_EVERY_MS,      &op_identity_google_keys,         false},
    {"google_keys_first",   GOOGLE_EVERY_MS,      &op_identity_google_keys,         true },
    {"signing_keys_first",  KEYS_FIRST_EVERY_MS,  &op_identity_signing_keys_rotate, true },
    {"signing_keys_ready",  KEYS_FIRST_EVERY_MS,  &op_identity_signing_keys_load,   true },
    {"signing_keys_load",   KEYS_LOAD_EVERY_MS,   &op_identity_signing_keys_load,   false},
    {"signing_keys_rotate", KEYS_ROTATE_EVERY_MS, &op_identity_signing_keys_rotate, false},
};

enum {
    METRIC_PASSWORD_HASHES,
    METRIC_COUNT
};

static const struct metric_row metric_rows[METRIC_COUNT] = {
    [METRIC_PASSWORD_HASHES] = {METRIC_COUNTER,
                                "avanta_password_hashes_total", NULL,
                                NULL, "Password hashes computed, to make or to check one"},
};

static const struct constraint_row constraints[] = {
    {"users_google_sub", AVANTA__REASON__GOOGLE_LINKED_OTHERWISE, NULL},
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

/* A key must be published for less time than it lasts. */
static enum code rotation_check(struct err *err)
{
    assert(instance.config.key_rotate_hours > 0);
    assert(instance.config.key_ahead_s > 0);
    if (instance.config.key_ahead_s >= instance.config.key_rotate_hours * 3600) {
        return err_set_field(err,
                             ERR_INVALID,
                             "AVANTA_KEY_PUBLISH_AHEAD_S",
                             "AVANTA_KEY_PUBLISH_AHEAD_S must be less than "
                             "AVANTA_KEY_ROTATE_HOURS");
    }
    return OK;
}

/* What is asked of everybody's password is asked of the administrator's. */
static enum code admin_check(struct err *err)
{
    const struct identity_config *set = &instance.config;
    const char *fault = NULL;

    if (set->admin_email[0] == '\0' || set->admin_password[0] == '\0') {
        return OK; /* none is to be created */
    }
    fault = password_check(str_from(set->admin_password), str_from(set->admin_email), STR_EMPTY);
    return fault == NULL ? OK
                         : err_set_field(err,
                                         ERR_INVALID,
                                         "AVANTA_BOOTSTRAP_PASSWORD",
                                         "AVANTA_BOOTSTRAP_PASSWORD is too easy to guess: %s",
                                         fault);
}

static enum code mfa_start(struct err *err)
{
    enum code code =
        mfa_roles_parse(str_from(instance.config.mfa_required_roles), &instance.mfa_roles, err);

    assert(instance.mfa_roles == 0 || code == OK);
    return code == OK ? totp_open(err) : code;
}

/* Both or neither. */
static enum code google_check(struct err *err)
{
    bool client = instance.config.google_client_id[0] != '\0';
    bool file = instance.config.google_jwks_file[0] != '\0';

    return client == file ? OK
                          : err_set_field(err,
                                          ERR_INVALID,
                                          "AVANTA_GOOGLE_JWKS_FILE",
                                          "AVANTA_GOOGLE_CLIENT_ID and AVANTA_GOOGLE_JWKS_FILE "
                                          "go together");
}

static enum code on_start(void **out_state, struct err *err)
{
    enum code code = admin_check(err);

    assert(out_state != NULL);
    assert(instance.keyring.count == 0);
    code = code == OK ? rotation_check(err) : code;
    code = code == OK ? mfa_start(err) : code;
    code = code == OK ? google_check(err) : code;
    code = code == OK ? vault_start(err) : code;
    if (code != OK) {
        return code;
    }
    instance.metrics = metrics_open(metric_rows, METRIC_COUNT);
    if (instance.metrics == NULL) {
        return err_set(err, ERR_INTERNAL, "no memory for the metrics");
    }
    password_counted(instance.metrics, METRIC_PASSWORD_HASHES);
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
    keyring_clear(&self->keyring);
    google_keys_clear(&self->google);
    vault_close(&self->vault);
    totp_close();
    password_counted(NULL, 0);
    metrics_close(&self->metrics);
}

static const struct metrics *own_metrics(const void *state)
{
    const struct identity *self = state;

    assert(self == &instance);
    return self->metrics;
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
        .constraints = constraints,
        .constraint_count = ARRAY_LEN(constraints),
        .config = &config,
        .metrics = metric_rows,
        .metric_count = METRIC_COUNT,
        .own_metrics = own_metrics,
        .on_start = on_start,
        .on_stop = on_stop,
    };

    return service_main(argc, argv, &self);
}
