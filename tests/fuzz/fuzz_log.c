/* Any bytes as the fields of a line: in both formats one well-formed line, and nothing masked in
 * one is shown in the other. The first byte says where the key and the values divide. */
#include "libcommon/base/log_line.h"
#include "libcommon/base/log_mask.h"

#include <assert.h>
#include <jansson.h>
#include <string.h>

/* NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct str write_line(char memory[LOG_LINE_BYTES_MAX],
                             enum log_format format,
                             const struct log_field fields[3])
{
    const struct log_head head = {.format = format,
                                  .level = LOG_WARN,
                                  .wall_ms = 1,
                                  .service = "ledger",
                                  .instance = "i",
                                  .event = "e"};
    struct log_line line;

    log_line_begin(&line, memory, &head);
    for (size_t i = 0; i < 3; i++) {
        log_line_field(&line, &fields[i]);
    }
    return log_line_end(&line);
}

/* One line, valid UTF-8, no control characters. */
static void check_line(struct str line)
{
    assert(line.len > 0);
    assert(line.len <= LOG_LINE_BYTES_MAX);
    assert(line.ptr[line.len - 1] == '\n');
    assert(utf8_valid(line));
    assert(!utf8_has_control(str_sub(line, 0, line.len - 1), ""));
}

/* key=value or key="value" with blanks between them, to the end. */
static void check_logfmt(struct str line)
{
    size_t at = 0;

    while (at < line.len) {
        size_t key = at;

        while (line.ptr[at] == '_' || (line.ptr[at] >= 'a' && line.ptr[at] <= 'z')) {
            at++;
        }
        assert(at > key);
        assert(line.ptr[at] == '=');
        at++;
        if (line.ptr[at] == '"') {
            for (at++; line.ptr[at] != '"'; at += line.ptr[at] == '\\' ? 2 : 1) {
                assert(at + 1 < line.len);
            }
            at++;
        } else {
            while (line.ptr[at] != ' ' && line.ptr[at] != '\n') {
                assert(line.ptr[at] != '"');
                at++;
            }
        }
        assert(line.ptr[at] == (at + 1 == line.len ? '\n' : ' '));
        at++;
    }
}

static void check_json(struct str line, const struct log_field *first)
{
    json_t *root = json_loadb(line.ptr,
                              line.len,
                              JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL,
                              NULL);
    const json_t *value = NULL;

    assert(root != NULL);
    value = json_object_get(root, "first");
    assert(value == NULL || json_is_string(value));
    if (json_object_get(root, "cut") == NULL && utf8_valid(first->text)) {
        assert(json_string_length(value) == first->text.len);
        assert(memcmp(json_string_value(value), first->text.ptr, first->text.len) == 0);
    }
    json_decref(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char line[LOG_LINE_BYTES_MAX];
    char shown[2][LOG_MASK_BYTES];
    struct log_field fields[3];
    struct str text = {(const char *)data, size};
    size_t half = size == 0 ? 0 : size * data[0] / 256;
    uint64_t number = hash_bytes(data, size, 0);
    bool cut = false;
    struct str one = log_mask_text(str_sub(text, 0, half), shown[0], &cut);
    struct str two = log_mask_text(str_sub(text, half, size), shown[1], &cut);

    fields[0] = LOG_V("first", one);
    fields[1] = LOG_U("number", number);
    fields[2] = LOG_V("second", two);
    assert(one.len <= LOG_MASK_SCAN_MAX);
    check_line(write_line(line, LOG_LOGFMT, fields));
    check_logfmt(write_line(line, LOG_LOGFMT, fields));
    check_line(write_line(line, LOG_JSON, fields));
    check_json(write_line(line, LOG_JSON, fields), &fields[0]);
    return 0;
}
