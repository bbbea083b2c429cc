#include "services/identity/lockout.h"

#include "avanta/identity_internal.pb-c.h"
#include "identity_sql.gen.h"
#include "services/identity/identity.h"

#include "libcommon/base/buf.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <string.h>

#define PURGE_ROWS_MAX    20000
#define HOUR_S            3600
#define IPV6_BYTES        16
#define IPV6_PREFIX_BYTES 8 /* one subscriber's network */
#define KEY_TEXT_BYTES    1024

/* Whose record tells of somebody who has no account. */
static const char nobody[] = "00000000-0000-0000-0000-000000000000";

static char kind_address[] = "address";
static char kind_email[] = "email";
static char kind_registered[] = "registered";
static char kind_registration[] = "registration";
static char kind_user[] = "user";

/* --- keys ------------------------------------------------------------------------------------ */

/* When what is counted for a key locks it, and how it is forgotten. */
struct bounds {
    uint64_t failures_max;
    uint64_t forget_s;
    uint64_t decay_s; /* 0: not one by one */
};

static void
key_add(struct attempt *attempt, const char *kind, struct str what, const struct bounds *bounds)
{
    const size_t at = attempt->count;

    assert(at < ARRAY_LEN(attempt->kinds));
    assert(at == 0 || strcmp(attempt->kinds[at - 1], kind) < 0); /* rows are locked in order */
    assert(bounds->failures_max > 0);
    assert(bounds->forget_s > 0);
    attempt->kinds[at] = kind;
    attempt->failures_max[at] = (int64_t)bounds->failures_max;
    attempt->forget_s[at] = (int64_t)bounds->forget_s;
    attempt->decay_s[at] = (int64_t)bounds->decay_s;
    sha256(what, attempt->keys[at]);
    attempt->count++;
}

/* An address of IPv4, also one that is mapped into IPv6, as it is; of IPv6 the network. What is no
 * address counts as one. */
static struct str address_of(const char *client_ip, uint8_t out[IPV6_BYTES])
{
    static const uint8_t mapped[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    size_t len = 0;

    assert(out != NULL);
    memset(out, 0, IPV6_BYTES);
    if (client_ip != NULL && inet_pton(AF_INET6, client_ip, out) == 1) {
        len = IPV6_PREFIX_BYTES;
        if (memcmp(out, mapped, sizeof mapped) == 0) {
            memmove(out, out + sizeof mapped, IPV6_BYTES - sizeof mapped);
            len = IPV6_BYTES - sizeof mapped;
        }
    } else if (client_ip != NULL && inet_pton(AF_INET, client_ip, out) == 1) {
        len = sizeof(struct in_addr);
    }
    return (struct str){(const char *)out, len};
}

static void
address_add(struct attempt *attempt, struct req *r, const char *kind, const struct bounds *bounds)
{
    uint8_t address[IPV6_BYTES];

    attempt->client_ip = req_client_ip(r);
    key_add(attempt, kind, address_of(attempt->client_ip, address), bounds);
}

static struct bounds address_bounds(const struct identity *self)
{
    assert(self != NULL);
    return (struct bounds){self->config.address_failures_max,
                           self->config.failures_forget_s,
                           self->config.address_decay_s};
}

/* A success starts them anew, nothing else but time does. */
static struct bounds account_bounds(const struct identity *self)
{
    assert(self != NULL);
    return (struct bounds){self->config.login_failures_max, self->config.failures_forget_s, 0};
}

static char lower(char c)
{
    return (char)tolower((unsigned char)c); /* in the locale "C", which no program leaves */
}

void attempt_of_login(struct attempt *attempt, struct req *r, const char *email)
{
    const struct bounds address = address_bounds(req_service(r));
    const struct bounds account = account_bounds(req_service(r));
    char memory[KEY_TEXT_BYTES];
    struct buf text = buf_over(memory, sizeof memory);

    assert(email != NULL);
    *attempt = (struct attempt){.count = 0};
    address_add(attempt, r, kind_address, &address);
    for (const char *c = email; *c != '\0'; c++) {
        buf_char(&text, lower(*c));
    }
    key_add(attempt, kind_email, buf_view(&text), &account);
}

void attempt_of_registration(struct attempt *attempt, struct req *r)
{
    const struct identity *self = req_service(r);
    const struct bounds made = {self->config.registrations_max, HOUR_S, 0};
    const struct bounds taken = address_bounds(self);

    *attempt = (struct attempt){.count = 0};
    address_add(attempt, r, kind_registered, &made);
    address_add(attempt, r, kind_registration, &taken);
}

void attempt_of_user(struct attempt *attempt, struct req *r)
{
    const struct bounds account = account_bounds(req_service(r));

    *attempt = (struct attempt){.count = 0, .client_ip = req_client_ip(r)};
    key_add(attempt, kind_user, str_from(req_user_id(r)), &account);
}

/* --- begin -------------------------------------------------------------------------------------
 */

/* The lists of a message, over the attempt, which lives as long as the request. */
struct lists {
    char *kinds[2];
    ProtobufCBinaryData keys[2];
    int64_t failures_max[2];
    int64_t forget_s[2];
    int64_t decay_s[2];
};

static struct lists *lists_of(struct req *r, const struct attempt *attempt)
{
    struct lists *lists = arena_alloc(req_arena(r), sizeof *lists);

