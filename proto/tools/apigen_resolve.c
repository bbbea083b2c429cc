#include "proto/tools/apigen_read.h"

#include <assert.h>
#include <string.h>

/* Rules that come as one bit each. */
static uint32_t rule_bits(const Avanta__Rule *rule)
{
    const struct {
        bool given;
        uint32_t flag;
    } bits[] = {
        {rule->required != 0,                       RULE_REQUIRED            },
        {rule->nullable != 0,                       RULE_NULLABLE            },
        {rule->nulls != 0,                          RULE_NULLS               },
        {rule->money != 0,                          RULE_MONEY               },
        {rule->has_decimals != 0,                   RULE_MONEY | RULE_DECIMAL},
        {rule->flag != 0,                           RULE_FLAG                },
        {rule->date != 0,                           RULE_DATE                },
        {rule->not_future != 0,                     RULE_NOT_FUTURE          },
        {rule->raw_json != 0,                       RULE_RAW_JSON            },
        {rule->has_min != 0,                        RULE_HAS_MIN             },
        {rule->has_max != 0,                        RULE_HAS_MAX             },
        {rule->upper != 0,                          RULE_UPPER               },
        {rule->lower != 0,                          RULE_LOWER               },
        {rule->exact != 0,                          RULE_EXACT               },
        {rule->multiline != 0,                      RULE_MULTILINE           },
        {rule->empty_is_null != 0,                  RULE_EMPTY_IS_NULL       },
        {rule->hidden != 0 || rule->cookie != NULL, RULE_HIDDEN              },
    };
    uint32_t flags = 0;
    for (size_t i = 0; i < ARRAY_LEN(bits); i++) {
        flags |= bits[i].given ? bits[i].flag : 0;
    }
    return flags;
}

static void
resolve_pattern(struct gen *gen, const struct gen_message *message, struct gen_field *field)
{
    static const char *const names[API_PATTERN_COUNT] = {
        [API_PATTERN_NONE] = "",
        [API_PATTERN_EMAIL] = "email",
        [API_PATTERN_RFC] = "rfc",
        [API_PATTERN_UUID] = "uuid",
        [API_PATTERN_CURRENCY] = "currency",
        [API_PATTERN_COLOR] = "color",
        [API_PATTERN_URL_OR_PATH] = "url_or_path",
    };
    const char *wanted = field->rule->pattern;
    if (wanted == NULL) {
        return;
    }
    for (int i = API_PATTERN_NONE + 1; i < API_PATTERN_COUNT; i++) {
        if (strcmp(names[i], wanted) == 0) {
            field->pattern = (enum api_pattern)i;
            return;
        }
    }
    gen_error_field(gen, message, field, "unknown pattern \"%s\"", wanted);
}

static void resolve_field(struct gen *gen, struct gen_message *message, struct gen_field *field)
{
    const Avanta__Rule *rule = field->rule;
    field->flags = rule_bits(rule);
    bool null_shown = message->shape->null_shown != 0;
    if (rule->has_null_shown != 0) {
        null_shown = rule->null_shown != 0;
    }
    field->flags |= null_shown ? (uint32_t)RULE_NULL_SHOWN : 0;
    if (rule->money != 0) {
        field->decimals = 2;
    } else if (rule->has_decimals != 0) {
        field->decimals = (uint8_t)(rule->decimals > UINT8_MAX ? UINT8_MAX : rule->decimals);
    }
    resolve_pattern(gen, message, field);
}

/* --- reachability -------------------------------------------------------------------------- */

/* Hands the message's marks to what it holds; true when that changed anything. */
static bool marks_pass_on(const struct gen_message *message)
{
    bool changed = false;
    for (size_t i = 0; i < message->field_count; i++) {
        struct gen_message *inner = message->fields[i].message;
        if (inner != NULL && (message->marks & ~inner->marks) != 0) {
            inner->marks |= message->marks;
            changed = true;
        }
    }
    return changed;
}

static void resolve_marks(struct gen *gen)
{
    for (size_t i = 0; i < gen->rpc_count; i++) {
        const struct gen_rpc *rpc = &gen->rpcs[i];
        bool http = rpc->http != NULL;
        rpc->in->marks |= (unsigned)(GEN_USED | (http ? GEN_HTTP_REQUEST : 0));
        rpc->out->marks |= (unsigned)(GEN_USED | GEN_REPLY | (http ? GEN_HTTP_REPLY : 0));
    }
    for (size_t i = 0; i < gen->message_count; i++) {
        const struct gen_message *message = &gen->messages[i];
        bool asks =
            message->event != NULL || message->shape->has_strict || message->shape->has_null_shown;
        gen->messages[i].marks |= asks ? (unsigned)GEN_USED : 0;
    }
    /* To the fixed point: each round changes a mark, so it ends also for messages that hold
     * themselves. */
    bool changed = true;
    while (changed) {
        changed = false;
        for (size_t i = 0; i < gen->message_count; i++) {
            changed = marks_pass_on(&gen->messages[i]) || changed;
        }
    }
}

/* --- sources ------------------------------------------------------------------------------- */

char *gen_path_parameter(const char *path, size_t *at)
{
    assert(path != NULL);
    assert(*at <= strlen(path));
    const char *open = strchr(path + *at, '{');
    const char *end = open == NULL ? NULL : strchr(open, '}');
    if (end == NULL) {
        return NULL;
    }
    *at = (size_t)(end - path) + 1;
    return host_copy(open + 1, (size_t)(end - open) - 1);
}

