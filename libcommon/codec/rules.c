/* The rules of a message and of those inside it, with a stack of frames for the nesting. */
#include "libcommon/codec/rules.h"

#include "libcommon/base/limits.h"
#include "libcommon/base/money.h"
#include "libcommon/codec/field.h"
#include "libcommon/codec/transcode.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NOT_AN_ELEMENT SIZE_MAX
#define BOUND_BYTES    48

struct frame {
    const ProtobufCMessage *message;
    const struct message_rules *rules;
    uint32_t field; /* under way */
    size_t item;    /* the next element, where the field holds messages */
};

struct walk {
    struct violations *violations;
    size_t rows_before; /* what reading the request found */
    struct date today;
    struct frame frames[JSON_DEPTH_MAX];
    uint32_t depth;
};

static struct frame *top(struct walk *w)
{
    assert(w->depth > 0);
    assert(w->depth <= JSON_DEPTH_MAX);
    return &w->frames[w->depth - 1];
}

static const ProtobufCFieldDescriptor *field_of(const struct frame *f)
{
    assert(f->field < f->rules->descriptor->n_fields);
    return &f->rules->descriptor->fields[f->field];
}

static const struct field_rule *rule_of(const struct frame *f)
{
    assert(f->field < f->rules->descriptor->n_fields);
    return &f->rules->fields[f->field];
}

/* --- paths and rows --------------------------------------------------------------------------- */

/* The path of the field under way, which is written as `name`. */
static void path_to(const struct walk *w, const char *name, size_t element, struct field_path *path)
{
    assert(w->depth > 0);
    assert(name != NULL);
    field_path_init(path);
    for (uint32_t i = 0; i + 1 < w->depth; i++) {
        const struct frame *f = &w->frames[i];

        field_path_name(path, rule_of(f)->name);
        if (field_is_list(field_of(f))) {
            field_path_index(path, f->item - 1);
        }
    }
    field_path_name(path, name);
    if (element != NOT_AN_ELEMENT) {
        field_path_index(path, element);
    }
}

static bool has_row(const struct walk *w, const struct field_path *path)
{
    assert(w->rows_before <= w->violations->count);
    for (size_t i = 0; i < w->rows_before; i++) {
        if (strcmp(w->violations->rows[i].field, path->text) == 0) {
            return true;
        }
    }
    return false;
}

/* A value that could not even be read is not in the message: that it is missing, or what stands in
 * its place, is no further mistake. */
static bool is_reported(struct walk *w, size_t element)
{
    const struct field_rule *rule = rule_of(top(w));
    struct field_path path;

    if (w->rows_before == 0) {
        return false;
    }
    path_to(w, rule->name, element, &path);
    if (has_row(w, &path)) {
        return true;
    }
    for (size_t i = 0; rule->aliases != NULL && rule->aliases[i] != NULL; i++) {
        path_to(w, rule->aliases[i], element, &path);
        if (has_row(w, &path)) {
            return true;
        }
    }
    return false;
}

static void complain(struct walk *w, size_t element, const char *code, const char *fmt, ...)
    PRINTF(4, 5);

static void complain(struct walk *w, size_t element, const char *code, const char *fmt, ...)
{
    struct field_path path;
    char text[512];
    va_list args;
    int len = 0;

    if (w->violations->count == VIOLATIONS_MAX) {
        w->violations->more++; /* a list may be wrong a hundred thousand times */
        return;
    }
    if (is_reported(w, element)) {
        return;
    }
    path_to(w, rule_of(top(w))->name, element, &path);
    va_start(args, fmt);
    len = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    assert(len > 0);
    violations_add(w->violations, path.text, code, "%s", text);
}

/* --- text ---------------------------------------------------------------------------------------
 */

static const char *pattern_text(enum api_pattern pattern)
{
    static const char *const texts[API_PATTERN_COUNT] = {
        [API_PATTERN_NONE] = "must have another form",
        [API_PATTERN_EMAIL] = "must be an e-mail address",
        [API_PATTERN_RFC] = "must be an RFC as the SAT gives it, such as XAXX010101000",
        [API_PATTERN_UUID] = "must be a UUID",
        [API_PATTERN_CURRENCY] = "must be a currency code of three letters, such as MXN",
        [API_PATTERN_COLOR] = "must be a color such as #3B82F6",
        [API_PATTERN_URL_OR_PATH] = "must be a web address or a path that starts with /",
    };

    assert(pattern < API_PATTERN_COUNT);
    return texts[pattern];
}

static void
check_length(struct walk *w, size_t element, const struct field_rule *rule, size_t count)
{
    if (count < rule->len_min) {
        complain(w,
                 element,
                 "length",
                 "must have at least %u character%s",
                 rule->len_min,
                 rule->len_min == 1 ? "" : "s");
    }
    if (rule->len_max != 0 && count > rule->len_max) {
        complain(w,
                 element,
                 "length",
                 "must have at most %u character%s",
                 rule->len_max,
                 rule->len_max == 1 ? "" : "s");
    }
}