    assert(attempt->count > 0);
    assert(attempt->count <= ARRAY_LEN(lists->kinds));
    for (size_t i = 0; lists != NULL && i < attempt->count; i++) {
        uint8_t *key = arena_alloc(req_arena(r), SHA256_BYTES);

        lists->kinds[i] = arena_strdup(req_arena(r), str_from(attempt->kinds[i]));
        if (key == NULL || lists->kinds[i] == NULL) {
            return NULL;
        }
        memcpy(key, attempt->keys[i], SHA256_BYTES);
        lists->keys[i] = (ProtobufCBinaryData){SHA256_BYTES, key};
        lists->failures_max[i] = attempt->failures_max[i];
        lists->forget_s[i] = attempt->forget_s[i];
        lists->decay_s[i] = attempt->decay_s[i];
    }
    return lists;
}

enum step attempt_begin(struct req *r, const struct attempt *attempt)
{
    Avanta__Identity__AttemptAsk *ask = arena_alloc(req_arena(r), sizeof *ask);
    struct lists *lists = lists_of(r, attempt);

    assert(attempt->count > 0);
    if (ask == NULL || lists == NULL) {
        return req_fail(r, ERR_TOO_LARGE, "the request needs too much memory");
    }
    avanta__identity__attempt_ask__init(ask);
    ask->n_kinds = ask->n_keys = ask->n_failures_max = ask->n_forget_s = ask->n_decay_s =
        attempt->count;
    ask->kinds = lists->kinds;
    ask->keys = lists->keys;
    ask->failures_max = lists->failures_max;
    ask->forget_s = lists->forget_s;
    ask->decay_s = lists->decay_s;
    return req_query_from(r, Q_ATTEMPT_BEGIN, &ask->base);
}

enum step attempt_admitted(struct req *r)
{
    Avanta__Identity__AttemptAnswer answer = AVANTA__IDENTITY__ATTEMPT_ANSWER__INIT;

    assert(req_rows(r) == 1);
    if (!req_row(r, 0, &answer.base)) {
        return STEP_FAIL;
    }
    assert(answer.has_wait_s);
    assert(answer.wait_s >= 0);
    if (answer.wait_s <= 0) {
        return STEP_NEXT;
    }
    req_retry_after(r, (uint32_t)answer.wait_s);
    return req_refuse(r, AVANTA__REASON__TOO_MANY_ATTEMPTS);
}

/* --- end ---------------------------------------------------------------------------------------
 */

enum step attempt_end(struct req *r, const struct attempt *attempt, bool failed)
{
    const struct identity *self = req_service(r);
    Avanta__Identity__AttemptEnd *end = arena_alloc(req_arena(r), sizeof *end);
    struct lists *lists = lists_of(r, attempt);

