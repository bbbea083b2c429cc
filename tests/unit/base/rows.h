#pragma once
/* For tables of cases: says which row failed. A call, so that a loop over rows stays a simple one.
 */

#include "tests/support/check.h"

#include <stdbool.h>

#define check_row(row, condition) \
    row_holds((size_t)(row), (condition), #condition, __FILE__, __LINE__)

static inline void
row_holds(size_t row, bool holds, const char *condition, const char *file, int line)
{
    if (!holds) {
        print_error("row %zu: %s\n", row, condition);
        _fail(file, line);
    }
}