static void
check_date(struct walk *w, size_t element, const struct field_rule *rule, struct str text)
{
    struct date date;

    if (!date_parse(text, &date)) {
        complain(w, element, "date", "must be a date that exists, as YYYY-MM-DD");
    } else if ((rule->flags & RULE_NOT_FUTURE) != 0 &&
               date_to_days(date) > date_to_days(w->today)) {
        complain(w, element, "future", "must not be later than today");
    }
}

static void
check_values(struct walk *w, size_t element, const struct field_rule *rule, struct str text)
{
    char memory[384];
    struct buf list = buf_over(memory, sizeof(memory));

    assert(rule->values != NULL);
    for (size_t i = 0; rule->values[i] != NULL; i++) {
        if (str_eq(str_from(rule->values[i]), text)) {
            return;
        }
        buf_text(&list, i == 0 ? "" : ", ");
        buf_text(&list, rule->values[i]);
    }
    if (list.overflow) {
        complain(w, element, "value", "is not one of the allowed values");
    } else {
        complain(w, element, "value", "must be one of: %.*s", STR_FMT(buf_view(&list)));
    }
}

/* Secrets and machine text are for no eye that could be deceived by a turn of direction. */
static bool has_control(const struct field_rule *rule, struct str text)
{
    return utf8_has_control(text, (rule->flags & RULE_MULTILINE) != 0 ? "\t\n\r" : NULL) ||
           ((rule->flags & RULE_EXACT) == 0 && utf8_has_bidi_control(text));
}

static void
check_string(struct walk *w, size_t element, const struct field_rule *rule, struct str text)
{
    bool raw = (rule->flags & RULE_RAW_JSON) != 0;
    size_t count = 0;

    if (!utf8_length(text, &count)) {
        complain(w, element, "utf8", "must be valid UTF-8");
        return;
    }
    if (raw && json_check(text, NULL) != OK) {
        complain(w, element, "type", "must be JSON");
    }
    if (!raw && has_control(rule, text)) {
        complain(w, element, "control", "must not hold control characters");
    }
    if (element == NOT_AN_ELEMENT) {
        check_length(w, element, rule, count); /* of a list, the lengths bound the items */
    }
    if (rule->pattern != API_PATTERN_NONE &&
        !pattern_matches((enum api_pattern)rule->pattern, text)) {
        complain(w, element, "pattern", "%s", pattern_text((enum api_pattern)rule->pattern));
    }
    if (rule->values != NULL) {
        check_values(w, element, rule, text);
    }
    if ((rule->flags & (RULE_DATE | RULE_NOT_FUTURE)) != 0) {
        check_date(w, element, rule, text);
    }
}

/* --- numbers ------------------------------------------------------------------------------------
 */

/* Numbers beyond int64 are beyond every bound a rule can name. */
static int64_t load_integer(const ProtobufCFieldDescriptor *field, const void *at)
{
    union field_value value;

    assert(at != NULL);
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        memcpy(&value.i32, at, sizeof(value.i32));
        return value.i32;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        memcpy(&value.u32, at, sizeof(value.u32));
        return value.u32;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        memcpy(&value.u64, at, sizeof(value.u64));
        return value.u64 > INT64_MAX ? INT64_MAX : (int64_t)value.u64;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        memcpy(&value.i64, at, sizeof(value.i64));
        return value.i64;
    case PROTOBUF_C_TYPE_BOOL:
    case PROTOBUF_C_TYPE_ENUM:
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        break;
    }
    assert(!"not an integer");
    return 0;
}

/* A bound as the client writes it: amounts and decimals with their point. */
static const char *bound_text(const struct field_rule *rule, int64_t bound, char out[BOUND_BYTES])
{
    struct buf b = buf_over(out, BOUND_BYTES);

    assert(out != NULL);
    if ((rule->flags & RULE_DECIMAL) != 0) {
        decimal_format_short(&b, bound, rule->decimals);
    } else if ((rule->flags & RULE_MONEY) != 0) {
        decimal_format(&b, bound, rule->decimals);
    } else {
        buf_int64(&b, bound);
    }
    return buf_terminate(&b) ? out : "";
}

/* Amounts without bounds of their own have the API's. */
static void
check_number(struct walk *w, size_t element, const struct field_rule *rule, int64_t value)
{
    bool amount = (rule->flags & (RULE_MONEY | RULE_DECIMAL)) == RULE_MONEY;
    bool has_min = (rule->flags & RULE_HAS_MIN) != 0;
    bool has_max = (rule->flags & RULE_HAS_MAX) != 0;
    int64_t min = has_min ? rule->min : -MONEY_MAX_CENTAVOS;
    int64_t max = has_max ? rule->max : MONEY_MAX_CENTAVOS;
    char text[BOUND_BYTES];

    assert(min <= max);
    if ((has_min || amount) && value < min) {
        complain(w, element, "min", "must be at least %s", bound_text(rule, min, text));
    }
    if ((has_max || amount) && value > max) {
        complain(w, element, "max", "must be at most %s", bound_text(rule, max, text));
    }
}

