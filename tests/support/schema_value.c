#include "tests/support/schema_value.h"

#include "libcommon/base/buf.h"
#include "libcommon/base/clock.h"
#include "libcommon/base/money.h"

#include <ctype.h>
#include <locale.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>

#define PLACES       6 /* numbers are compared exactly, as whole millionths */
#define NUMBER_BYTES 64

bool schema_wrong(const struct schema_node *node, const char *format, ...)
{
    char text[SCHEMA_WHY_BYTES - SCHEMA_WHERE_BYTES - 4];
    va_list args;

    if (node->check->broken) {
        return false; /* the first such cause stays */
    }
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    (void)snprintf(node->check->why, sizeof node->check->why, "%s: %s", node->where, text);
    return false;
}

/* Not a matter of the value: an alternative that matches may not hide it. */
bool schema_broken(const struct schema_node *node, const char *format, ...)
{
    char text[SCHEMA_WHY_BYTES / 4];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    (void)schema_wrong(node, "schema: %s", text);
    node->check->broken = true;
    return false;
}

/* --- any value --- */

static bool type_is(const json_t *value, const char *name)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "object",
        [JSON_ARRAY] = "array",
        [JSON_STRING] = "string",
        [JSON_INTEGER] = "integer",
        [JSON_REAL] = "number",
        [JSON_TRUE] = "boolean",
        [JSON_FALSE] = "boolean",
        [JSON_NULL] = "null",
    };

    return strcmp(name, names[json_typeof(value)]) == 0 ||
           (strcmp(name, "number") == 0 && json_is_integer(value));
}

bool schema_type(const struct schema_node *node)
{
    const char *name = json_string_value(node->keyword);
    bool good = name != NULL && type_is(node->value, name);

    for (size_t i = 0; i < json_array_size(node->keyword); i++) {
        good = good || type_is(node->value, json_string_value(json_array_get(node->keyword, i)));
    }
    return good || schema_wrong(node, "the type is not the one declared");
}

bool schema_enum(const struct schema_node *node)
{
    for (size_t i = 0; i < json_array_size(node->keyword); i++) {
        if (json_equal(json_array_get(node->keyword, i), node->value)) {
            return true;
        }
    }
    return schema_wrong(node, "%s is not in the enum", json_string_value(node->value));
}

bool schema_const(const struct schema_node *node)
{
    return json_equal(node->keyword, node->value) || schema_wrong(node, "not the constant");
}

/* --- numbers --- */

static bool millionths(const json_t *number, int64_t *out)
{
    char text[NUMBER_BYTES];
    size_t length =
        json_dumpb(number, text, sizeof text, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));

    return length > 0 && length <= sizeof text &&
           decimal_parse((struct str){text, length}, PLACES, out) == DECIMAL_OK;
}

enum comparison {
    AT_LEAST,
    AT_MOST,
    MULTIPLE
};

static bool compare(const struct schema_node *node, enum comparison how, const char *text)
{
    int64_t value = 0;
    int64_t bound = 0;
    bool good = false;

    if (!millionths(node->keyword, &bound) || (how == MULTIPLE && bound <= 0)) {
        return schema_broken(node, "the bound is no number we can compare");
    }
    if (!millionths(node->value, &value)) {
        return schema_wrong(node, "a number of more than %d places or too large", PLACES);
    }
    good =
        how == MULTIPLE ? value % bound == 0 : (how == AT_LEAST ? value >= bound : value <= bound);
    return good || schema_wrong(node, "%s", text);
}

bool schema_minimum(const struct schema_node *node)
{
    return compare(node, AT_LEAST, "less than the minimum");
}

bool schema_maximum(const struct schema_node *node)
{
    return compare(node, AT_MOST, "more than the maximum");
}

bool schema_multiple(const struct schema_node *node)
{
    return compare(node, MULTIPLE, "not a multiple of multipleOf");
}

/* --- texts --- */

static size_t code_points(const json_t *text)
{
    size_t count = 0;

    (void)utf8_length((struct str){json_string_value(text), json_string_length(text)}, &count);
    return count;
}

