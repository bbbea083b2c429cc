#pragma once
/* cmocka with what it needs before it. Every test includes this one. */

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

/* For tables of cases: says which row failed. */
#define assert_row(row, condition)                              \
    do {                                                        \
        if (!(condition)) {                                     \
            fail_msg("row %zu: %s", (size_t)(row), #condition); \
        }                                                       \
    } while (0)
