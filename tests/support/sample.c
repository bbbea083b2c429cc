#include "tests/support/sample.h"

#include "libcommon/base/money.h"

/* One row per field, in the order of tags. */
/* clang-format off */
static const char *const kinds[] = {"basic", "full", NULL};
static const char *const count_aliases[] = {"howMany", "n", NULL};
static const char *const limit_aliases[] = {"per_page", NULL};

static const struct field_rule line_fields[] = {
    {.name = "concept", .flags = RULE_REQUIRED | RULE_NULL_SHOWN, .len_max = 10},
    {.name = "amount",  .flags = RULE_REQUIRED | RULE_MONEY | RULE_NULL_SHOWN | RULE_HAS_MIN, .decimals = 2, .min = 1},
    {.name = "tags"},
};
const struct message_rules sample_line_rules = {&sample__line__descriptor, line_fields, false};

static const struct field_rule order_fields[] = {
    {.name = "amount",   .flags = RULE_REQUIRED | RULE_MONEY | RULE_HAS_MIN | RULE_HAS_MAX, .decimals = 2, .min = -500000, .max = MONEY_MAX_CENTAVOS},
    {.name = "title",    .flags = RULE_REQUIRED, .len_min = 2, .len_max = 20},
    {.name = "rate",     .flags = RULE_MONEY | RULE_DECIMAL | RULE_HAS_MIN | RULE_HAS_MAX, .decimals = 6, .min = 1, .max = INT64_C(1000000000000)},
    {.name = "active",   .flags = RULE_FLAG},
    {.name = "plain"},
    {.name = "small",    .flags = RULE_HAS_MIN | RULE_HAS_MAX, .min = -10, .max = 10},
    {.name = "count",    .aliases = count_aliases},
    {.name = "big",      .flags = RULE_NULLABLE | RULE_EMPTY_IS_NULL},
    {.name = "huge",     .flags = RULE_HAS_MAX, .max = INT64_MAX - 1},
    {.name = "lines",    .message = &sample_line_rules, .len_min = 1, .len_max = 3},
    {.name = "tags",     .len_max = 2},
    {.name = "ids",      .flags = RULE_HAS_MIN, .min = 1},
    {.name = "metadata", .flags = RULE_RAW_JSON | RULE_NULLABLE, .len_max = 40},
    {.name = "date",     .flags = RULE_DATE | RULE_NOT_FUTURE | RULE_NULLABLE | RULE_EMPTY_IS_NULL},
    {.name = "rfc",      .flags = RULE_UPPER, .pattern = API_PATTERN_RFC},
    {.name = "kind",     .values = kinds},
    {.name = "notes",    .flags = RULE_MULTILINE | RULE_NULL_SHOWN},
    {.name = "secret",   .flags = RULE_EXACT},
    {.name = "first",    .flags = RULE_NULL_SHOWN, .message = &sample_line_rules},
    {.name = "email",    .flags = RULE_LOWER, .pattern = API_PATTERN_EMAIL},
    {.name = "color"},
    {.name = "blob",     .len_max = 4},
    {.name = "id",       .source = API_SOURCE_PATH},
    {.name = "hidden",   .flags = RULE_HIDDEN},
    {.name = "limit",    .flags = RULE_HAS_MIN | RULE_HAS_MAX, .source = API_SOURCE_QUERY, .aliases = limit_aliases, .min = 1, .max = 1000},
    {.name = "code",     .flags = RULE_NULLABLE | RULE_EMPTY_IS_NULL},
    {.name = "cleared",  .flags = RULE_NULLS},
};
const struct message_rules sample_order_rules = {&sample__order__descriptor, order_fields, false};

static const struct field_rule strict_fields[] = {
    {.name = "name",   .flags = RULE_REQUIRED | RULE_EMPTY_IS_NULL},
    {.name = "amount", .flags = RULE_MONEY, .decimals = 2},
    {.name = "inner",  .message = &sample_strict_rules},
};
const struct message_rules sample_strict_rules = {&sample__strict__descriptor, strict_fields, true};

const struct message_rules sample_empty_rules = {&sample__empty__descriptor, NULL, false};
/* clang-format on */

_Static_assert(sizeof(order_fields) / sizeof(order_fields[0]) == 27, "one row per field");
