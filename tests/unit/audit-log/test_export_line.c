#include "services/audit-log/export_line.h"
#include "tests/support/check.h"

#include "libcommon/base/buf.h"
#include "libcommon/base/limits.h"

#include <string.h>

#define HASH   "\"bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=\""
#define DIGEST "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"

static struct arena_pool *pool;
static struct arena *arena;

static int setup(void **state)
{
    (void)state;
    pool = arena_pool_open(ARENA_CHUNK_BYTES, 1024);
    arena = arena_open(pool, EXPORT_ARENA_BYTES_MAX);
    return pool == NULL || arena == NULL;
}

static int teardown(void **state)
{
    (void)state;
    arena_dispose(&arena);
    arena_pool_close(&pool);
    return 0;
}

/* Written as they were read. */
static void lines_are_read_and_written(void **state)
{
    static const struct {
        const char *text;
        unsigned has;
        size_t hashes;
    } rows[] = {
        {"{\"format\":\"avanta-audit-export/v1\",\"kind\":\"range\",\"first\":3,\"left\":[" HASH
         "," HASH "],\"checkpoint\":\"a\\nb\"}",
         EXPORT_RANGE_HEADER,                                                                                              2},
        {"{\"format\":\"avanta-audit-export/v1\",\"kind\":\"selection\",\"checkpoint\":\"\"}",
         EXPORT_SELECTION_HEADER,                                                                                          0},
        {"{\"format\":\"avanta-audit-export/v1\",\"kind\":\"seal\",\"month\":\"2024-01\","
         "\"previous_sha256\":\"" DIGEST "\",\"first\":3,\"left\":[],\"checkpoint\":\"\"}",
         EXPORT_SEAL_HEADER | EXPORT_HAS(PREVIOUS_SHA256),
         0                                                                                                                  },
        {"{\"next\":7,\"nodes\":[" HASH "]}",                                                        EXPORT_GAP,           1},
        {"{\"leaf_index\":0,\"leaf_hash\":" HASH ",\"record\":{\"a\":[{\"b\":null},1.50]}}",
         EXPORT_RANGE_RECORD | EXPORT_HAS(LEAF_HASH),
         0                                                                                                                  },
        {"{\"leaf_index\":9223372036854775807,\"record\":{},\"proof\":[" HASH "]}",
         EXPORT_SELECTION_RECORD,                                                                                          1},
        {"{\"count\":12,\"right\":[]}",                                                              EXPORT_RANGE_END,     0},
        {"{\"count\":0}",                                                                            EXPORT_SELECTION_END, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct export_line line;
        struct err err = {.code = OK};
        struct str text = STR_EMPTY;

        assert_int_equal(export_line_read(str_from(rows[i].text), arena, &line, &err), OK);
        assert_row(i, line.has == rows[i].has);
        assert_row(i, line.hash_count == rows[i].hashes);
        assert_row(i, export_line_write(&line, arena, &text, &err) == OK);
        assert_row(i, str_eq(text, str_from(rows[i].text)));
    }
}

/* Its bytes are hashed, so a record is what stands there, blanks and all. */
static void a_record_is_its_bytes(void **state)
{
    struct export_line line;
    struct err err = {.code = OK};

    (void)state;
    assert_int_equal(
        export_line_read(
            STR(" {\"record\" : { \"a\" : {} } , \"leaf_index\":7} "), arena, &line, &err),
        OK);
    assert_true(str_eq(line.record, STR("{ \"a\" : {} }")));
    assert_int_equal(line.leaf_index, 7);
}

/* What it says of its time is that of the record and of nothing inside of it. */
static void a_record_tells_its_time(void **state)
{
    static const struct {
        const char *text;
        uint64_t ms;
    } rows[] = {
        {"{\"record\":{\"occurred_ms\":17}}",                                    17},
        {"{\"record\":{\"a\":{\"occurred_ms\":18},\"occurred_ms\":17,\"z\":1}}", 17},
        {"{\"record\":{\"a\":{\"occurred_ms\":18}}}",                            0 },
        {"{\"record\":{\"occurred_ms\":[18]}}",                                  0 },
        {"{\"record\":{\"occurred_ms\":\"18\"}}",                                0 },
        {"{\"record\":{\"occurred_ms\":1.5}}",                                   0 },
        {"{\"record\":{}}",                                                      0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct export_line line;
        struct err err = {.code = OK};

        assert_row(i, export_line_read(str_from(rows[i].text), arena, &line, &err) == OK);
        assert_row(i, line.occurred_ms == rows[i].ms);
    }
}

static void other_lines_are_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "[]",
        "1",
        "\"count\"",
        "{",
        "{\"unknown\":1}",
        "{\"record\":[]}",
        "{\"record\":1}",
        "{\"record\":{\"a\":1,\"a\":1}}",
        "{\"left\":{}}",
        "{\"left\":" HASH "}",
        "{\"left\":[1]}",
        "{\"left\":[[]]}",
        "{\"left\":[{}]}",
        "{\"left\":[\"bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0\"]}",
        "{\"left\":[\"bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoA==\"]}",
        "{\"left\":[],\"right\":[]}",
        "{\"nodes\":[],\"right\":[]}",
        "{\"previous_sha256\":\"\"}",
        "{\"previous_sha256\":1}",
        "{\"previous_sha256\":\"6e34\"}",
        "{\"previous_sha256\":\"6E340B9CFFB37A989CA544E6BB780A2C78901D3FB33738768511A30617AFA01D\"}",
        "{\"previous_sha256\":\"" DIGEST "00\"}",
        "{\"proof\":[],\"right\":[]}",
        "{\"count\":-1}",
        "{\"count\":1.0}",
        "{\"count\":\"1\"}",
        "{\"count\":null}",
        "{\"count\":[]}",
        "{\"count\":9223372036854775808}",
        "{\"count\":1,\"count\":1}",
        "{\"leaf_hash\":\"\"}",
        "{\"leaf_hash\":[]}",
        "{\"kind\":true}",
        "{\"count\":1} {}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct export_line line;
        struct err err = {.code = OK};

        assert_row(i, export_line_read(str_from(texts[i]), arena, &line, &err) == ERR_JSON);
        assert_row(i, err.code == ERR_JSON);
    }
}

