#include "gateway/lookup.h"

#include "avanta/identity_access.pb-c.h"

#include "libcommon/base/id.h"
#include "libcommon/base/list.h"
#include "libcommon/base/pool.h"
#include "libcommon/base/table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    struct list by_use;
    uint8_t digest[SHA256_BYTES];
    uint64_t until_ms;      /* monotonic */
    char accountant_id[64]; /* of a grant, also of one that is not there */
    char owner_id[64];
    struct lookup_answer answer;
};

/* Entries of one kind: none of them takes room from another kind's. */
struct shelf {
    struct pool *entries;
    struct table *by_digest;
    struct list used; /* most recent first */
};

enum {
    SHELF_GOOD,
    SHELF_BAD,
    SHELF_COUNT
};

struct lookup {
    struct shelf shelves[SHELF_COUNT];
    uint64_t changes;                     /* what was asked before the last ones may be outdated */
    char changed[LOOKUP_CHANGES_MAX][64]; /* users, by the number of the change */
};

static bool shelf_open(struct shelf *shelf, uint32_t entries_max)
{
    uint64_t seed = 0;

    assert(entries_max > 0);
    random_bytes(&seed, sizeof seed);
    list_init(&shelf->used);
    shelf->entries = pool_open(sizeof(struct entry), entries_max);
    shelf->by_digest = table_open(entries_max, seed);
    return shelf->entries != NULL && shelf->by_digest != NULL;
}

struct lookup *lookup_open(void)
{
    struct lookup *lookup = calloc(1, sizeof *lookup);

    if (lookup != NULL && (!shelf_open(&lookup->shelves[SHELF_GOOD], LOOKUP_MAX) ||
                           !shelf_open(&lookup->shelves[SHELF_BAD], LOOKUP_BAD_MAX))) {
        lookup_close(&lookup);
    }
    return lookup;
}

void lookup_close(struct lookup **lookup)
{
    assert(lookup != NULL);
    for (int i = 0; *lookup != NULL && i < SHELF_COUNT; i++) {
        table_close(&(*lookup)->shelves[i].by_digest);
        pool_close(&(*lookup)->shelves[i].entries);
    }
    free(*lookup);
    *lookup = NULL;
}

static struct str digest_text(const uint8_t digest[SHA256_BYTES])
{
    assert(digest != NULL);
    return (struct str){(const char *)digest, SHA256_BYTES};
}

static void forget(struct shelf *shelf, struct entry *entry)
{
    void *gone = table_remove(shelf->by_digest, digest_text(entry->digest));

    assert(gone == entry);
    list_remove(&entry->by_use);
    pool_give(shelf->entries, entry);
}

static struct shelf *shelf_of(struct lookup *lookup, const struct entry *entry)
{
    return &lookup->shelves[entry->answer.good ? SHELF_GOOD : SHELF_BAD];
}

static struct entry *find(struct lookup *lookup, const uint8_t digest[SHA256_BYTES])
{
    struct entry *entry = NULL;

    for (int i = 0; entry == NULL && i < SHELF_COUNT; i++) {
        entry = table_get(lookup->shelves[i].by_digest, digest_text(digest));
    }
    return entry;
}

const struct lookup_answer *
lookup_get(struct lookup *lookup, const uint8_t digest[SHA256_BYTES], uint64_t now_ms)
{
    struct entry *entry = find(lookup, digest);
    struct shelf *shelf = NULL;

    if (entry == NULL) {
        return NULL;
    }
    shelf = shelf_of(lookup, entry);
    if (entry->until_ms <= now_ms) {
        forget(shelf, entry);
        return NULL;
    }
    list_remove(&entry->by_use);
    list_push_front(&shelf->used, &entry->by_use);
    return &entry->answer;
}

bool lookup_take(struct lookup *lookup,
                 const uint8_t digest[SHA256_BYTES],
                 struct lookup_answer *out)
{
    struct entry *entry = find(lookup, digest);

    assert(out != NULL);
    if (entry == NULL) {
        return false;
    }
    *out = entry->answer;
    forget(shelf_of(lookup, entry), entry);
    return true;
}

/* --- changes --- */

static bool is_about(const struct entry *entry, struct str user_id)
{
    return str_eq(str_from(entry->answer.user_id), user_id) ||
           str_eq(str_from(entry->accountant_id), user_id) ||
           str_eq(str_from(entry->owner_id), user_id);
}

static void shelf_forget(struct shelf *shelf, struct str user_id)
{
    LIST_EACH_SAFE(&shelf->used, node, following)
    {
        struct entry *entry = LIST_ENTRY(node, struct entry, by_use);

        if (is_about(entry, user_id)) {
            forget(shelf, entry);
        }
    }
}

void lookup_forget(struct lookup *lookup, struct str user_id)
{
    char *to = lookup->changed[lookup->changes % LOOKUP_CHANGES_MAX];

    if (!str_copy(user_id, to, sizeof lookup->changed[0])) {
        lookup_forget_all(lookup); /* no user of ours: rather too much than too little */
        return;
    }
    lookup->changes++;
    for (int i = 0; i < SHELF_COUNT; i++) {
        shelf_forget(&lookup->shelves[i], user_id);
    }
}

void lookup_forget_all(struct lookup *lookup)
{
    lookup->changes += LOOKUP_CHANGES_MAX + 1; /* more than are remembered: doubt everything */
    for (int i = 0; i < SHELF_COUNT; i++) {
        struct shelf *shelf = &lookup->shelves[i];

        while (!list_empty(&shelf->used)) {
            forget(shelf, LIST_ENTRY(shelf->used.next, struct entry, by_use));
        }
        assert(table_count(shelf->by_digest) == 0);
        assert(pool_used(shelf->entries) == 0);
    }
}

