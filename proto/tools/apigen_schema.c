#include "proto/tools/apigen_schema.h"

#include "libcommon/base/money.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* --- what is shown ------------------------------------------------------------------------- */

bool gen_schema_shows(const struct gen_field *field, enum gen_schema_use use)
{
    assert(field->rule != NULL);
    if (field->rule->nulls != 0 || field->rule->hidden != 0) {
        return false;
    }
    if (use == GEN_SCHEMA_TEXT) {
        return field->source != API_SOURCE_BODY;
    }
    if (use == GEN_SCHEMA_BODY && field->source != API_SOURCE_BODY) {
        return false;
    }
    return field->rule->cookie == NULL;
}

bool gen_schema_has_body(const struct gen_message *in)
{
    for (size_t i = 0; i < in->field_count; i++) {
        if (gen_schema_shows(&in->fields[i], GEN_SCHEMA_BODY)) {
            return true;
        }
    }
    return false;
}

/* The component's name: the project's package in front says nothing. */
char *gen_schema_name(const struct gen_message *message, enum gen_schema_use use)
{
    const char *name = message->full_name;
    const char *prefix = "avanta.";
    if (strncmp(name, prefix, strlen(prefix)) == 0) {
        name += strlen(prefix);
    }
    bool both = (message->marks & GEN_HTTP_REPLY) != 0;
    return host_format("%s%s", name, use != GEN_SCHEMA_REPLY && both ? ".Input" : "");
}

char *gen_schema_reference(const struct gen_message *message, enum gen_schema_use use)
{
    return host_format("#/components/schemas/%s", gen_schema_name(message, use));
}

char *gen_schema_description(const struct gen_field *field, enum gen_schema_use use)
{
    const Avanta__Rule *rule = field->rule;
    const char *own = rule->description == NULL ? "" : rule->description;
    bool future = rule->not_future != 0 && use != GEN_SCHEMA_REPLY;
    char *text = host_format(
        "%s%s%s", own, *own != '\0' && future ? ". " : "", future ? "Not later than today" : "");
    for (size_t i = 0; i < rule->n_alias && use != GEN_SCHEMA_REPLY; i++) {
        const char *joint =
            i > 0 ? ", " : (*text == '\0' ? "Also accepted as " : ". Also accepted as ");
        text = host_format("%s%s%s", text, joint, rule->alias[i]);
    }
    return *text == '\0' ? NULL : text;
}

/* --- one value ----------------------------------------------------------------------------- */

static bool is_scaled(const struct gen_field *field)
{
    return (field->flags & RULE_MONEY) != 0;
}

/* One type, or a list of them where the value may be of several. */
static void put_types(struct gen_json *json, const char *type, const char *other, bool null)
{
    assert(type != NULL);
    if (other == NULL && !null) {
        gen_json_string(json, "type", type);
        return;
    }
    gen_json_array(json, "type");
    gen_json_string(json, NULL, type);
    if (other != NULL) {
        gen_json_string(json, NULL, other);
    }
    if (null) {
        gen_json_string(json, NULL, "null");
    }
    gen_json_end(json);
}

static void put_pattern(struct gen_json *json, enum api_pattern pattern)
{
    assert(pattern < API_PATTERN_COUNT);
    static const struct {
        const char *key;
        const char *text;
    } rows[API_PATTERN_COUNT] = {
        [API_PATTERN_EMAIL] = {"format",  "email"                                             },
        [API_PATTERN_RFC] = {"pattern", "^[A-Za-z\u00d1\u00f1&]{3,4}[0-9]{6}[A-Za-z0-9]{3}$"},
        [API_PATTERN_UUID] = {"format",  "uuid"                                              },
        [API_PATTERN_CURRENCY] = {"pattern", "^[A-Za-z]{3}$"                                     },
        [API_PATTERN_COLOR] = {"pattern", "^#[0-9A-Fa-f]{6}$"                                 },
        [API_PATTERN_URL_OR_PATH] = {"pattern", "^(https?://|/)"                                    },
    };
    if (pattern != API_PATTERN_NONE) {
        gen_json_string(json, rows[pattern].key, rows[pattern].text);
    }
}

static void put_texts(struct gen_json *json, char *const *texts, size_t count, bool null)
{
    assert(texts != NULL);
    gen_json_array(json, "enum");
    for (size_t i = 0; i < count; i++) {
        gen_json_string(json, NULL, texts[i]);
    }
    if (null) {
        gen_json_null(json, NULL);
    }
    gen_json_end(json);
}

