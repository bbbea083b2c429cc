#include "tests/support/mfa_client.h"

#include "tests/support/check.h"
#include "tests/support/scratch_pg.h"

#include "libcommon/base/clock.h"

#include <liboath/oath.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SQL_BYTES 512

void mfa_code(const char *secret, int64_t steps, char out[MFA_CODE_BYTES])
{
    char *seed = NULL;
    size_t len = 0;

    assert_int_equal(oath_base32_decode(secret, strlen(secret), &seed, &len), OATH_OK);
    assert_int_equal(oath_totp_generate(seed,
                                        len,
                                        (time_t)((int64_t)(clock_wall_ms() / 1000) + 30 * steps),
                                        OATH_TOTP_DEFAULT_TIME_STEP_SIZE,
                                        OATH_TOTP_DEFAULT_START_TIME,
                                        6,
                                        out),
                     OATH_OK);
    free(seed);
}

/* The messages' texts are not written. */
static char *text(const char *given)
{
    return (char *)(uintptr_t)given;
}

static struct service_call asked_by(const struct mfa_user *user, const char *method)
{
    return (struct service_call){
        .method = service_method(method), .user = user->id, .session = user->session};
}

static struct mfa_verdict_seen seen(const struct service_call *call)
{
    assert_int_equal(call->bus, OK);
    return (struct mfa_verdict_seen){call->code, call->reason, call->retry_after_s};
}

/* --- behind the service --- */

static void fill(char out[SQL_BYTES], const char *form, const char *id)
{
    const char *at = strstr(form, "%s");

    assert_non_null(at);
    (void)snprintf(out, SQL_BYTES, "%.*s%s%s", (int)(at - form), form, id, at + 2);
}

void mfa_run(const struct mfa_user *user, const char *form)
{
    char sql[SQL_BYTES];

    fill(sql, form, user->id);
    scratch_pg_run(user->rig->dsn, sql);
}

const char *mfa_ask(const struct mfa_user *user, const char *form)
{
    char sql[SQL_BYTES];

    fill(sql, form, user->id);
    return scratch_pg_ask(user->rig->dsn, sql);
}

/* No code was used, and none was wrong. */
static void forget(const struct mfa_user *user)
{
    mfa_run(user,
            "UPDATE mfa SET last_step = 0, failures = 0, locked_until = now()"
            " WHERE user_id = '%s'");
}

/* --- sessions --- */

static void payload_read(struct mfa_user *user, struct str token)
{
    struct str part = STR_EMPTY;
    size_t len = 0;

    assert_true(str_split(&token, '.', &part));
    assert_true(str_split(&token, '.', &part));
    assert_true(base64url_decode(part, (uint8_t *)user->payload, MFA_PAYLOAD_BYTES - 1, &len));
    user->payload[len] = '\0';
}

static void session_read(struct mfa_user *user, const struct service_call *call)
{
    const Avanta__Identity__SessionReply *out = call->out;
    const char *at = NULL;

    if (call->code != OK) {
        return;
    }
    payload_read(user, str_from(out->token));
    at = strstr(user->payload, "\"sid\":\"");
    assert_non_null(at);
    (void)snprintf(user->session, sizeof user->session, "%.36s", at + strlen("\"sid\":\""));
    (void)snprintf(user->refresh, sizeof user->refresh, "%s", out->refresh_cookie);
    (void)snprintf(user->id, sizeof user->id, "%s", out->user->id);
    user->must_enroll = out->mfa_enrollment_required;
}

void mfa_user_make(struct mfa_user *user, struct service_rig *rig, const char *name)
{
    Avanta__Identity__RegisterRequest in = AVANTA__IDENTITY__REGISTER_REQUEST__INIT;
    struct service_call call = {.method = service_method("identity.RegisterUser"), .in = &in.base};

    *user = (struct mfa_user){.rig = rig};
    (void)snprintf(user->email, sizeof user->email, "%s@example.com", name);
    in.email = user->email;
    in.password = text(MFA_PASSWORD);
    in.name = text("Persona");
    assert_int_equal(service_call(rig, &call), OK);
    session_read(user, &call);
    service_call_end(&call);
}

