#include "tests/support/sample_bind.h"

#include "tests/support/check.h"

#include "libcommon/codec/transcode.h"

#include <string.h>

Sample__Order *sample_bind(struct arena *arena, struct str json, struct violations *violations)
{
    Sample__Order *order = (Sample__Order *)transcode_new(&sample__order__descriptor, arena);
    struct err err = {0};

    assert_non_null(order);
    violations_init(violations, arena);
    if (transcode_from_json(json, &sample_order_rules, arena, &order->base, violations, &err) !=
        OK) {
        fail_msg("%.*s: %s", STR_FMT(json), err.text);
    }
    return order;
}

void assert_clean(const struct violations *violations)
{
    if (violations->count > 0) {
        fail_msg("%s: %s", violations->rows[0].field, violations->rows[0].message);
    }
}

void assert_one(const struct violations *violations,
                size_t row,
                const char *field,
                const char *code)
{
    if (violations->count != 1) {
        fail_msg("row %zu: %zu violations", row, violations->count);
    }
    if (strcmp(violations->rows[0].field, field) != 0 ||
        strcmp(violations->rows[0].code, code) != 0) {
        fail_msg("row %zu: %s %s", row, violations->rows[0].field, violations->rows[0].code);
    }
    assert_true(violations->rows[0].message[0] != '\0');
}