static void bounds_hold(void **state)
{
    static char memory[EXPORT_LINE_BYTES_MAX + 1];
    struct buf b = buf_over(memory, sizeof memory);
    struct export_line line;
    struct str text = STR_EMPTY;

    (void)state;
    buf_text(&b, "{\"left\":[" HASH);
    for (size_t i = 1; i < MERKLE_COVER_MAX; i++) {
        buf_text(&b, "," HASH);
    }
    buf_text(&b, "]}");
    assert_int_equal(export_line_read(buf_view(&b), arena, &line, NULL), OK);
    assert_int_equal(line.hash_count, MERKLE_COVER_MAX);
    b.len -= 2;
    buf_text(&b, "," HASH "]}");
    assert_int_equal(export_line_read(buf_view(&b), arena, &line, NULL), ERR_JSON);

    memset(memory, ' ', sizeof memory);
    b = buf_over(memory, sizeof memory);
    buf_text(&b, "{\"count\":1}");
    assert_int_equal(
        export_line_read((struct str){memory, EXPORT_LINE_BYTES_MAX}, arena, &line, NULL), OK);
    assert_int_equal(
        export_line_read((struct str){memory, EXPORT_LINE_BYTES_MAX + 1}, arena, &line, NULL),
        ERR_TOO_LARGE);
    line.has = EXPORT_RANGE_RECORD;
    line.record = (struct str){memory, EXPORT_LINE_BYTES_MAX};
    assert_int_equal(export_line_write(&line, arena, &text, NULL), ERR_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_read_and_written),
        cmocka_unit_test(a_record_is_its_bytes),
        cmocka_unit_test(a_record_tells_its_time),
        cmocka_unit_test(other_lines_are_refused),
        cmocka_unit_test(bounds_hold),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
