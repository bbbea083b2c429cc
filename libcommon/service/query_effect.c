#include "libcommon/service/query_effect.h"

#include <assert.h>

static bool is_word_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* The next word; false at the end. Text in quotes counts as words too, which can only make the
 * answer more careful. */
static bool next_word(struct str *rest, struct str *out)
{
    size_t from = 0;

    assert(out != NULL);
    while (from < rest->len && !is_word_byte(rest->ptr[from])) {
        from++;
    }
    size_t to = from;
    while (to < rest->len && is_word_byte(rest->ptr[to])) {
        to++;
    }
    *out = str_sub(*rest, from, to);
    *rest = str_sub(*rest, to, rest->len);
    return out->len > 0;
}

static bool is_one_of(struct str word, const char *const *words, size_t count)
{
    assert(word.len > 0);
    for (size_t i = 0; i < count; i++) {
        if (str_eq_nocase(word, str_from(words[i]))) {
            return true;
        }
    }
    return false;
}

static bool is_change(struct str word)
{
    static const char *const changes[] = {"insert", "update", "delete", "merge"};

    return is_one_of(word, changes, ARRAY_LEN(changes));
}

enum query_effect query_effect_of(struct str sql)
{
    struct str word = STR_EMPTY;

    assert(sql.ptr != NULL);
    if (!next_word(&sql, &word)) {
        return QUERY_READS;
    }
    if (is_change(word)) {
        return QUERY_WRITES;
    }
    if (!str_eq_nocase(word, STR("with"))) {
        return QUERY_READS; /* SELECT ... FOR UPDATE locks and changes nothing */
    }
    while (next_word(&sql, &word)) {
        if (is_change(word)) {
            return QUERY_MAY_WRITE;
        }
    }
    return QUERY_READS;
}

bool query_locks_rows(struct str sql)
{
    /* FOR UPDATE and FOR SHARE too, in all their strengths. */
    static const char *const locks[] = {"update", "delete", "merge", "share"};
    struct str word = STR_EMPTY;

    assert(sql.ptr != NULL);
    while (next_word(&sql, &word)) {
        if (is_one_of(word, locks, ARRAY_LEN(locks))) {
            return true;
        }
    }
    return false;
}