    assert(self->config.lock_s > 0);
    assert(self->config.lock_max_s > 0);
    if (end == NULL || lists == NULL) {
        return req_fail(r, ERR_TOO_LARGE, "the request needs too much memory");
    }
    avanta__identity__attempt_end__init(end);
    end->n_kinds = end->n_keys = end->n_failures_max = end->n_forget_s = end->n_decay_s =
        attempt->count;
    end->kinds = lists->kinds;
    end->keys = lists->keys;
    end->failures_max = lists->failures_max;
    end->forget_s = lists->forget_s;
    end->decay_s = lists->decay_s;
    end->has_failed = end->has_lock_s = end->has_lock_max_s = true;
    end->failed = failed;
    end->lock_s = (int64_t)self->config.lock_s;
    end->lock_max_s = (int64_t)self->config.lock_max_s;
    return req_query_from(r, Q_ATTEMPT_END, &end->base);
}

/* The messages' texts are `char *` even where nothing writes them: copies. */
static char *copied(struct req *r, const char *text)
{
    return text == NULL ? NULL : arena_strdup(req_arena(r), str_from(text));
}

static void tell_account(struct req *r,
                         const struct attempt *attempt,
                         const Avanta__Identity__AttemptState *state,
                         const char *user_id)
{
    Avanta__Identity__AccountLocked event = AVANTA__IDENTITY__ACCOUNT_LOCKED__INIT;
    char hash[2 * SHA256_BYTES + 1];

    assert(state->failures > 0);
    assert(state->locked_s > 0);
    hex_encode(attempt->keys[attempt->count - 1], SHA256_BYTES, hash);
    event.user_id = copied(r, user_id);
    event.email_hash = strcmp(state->kind, kind_email) == 0 ? hash : NULL;
    event.client_ip = copied(r, attempt->client_ip);
    event.has_failures = event.has_seconds = true;
    event.failures = state->failures;
    event.seconds = state->locked_s;
    req_emit_for(r, user_id == NULL ? nobody : user_id, &event.base, user_id);
}

static void tell_address(struct req *r,
                         const struct attempt *attempt,
                         const Avanta__Identity__AttemptState *state)
{
    Avanta__Identity__AddressLocked event = AVANTA__IDENTITY__ADDRESS_LOCKED__INIT;
    static char login[] = "login";

    assert(state->failures > 0);
    assert(state->locked_s > 0);
    event.client_ip = copied(r, attempt->client_ip);
    event.attempt = strcmp(state->kind, kind_address) == 0 ? login : copied(r, state->kind);
    event.has_failures = event.has_seconds = true;
    event.failures = state->failures;
    event.seconds = state->locked_s;
    req_emit_for(r, nobody, &event.base, NULL);
}

bool attempt_ended(struct req *r, const struct attempt *attempt, const char *user_id)
{
    assert(req_rows(r) <= attempt->count); /* fewer: what was begun long ago is forgotten */
    for (size_t i = 0; i < req_rows(r); i++) {
        const Avanta__Identity__AttemptState *state =
            (const Avanta__Identity__AttemptState *)(const void *)req_row_new(r, i);

        if (state == NULL) {
            return false;
        }
        assert(state->kind != NULL);
        if (state->locked_s <= 0) {
            continue;
        }
        req_audit_severity(r, "high");
        if (strcmp(state->kind, kind_email) == 0 || strcmp(state->kind, kind_user) == 0) {
            tell_account(r, attempt, state, user_id);
        } else {
            tell_address(r, attempt, state);
        }
    }
    return true;
}

/* --- forgetting ----------------------------------------------------------------------------------
 */

static enum step purge(struct req *r)
{
    const struct identity *self = req_service(r);
    Avanta__Identity__AttemptPurge *purge_in = arena_alloc(req_arena(r), sizeof *purge_in);

    if (purge_in == NULL) {
        return req_fail(r, ERR_TOO_LARGE, "the request needs too much memory");
    }
    avanta__identity__attempt_purge__init(purge_in);
    purge_in->has_forget_s = purge_in->has_rows_max = true;
    purge_in->forget_s = (int64_t)self->config.failures_forget_s;
    purge_in->forget_s = purge_in->forget_s < HOUR_S ? HOUR_S : purge_in->forget_s;
    purge_in->rows_max = PURGE_ROWS_MAX;
    return req_query_from(r, Q_ATTEMPT_PURGE, &purge_in->base);
}

const struct op op_identity_attempts_purge = {TX_NONE, {purge}};
