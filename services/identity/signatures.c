#include "services/identity/signatures.h"

#include "avanta/identity_internal.pb-c.h"
#include "identity_ops.gen.h"
#include "identity_sql.gen.h"
#include "services/identity/identity.h"

#include "libcommon/base/limits.h"
#include "libcommon/io/digest.h"
#include "libcommon/service/req.h"

#include <assert.h>
#include <string.h>

#define PURGE_ROWS_MAX   50000                         /* of one run, every few seconds */
#define SIGNED_BYTES_MAX (HTTP_TARGET_BYTES_MAX + 256) /* of what is signed */

struct str signing_purpose(const char *key_id, char out[SIGNING_PURPOSE_BYTES])
{
    struct buf text = buf_over(out, SIGNING_PURPOSE_BYTES);

    assert(key_id != NULL);
    buf_printf(&text, "signing-secret:%s", key_id);
    assert(!text.overflow);
    return buf_view(&text);
}

static bool time_is_good(const struct req *r, int64_t timestamp_s)
{
    int64_t now_s = (int64_t)(req_now_ms(r) / 1000);

    assert(now_s > SIGNATURE_WINDOW_S);
    return timestamp_s >= now_s - SIGNATURE_WINDOW_S && timestamp_s <= now_s + SIGNATURE_WINDOW_S;
}

/* False: too long to have been signed by anybody in earnest. */
static bool signed_text(const Avanta__Identity__ResolveSignatureRequest *in, struct buf *out)
{
    char body_hash[2 * SHA256_BYTES + 1];

    assert(in->body_hash.len == SHA256_BYTES);
    hex_encode(in->body_hash.data, SHA256_BYTES, body_hash);
    buf_printf(out,
               "%lld.%s.%s.%s",
               (long long)in->timestamp,
               in->method == NULL ? "" : in->method,
               in->target == NULL ? "" : in->target,
               body_hash);
    return !out->overflow;
}

static bool signature_is_good(struct req *r, const Avanta__Identity__KeyFound *row)
{
    const struct identity *self = req_service(r);
    const Avanta__Identity__ResolveSignatureRequest *in = req_in(r);
    const struct str sealed = {(const char *)row->sealed.data, row->sealed.len};
    char purpose[SIGNING_PURPOSE_BYTES];
    char memory[SIGNED_BYTES_MAX];
    struct buf text = buf_over(memory, sizeof memory);
    uint8_t secret[SIGNING_KEY_BYTES];
    uint8_t mac[SHA256_BYTES];
    struct err err = {.code = OK};
    bool good = false;

    if (sealed.len != SIGNING_KEY_BYTES + VAULT_EXTRA_BYTES || !signed_text(in, &text) ||
        vault_unseal(self->vault, signing_purpose(row->id, purpose), sealed, secret, &err) != OK) {
        return false;
    }
    hmac_sha256((struct str){(const char *)secret, sizeof secret}, buf_view(&text), mac);
    good = bytes_equal_in_constant_time(mac, in->signature.data, sizeof mac);
    explicit_bzero(secret, sizeof secret);
    explicit_bzero(mac, sizeof mac);
    return good;
}

static enum step signature_select(struct req *r)
{
    const Avanta__Identity__ResolveSignatureRequest *in = req_in(r);

    if (in->key_id == NULL || in->body_hash.len != SHA256_BYTES ||
        in->signature.len != SHA256_BYTES || !time_is_good(r, in->timestamp)) {
        return STEP_DONE; /* nobody */
    }
    return req_query(r, Q_SIGNING_SECRET);
}

/* Who guesses costs no transaction. */
static enum step signature_check(struct req *r)
{
    const Avanta__Identity__KeyFound **row = req_state(r, sizeof(void *));

    assert(req_rows(r) <= 1);
    if (req_rows(r) == 0) {
        return STEP_DONE; /* nobody */
    }
    if (row == NULL) {
        return identity_no_memory(r);
    }
    *row = (const Avanta__Identity__KeyFound *)(const void *)req_row_new(r, 0);
    if (*row == NULL) {
        return STEP_FAIL;
    }
    return signature_is_good(r, *row) ? STEP_NEXT : STEP_DONE;
}

static enum step signature_take(struct req *r)
{
    const Avanta__Identity__ResolveSignatureRequest *in = req_in(r);
    const Avanta__Identity__KeyFound **row = req_state(r, sizeof(void *));
    Avanta__Identity__SignatureSeen *seen = arena_alloc(req_arena(r), sizeof *seen);

    assert(*row != NULL);
    if (seen == NULL) {
        return identity_no_memory(r);
    }
    avanta__identity__signature_seen__init(seen);
    seen->key_id = (*row)->id;
    seen->has_signature = true;
    seen->signature = in->signature;
    return req_query_from(r, Q_SIGNATURE_TAKE, &seen->base);
}

static enum step signature_reply(struct req *r)
{
    const Avanta__Identity__KeyFound **row = req_state(r, sizeof(void *));

    assert(req_rows(r) <= 1);
    assert(*row != NULL);
    if (req_rows(r) > 0) { /* else it was used before */
        key_found_reply(r, *row);
    }
    return STEP_DONE;
}

const struct op op_identity_resolve_signature = {
    TX_WRITE,
    {signature_select, signature_check, req_transaction, signature_take, signature_reply}
};

/* --- old ones go --- */

static enum step purge(struct req *r)
{
    Avanta__Identity__SignaturePurge *query = arena_alloc(req_arena(r), sizeof *query);

    if (query == NULL) {
        return identity_no_memory(r);
    }
    avanta__identity__signature_purge__init(query);
    query->has_window_s = true;
    query->window_s = SIGNATURE_WINDOW_S;
    query->has_rows_max = true;
    query->rows_max = PURGE_ROWS_MAX;
    return req_query_from(r, Q_SIGNATURE_PURGE, &query->base);
}

static enum step purged(struct req *r)
{
    assert(req_rows(r) == 0);
    return STEP_DONE;
}

const struct op op_identity_purge_signatures = {
    TX_WRITE, {purge, purged}
};