void mfa_user_make_enrolled(struct mfa_user *user, struct service_rig *rig, const char *name)
{
    char code[MFA_CODE_BYTES];

    mfa_user_make(user, rig, name);
    assert_int_equal(mfa_enroll(user, MFA_PASSWORD).code, OK);
    mfa_code(user->secret, 0, code);
    assert_int_equal(mfa_verify(user, code).code, OK);
    forget(user);
}

struct mfa_verdict_seen mfa_login(struct mfa_user *user, const char *password, const char *otp)
{
    Avanta__Identity__LoginRequest in = AVANTA__IDENTITY__LOGIN_REQUEST__INIT;
    struct service_call call = {.method = service_method("identity.Login"), .in = &in.base};
    struct mfa_verdict_seen verdict;

    in.email = user->email;
    in.password = text(password);
    in.otp = text(otp);
    (void)service_call(user->rig, &call);
    verdict = seen(&call);
    session_read(user, &call);
    service_call_end(&call);
    return verdict;
}

struct mfa_verdict_seen mfa_refresh(struct mfa_user *user)
{
    Avanta__Identity__RefreshRequest in = AVANTA__IDENTITY__REFRESH_REQUEST__INIT;
    struct service_call call = {.method = service_method("identity.Refresh"), .in = &in.base};
    struct mfa_verdict_seen verdict;

    in.refresh_token = user->refresh;
    (void)service_call(user->rig, &call);
    verdict = seen(&call);
    session_read(user, &call);
    service_call_end(&call);
    return verdict;
}

/* --- the second factor --- */

struct mfa_verdict_seen mfa_enroll(struct mfa_user *user, const char *password)
{
    Avanta__Identity__EnrollMfaRequest in = AVANTA__IDENTITY__ENROLL_MFA_REQUEST__INIT;
    struct service_call call = asked_by(user, "identity.EnrollMfa");
    struct mfa_verdict_seen verdict;

    in.password = text(password);
    call.in = &in.base;
    if (service_call(user->rig, &call) == OK) {
        const Avanta__Identity__EnrollMfaReply *out = call.out;

        (void)snprintf(user->secret, sizeof user->secret, "%s", out->secret);
        (void)snprintf(user->uri, sizeof user->uri, "%s", out->otpauth_uri);
    }
    verdict = seen(&call);
    service_call_end(&call);
    return verdict;
}

static void codes_read(struct mfa_user *user, const struct service_call *call)
{
    const Avanta__Identity__MfaCodesReply *out = call->out;

    if (call->code != OK) {
        return;
    }
    assert_true(out->success);
    assert_int_equal(out->n_recovery_codes, MFA_CODES_MAX);
    for (size_t i = 0; i < MFA_CODES_MAX; i++) {
        (void)snprintf(user->codes[i], MFA_TEXT_BYTES, "%s", out->recovery_codes[i]);
    }
}

struct mfa_verdict_seen mfa_verify(struct mfa_user *user, const char *code)
{
    Avanta__Identity__VerifyMfaRequest in = AVANTA__IDENTITY__VERIFY_MFA_REQUEST__INIT;
    struct service_call call = asked_by(user, "identity.VerifyMfa");
    struct mfa_verdict_seen verdict;

    in.code = text(code);
    call.in = &in.base;
    (void)service_call(user->rig, &call);
    verdict = seen(&call);
    codes_read(user, &call);
    service_call_end(&call);
    return verdict;
}

struct mfa_verdict_seen mfa_disable(struct mfa_user *user, const char *password, const char *code)
{
    Avanta__Identity__MfaProofRequest in = AVANTA__IDENTITY__MFA_PROOF_REQUEST__INIT;
    struct service_call call = asked_by(user, "identity.DisableMfa");
    struct mfa_verdict_seen verdict;

    in.password = text(password);
    in.code = text(code);
    call.in = &in.base;
    (void)service_call(user->rig, &call);
    verdict = seen(&call);
    service_call_end(&call);
    return verdict;
}

