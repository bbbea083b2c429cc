#pragma once
/* The checks of single keywords that schema.c gathers. Each finds the keyword's value in the node
 * and says in check->why what is wrong. */

#include "tests/support/schema.h"

#include "libcommon/base/attr.h"

#define SCHEMA_WHERE_BYTES 256

/* One value under one schema. */
struct schema_node {
    struct schema_check *check;
    const json_t *schema;
    const json_t *value;
    const json_t *keyword; /* the value of the keyword under examination */
    const char *where;     /* "$.data.0.amount" */
    int depth;
};

PRINTF(2, 3) bool schema_wrong(const struct schema_node *node, const char *format, ...);
/* Not a matter of the value: an alternative that matches may not hide it. */
PRINTF(2, 3) bool schema_broken(const struct schema_node *node, const char *format, ...);

/* With the text NULL only the pattern or format itself is looked at. */
bool schema_pattern_matches(const struct schema_node *node, const char *text);
bool schema_format_holds(const struct schema_node *node, const char *text);

bool schema_type(const struct schema_node *node);
bool schema_enum(const struct schema_node *node);
bool schema_const(const struct schema_node *node);
bool schema_minimum(const struct schema_node *node);
bool schema_maximum(const struct schema_node *node);
bool schema_multiple(const struct schema_node *node);
bool schema_min_length(const struct schema_node *node);
bool schema_max_length(const struct schema_node *node);
bool schema_pattern(const struct schema_node *node);
bool schema_format(const struct schema_node *node);
bool schema_encoding(const struct schema_node *node);
bool schema_min_items(const struct schema_node *node);
bool schema_max_items(const struct schema_node *node);
