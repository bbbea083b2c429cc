#include "libcommon/codec/csv_write.h"

#include <assert.h>
#include <string.h>

static bool needs_quotes(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (strchr(",\"\r\n", text.ptr[i]) != NULL) {
            return true;
        }
    }
    return text.len > 0 && (text.ptr[0] == ' ' || text.ptr[text.len - 1] == ' ');
}

static bool is_formula(struct str text)
{
    return text.len > 0 && text.ptr[0] != '\0' && strchr("=+-@\t\r", text.ptr[0]) != NULL;
}

static void separate(struct buf *out, bool first)
{
    assert(out != NULL);
    if (!first) {
        buf_char(out, ',');
    }
}

void csv_put_field(struct buf *out, struct str text, bool first)
{
    bool quoted = needs_quotes(text);

    separate(out, first);
    if (quoted) {
        buf_char(out, '"');
    }
    if (is_formula(text)) {
        buf_char(out, '\'');
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '"') {
            buf_char(out, '"');
        }
        buf_char(out, text.ptr[i]);
    }
    if (quoted) {
        buf_char(out, '"');
    }
}

void csv_put_number(struct buf *out, int64_t value, bool first)
{
    separate(out, first);
    buf_int64(out, value);
}

void csv_end_record(struct buf *out)
{
    buf_str(out, STR("\r\n"));
}
