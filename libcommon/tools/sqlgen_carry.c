/* Names are found first; which of them carry is then concluded until nothing new follows. */
#include "libcommon/tools/sqlgen_carry.h"

#include "libcommon/tools/host.h"

#include <assert.h>
#include <string.h>

#define NOWHERE ((size_t)-1)

/* One item of a FROM, or the table that a statement changes. */
struct source {
    const char *alias;
    const char *name; /* of a table, WITH query or function; "" of others */
    size_t at;
    size_t open;    /* the parenthesis of a sub-select or of a function's arguments; 0: none */
    size_t columns; /* the parenthesis of the column names behind the alias; 0: none */
    bool carries;
};

/* One query of a WITH. */
struct query {
    const char *name;
    const char *row; /* `t` of INSERT INTO x AS t ... RETURNING t; "" : it is no such thing */
    size_t open;
    bool carries;
};

struct sqlgen_carry {
    const struct sqlgen_tokens *tokens;
    const char *user;
    struct source *sources;
    size_t source_count;
    struct query *queries;
    size_t query_count;
};

static bool is(const struct sqlgen_carry *c, size_t at, const char *word)
{
    return sqlgen_is_word(c->tokens, at, word);
}

static const char *word_at(const struct sqlgen_carry *c, size_t at)
{
    assert(at < c->tokens->count);
    return c->tokens->rows[at].word;
}

static size_t depth_at(const struct sqlgen_carry *c, size_t at)
{
    assert(at < c->tokens->count);
    return c->tokens->rows[at].depth;
}

/* --- what there is ------------------------------------------------------------------------- */

static bool is_alias(const char *word)
{
    return sqlgen_is_name(word) && !sqlgen_is_among(word, SQLGEN_CLAUSES " overriding default do");
}

static struct source source_read(const struct sqlgen_carry *c, size_t at)
{
    struct source out = {.alias = "", .name = "", .at = at};
    size_t end = at + 1;
    if (is(c, at, "(")) {
        out.open = at;
        end = sqlgen_close(c->tokens, at) + 1;
    } else {
        out.alias = word_at(c, at);
        out.name = out.alias;
        if (is(c, end, "(")) {
            out.open = end;
            end = sqlgen_close(c->tokens, end) + 1;
        }
    }
    if (end >= c->tokens->count) {
        return out;
    }
    if (is(c, end, ".")) { /* of a schema: no WITH query */
        out.name = "";
        out.alias = word_at(c, end + 1);
        end += 2;
    }
    if (end >= c->tokens->count) {
        return out;
    }
    end += is(c, end, "with") && is(c, end + 1, "ordinality") ? 2 : 0;
    end += is(c, end, "as") ? 1 : 0;
    if (is_alias(word_at(c, end))) {
        out.alias = word_at(c, end);
        out.columns = is(c, end + 1, "(") ? end + 1 : 0;
    }
    return out;
}

static const char *row_of(const struct sqlgen_carry *c, size_t open)
{
    size_t end = sqlgen_close(c->tokens, open);
    bool insert = end > open + 6 && is(c, open + 1, "insert") && is(c, open + 2, "into") &&
                  is(c, open + 4, "as") && is(c, end - 2, "returning") &&
                  strcmp(word_at(c, open + 5), word_at(c, end - 1)) == 0;
    return insert ? word_at(c, end - 1) : "";
}

/* "WITH name AS (" or ", name AS MATERIALIZED (". */
static bool query_read(const struct sqlgen_carry *c, size_t at, struct query *out)
{
    assert(out != NULL);
    size_t open = at + 2;
    if (at == 0 || !sqlgen_is_among(word_at(c, at - 1), "with ,") ||
        !sqlgen_is_name(word_at(c, at)) || !is(c, at + 1, "as")) {
        return false;
    }
    open += is(c, open, "not") ? 1 : 0;
    open += is(c, open, "materialized") ? 1 : 0;
    if (!is(c, open, "(")) {
        return false;
    }
    *out = (struct query){.name = word_at(c, at), .row = row_of(c, open), .open = open};
    return true;
}

