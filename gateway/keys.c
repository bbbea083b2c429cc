#include "gateway/keys.h"

#include "avanta/identity.pb-c.h"

#include <assert.h>

static bool text_copy(char *out, size_t cap, const char *text)
{
    struct buf b = buf_over(out, cap);

    assert(text != NULL);
    buf_text(&b, text);
    return buf_terminate(&b) && b.len > 0;
}

static bool coordinate(const char *text, uint8_t out[32])
{
    size_t len = 0;

    return base64url_decode(str_from(text), out, 32, &len) && len == 32;
}

static bool key_take(struct key *to, const Avanta__Identity__Key *from)
{
    uint8_t x[32];
    uint8_t y[32];
    struct err err = {.code = OK};

    return text_copy(to->kid, sizeof to->kid, from->kid) &&
           text_copy(to->x, sizeof to->x, from->x) && text_copy(to->y, sizeof to->y, from->y) &&
           coordinate(to->x, x) && coordinate(to->y, y) &&
           ecdsa_verifier_open(x, y, &to->verifier, &err) == OK;
}

/* The usual fetch finds what is there already. */
static bool same(const struct key_set *set, const Avanta__Identity__GetKeysReply *reply)
{
    if (reply->n_keys != set->count) {
        return false;
    }
    for (uint32_t i = 0; i < set->count; i++) {
        const struct key *key = &set->keys[i];

        if (!str_eq(str_from(key->kid), str_from(reply->keys[i]->kid)) ||
            !str_eq(str_from(key->x), str_from(reply->keys[i]->x)) ||
            !str_eq(str_from(key->y), str_from(reply->keys[i]->y))) {
            return false;
        }
    }
    return true;
}

void key_set_replace(struct key_set *set, const struct Avanta__Identity__GetKeysReply *reply)
{
    assert(set != NULL);
    assert(reply != NULL);
    if (same(set, reply)) {
        return;
    }
    key_set_clear(set);
    for (size_t i = 0; i < reply->n_keys && set->count < KEYS_MAX; i++) {
        if (key_take(&set->keys[set->count], reply->keys[i])) {
            set->count++;
        }
    }
}

const struct key *key_set_find(const struct key_set *set, struct str kid)
{
    assert(set != NULL);
    for (uint32_t i = 0; i < set->count; i++) {
        if (str_eq(str_from(set->keys[i].kid), kid)) {
            return &set->keys[i];
        }
    }
    return NULL;
}

void key_set_clear(struct key_set *set)
{
    assert(set != NULL);
    for (uint32_t i = 0; i < set->count; i++) {
        ecdsa_verifier_close(&set->keys[i].verifier);
    }
    set->count = 0;
}