/* --- fields -------------------------------------------------------------------------------------
 */

static void check_value(struct walk *w, size_t element, const void *at)
{
    const ProtobufCFieldDescriptor *field = field_of(top(w));
    const struct field_rule *rule = rule_of(top(w));
    ProtobufCBinaryData bytes;

    assert(at != NULL);
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        check_string(w, element, rule, field_text(at));
        return;
    case PROTOBUF_C_TYPE_BYTES:
        memcpy(&bytes, at, sizeof(bytes));
        check_length(w, element, rule, bytes.len);
        return;
    case PROTOBUF_C_TYPE_BOOL:
    case PROTOBUF_C_TYPE_ENUM:
        return;
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        check_number(w, element, rule, load_integer(field, at));
        return;
    case PROTOBUF_C_TYPE_MESSAGE:
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        break;
    }
    assert(!"a field type that has no rules");
}

static bool is_absent(const struct frame *f)
{
    const ProtobufCFieldDescriptor *field = field_of(f);
    bool required = (rule_of(f)->flags & RULE_REQUIRED) != 0;

    if (field_is_list(field)) {
        return field_count(f->message, field) == 0;
    }
    if (!field_is_set(f->message, field)) {
        return true;
    }
    return required && field->type == PROTOBUF_C_TYPE_STRING &&
           field_text(field_at(f->message, field, 0)).len == 0;
}

/* True when there is nothing more to check. */
static bool check_presence(struct walk *w)
{
    const struct frame *f = top(w);

    if (!is_absent(f)) {
        return false;
    }
    if ((rule_of(f)->flags & RULE_REQUIRED) != 0) {
        complain(w, NOT_AN_ELEMENT, "required", "is required");
    }
    return true;
}

static void check_count(struct walk *w)
{
    const struct frame *f = top(w);
    const struct field_rule *rule = rule_of(f);
    size_t count = field_count(f->message, field_of(f));

    if (count < rule->len_min) {
        complain(w, NOT_AN_ELEMENT, "length", "must have at least %u items", rule->len_min);
    }
    if (rule->len_max != 0 && count > rule->len_max) {
        complain(w, NOT_AN_ELEMENT, "length", "must have at most %u items", rule->len_max);
    }
}

static void push(struct walk *w, const void *at, const struct message_rules *rules)
{
    struct frame frame = {.message = *(ProtobufCMessage *const *)at, .rules = rules};

    assert(rules != NULL);
    assert(frame.message != NULL);
    assert(frame.message->descriptor == rules->descriptor);
    assert(w->depth > 0);
    if (w->depth == JSON_DEPTH_MAX) {
        complain(w, NOT_AN_ELEMENT, "type", "is nested more than %d levels deep", JSON_DEPTH_MAX);
        return;
    }
    w->frames[w->depth++] = frame;
}

static void next_field(struct frame *f)
{
    assert(f->field < f->rules->descriptor->n_fields);
    f->field++;
    f->item = 0;
}

/* Goes into the next message that the field holds, or on to the next field. */
static void step_message(struct walk *w)
{
    struct frame *f = top(w);
    const ProtobufCFieldDescriptor *field = field_of(f);
    size_t count = field_is_list(field) ? field_count(f->message, field) : 1;
    size_t item = f->item;

    assert(field->type == PROTOBUF_C_TYPE_MESSAGE);
    assert(item <= count);
    if (item == count) {
        next_field(f);
        return;
    }
    f->item++;
    if (!is_reported(w, field_is_list(field) ? item : NOT_AN_ELEMENT)) {
        push(w, field_at(f->message, field, item), rule_of(f)->message);
    }
}

static void step(struct walk *w)
{
    struct frame *f = top(w);
    const ProtobufCFieldDescriptor *field = NULL;

    if (f->field == f->rules->descriptor->n_fields) {
        w->depth--;
        return;
    }
    field = field_of(f);
    if (f->item == 0) {
        if ((rule_of(f)->flags & RULE_NULLS) != 0 || check_presence(w)) {
            next_field(f);
            return;
        }
        if (field_is_list(field)) {
            check_count(w);
        }
    }
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        step_message(w);
        return;
    }
    if (!field_is_list(field)) {
        check_value(w, NOT_AN_ELEMENT, field_at(f->message, field, 0));
    } else {
        for (size_t i = 0; i < field_count(f->message, field); i++) {
            check_value(w, i, field_at(f->message, field, i));
        }
    }
    next_field(f);
}

void rules_check(const ProtobufCMessage *message,
                 const struct message_rules *rules,
                 struct date today,
                 struct violations *violations)
{
    struct walk w = {.violations = violations, .today = today};

    assert(message != NULL);
    assert(violations != NULL);
    assert(message->descriptor == rules->descriptor);
    w.rows_before = violations->count;
    w.frames[0] = (struct frame){.message = message, .rules = rules};
    w.depth = 1;
    while (w.depth > 0) {
        step(&w);
    }
}