/* False: nothing can be concluded. */
static bool names_find(struct sqlgen_carry *c)
{
    struct query query;
    for (size_t i = 0; i + 1 < c->tokens->count; i++) {
        if (is(c, i, "recursive")) {
            return false;
        }
        if (sqlgen_is_source(c->tokens, i) && (is(c, i, "(") || sqlgen_is_name(word_at(c, i)))) {
            c->sources = host_grow(c->sources, c->source_count, sizeof(*c->sources));
            c->sources[c->source_count++] = source_read(c, i);
        }
        if (query_read(c, i, &query)) {
            c->queries = host_grow(c->queries, c->query_count, sizeof(*c->queries));
            c->queries[c->query_count++] = query;
        }
    }
    return true;
}

/* The query of that name; NULL when there is none or more than one. */
static const struct query *query_of(const struct sqlgen_carry *c, const char *name)
{
    const struct query *found = NULL;
    size_t count = 0;
    assert(name != NULL);
    for (size_t i = 0; i < c->query_count; i++) {
        bool same = strcmp(c->queries[i].name, name) == 0;
        found = same ? &c->queries[i] : found;
        count += same ? 1 : 0;
    }
    return count == 1 ? found : NULL;
}

/* --- what a name at some place means ------------------------------------------------------- */

struct meaning {
    size_t carrying; /* sources of that name in the SELECT around and those around it */
    size_t others;
};

static void
meaning_add(const struct sqlgen_carry *c, size_t at, const char *name, struct meaning *m)
{
    size_t from = 0;
    size_t to = 0;
    assert(name != NULL);
    assert(m != NULL);
    sqlgen_part(c->tokens, at, &from, &to);
    for (size_t i = 0; i < c->source_count; i++) {
        const struct source *s = &c->sources[i];
        if (s->at < from || s->at >= to || depth_at(c, s->at) != depth_at(c, at) ||
            strcmp(s->alias, name) != 0) {
            continue;
        }
        m->carrying += s->carries ? 1 : 0;
        m->others += s->carries ? 0 : 1;
    }
}

/* All sources of that name that could be meant, so that it does not matter which one is. */
static struct meaning meaning_of(const struct sqlgen_carry *c, size_t at, const char *name)
{
    struct meaning m = {0, 0};
    meaning_add(c, at, name, &m);
    while (sqlgen_outside(c->tokens, at, &at)) {
        meaning_add(c, at, name, &m);
    }
    return m;
}

static bool name_carries(const struct sqlgen_carry *c, size_t at)
{
    struct meaning m = meaning_of(c, at, word_at(c, at));
    return m.carrying > 0 && m.others == 0;
}

/* `(t)` at `at` is the row that a WITH query of the same SELECT has stored. */
static bool row_carries(const struct sqlgen_carry *c, size_t at)
{
    const char *row = word_at(c, at + 1);
    struct meaning m = meaning_of(c, at, row);
    size_t from = 0;
    size_t to = 0;
    bool found = false;
    assert(is(c, at, "("));
    sqlgen_part(c->tokens, at, &from, &to);
    for (size_t i = 0; i < c->source_count && !found; i++) {
        const struct source *s = &c->sources[i];
        const struct query *query = query_of(c, s->name);
        found = s->at >= from && s->at < to && depth_at(c, s->at) == depth_at(c, at) &&
                s->open == 0 && query != NULL && strcmp(query->row, row) == 0;
    }
    return found && m.carrying + m.others == 0;
}

size_t sqlgen_carry_end(const struct sqlgen_carry *c, size_t at)
{
    assert(c != NULL);
    bool row = is(c, at, "(");
    size_t dot = row ? at + 3 : at + 1;
    if (dot + 1 >= c->tokens->count || (row && !is(c, at + 2, ")")) || !is(c, dot, ".") ||
        !is(c, dot + 1, "user_id")) {
        return 0;
    }
    return (row ? row_carries(c, at) : name_carries(c, at)) ? dot + 2 : 0;
}

/* --- what carries -------------------------------------------------------------------------- */

/* The only place in a list of arguments or columns where `fits`; NOWHERE: none or several. */
static size_t place_in(const struct sqlgen_carry *c,
                       size_t open,
                       bool (*fits)(const struct sqlgen_carry *c, size_t at, size_t end))
{
    size_t end = sqlgen_close(c->tokens, open);
    size_t depth = depth_at(c, open) + 1;
    size_t found = NOWHERE;
    size_t number = 0;
    size_t count = 0;
    assert(fits != NULL);
    for (size_t at = open + 1; at < end; number++) {
        size_t item_end = sqlgen_item_end(c->tokens, at, depth);
        bool right = fits(c, at, item_end);
        found = right ? number : found;
        count += right ? 1 : 0;
        at = item_end + 1;
    }
    return count == 1 ? found : NOWHERE;
}

