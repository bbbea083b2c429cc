#include "gateway/trace.h"

#include "libcommon/base/buf.h"
#include "libcommon/base/id.h"

#include <assert.h>

static bool hex_lower(struct str s, bool *out_nonzero)
{
    assert(out_nonzero != NULL);
    assert(s.len > 0);
    *out_nonzero = false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];

        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return false;
        }
        *out_nonzero = *out_nonzero || c != '0';
    }
    return true;
}

static bool is_valid(struct str text)
{
    bool trace = false;
    bool span = false;
    bool flags = false;

    if (text.ptr == NULL || text.len != 55 || !str_starts(text, STR("00-")) ||
        text.ptr[35] != '-' || text.ptr[52] != '-') {
        return false;
    }
    return hex_lower(str_sub(text, 3, 35), &trace) && hex_lower(str_sub(text, 36, 52), &span) &&
           hex_lower(str_sub(text, 53, 55), &flags) && trace && span;
}

void trace_continue(struct str given, char out[TRACEPARENT_BYTES])
{
    uint8_t random[24];
    char hex[2 * sizeof random + 1];
    struct buf b = buf_over(out, TRACEPARENT_BYTES);

    assert(out != NULL);
    random_bytes(random, sizeof random);
    hex_encode(random, sizeof random, hex);
    buf_text(&b, "00-");
    if (is_valid(given)) {
        buf_str(&b, str_sub(given, 3, 35));
    } else {
        buf_append(&b, hex, 32);
    }
    buf_char(&b, '-');
    buf_append(&b, hex + 32, 16);
    buf_text(&b, "-01");
    (void)buf_terminate(&b);
    assert(!b.overflow);
}
