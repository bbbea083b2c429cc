#include "proto/tools/apigen_read.h"

#include <assert.h>
#include <string.h>

#define DECIMALS_MAX 9

/* --- fields -------------------------------------------------------------------------------- */

/* A rule that needs a type it does not have. */
static void
check_rule_types(struct gen *gen, const struct gen_message *message, const struct gen_field *field)
{
    const Avanta__Rule *rule = field->rule;
    enum gen_kind kind = field->kind;
    bool integer = kind == GEN_INT64 || kind == GEN_INTEGER;
    bool single = !field->repeated;
    const struct {
        const char *name;
        bool given;
        bool fits;
        const char *needs;
    } rows[] = {
        {"money",         rule->money != 0,         kind == GEN_INT64,             "int64"               },
        {"decimals",      rule->has_decimals != 0,  kind == GEN_INT64,             "int64"               },
        {"flag",          rule->flag != 0,          kind == GEN_BOOL,              "bool"                },
        {"date",          rule->date != 0,          kind == GEN_STRING,            "string"              },
        {"raw_json",      rule->raw_json != 0,      kind == GEN_STRING,            "string"              },
        {"nulls",         rule->nulls != 0,         kind == GEN_STRING && !single, "repeated string"     },
        {"min",           rule->has_min != 0,       integer,                       "an integer"          },
        {"max",           rule->has_max != 0,       integer,                       "an integer"          },
        {"min_len",       rule->has_min_len != 0,   !single || kind <= GEN_BYTES,  "text or a list"      },
        {"max_len",       rule->has_max_len != 0,   !single || kind <= GEN_BYTES,  "text or a list"      },
        {"pattern",       rule->pattern != NULL,    kind == GEN_STRING,            "string"              },
        {"value",         rule->n_value > 0,        kind == GEN_STRING,            "string"              },
        {"upper",         rule->upper != 0,         kind == GEN_STRING,            "string"              },
        {"lower",         rule->lower != 0,         kind == GEN_STRING,            "string"              },
        {"exact",         rule->exact != 0,         kind == GEN_STRING,            "string"              },
        {"multiline",     rule->multiline != 0,     kind == GEN_STRING,            "string"              },
        {"empty_is_null", rule->empty_is_null != 0, single,                        "a field not repeated"},
        {"cookie",        rule->cookie != NULL,     kind == GEN_STRING && single,  "a single string"     },
        {"header",        rule->header != NULL,     kind == GEN_STRING && single,  "a single string"     },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].given && !rows[i].fits) {
            gen_error_field(gen, message, field, "%s needs %s", rows[i].name, rows[i].needs);
        }
    }
}

/* Rules that contradict each other. */
static void
check_rule_pairs(struct gen *gen, const struct gen_message *message, const struct gen_field *field)
{
    const Avanta__Rule *rule = field->rule;
    const struct {
        bool broken;
        const char *text;
    } rows[] = {
        {rule->money != 0 && rule->has_decimals != 0,
         "money has two decimals: decimals is one too many"                                                                     },
        {rule->has_decimals != 0 && (rule->decimals == 0 || rule->decimals > DECIMALS_MAX),
         "decimals must be 1 to 9"                                                                                              },
        {rule->not_future != 0 && rule->date == 0,                                          "not_future needs date"             },
        {rule->has_min != 0 && rule->has_max != 0 && rule->min > rule->max,                 "min is above max"                  },
        {rule->has_max_len != 0 && rule->min_len > rule->max_len,                           "min_len is above max_len"          },
        {rule->has_max_len != 0 && rule->max_len == 0,                                      "max_len must not be 0"             },
        {rule->upper != 0 && rule->lower != 0,                                              "upper and lower exclude each other"},
        {rule->source == AVANTA__SOURCE__SOURCE_COOKIE && rule->cookie == NULL,
         "SOURCE_COOKIE needs cookie"                                                                                           },
        {rule->source == AVANTA__SOURCE__SOURCE_HEADER && rule->header == NULL,
         "SOURCE_HEADER needs header"                                                                                           },
        {rule->cookie != NULL && rule->has_source != 0 &&
             rule->source != AVANTA__SOURCE__SOURCE_COOKIE,
         "a cookie field has no other source"                                                                                   },
        {rule->header != NULL && rule->has_source != 0 &&
             rule->source != AVANTA__SOURCE__SOURCE_HEADER,
         "a header field has no other source"                                                                                   },
        {field->name[0] == '\0',                                                            "an API name must not be empty"     },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].broken) {
            gen_error_field(gen, message, field, "%s", rows[i].text);
        }
    }
}

/* What the transcoder does not know must not reach it. */
static void
check_field_kind(struct gen *gen, const struct gen_message *message, const struct gen_field *field)
{
    const struct gen_message *inner = field->message;
    if ((message->marks & GEN_REPLY) != 0 && inner != NULL && gen_is_required_label(field)) {
        gen_error_field(gen, message, field, "a message in a reply must be optional, not required");
    }
    if ((message->marks & (GEN_HTTP_REQUEST | GEN_HTTP_REPLY)) == 0) {
        return;
    }
    if (field->kind == GEN_UNSUPPORTED) {
        gen_error_field(gen, message, field, "float, double and groups have no JSON form here");
    }
    if (field->proto->has_oneof_index != 0) {
        gen_error_field(gen, message, field, "oneof has no JSON form here");
    }
    if (inner != NULL && inner->proto->options != NULL && inner->proto->options->map_entry != 0) {
        gen_error_field(gen, message, field, "map has no JSON form here: use raw_json");
    }
}