/* ":user_id::uuid[]" or "(SELECT :user_id::uuid[])" and nothing else. */
static bool is_user(const struct sqlgen_carry *c, size_t at, size_t end)
{
    if (is(c, at, "(") && is(c, at + 1, "select") && end > at + 2 && is(c, end - 1, ")")) {
        at += 2;
        end--;
    }
    return is(c, at, c->user) && sqlgen_cast_end(c->tokens, at + 1) == end;
}

static bool is_user_column(const struct sqlgen_carry *c, size_t at, size_t end)
{
    return end == at + 1 && is(c, at, "user_id");
}

static bool unnest_carries(const struct sqlgen_carry *c, const struct source *s)
{
    size_t place = NOWHERE;
    if (s->open == 0 || s->columns == 0 || strcmp(s->name, "unnest") != 0) {
        return false;
    }
    place = place_in(c, s->open, is_user);
    return place != NOWHERE && place == place_in(c, s->columns, is_user_column);
}

struct output {
    size_t place; /* of user_id among what is selected; NOWHERE: it is not a caller's */
    bool star;    /* places are not known */
};

static struct output output_of(const struct sqlgen_carry *c, size_t select)
{
    struct output out = {NOWHERE, false};
    size_t depth = depth_at(c, select);
    size_t at = select;
    for (size_t number = 0; number == 0 || is(c, at, ","); number++) {
        size_t from = at + 1;
        at = sqlgen_item_end(c->tokens, from, depth);
        const char *last = word_at(c, at - 1);
        if (at == from || !sqlgen_is_among(last, "user_id *")) {
            continue;
        }
        if (at != from + 3 || !is(c, from + 1, ".") || !name_carries(c, from)) {
            return (struct output){NOWHERE, false};
        }
        out.place = number;
        out.star = out.star || last[0] == '*';
    }
    return out;
}

/* The parentheses hold SELECTs, joined by UNION and its like, of which each gives a caller's
 * user_id in the same place. */
static bool select_carries(const struct sqlgen_carry *c, size_t open)
{
    size_t end = sqlgen_close(c->tokens, open);
    size_t at = open + 1;
    size_t place = NOWHERE;
    bool star = false;
    bool first = true;
    while (at < end) {
        struct output output = {NOWHERE, false};
        size_t from = 0;
        at += !first && sqlgen_is_among(word_at(c, at), "all distinct") ? 1 : 0;
        output = is(c, at, "select") ? output_of(c, at) : output;
        if (output.place == NOWHERE || (!first && (star || output.star || place != output.place))) {
            return false;
        }
        place = output.place;
        star = output.star;
        first = false;
        sqlgen_part(c->tokens, at, &from, &at);
        at++;
    }
    return !first;
}

static bool source_carries(const struct sqlgen_carry *c, const struct source *s)
{
    const struct query *query = NULL;
    if (s->open != 0) {
        return s->name[0] != '\0' ? unnest_carries(c, s)
                                  : s->columns == 0 && select_carries(c, s->open);
    }
    query = query_of(c, s->name);
    return s->columns == 0 && query != NULL && query->carries;
}

const struct sqlgen_carry *sqlgen_carry_find(const struct sqlgen_tokens *tokens, const char *user)
{
    struct sqlgen_carry *c = host_alloc(1, sizeof(*c));
    bool more = true;
    assert(tokens->count > 0);
    assert(user != NULL);
    c->tokens = tokens;
    c->user = user;
    more = names_find(c);
    while (more) { /* each turn but the last finds one that was not known to carry */
        more = false;
        for (size_t i = 0; i < c->source_count; i++) {
            struct source *s = &c->sources[i];
            bool found = !s->carries && source_carries(c, s);
            s->carries = s->carries || found;
            more = more || found;
        }
        for (size_t i = 0; i < c->query_count; i++) {
            struct query *q = &c->queries[i];
            bool found = !q->carries && select_carries(c, q->open);
            q->carries = q->carries || found;
            more = more || found;
        }
    }
    return c;
}
