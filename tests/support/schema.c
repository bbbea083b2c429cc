#include "tests/support/schema_value.h"

#include "libcommon/base/buf.h"

#include <stdio.h>
#include <string.h>

#define DEPTH_MAX 64

const json_t *schema_resolve(const json_t *document, const char *reference)
{
    struct str rest = str_from(reference);
    struct str part = STR_EMPTY;
    const json_t *at = document;

    if (!str_starts(rest, STR("#/"))) {
        return NULL;
    }
    rest = str_sub(rest, 2, rest.len);
    while (at != NULL && str_split(&rest, '/', &part)) {
        char name[128];
        struct buf b = buf_over(name, sizeof name);

        for (size_t i = 0; i < part.len; i++) {
            bool escaped = part.ptr[i] == '~' && i + 1 < part.len;

            buf_char(&b, !escaped ? part.ptr[i] : (part.ptr[i + 1] == '1' ? '/' : '~'));
            i += escaped ? 1 : 0;
        }
        at = buf_terminate(&b) ? json_object_get(at, name) : NULL;
    }
    return at;
}

static bool node_valid(const struct schema_node *node);

static bool check_nothing(const struct schema_node *node)
{
    (void)node;
    return true;
}

/* --- other schemas of the same value --- */

static bool check_under(const struct schema_node *node, const json_t *schema)
{
    struct schema_node under = *node;

    under.schema = schema;
    under.depth++;
    return node_valid(&under);
}

static bool check_reference(const struct schema_node *node)
{
    const char *reference = json_string_value(node->keyword);
    const json_t *target =
        reference == NULL ? NULL : schema_resolve(node->check->document, reference);

    if (target == NULL) {
        return schema_broken(node, "%s leads nowhere", reference == NULL ? "?" : reference);
    }
    return check_under(node, target);
}

static size_t matches(const struct schema_node *node)
{
    size_t count = 0;

    for (size_t i = 0; i < json_array_size(node->keyword); i++) {
        count += check_under(node, json_array_get(node->keyword, i)) ? 1 : 0;
    }
    return count;
}

static bool check_any_of(const struct schema_node *node)
{
    return matches(node) > 0; /* the last alternative has said why not */
}

static bool check_one_of(const struct schema_node *node)
{
    size_t count = matches(node);

    return count == 1 || schema_wrong(node, "%zu of the alternatives match", count);
}

static bool check_all_of(const struct schema_node *node)
{
    return matches(node) == json_array_size(node->keyword);
}

/* --- lists and objects --- */

static bool check_member(const struct schema_node *node,
                         const json_t *schema,
                         const json_t *value,
                         const char *name)
{
    char where[SCHEMA_WHERE_BYTES];
    struct schema_node member = *node;

    (void)snprintf(where, sizeof where, "%.200s.%.50s", node->where, name);
    member.schema = schema;
    member.value = value;
    member.where = where;
    member.depth++;
    return node_valid(&member);
}

static bool check_items(const struct schema_node *node)
{
    for (size_t i = 0; i < json_array_size(node->value); i++) {
        char name[24];

        (void)snprintf(name, sizeof name, "%zu", i);
        if (!check_member(node, node->keyword, json_array_get(node->value, i), name)) {
            return false;
        }
    }
    return true;
}

static bool check_required(const struct schema_node *node)
{
    for (size_t i = 0; i < json_array_size(node->keyword); i++) {
        const char *name = json_string_value(json_array_get(node->keyword, i));

        if (json_object_get(node->value, name) == NULL) {
            return schema_wrong(node, "%s is missing", name);
        }
    }
    return true;
}

/* jansson's iterators want what is not const, and change nothing. */
static json_t *iterable(const json_t *object)
{
    return (json_t *)(uintptr_t)object;
}

static bool check_properties(const struct schema_node *node)
{
    const char *name = NULL;
    json_t *schema = NULL;

    json_object_foreach(iterable(node->keyword), name, schema)
    {
        const json_t *value = json_object_get(node->value, name);

        if (value != NULL && !check_member(node, schema, value, name)) {
            return false;
        }
    }
    return true;
}

static bool check_additional(const struct schema_node *node)
{
    const json_t *properties = json_object_get(node->schema, "properties");
    const char *name = NULL;
    json_t *value = NULL;

    if (json_is_true(node->keyword)) {
        return true;
    }
    json_object_foreach(iterable(node->value), name, value)
    {
        if (json_object_get(properties, name) != NULL) {
            continue;
        }
        if (json_is_false(node->keyword)) {
            return schema_wrong(node, "%s is not declared", name);
        }
        if (!check_member(node, node->keyword, value, name)) {
            return false;
        }
    }
    return true;
}

/* --- all keywords --- */

enum applies {
    TO_ALL,
    TO_NUMBERS,
    TO_TEXTS,
    TO_LISTS,
    TO_OBJECTS
};

static bool applies_to(enum applies applies, const json_t *value)
{
    switch (applies) {
    case TO_NUMBERS:
        return json_is_number(value);
    case TO_TEXTS:
        return json_is_string(value);
    case TO_LISTS:
        return json_is_array(value);
    case TO_OBJECTS:
        return json_is_object(value);
    case TO_ALL:
    default:
        return true;
    }
}

/* What is to be read in the keyword's value. */
enum inside {
    INSIDE_NOTHING,
    INSIDE_SCHEMA, /* or a boolean */
    INSIDE_LIST,   /* of schemas */
    INSIDE_MAP,
    INSIDE_PATTERN,
    INSIDE_FORMAT
};

