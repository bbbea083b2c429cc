#pragma once
/*
 * The most common passwords, made by libcommon/tools/wordgen.c from a list that Debian packages: in
 * lower case, sorted as bytes, without repetitions. Constant; any thread.
 */

#include <stdint.h>

extern const uint32_t common_password_count;
/* Password number i is the text from at[i] to at[i + 1]. */
extern const char common_password_text[];
extern const uint32_t common_password_at[];