bool schema_min_length(const struct schema_node *node)
{
    return (json_int_t)code_points(node->value) >= json_integer_value(node->keyword) ||
           schema_wrong(node, "shorter than minLength");
}

bool schema_max_length(const struct schema_node *node)
{
    return (json_int_t)code_points(node->value) <= json_integer_value(node->keyword) ||
           schema_wrong(node, "longer than maxLength");
}

/* What both ECMA 262 and POSIX read alike. */
static bool pattern_is_plain(const char *pattern)
{
    for (const char *at = pattern; *at != '\0'; at++) {
        if ((at[0] == '\\' && isalnum((unsigned char)at[1])) || (at[0] == '(' && at[1] == '?')) {
            return false;
        }
    }
    return true;
}

/* With the text NULL it is only read. */
bool schema_pattern_matches(const struct schema_node *node, const char *text)
{
    const char *pattern = json_string_value(node->keyword);
    locale_t locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    locale_t before = uselocale(locale);
    regex_t regex;
    bool readable = pattern != NULL && pattern_is_plain(pattern) &&
                    regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB) == 0;
    bool good = readable && (text == NULL || regexec(&regex, text, 0, NULL, 0) == 0);

    if (readable) {
        regfree(&regex);
    }
    (void)uselocale(before);
    freelocale(locale);
    if (!readable) {
        return schema_broken(node, "a pattern we cannot read");
    }
    return good || schema_wrong(node, "does not match %s", pattern);
}

bool schema_pattern(const struct schema_node *node)
{
    return schema_pattern_matches(node, json_string_value(node->value));
}

static bool is_date(struct str text)
{
    struct date date;

    return date_parse(text, &date);
}

static bool is_date_time(struct str text)
{
    uint64_t ms = 0;

    return timestamp_parse(text, &ms);
}

static bool is_uuid(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;

        if (dash ? text.ptr[i] != '-' : isxdigit((unsigned char)text.ptr[i]) == 0) {
            return false;
        }
    }
    return text.len == 36;
}

static bool is_email(struct str text)
{
    size_t at = 0;

    return str_find_char(text, '@', &at) && at > 0 && at + 1 < text.len;
}

/* With the text NULL only the format itself is looked at. */
bool schema_format_holds(const struct schema_node *node, const char *text)
{
    static const struct {
        const char *name;
        bool (*good)(struct str text);
    } formats[] = {
        {"date",      is_date     },
        {"date-time", is_date_time},
        {"uuid",      is_uuid     },
        {"email",     is_email    },
    };
    const char *name = json_string_value(node->keyword);

    for (size_t i = 0; name != NULL && i < ARRAY_LEN(formats); i++) {
        if (strcmp(formats[i].name, name) == 0) {
            return text == NULL || formats[i].good(str_from(text)) ||
                   schema_wrong(node, "no %s", name);
        }
    }
    return schema_broken(node, "the format %s is unknown", name == NULL ? "?" : name);
}

bool schema_format(const struct schema_node *node)
{
    return schema_format_holds(node, json_string_value(node->value));
}

bool schema_encoding(const struct schema_node *node)
{
    const char *name = json_string_value(node->keyword);
    const char *text = json_string_value(node->value);
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    if (name == NULL || strcmp(name, "base64url") != 0) {
        return schema_broken(node, "the encoding %s is unknown", name == NULL ? "?" : name);
    }
    return text[strspn(text, alphabet)] == '\0' || schema_wrong(node, "not base64url");
}

/* --- lists --- */

bool schema_min_items(const struct schema_node *node)
{
    return (json_int_t)json_array_size(node->value) >= json_integer_value(node->keyword) ||
           schema_wrong(node, "fewer than minItems");
}

bool schema_max_items(const struct schema_node *node)
{
    return (json_int_t)json_array_size(node->value) <= json_integer_value(node->keyword) ||
           schema_wrong(node, "more than maxItems");
}