static const struct keyword {
    const char *name;
    enum applies applies;
    bool (*valid)(const struct schema_node *node);
    enum inside inside;
} keywords[] = {
    {"type",                 TO_ALL,     schema_type,       INSIDE_NOTHING},
    {"enum",                 TO_ALL,     schema_enum,       INSIDE_NOTHING},
    {"const",                TO_ALL,     schema_const,      INSIDE_NOTHING},
    {"$ref",                 TO_ALL,     check_reference,   INSIDE_NOTHING},
    {"anyOf",                TO_ALL,     check_any_of,      INSIDE_LIST   },
    {"oneOf",                TO_ALL,     check_one_of,      INSIDE_LIST   },
    {"allOf",                TO_ALL,     check_all_of,      INSIDE_LIST   },
    {"minimum",              TO_NUMBERS, schema_minimum,    INSIDE_NOTHING},
    {"maximum",              TO_NUMBERS, schema_maximum,    INSIDE_NOTHING},
    {"multipleOf",           TO_NUMBERS, schema_multiple,   INSIDE_NOTHING},
    {"minLength",            TO_TEXTS,   schema_min_length, INSIDE_NOTHING},
    {"maxLength",            TO_TEXTS,   schema_max_length, INSIDE_NOTHING},
    {"pattern",              TO_TEXTS,   schema_pattern,    INSIDE_PATTERN},
    {"format",               TO_TEXTS,   schema_format,     INSIDE_FORMAT },
    {"contentEncoding",      TO_TEXTS,   schema_encoding,   INSIDE_NOTHING},
    {"minItems",             TO_LISTS,   schema_min_items,  INSIDE_NOTHING},
    {"maxItems",             TO_LISTS,   schema_max_items,  INSIDE_NOTHING},
    {"items",                TO_LISTS,   check_items,       INSIDE_SCHEMA },
    {"required",             TO_OBJECTS, check_required,    INSIDE_NOTHING},
    {"properties",           TO_OBJECTS, check_properties,  INSIDE_MAP    },
    {"additionalProperties", TO_OBJECTS, check_additional,  INSIDE_SCHEMA },
    {"description",          TO_ALL,     check_nothing,     INSIDE_NOTHING},
    {"default",              TO_ALL,     check_nothing,     INSIDE_NOTHING},
};

static const struct keyword *keyword_find(const struct schema_node *node, const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(keywords); i++) {
        if (strcmp(keywords[i].name, name) == 0) {
            return &keywords[i];
        }
    }
    (void)schema_broken(node, "the keyword %s is unknown", name);
    return NULL;
}

/* Schemas nest, so this recurses, to DEPTH_MAX. NOLINTNEXTLINE(misc-no-recursion) */
static bool node_valid(const struct schema_node *node)
{
    const struct keyword *found = NULL;
    const char *name = NULL;
    json_t *keyword = NULL;

    if (node->depth > DEPTH_MAX || !json_is_object(node->schema)) {
        return schema_broken(node, "too deep, or no schema");
    }
    json_object_foreach(iterable(node->schema), name, keyword)
    {
        struct schema_node at = *node;

        at.keyword = keyword;
        found = keyword_find(&at, name);
        if (found == NULL || (applies_to(found->applies, node->value) && !found->valid(&at))) {
            return false;
        }
    }
    return true;
}

bool schema_valid(struct schema_check *check, const json_t *schema, const json_t *value)
{
    const struct schema_node node = {
        .check = check, .schema = schema, .value = value, .where = "$", .depth = 0};

    check->why[0] = '\0';
    check->broken = false;
    if (schema == NULL || value == NULL) {
        return schema_wrong(&node, "no schema or no value");
    }
    return node_valid(&node) && !check->broken;
}

/* --- the schema alone --- */

static bool readable(const struct schema_node *node);

/* One for each schema inside. NOLINTNEXTLINE(misc-no-recursion) */
static bool readable_inside(const struct schema_node *node, const struct keyword *keyword)
{
    const char *name = NULL;
    json_t *schema = NULL;
    struct schema_node under = *node;
    bool good = true;

    under.depth++;
    under.schema = node->keyword;
    switch (keyword->inside) {
    case INSIDE_SCHEMA:
        return json_is_boolean(node->keyword) || readable(&under);
    case INSIDE_LIST:
        for (size_t i = 0; good && i < json_array_size(node->keyword); i++) {
            under.schema = json_array_get(node->keyword, i);
            good = readable(&under);
        }
        return good;
    case INSIDE_MAP:
        json_object_foreach(iterable(node->keyword), name, schema)
        {
            under.schema = schema;
            good = good && readable(&under);
        }
        return good;
    case INSIDE_PATTERN:
        return schema_pattern_matches(node, NULL);
    case INSIDE_FORMAT:
        return schema_format_holds(node, NULL);
    case INSIDE_NOTHING:
    default:
        return true;
    }
}

/* NOLINTNEXTLINE(misc-no-recursion) */
static bool readable(const struct schema_node *node)
{
    const char *name = NULL;
    json_t *keyword = NULL;

    if (node->depth > DEPTH_MAX || !json_is_object(node->schema)) {
        return schema_broken(node, "too deep, or no schema");
    }
    json_object_foreach(iterable(node->schema), name, keyword)
    {
        struct schema_node at = *node;
        const struct keyword *found = keyword_find(node, name);

        at.keyword = keyword;
        if (found == NULL || !readable_inside(&at, found)) {
            return false;
        }
    }
    return true;
}

bool schema_readable(struct schema_check *check, const json_t *schema)
{
    const struct schema_node node = {.check = check, .schema = schema, .where = "$"};

    check->why[0] = '\0';
    return readable(&node);
}
