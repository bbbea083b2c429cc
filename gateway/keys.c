#include "gateway/keys.h"

#include "avanta/identity.pb-c.h"

#include <assert.h>

static bool coordinate(const char *text, uint8_t out[32])
{
    size_t len = 0;

    assert(text != NULL);
    return base64url_decode(str_from(text), out, 32, &len) && len == 32;
}

static bool key_take(struct key *to, const Avanta__Identity__Key *from)
{
    uint8_t x[32];
    uint8_t y[32];
    struct err err = {.code = OK};

    assert(to->verifier == NULL);
    assert(from != NULL);
    return from->kid[0] != '\0' && str_copy(str_from(from->kid), to->kid, sizeof to->kid) &&
           str_copy(str_from(from->x), to->x, sizeof to->x) &&
           str_copy(str_from(from->y), to->y, sizeof to->y) && coordinate(to->x, x) &&
           coordinate(to->y, y) && ecdsa_verifier_open(x, y, &to->verifier, &err) == OK;
}

static bool same(const struct key *a, const struct key *b)
{
    assert(a->kid[0] != '\0');
    assert(b->kid[0] != '\0');
    return str_eq(str_from(a->kid), str_from(b->kid)) && str_eq(str_from(a->x), str_from(b->x)) &&
           str_eq(str_from(a->y), str_from(b->y));
}

static bool holds(const struct key_set *set, const struct key *key)
{
    assert(set->count <= KEYS_MAX);
    assert(key != NULL);
    for (uint32_t i = 0; i < set->count; i++) {
        if (same(&set->keys[i], key)) {
            return true;
        }
    }
    return false;
}

static bool holds_all(const struct key_set *set, const struct key_set *other)
{
    assert(other->count <= KEYS_MAX);
    for (uint32_t i = 0; i < other->count; i++) {
        if (!holds(set, &other->keys[i])) {
            return false;
        }
    }
    return true;
}

void key_set_replace(struct key_set *set, const struct Avanta__Identity__GetKeysReply *reply)
{
    struct key_set next = {.count = 0};

    assert(set != NULL);
    assert(reply != NULL);
    for (size_t i = 0; i < reply->n_keys && next.count < KEYS_MAX; i++) {
        /* A kid that comes twice would name two keys: the first one has it. */
        if (key_set_find(&next, str_from(reply->keys[i]->kid)) == NULL &&
            key_take(&next.keys[next.count], reply->keys[i])) {
            next.count++;
        }
    }
    next.losses = set->losses + (holds_all(&next, set) ? 0 : 1);
    key_set_clear(set);
    *set = next;
}

const struct key *key_set_find(const struct key_set *set, struct str kid)
{
    assert(set != NULL);
    assert(set->count <= KEYS_MAX);
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
    assert(set->count <= KEYS_MAX);
    for (uint32_t i = 0; i < set->count; i++) {
        ecdsa_verifier_close(&set->keys[i].verifier);
    }
    set->count = 0;
}
