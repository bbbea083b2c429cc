/* Lines as JSON objects: what a reader of JSON makes of them. */
#include "tests/support/check.h"

#include "libcommon/base/attr.h"
#include "libcommon/base/log_line.h"

#include <jansson.h>
#include <string.h>

static const struct log_head head = {.format = LOG_JSON,
                                     .level = LOG_WARN,
                                     .wall_ms = UINT64_C(951782399007),
                                     .service = "ledger",
                                     .instance = "i-1",
                                     .event = "started"};

static struct str
write_line(char memory[LOG_LINE_BYTES_MAX], const struct log_field *fields, size_t count)
{
    struct log_line line;

    log_line_begin(&line, memory, &head);
    for (size_t i = 0; i < count; i++) {
        log_line_field(&line, &fields[i]);
    }
    return log_line_end(&line);
}

static json_t *parse(struct str line)
{
    json_error_t error;
    json_t *root = json_loadb(line.ptr, line.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);

    assert_int_equal(line.ptr[line.len - 1], '\n');
    assert_null(memchr(line.ptr, '\n', line.len - 1));
    assert_true(line.len <= LOG_LINE_BYTES_MAX);
    if (root == NULL) {
        fail_msg("%s: %.*s", error.text, STR_FMT(line));
    }
    return root;
}

static void lines_are_objects(void **state)
{
    const struct log_field fields[] = {
        LOG_S("what", "a \"b\""), LOG_I("n", -5), LOG_U("u", UINT64_MAX)};
    char memory[LOG_LINE_BYTES_MAX];
    struct str line = write_line(memory, fields, ARRAY_LEN(fields));

    (void)state;
    assert_true(str_eq(line,
                       STR("{\"ts\":\"2000-02-28T23:59:59.007Z\",\"level\":\"warn\","
                           "\"service\":\"ledger\",\"instance\":\"i-1\",\"event\":\"started\","
                           "\"what\":\"a \\\"b\\\"\",\"n\":-5,\"u\":18446744073709551615}\n")));
}

static void values_come_back(void **state)
{
    static const struct str values[] = {
        {"",                             0 },
        {"plain",                        5 },
        {"a\nb\r\t\"\\",                 7 },
        {"a\0b",                         3 },
        {"\x1b[2J\x7f",                  5 },
        {"caf\xC3\xA9 \xF0\x9F\x92\xB0", 10},
        {"\xC2\x85\xE2\x80\xA8",         5 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        const struct log_field field = LOG_V("v", values[i]);
        char memory[LOG_LINE_BYTES_MAX];
        json_t *root = parse(write_line(memory, &field, 1));
        const json_t *value = json_object_get(root, "v");

        assert_row(i, json_string_length(value) == values[i].len);
        assert_row(i,
                   values[i].len == 0 ||
                       memcmp(json_string_value(value), values[i].ptr, values[i].len) == 0);
        json_decref(root);
    }
}

/* At every length around the limit, and with fields behind it. */
static void cut_lines_are_objects(void **state)
{
    static const char *const fills[] = {"x", "\"", "\n", "\xC3\xA9", "\xFF"};
    char value[2000];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(fills) * 1200; i++) {
        struct buf text = buf_over(value, i / ARRAY_LEN(fills));
        char memory[LOG_LINE_BYTES_MAX];
        struct log_field fields[3] = {LOG_U("before", 1), {0}, LOG_U("behind", 12345)};
        json_t *root = NULL;

        while (!text.overflow) {
            buf_text(&text, fills[i % ARRAY_LEN(fills)]);
        }
        fields[1] = LOG_V("v", buf_view(&text));
        root = parse(write_line(memory, fields, 3));
        assert_row(i, json_is_integer(json_object_get(root, "before")));
        assert_row(i,
                   (json_object_get(root, "cut") == json_true()) !=
                       json_is_integer(json_object_get(root, "behind")));
        json_decref(root);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_objects),
        cmocka_unit_test(values_come_back),
        cmocka_unit_test(cut_lines_are_objects),
    };

    return cmocka_run_group_tests_name("log_json", tests, NULL, NULL);
}
