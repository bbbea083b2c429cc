/* The Big List of Naughty Strings through JSON into the books and out again: each comes back as it
 * went, in NFC and without the white space around it, or is refused for a reason. */
#include "tests/support/api.h"
#include "tests/support/stack.h"
#include "tests/support/suites.h"

#include "libcommon/base/arena.h"
#include "libcommon/base/limits.h"

#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

static struct arena_pool *pool;
static struct api api;

static int setup(void **state)
{
    pool = arena_pool_open(ARENA_CHUNK_BYTES, 1024);
    if (pool == NULL || stack_setup(state) != 0) {
        return 1;
    }
    api_open(&api, stack_url());
    api_register(&api, "naughty");
    return 0;
}

static int teardown(void **state)
{
    api_close(&api);
    arena_pool_close(&pool);
    return stack_teardown(state);
}

static bool is_blank(utf8proc_int32_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Code points of a text. */
struct points {
    utf8proc_int32_t at[8192];
    size_t count;
};

static void points_of(const char *text, struct points *out)
{
    utf8proc_ssize_t count =
        utf8proc_decompose((const utf8proc_uint8_t *)text,
                           0,
                           out->at,
                           sizeof out->at / sizeof out->at[0],
                           (utf8proc_option_t)(UTF8PROC_NULLTERM | UTF8PROC_COMPOSE));

    assert_in_range(count, 0, sizeof out->at / sizeof out->at[0]);
    count = utf8proc_normalize_utf32(
        out->at, count, (utf8proc_option_t)(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
    assert_true(count >= 0);
    out->count = (size_t)count;
}

static void trim(struct points *p)
{
    size_t from = 0;

    while (p->count > 0 && is_blank(p->at[p->count - 1])) {
        p->count--;
    }
    while (from < p->count && is_blank(p->at[from])) {
        from++;
    }
    p->count -= from;
    memmove(p->at, p->at + from, p->count * sizeof p->at[0]);
}

/* What may be refused: nothing at all, too much, control characters (also those that turn the
 * direction of text), towers of marks. */
static bool may_be_refused(const struct points *p, size_t length_max)
{
    size_t marks = 0;

    for (size_t i = 0; i < p->count; i++) {
        utf8proc_category_t category = utf8proc_category(p->at[i]);

        bool turns = (p->at[i] >= 0x202A && p->at[i] <= 0x202E) ||
                     (p->at[i] >= 0x2066 && p->at[i] <= 0x2069);

        marks =
            category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_ME ? marks + 1 : 0;
        if (category == UTF8PROC_CATEGORY_CC || turns || marks > 30) {
            return true;
        }
    }
    return p->count == 0 || p->count > length_max;
}

static bool same_text(const struct points *wanted, const char *got)
{
    static struct points other;

    points_of(got, &other);
    return other.count == wanted->count &&
           memcmp(other.at, wanted->at, other.count * sizeof other.at[0]) == 0;
}

/* Through JSON into the books and out again: true when it was taken. */
static bool description_holds(size_t row, const char *text, const struct points *wanted)
{
    char path[64];

    api_send(&api,
             "POST",
             "/api/transactions",
             json_pack("{s:s,s:s,s:i,s:s,s:s}",
                       "date",
                       "2025-02-03",
                       "description",
                       text,
                       "amount",
                       1,
                       "type",
                       "gasto",
                       "category",
                       "personal"));
    if (api.status == 400) {
        assert_string_equal(api_text(&api, "errors.0.field"), "description");
        assert_row(row, may_be_refused(wanted, 500));
        return false;
    }
    assert_int_equal(api.status, 201);
    assert_row(row, same_text(wanted, api_text(&api, "data.description")));
    (void)snprintf(
        path, sizeof path, "/api/transactions/%lld", (long long)api_int(&api, "data.id"));
    assert_int_equal(api_get(&api, path), 200);
    assert_row(row, same_text(wanted, api_text(&api, "description")));
    return true;
}

/* Names are unique without regard to case, so some come a second time. */
static bool name_holds(size_t row, const char *text, const struct points *wanted)
{
    api_send(&api, "POST", "/api/categories", json_pack("{s:s}", "name", text));
    if (api.status == 409) {
        return false;
    }
    if (api.status == 400) {
        assert_string_equal(api_text(&api, "errors.0.field"), "name");
        assert_row(row, may_be_refused(wanted, 100));
        return false;
    }
    assert_int_equal(api.status, 201);
    assert_row(row, same_text(wanted, api_text(&api, "name")));
    return true;
}

static void naughty_strings_come_back_as_they_went(void **state)
{
    static struct points wanted;
    struct arena *arena = arena_open(pool, 1024 * 1024);
    struct str file = suite_file(arena, "naughty-strings", "blns.json");
    json_t *texts = json_loadb(file.ptr, file.len, JSON_ALLOW_NUL, NULL);
    size_t count = json_array_size(texts);
    size_t described = 0;
    size_t named = 0;

    (void)state;
    assert_true(count > 500);
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_array_get(texts, i));

        points_of(text, &wanted);
        trim(&wanted);
        described += description_holds(i, text, &wanted) ? 1 : 0;
        named += name_holds(i, text, &wanted) ? 1 : 0;
    }
    assert_in_range(described, count * 9 / 10, count);
    assert_in_range(named, count * 6 / 10, count);
    /* What was refused is nowhere. */
    assert_int_equal(api_get(&api, "/api/transactions?include_stats=true&include_deleted=true"),
                     200);
    assert_int_equal(api_int(&api, "statistics.total_transactions"), described);
    assert_int_equal(api_get(&api, "/api/categories"), 200);
    assert_int_equal(json_array_size(api.body), named);
    json_decref(texts);
    arena_dispose(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(naughty_strings_come_back_as_they_went),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
