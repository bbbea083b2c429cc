#include "libcommon/codec/http_chars.h"

#include <assert.h>

/* Bit c of a row is set when the character c belongs to the class. */
static const uint32_t classes[HTTP_CLASS_COUNT][8] = {
    [HTTP_CLASS_TOKEN] = {0,          0x03FF6CFA, 0xC7FFFFFE, 0x57FFFFFF, 0,   0,   0,   0  },
    [HTTP_CLASS_VALUE] = {0x00000200, ~0U,        ~0U,        0x7FFFFFFF, ~0U, ~0U, ~0U, ~0U},
    [HTTP_CLASS_TARGET] = {0,          0xFFFFFFF6, ~0U,        0x7FFFFFFF, 0,   0,   0,   0  },
    [HTTP_CLASS_HOST] = {0,          0x2FFF7FF2, 0xAFFFFFFE, 0x47FFFFFE, 0,   0,   0,   0  },
};

bool http_char_is(enum http_class class, char c)
{
    uint8_t byte = (uint8_t)c;

    assert(class < HTTP_CLASS_COUNT);
    return ((classes[class][byte >> 5] >> (byte & 31)) & 1) != 0;
}

size_t http_run_of(enum http_class class, struct str s)
{
    size_t at = 0;

    assert(s.ptr != NULL);
    while (at < s.len && http_char_is(class, s.ptr[at])) {
        at++;
    }
    return at;
}

bool http_all_of(enum http_class class, struct str s)
{
    return http_run_of(class, s) == s.len;
}

int http_hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}
