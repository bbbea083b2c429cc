#include "tests/support/attempts.h"

#include "tests/support/check.h"
#include "tests/support/scratch_pg.h"

#include "libcommon/io/digest.h"

#include <stdio.h>
#include <string.h>

#define SECRETS_KEY "0000000000000000000000000000000000000000000000000000000000000008"

static struct service_rig rig;
static struct attempts_heard heard;

struct service_rig *attempts_rig(void)
{
    return &rig;
}

struct attempts_heard *attempts_heard(void)
{
    return &heard;
}

#define SEEN_MAX 256

/* What is published again, for an acknowledgement that was late, has the same id: streams keep one
 * of them, whoever listens beside them hears both. */
static void count_once(void *counter, struct bus_message *message)
{
    static uint64_t seen[SEEN_MAX];
    static size_t count;
    const struct str id = bus_message_id(message);
    const struct str subject = bus_message_subject(message);
    uint64_t hash = hash_bytes(id.ptr, id.len, hash_bytes(subject.ptr, subject.len, 1));
    bool known = false;

    assert_true(id.len > 0);
    for (size_t i = 0; i < count && i < SEEN_MAX; i++) {
        known = known || seen[i] == hash;
    }
    if (!known) {
        seen[count++ % SEEN_MAX] = hash;
        *(int *)counter += 1;
    }
    bus_message_destroy(message);
}

void attempts_open(void)
{
    struct bus_subscription *subscription = NULL;
    struct err err = {0};

    service_rig_setting("AVANTA_SECRETS_KEY", SECRETS_KEY);
    service_rig_setting("AVANTA_ARGON2_KIB", "64");
    service_rig_setting("AVANTA_ARGON2_PASSES", "1");
    service_rig_setting("AVANTA_WORK_WAITING", "200");
    service_rig_open(&rig, "identity", 2);
    assert_int_equal(bus_subscribe(rig.bus,
                                   "alert.warning.identity",
                                   NULL,
                                   count_once,
                                   &heard.alerts,
                                   &subscription,
                                   &err),
                     OK);
    assert_int_equal(
        bus_subscribe(
            rig.bus, "evt.identity.*.locked", NULL, count_once, &heard.events, &subscription, &err),
        OK);
}

void attempts_close(void)
{
    service_rig_close(&rig);
}

const char *attempts_address(char out[ATTEMPTS_ADDRESS_BYTES])
{
    static unsigned used;

    used++;
    (void)snprintf(out, ATTEMPTS_ADDRESS_BYTES, "10.1.%u.%u", used / 250, used % 250 + 1);
    return out;
}

struct attempts_verdict attempts_verdict_of(struct service_call *call)
{
    struct attempts_verdict verdict = {call->code, call->reason, call->retry_after_s, ""};

    assert_int_equal(call->bus, OK);
    if (call->code != OK) {
        (void)snprintf(verdict.detail, sizeof verdict.detail, "%s", call->detail);
    }
    service_call_end(call);
    return verdict;
}

char *attempts_text(const char *given)
{
    return (char *)(uintptr_t)given;
}

struct attempts_verdict
attempts_login(const char *email, const char *password, const char *client_ip)
{
    Avanta__Identity__LoginRequest in = AVANTA__IDENTITY__LOGIN_REQUEST__INIT;
    struct service_call call = {
        .method = service_method("identity.Login"), .in = &in.base, .client_ip = client_ip};

    in.email = attempts_text(email);
    in.password = attempts_text(password);
    (void)service_call(&rig, &call);
    return attempts_verdict_of(&call);
}

struct attempts_verdict attempts_register(const char *email, const char *client_ip)
{
    Avanta__Identity__RegisterRequest in = AVANTA__IDENTITY__REGISTER_REQUEST__INIT;
    struct service_call call = {
        .method = service_method("identity.RegisterUser"), .in = &in.base, .client_ip = client_ip};

    in.email = attempts_text(email);
    in.password = attempts_text(ATTEMPTS_PASSWORD);
    in.name = attempts_text("Persona");
    (void)service_call(&rig, &call);
    return attempts_verdict_of(&call);
}

void attempts_user(const char *email)
{
    char address[32];

    assert_int_equal(attempts_register(email, attempts_address(address)).code, OK);
}

void attempts_expect_wrong(struct attempts_verdict verdict)
{
    assert_int_equal(verdict.code, ERR_UNAUTHENTICATED);
    assert_int_equal(verdict.reason, AVANTA__REASON__INVALID_CREDENTIALS);
}

void attempts_expect_locked(struct attempts_verdict verdict, uint32_t seconds)
{
    assert_int_equal(verdict.code, ERR_RATE_LIMITED);
    assert_int_equal(verdict.reason, AVANTA__REASON__TOO_MANY_ATTEMPTS);
    assert_in_range(verdict.retry_after_s, seconds - 3, seconds);
}

const char *attempts_row(const char *email, const char *column)
{
    static char sql[512];
    uint8_t hash[SHA256_BYTES];
    char hex[2 * SHA256_BYTES + 1];

    sha256(str_from(email), hash);
    hex_encode(hash, sizeof hash, hex);
    (void)snprintf(sql,
                   sizeof sql,
                   "SELECT %s FROM attempt WHERE kind = 'email' AND key = '\\x%s'",
                   column,
                   hex);
    return scratch_pg_ask(rig.dsn, sql);
}

void attempts_time_passes(const char *interval)
{
    char sql[256];

    (void)snprintf(sql,
                   sizeof sql,
                   "UPDATE attempt SET failed_at = failed_at - interval '%s',"
                   " locked_until = locked_until - interval '%s',"
                   " pending_until = pending_until - interval '%s'",
                   interval,
                   interval,
                   interval);
    scratch_pg_run(rig.dsn, sql);
}