/* Where the field comes from must be able to carry it. */
static void check_field_source(struct gen *gen,
                               const struct gen_message *message,
                               const struct gen_field *field)
{
    static const char *const names[] = {[API_SOURCE_BODY] = "body",
                                        [API_SOURCE_QUERY] = "query",
                                        [API_SOURCE_PATH] = "path",
                                        [API_SOURCE_COOKIE] = "cookie",
                                        [API_SOURCE_HEADER] = "header"};
    if (message->sources_by == NULL || field->source == API_SOURCE_BODY) {
        return;
    }
    if (field->message != NULL || field->kind == GEN_BYTES) {
        gen_error_field(gen, message, field, "cannot come from the %s", names[field->source]);
    }
    if (field->source == API_SOURCE_PATH && field->repeated) {
        gen_error_field(gen, message, field, "repeated: cannot come from the path");
    }
}

/* The messages inside a request come with the body, whole. */
static void
check_nested(struct gen *gen, const struct gen_message *inner, const struct gen_message *outer)
{
    for (size_t i = 0; i < inner->field_count; i++) {
        const struct gen_field *field = &inner->fields[i];
        const Avanta__Rule *rule = field->rule;
        if (field->source != API_SOURCE_BODY || rule->source != AVANTA__SOURCE__SOURCE_DEFAULT ||
            rule->cookie != NULL || rule->header != NULL) {
            gen_error_field(
                gen, inner, field, "nested in %s: can only come from the body", outer->full_name);
        }
    }
}

/* --- messages ------------------------------------------------------------------------------ */

static bool answers_to(const struct gen_field *field, const char *name)
{
    assert(name != NULL);
    if (strcmp(field->name, name) == 0) {
        return true;
    }
    for (size_t i = 0; i < field->rule->n_alias; i++) {
        if (strcmp(field->rule->alias[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* No two fields may answer to one name. */
static void check_name_pair(struct gen *gen,
                            const struct gen_message *message,
                            const struct gen_field *field,
                            const struct gen_field *earlier)
{
    assert(field != earlier);
    if (answers_to(earlier, field->name)) {
        gen_error_field(gen,
                        message,
                        field,
                        "API name \"%s\" is also that of field %s",
                        field->name,
                        earlier->proto->name);
    }
    for (size_t i = 0; i < field->rule->n_alias; i++) {
        if (answers_to(earlier, field->rule->alias[i])) {
            gen_error_field(gen,
                            message,
                            field,
                            "alias \"%s\" is also a name of field %s",
                            field->rule->alias[i],
                            earlier->proto->name);
        }
    }
}

static void check_names(struct gen *gen, const struct gen_message *message, size_t index)
{
    assert(index < message->field_count);
    const struct gen_field *field = &message->fields[index];
    for (size_t i = 0; i < index; i++) {
        check_name_pair(gen, message, field, &message->fields[i]);
    }
}

static void check_nulls(struct gen *gen, const struct gen_message *message)
{
    size_t nulls = 0;
    for (size_t i = 0; i < message->field_count; i++) {
        nulls += message->fields[i].rule->nulls != 0 ? 1 : 0;
    }
    if (nulls > 1) {
        gen_error_message(gen, message, "more than one nulls field");
    }
    for (size_t i = 0; i < message->field_count; i++) {
        if (message->fields[i].rule->nullable != 0 && nulls == 0) {
            gen_error_field(
                gen, message, &message->fields[i], "nullable needs a nulls field in the message");
        }
    }
}

static bool severity_known(const char *alert)
{
    assert(alert != NULL);
    return strcmp(alert, "info") == 0 || strcmp(alert, "warning") == 0 ||
           strcmp(alert, "critical") == 0;
}

static void check_event(struct gen *gen, const struct gen_message *message, size_t index)
{
    assert(index < gen->message_count);
    const Avanta__Event *event = message->event;
    if (event == NULL) {
        return;
    }
    if (event->subject[0] == '\0' || event->entity[0] == '\0' || event->action[0] == '\0') {
        gen_error_message(gen, message, "an event needs subject, entity and action");
        return;
    }
    size_t dots = 0;
    for (const char *c = event->subject; *c != '\0'; c++) {
        dots += *c == '.' ? 1 : 0;
    }
    bool sane = strncmp(event->subject, "evt.", 4) == 0 &&
                (dots == 3 || (dots == 2 && event->unaudited)) &&
                strpbrk(event->subject, " *>") == NULL && strstr(event->subject, "..") == NULL;
    if (!sane) {
        gen_error_message(gen,
                          message,
                          "event subject \"%s\" is not evt.<service>.<entity>.<verb>",
                          event->subject);
    }
    if (event->alert != NULL && !severity_known(event->alert)) {
        gen_error_message(
            gen, message, "alert \"%s\" is not info, warning or critical", event->alert);
    }
    for (size_t i = 0; i < index; i++) {
        const Avanta__Event *other = gen->messages[i].event;
        if (other != NULL && strcmp(other->subject, event->subject) == 0) {
            gen_error_message(gen,
                              message,
                              "event subject \"%s\" is also that of %s",
                              event->subject,
                              gen->messages[i].full_name);
        }
    }
}

void gen_check_message(struct gen *gen, size_t index)
{
    assert(index < gen->message_count);
    const struct gen_message *message = &gen->messages[index];
    for (size_t i = 0; i < message->field_count; i++) {
        const struct gen_field *field = &message->fields[i];
        check_rule_types(gen, message, field);
        check_rule_pairs(gen, message, field);
        check_field_kind(gen, message, field);
        check_field_source(gen, message, field);
        check_names(gen, message, i);
        if ((message->marks & GEN_HTTP_REQUEST) != 0 && field->message != NULL) {
            check_nested(gen, field->message, message);
        }
    }
    check_nulls(gen, message);
    check_event(gen, message, index);
}