static void
put_string(struct gen_json *json, const struct gen_field *field, enum gen_schema_use use, bool null)
{
    const Avanta__Rule *rule = field->rule;
    put_types(json, "string", NULL, null);
    if (rule->date != 0) {
        gen_json_string(json, "format", "date");
    }
    put_pattern(json, field->pattern);
    /* On a repeated field these bound the list. */
    if (rule->has_min_len != 0 && !field->repeated) {
        gen_json_int(json, "minLength", rule->min_len);
    }
    if (rule->has_max_len != 0 && !field->repeated) {
        gen_json_int(json, "maxLength", rule->max_len);
    }
    /* A request may spell the values in either case where they are stored in one. */
    bool folds = (rule->upper != 0 || rule->lower != 0) && use != GEN_SCHEMA_REPLY;
    if (rule->n_value > 0 && !folds) {
        put_texts(json, rule->value, rule->n_value, null);
    }
}

static bool is_unsigned(const struct gen_field *field)
{
    static const int types[] = {
        GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_UINT64,
        GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_UINT32,
        GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_FIXED64,
        GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_FIXED32,
    };
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        if ((int)field->proto->type == types[i]) {
            return true;
        }
    }
    return false;
}

/* Amounts without bounds of their own have the API's in requests. */
static void put_bounds(struct gen_json *json, const struct gen_field *field, bool amount)
{
    const Avanta__Rule *rule = field->rule;
    unsigned decimals = is_scaled(field) ? field->decimals : 0;
    if (rule->has_min != 0 || amount) {
        int64_t min = rule->has_min != 0 ? rule->min : -MONEY_MAX_CENTAVOS;
        gen_json_decimal(json, "minimum", min, decimals);
    } else if (is_unsigned(field)) {
        gen_json_int(json, "minimum", 0);
    }
    if (rule->has_max != 0 || amount) {
        int64_t max = rule->has_max != 0 ? rule->max : MONEY_MAX_CENTAVOS;
        gen_json_decimal(json, "maximum", max, decimals);
    }
}

/* Bodies may hold the number as text too; the bounds then still hold, but no schema can say so. */
static void
put_number(struct gen_json *json, const struct gen_field *field, enum gen_schema_use use, bool null)
{
    bool scaled = is_scaled(field);
    bool text = use == GEN_SCHEMA_BODY;
    put_types(json, scaled ? "number" : "integer", text ? "string" : NULL, null);
    if (scaled) {
        gen_json_decimal(json, "multipleOf", 1, field->decimals);
    }
    if (text && scaled) {
        char *pattern = host_format("^-?[0-9]+(\\.[0-9]{1,%u})?$", field->decimals);
        gen_json_string(json, "pattern", pattern);
    } else if (text) {
        gen_json_string(json, "pattern", "^-?[0-9]+$");
    }
    bool amount = (field->flags & (RULE_MONEY | RULE_DECIMAL)) == RULE_MONEY;
    put_bounds(json, field, amount && use != GEN_SCHEMA_REPLY);
}

/* The spellings of a truth value that a request may use. */
static void put_bool_spellings(struct gen_json *json, const struct gen_field *field, bool null)
{
    gen_json_array(json, "enum");
    gen_json_bool(json, NULL, false);
    gen_json_bool(json, NULL, true);
    gen_json_string(json, NULL, "false");
    gen_json_string(json, NULL, "true");
    if (field->rule->flag != 0) {
        gen_json_int(json, NULL, 0);
        gen_json_int(json, NULL, 1);
        gen_json_string(json, NULL, "0");
        gen_json_string(json, NULL, "1");
    }
    if (null) {
        gen_json_null(json, NULL);
    }
    gen_json_end(json);
}

static void
put_bool(struct gen_json *json, const struct gen_field *field, enum gen_schema_use use, bool null)
{
    assert(field->kind == GEN_BOOL);
    if (use != GEN_SCHEMA_REPLY) {
        put_bool_spellings(json, field, null);
        return;
    }
    if (field->rule->flag == 0) {
        put_types(json, "boolean", NULL, null);
        return;
    }
    put_types(json, "integer", NULL, null);
    gen_json_array(json, "enum");
    gen_json_int(json, NULL, 0);
    gen_json_int(json, NULL, 1);
    if (null) {
        gen_json_null(json, NULL);
    }
    gen_json_end(json);
}

static void put_enum(struct gen_json *json, const struct gen_field *field, bool null)
{
    assert(field->kind == GEN_ENUM);
    put_types(json, "string", NULL, null);
    if (field->enum_proto == NULL) {
        return;
    }
    size_t count = field->enum_proto->n_value;
    char **names = host_alloc(count, sizeof(*names));
    for (size_t i = 0; i < count; i++) {
        names[i] = field->enum_proto->value[i]->name;
    }
    put_texts(json, names, count, null);
    free(names);
}