struct mfa_verdict_seen
mfa_renew(struct mfa_user *user, const char *password, const char *code, const char *key)
{
    Avanta__Identity__MfaProofRequest in = AVANTA__IDENTITY__MFA_PROOF_REQUEST__INIT;
    struct service_call call = asked_by(user, "identity.RenewRecoveryCodes");
    struct mfa_verdict_seen verdict;

    in.password = text(password);
    in.code = text(code);
    call.in = &in.base;
    call.key = key;
    (void)service_call(user->rig, &call);
    verdict = seen(&call);
    codes_read(user, &call);
    service_call_end(&call);
    return verdict;
}

const char *mfa_status(struct mfa_user *user)
{
    static char status[64];
    Avanta__Identity__GetMfaRequest in = AVANTA__IDENTITY__GET_MFA_REQUEST__INIT;
    struct service_call call = asked_by(user, "identity.GetMfa");
    const Avanta__Identity__Mfa *out = NULL;

    call.in = &in.base;
    assert_int_equal(service_call(user->rig, &call), OK);
    out = call.out;
    assert_int_equal(out->enabled_at != NULL, out->enabled);
    (void)snprintf(status,
                   sizeof status,
                   "%d %d %d %d",
                   out->enabled,
                   out->pending,
                   out->required,
                   (int)out->recovery_codes_left);
    service_call_end(&call);
    return status;
}

struct mfa_verdict_seen mfa_reset(const struct mfa_user *admin, const char *user_id)
{
    Avanta__Identity__ResetMfaRequest in = AVANTA__IDENTITY__RESET_MFA_REQUEST__INIT;
    struct service_call call = asked_by(admin, "identity.ResetMfa");
    struct mfa_verdict_seen verdict;

    in.id = text(user_id);
    call.in = &in.base;
    call.role = "admin";
    (void)service_call(admin->rig, &call);
    verdict = seen(&call);
    service_call_end(&call);
    return verdict;
}

/* --- many at once --- */

static unsigned at_once(struct mfa_user *user,
                        unsigned count,
                        const struct service_call *form,
                        Avanta__Reason wrong)
{
    static struct service_call calls[MFA_AT_ONCE_MAX];
    unsigned good = 0;

    assert_true(count <= MFA_AT_ONCE_MAX);
    for (unsigned i = 0; i < count; i++) {
        calls[i] = *form;
        service_call_start(user->rig, &calls[i]);
    }
    for (unsigned i = 0; i < count; i++) {
        service_call_wait(&calls[i]);
        assert_int_equal(calls[i].bus, OK);
        if (calls[i].code == OK) {
            good++;
        } else if (calls[i].reason != wrong &&
                   calls[i].reason != AVANTA__REASON__TOO_MANY_ATTEMPTS &&
                   calls[i].reason != AVANTA__REASON__MFA_ENABLED) {
            fail_msg("code %s, reason %d", code_wire(calls[i].code), (int)calls[i].reason);
        }
        service_call_end(&calls[i]);
    }
    return good;
}

unsigned mfa_login_at_once(struct mfa_user *user, unsigned count, const char *otp)
{
    Avanta__Identity__LoginRequest in = AVANTA__IDENTITY__LOGIN_REQUEST__INIT;
    struct service_call form = {.method = service_method("identity.Login"), .in = &in.base};

    in.email = user->email;
    in.password = text(MFA_PASSWORD);
    in.otp = text(otp);
    return at_once(user, count, &form, AVANTA__REASON__INVALID_OTP);
}

unsigned mfa_verify_at_once(struct mfa_user *user, unsigned count, const char *code)
{
    Avanta__Identity__VerifyMfaRequest in = AVANTA__IDENTITY__VERIFY_MFA_REQUEST__INIT;
    struct service_call form = asked_by(user, "identity.VerifyMfa");

    in.code = text(code);
    form.in = &in.base;
    return at_once(user, count, &form, AVANTA__REASON__INVALID_MFA_CODE);
}

void mfa_expect(struct mfa_verdict_seen verdict, Avanta__Reason reason)
{
    if (verdict.code == OK || verdict.reason != reason) {
        fail_msg("code %s, reason %d and not %d",
                 code_wire(verdict.code),
                 (int)verdict.reason,
                 (int)reason);
    }
}
