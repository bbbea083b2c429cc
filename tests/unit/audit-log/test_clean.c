/* Records that the table would refuse become records that it takes. */
#include "services/audit-log/clean.h"
#include "tests/support/check.h"

#include "libcommon/base/attr.h"

#include <stdio.h>
#include <string.h>

#define OWNER "0191d6a2-7b1c-7000-8000-000000000001"
#define MARK  " [cut]"

static struct arena_pool *pool;
static struct arena *arena;

static int setup(void **state)
{
    (void)state;
    pool = arena_pool_open(16384, 64);
    arena = arena_open(pool, (size_t)512 * 1024);
    return pool == NULL || arena == NULL;
}

static int teardown(void **state)
{
    (void)state;
    arena_dispose(&arena);
    arena_pool_close(&pool);
    return 0;
}

static Avanta__AuditLog__AuditRow row_new(void)
{
    static char owner[] = OWNER;
    static char word[] = "word";
    static char severity[] = "low";
    static char status[] = "success";
    Avanta__AuditLog__AuditRow row = AVANTA__AUDIT_LOG__AUDIT_ROW__INIT;

    row.owner = owner;
    row.action_type = word;
    row.entity_type = word;
    row.has_occurred_ms = true;
    row.occurred_ms = 1795000000000;
    row.severity = severity;
    row.status = status;
    row.service = word;
    return row;
}

static void a_good_record_stays_as_it_is(void **state)
{
    Avanta__AuditLog__AuditRow row = row_new();
    Avanta__AuditLog__AuditRow before = row;
    char details[] = "{\"name\":\"\xC3\x91\xE2\x82\xAC\xF0\x9F\x92\xB0\"}";

    (void)state;
    row.details = details;
    before.details = details;
    assert_true(audit_clean(&row, arena));
    assert_memory_equal(&row, &before, sizeof row);
}

static void bad_bytes_are_replaced(void **state)
{
    static const char *const rows[][2] = {
        {"\xFF",                 "\xEF\xBF\xBD"                        },
        {"a\xC3",                "a\xEF\xBF\xBD"                       },
        {"\x80z",                "\xEF\xBF\xBDz"                       },
        {"\xED\xA0\x80",         "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xC3\xA9\xFE\xC3\xA9", "\xC3\xA9\xEF\xBF\xBD\xC3\xA9"        },
        {"\xF0\x9F\x92",         "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Avanta__AuditLog__AuditRow row = row_new();
        char text[16];
        char **const texts[] = {&row.actor,
                                &row.action_type,
                                &row.entity_type,
                                &row.entity_id,
                                &row.details,
                                &row.ip_address,
                                &row.agent,
                                &row.session,
                                &row.request,
                                &row.service};

        (void)snprintf(text, sizeof text, "%s", rows[i][0]);
        for (size_t k = 0; k < ARRAY_LEN(texts); k++) {
            *texts[k] = text;
        }
        assert_true(audit_clean(&row, arena));
        for (size_t k = 0; k < ARRAY_LEN(texts); k++) {
            assert_row(i, strcmp(*texts[k], rows[i][1]) == 0);
        }
        assert_string_equal(text, rows[i][0]); /* the record itself is left */
    }
}

static void long_texts_are_cut_with_a_mark(void **state)
{
    static char text[AUDIT_DETAILS_BYTES_MAX + 8];

    (void)state;
    for (size_t extra = 0; extra < 5; extra++) {
        Avanta__AuditLog__AuditRow row = row_new();

        memset(text, 'x', sizeof text);
        for (size_t i = extra; i + 2 < sizeof text; i += 2) {
            memcpy(text + i, "\xC3\xA9", 2);
        }
        text[AUDIT_DETAILS_BYTES_MAX + 1 + extra] = '\0';
        row.details = text;
        row.agent = text;
        row.entity_id = text;
        assert_true(audit_clean(&row, arena));
        assert_in_range(strlen(row.details), AUDIT_DETAILS_BYTES_MAX - 1, AUDIT_DETAILS_BYTES_MAX);
        assert_in_range(strlen(row.agent), AUDIT_AGENT_BYTES_MAX - 1, AUDIT_AGENT_BYTES_MAX);
        assert_in_range(strlen(row.entity_id), AUDIT_WORD_BYTES_MAX - 1, AUDIT_WORD_BYTES_MAX);
        assert_true(utf8_valid(str_from(row.details)));
        assert_true(utf8_valid(str_from(row.entity_id)));
        assert_string_equal(row.details + strlen(row.details) - strlen(MARK), MARK);
        assert_string_equal(row.agent + strlen(row.agent) - strlen(MARK), MARK);
        arena_dispose(&arena);
        arena = arena_open(pool, (size_t)512 * 1024);
    }
}

static void what_fits_exactly_is_not_cut(void **state)
{
    static char text[AUDIT_WORD_BYTES_MAX + 1];
    Avanta__AuditLog__AuditRow row = row_new();

    (void)state;
    memset(text, 'x', sizeof text - 1);
    row.entity_id = text;
    assert_true(audit_clean(&row, arena));
    assert_ptr_equal(row.entity_id, text);
}

static void unknown_owners_and_words_find_a_place(void **state)
{
    Avanta__AuditLog__AuditRow row = row_new();
    char owner[] = "somebody";
    char word[] = "extreme";

    (void)state;
    row.owner = owner;
    row.severity = word;
    row.status = word;
    row.occurred_ms = UINT64_MAX;
    assert_true(audit_clean(&row, arena));
    assert_string_equal(row.owner, AUDIT_OWNER_UNKNOWN);
    assert_string_equal(row.actor, "somebody");
    assert_string_equal(row.severity, "high");
    assert_string_equal(row.status, "partial");
    assert_int_equal(row.occurred_ms, AUDIT_TIME_MS_MAX);
}

static void a_full_arena_is_told(void **state)
{
    Avanta__AuditLog__AuditRow row = row_new();
    char bad[] = "\xFF";

    (void)state;
    while (arena_alloc(arena, 1024) != NULL) {
    }
    while (arena_alloc(arena, 1) != NULL) {
    }
    row.details = bad;
    assert_false(audit_clean(&row, arena));
}

#define CLEAN(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLEAN(a_good_record_stays_as_it_is),
        CLEAN(bad_bytes_are_replaced),
        CLEAN(long_texts_are_cut_with_a_mark),
        CLEAN(what_fits_exactly_is_not_cut),
        CLEAN(unknown_owners_and_words_find_a_place),
        CLEAN(a_full_arena_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
