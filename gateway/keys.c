#include "gateway/keys.h"

#include "avanta/identity.pb-c.h"

#include "libcommon/base/buf.h"

#include <assert.h>

static bool text_copy(char *out, size_t cap, const char *text)
{
    struct buf b = buf_over(out, cap);

    assert(text != NULL);
    buf_text(&b, text);
    return buf_terminate(&b) && b.len > 0;
}

void key_set_replace(struct key_set *set, const struct Avanta__Identity__GetKeysReply *reply)
{
    assert(set != NULL);
    assert(reply != NULL);
    set->count = 0;
    for (size_t i = 0; i < reply->n_keys && set->count < KEYS_MAX; i++) {
        const Avanta__Identity__Key *from = reply->keys[i];
        struct key *to = &set->keys[set->count];

        if (text_copy(to->kid, sizeof to->kid, from->kid) &&
            text_copy(to->pem, sizeof to->pem, from->pem) &&
            text_copy(to->x, sizeof to->x, from->x) && text_copy(to->y, sizeof to->y, from->y)) {
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