static void put_message(struct gen_json *json,
                        const struct gen_field *field,
                        enum gen_schema_use use,
                        bool null)
{
    char *reference = gen_schema_reference(field->message, use);
    assert(field->kind == GEN_MESSAGE);
    if (!null) {
        gen_json_string(json, "$ref", reference);
        return;
    }
    gen_json_array(json, "anyOf");
    gen_json_object(json, NULL);
    gen_json_string(json, "$ref", reference);
    gen_json_end(json);
    gen_json_object(json, NULL);
    gen_json_string(json, "type", "null");
    gen_json_end(json);
    gen_json_end(json);
}

/* The members of one value's schema, into the open object. */
static void
put_value(struct gen_json *json, const struct gen_field *field, enum gen_schema_use use, bool null)
{
    if ((field->flags & RULE_RAW_JSON) != 0) {
        if (use == GEN_SCHEMA_TEXT) {
            gen_json_string(json, "type", "string");
        }
        return; /* any JSON value */
    }
    switch (field->kind) {
    case GEN_BYTES:
        put_types(json, "string", NULL, null);
        gen_json_string(json, "contentEncoding", "base64url");
        break;
    case GEN_BOOL:
        put_bool(json, field, use, null);
        break;
    case GEN_INT64:
    case GEN_INTEGER:
        put_number(json, field, use, null);
        break;
    case GEN_ENUM:
        put_enum(json, field, null);
        break;
    case GEN_MESSAGE:
        put_message(json, field, use, null);
        break;
    case GEN_STRING:
    case GEN_UNSUPPORTED:
    default:
        put_string(json, field, use, null);
        break;
    }
}

static bool may_be_null(const struct gen_field *field, enum gen_schema_use use)
{
    if (use == GEN_SCHEMA_REPLY) {
        return !field->repeated && (field->flags & RULE_NULL_SHOWN) != 0 &&
               !gen_is_required_label(field);
    }
    return use == GEN_SCHEMA_BODY && field->takes_null;
}

char *gen_schema_default_text(const struct gen_field *field)
{
    const char *text = field->proto->default_value;
    if (text == NULL) {
        return NULL;
    }
    if (field->kind == GEN_BOOL && field->rule->flag != 0) {
        return host_format("%d", strcmp(text, "true") == 0 ? 1 : 0);
    }
    if (field->kind == GEN_INT64 || field->kind == GEN_INTEGER) {
        return gen_decimal_text(strtoll(text, NULL, 10), is_scaled(field) ? field->decimals : 0);
    }
    return host_format("%s", text);
}

static void put_default(struct gen_json *json, const struct gen_field *field)
{
    char *text = gen_schema_default_text(field);
    if (text == NULL) {
        return;
    }
    if (field->kind == GEN_STRING || field->kind == GEN_ENUM || field->kind == GEN_BYTES) {
        gen_json_string(json, "default", text);
    } else {
        gen_json_literal(json, "default", text);
    }
}

static void
put_list(struct gen_json *json, const struct gen_field *field, enum gen_schema_use use, bool null)
{
    const Avanta__Rule *rule = field->rule;
    assert(field->repeated);
    put_types(json, "array", NULL, null);
    if (rule->has_min_len != 0) {
        gen_json_int(json, "minItems", rule->min_len);
    }
    if (rule->has_max_len != 0) {
        gen_json_int(json, "maxItems", rule->max_len);
    }
    gen_json_object(json, "items");
    put_value(json, field, use, false);
    gen_json_end(json);
}

void gen_schema_field(struct gen_json *json,
                      const char *key,
                      const struct gen_field *field,
                      enum gen_schema_use use)
{
    assert(field != NULL);
    gen_json_object(json, key);
    char *description = gen_schema_description(field, use);
    if (description != NULL && use != GEN_SCHEMA_TEXT) {
        gen_json_string(json, "description", description);
    }
    bool null = may_be_null(field, use);
    bool empty = null && (field->flags & RULE_EMPTY_IS_NULL) != 0 && use == GEN_SCHEMA_BODY;
    if (field->repeated) {
        put_list(json, field, use, null);
    } else if (empty) {
        /* The empty text counts as null, whatever the rules say about other texts. */
        gen_json_array(json, "anyOf");
        gen_json_object(json, NULL);
        put_value(json, field, use, null);
        gen_json_end(json);
        gen_json_object(json, NULL);
        gen_json_string(json, "const", "");
        gen_json_end(json);
        gen_json_end(json);
    } else {
        put_value(json, field, use, null);
    }
    if (use != GEN_SCHEMA_REPLY) {
        put_default(json, field);
    }
    gen_json_end(json);
}
