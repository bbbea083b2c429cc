#pragma once
/* Internal to base: walking configuration tables, shared by loading and by the texts for people. */

#include "libcommon/base/config.h"

#include <assert.h>

#define CONFIG_FILE_SUFFIX     "_FILE"
#define CONFIG_RANGE_BYTES_MAX 64

/* A walk over all rows of all tables; start with {tables, table_count, 0, 0}. */
struct config_walk {
    const struct config_table *tables;
    size_t table_count;
    size_t table;
    size_t row;
};

/* The next row and the address of its field; NULL at the end. */
const struct config_row *config_next(struct config_walk *walk, void **out_field);

/* What the row takes, as it reads in errors, in the help and in the reference. */
const char *config_range(const struct config_row *row, char out[CONFIG_RANGE_BYTES_MAX]);

static inline bool config_is_secret(const struct config_row *row)
{
    assert(row != NULL);
    return row->visibility == CONFIG_SECRET;
}
