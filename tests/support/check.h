#pragma once
/* cmocka with what it needs before it. Every test includes this one. */

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <stdbool.h>

/* For tables of cases: says which row failed. A call, so that a loop over rows stays a simple one.
 */
#define assert_row(row, condition) \
    assert_row_holds((size_t)(row), (condition), #condition, __FILE__, __LINE__)

static inline void
assert_row_holds(size_t row, bool holds, const char *condition, const char *file, int line)
{
    if (!holds) {
        print_error("row %zu: %s\n", row, condition);
        _fail(file, line);
    }
}
