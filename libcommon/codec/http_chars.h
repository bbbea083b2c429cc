#pragma once
/* Character classes of RFC 9110 and 9112 and runs of them. Constant tables of 256 bits; no state.
 */

#include "libcommon/base/str.h"

#include <stdint.h>

enum http_class {
    HTTP_CLASS_TOKEN,  /* tchar */
    HTTP_CLASS_VALUE,  /* field-content: visible, obs-text, blank, tab */
    HTTP_CLASS_TARGET, /* visible ASCII without '#' */
    HTTP_CLASS_HOST,   /* reg-name and IP literals: unreserved, sub-delims, '%', '[', ']', ':' */
    HTTP_CLASS_COUNT
};

bool http_char_is(enum http_class class, char c);
/* Length of the run of such characters at the start of `s`. */
size_t http_run_of(enum http_class class, struct str s);
/* True when every byte is of the class; true for the empty view. */
bool http_all_of(enum http_class class, struct str s);
/* 0..15, or -1 when `c` is no hexadecimal digit. */
int http_hex_value(char c);