/* Something changed since it was asked that it may not know of. */
static bool is_doubtful(const struct lookup *lookup, const struct entry *entry, uint64_t asked)
{
    const bool names_nobody = entry->answer.user_id[0] == '\0' && entry->owner_id[0] == '\0';

    assert(asked <= lookup->changes);
    if (lookup->changes - asked > LOOKUP_CHANGES_MAX) {
        return true;
    }
    for (uint64_t i = asked; i < lookup->changes; i++) {
        if (names_nobody || is_about(entry, str_from(lookup->changed[i % LOOKUP_CHANGES_MAX]))) {
            return true;
        }
    }
    return false;
}

void lookup_key_digest(struct str key, uint8_t out[SHA256_BYTES])
{
    assert(key.len > 0);
    sha256(key, out);
}

/* Apart from any API key: those begin otherwise. */
void lookup_grant_digest(const char *accountant_id, const char *owner_id, uint8_t out[SHA256_BYTES])
{
    char memory[160];
    struct buf text = buf_over(memory, sizeof memory);

    assert(accountant_id != NULL);
    assert(owner_id != NULL);
    buf_printf(&text, "grant %s %s", accountant_id, owner_id);
    assert(!text.overflow);
    sha256(buf_view(&text), out);
}

/* --- answers --- */

static uint32_t scopes_read(struct str rest)
{
    uint32_t scopes = 0;
    struct str name = STR_EMPTY;

    while (rest.len > 0 && str_split(&rest, ' ', &name)) {
        enum api_permission permission = API_PUBLIC;

        if (permission_find(name, &permission)) {
            scopes |= 1U << (unsigned)permission;
        }
    }
    return scopes;
}

/* False: a network that cannot be read would open the key to more than was meant. */
static bool networks_read(struct str rest, struct lookup_answer *out)
{
    struct str text = STR_EMPTY;

    assert(out->network_count == 0);
    while (rest.len > 0 && str_split(&rest, ' ', &text)) {
        if (out->network_count == LOOKUP_NETWORKS_MAX ||
            !network_parse(text, &out->networks[out->network_count])) {
            return false;
        }
        out->network_count++;
    }
    return true;
}

static void answer_read(const Avanta__Identity__AccessReply *reply, struct lookup_answer *out)
{
    memset(out, 0, sizeof *out);
    if (reply->id == NULL || reply->user_id == NULL) {
        return; /* nobody */
    }
    out->good = str_copy(str_from(reply->id), out->id, sizeof out->id) &&
                str_copy(str_from(reply->user_id), out->user_id, sizeof out->user_id) &&
                str_copy(str_from(reply->email), out->email, sizeof out->email) &&
                str_copy(str_from(reply->role), out->role, sizeof out->role) &&
                networks_read(str_from(reply->networks), out);
    out->scopes = scopes_read(str_from(reply->scopes));
    out->grant = grant_find(str_from(reply->grant));
}

static uint64_t good_for_ms(const Avanta__Identity__AccessReply *reply, bool good, bool doubtful)
{
    uint64_t left = good ? LOOKUP_GOOD_MS : LOOKUP_BAD_MS;

    left = doubtful ? LOOKUP_DOUBTFUL_MS : left;
    if (good && reply->has_good_ms && (uint64_t)reply->good_ms < left) {
        left = reply->good_ms < 0 ? 0 : (uint64_t)reply->good_ms;
    }
    return left;
}

/* Room for one more, if need be that of the one used longest ago. */
static struct entry *shelf_take(struct shelf *shelf)
{
    struct pool_handle handle;
    struct entry *entry = pool_take(shelf->entries, &handle);

    if (entry == NULL) {
        assert(!list_empty(&shelf->used));
        forget(shelf, LIST_ENTRY(shelf->used.prev, struct entry, by_use));
        entry = pool_take(shelf->entries, &handle);
    }
    assert(entry != NULL);
    return entry;
}

void lookup_remember(struct lookup *lookup,
                     const struct lookup_ask *ask,
                     const Avanta__Identity__AccessReply *reply,
                     uint64_t now_ms)
{
    struct entry *entry = find(lookup, ask->digest);
    struct lookup_answer answer;
    struct shelf *shelf = NULL;
    bool put = false;

    if (entry != NULL) {
        forget(shelf_of(lookup, entry), entry); /* two requests asked at once */
    }
    answer_read(reply, &answer);
    shelf = &lookup->shelves[answer.good ? SHELF_GOOD : SHELF_BAD];
    entry = shelf_take(shelf);
    entry->answer = answer;
    memcpy(entry->digest, ask->digest, SHA256_BYTES);
    memcpy(entry->accountant_id, ask->accountant_id, sizeof entry->accountant_id);
    memcpy(entry->owner_id, ask->owner_id, sizeof entry->owner_id);
    entry->until_ms =
        now_ms + good_for_ms(reply, answer.good, is_doubtful(lookup, entry, ask->changes));
    put = table_put(shelf->by_digest, digest_text(entry->digest), entry);
    assert(put);
    list_push_front(&shelf->used, &entry->by_use);
}

void lookup_ask_begin(struct lookup *lookup, struct lookup_ask *ask)
{
    assert(ask->asks < LOOKUP_ASKS_MAX);
    ask->asks++;
    ask->changes = lookup->changes;
}