bool gen_path_has(const char *path, const char *name)
{
    size_t at = 0;
    assert(name != NULL);
    for (const char *p = gen_path_parameter(path, &at); p != NULL;
         p = gen_path_parameter(path, &at)) {
        if (strcmp(p, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool verb_has_body(const char *verb)
{
    assert(verb != NULL);
    return strcmp(verb, "POST") == 0 || strcmp(verb, "PUT") == 0 || strcmp(verb, "PATCH") == 0;
}

static bool in_any_path(const struct gen_rpc *rpc, const char *name)
{
    assert(name != NULL);
    for (size_t i = 0; i < rpc->binding_count; i++) {
        if (gen_path_has(rpc->bindings[i].path, name)) {
            return true;
        }
    }
    return false;
}

static enum api_source source_of(const struct gen_rpc *rpc, const struct gen_field *field)
{
    const Avanta__Rule *rule = field->rule;
    assert(rpc->binding_count > 0);
    if (rule->cookie != NULL || rule->source == AVANTA__SOURCE__SOURCE_COOKIE) {
        return API_SOURCE_COOKIE;
    }
    if (rule->header != NULL || rule->source == AVANTA__SOURCE__SOURCE_HEADER) {
        return API_SOURCE_HEADER;
    }
    if (rule->source == AVANTA__SOURCE__SOURCE_QUERY) {
        return API_SOURCE_QUERY;
    }
    if ((field->flags & (RULE_HIDDEN | RULE_NULLS)) != 0) {
        return API_SOURCE_BODY; /* nothing fills it from outside */
    }
    if (in_any_path(rpc, field->name)) {
        return API_SOURCE_PATH;
    }
    return verb_has_body(rpc->bindings[0].verb) ? API_SOURCE_BODY : API_SOURCE_QUERY;
}

static void resolve_sources(struct gen *gen, const struct gen_rpc *rpc)
{
    struct gen_message *in = rpc->in;
    assert(rpc->http != NULL);
    for (size_t i = 0; i < in->field_count; i++) {
        struct gen_field *field = &in->fields[i];
        enum api_source source = source_of(rpc, field);
        if (in->sources_by != NULL && field->source != source) {
            gen_error_field(gen,
                            in,
                            field,
                            "comes from different places in rpc %s.%s and rpc %s.%s",
                            in->sources_by->service->proto_name,
                            in->sources_by->proto->name,
                            rpc->service->proto_name,
                            rpc->proto->name);
        }
        field->source = source;
    }
    in->sources_by = rpc;
    for (size_t i = 1; i < rpc->binding_count; i++) {
        if (verb_has_body(rpc->bindings[i].verb) != verb_has_body(rpc->bindings[0].verb)) {
            gen_error_rpc(gen,
                          rpc,
                          "bindings %s and %s differ in having a body",
                          rpc->bindings[0].verb,
                          rpc->bindings[i].verb);
        }
    }
}

/* --- rpcs ---------------------------------------------------------------------------------- */

static void resolve_permission(struct gen *gen, struct gen_rpc *rpc)
{
    if (rpc->http == NULL) { /* only programs with the service's key can ask */
        rpc->permission = API_PUBLIC;
        return;
    }
    if (!permission_find(str_from(rpc->http->permission), &rpc->permission)) {
        gen_error_rpc(gen, rpc, "unknown permission \"%s\"", rpc->http->permission);
    }
}

static void resolve_body_field(struct gen *gen, struct gen_rpc *rpc)
{
    if (rpc->http == NULL || rpc->http->response_body == NULL) {
        return;
    }
    const char *name = rpc->http->response_body;
    for (size_t i = 0; i < rpc->out->field_count; i++) {
        const struct gen_field *field = &rpc->out->fields[i];
        if (strcmp(field->proto->name, name) == 0 || strcmp(field->name, name) == 0) {
            rpc->body_field = (int)i;
            return;
        }
    }
    gen_error_rpc(gen, rpc, "response_body \"%s\" is no field of %s", name, rpc->out->full_name);
}

/* Messages that collect nulls refuse them elsewhere; for others null is as good as absent. */
static void resolve_nulls(struct gen_message *message)
{
    bool collects = false;
    for (size_t i = 0; i < message->field_count; i++) {
        collects = collects || message->fields[i].rule->nulls != 0;
    }
    for (size_t i = 0; i < message->field_count; i++) {
        uint32_t flags = message->fields[i].flags;
        message->fields[i].takes_null =
            collects ? (flags & RULE_NULLABLE) != 0 : (flags & RULE_REQUIRED) == 0;
    }
}

void gen_resolve(struct gen *gen)
{
    for (size_t i = 0; i < gen->message_count; i++) {
        for (size_t k = 0; k < gen->messages[i].field_count; k++) {
            resolve_field(gen, &gen->messages[i], &gen->messages[i].fields[k]);
        }
        resolve_nulls(&gen->messages[i]);
    }
    resolve_marks(gen);
    for (size_t i = 0; i < gen->rpc_count; i++) {
        struct gen_rpc *rpc = &gen->rpcs[i];
        resolve_permission(gen, rpc);
        resolve_body_field(gen, rpc);
        if (rpc->http != NULL) {
            resolve_sources(gen, rpc);
        }
    }
}
