#include "proto/tools/apigen_schema.h"
#include "proto/tools/apigen_write.h"

#include <assert.h>
#include <string.h>

/* --- pieces of a table row ----------------------------------------------------------------- */

struct phrases {
    FILE *file;
    bool any;
};

static void phrase(struct phrases *list, const char *text)
{
    assert(text != NULL);
    if (text[0] == '\0') {
        return;
    }
    (void)fputs(list->any ? "; " : "", list->file);
    gen_put_cell(list->file, text);
    list->any = true;
}

static char *message_name(const struct gen_message *message)
{
    const char *prefix = "avanta.";
    size_t skip = strncmp(message->full_name, prefix, strlen(prefix)) == 0 ? strlen(prefix) : 0;
    return host_format("%s", message->full_name + skip);
}

/* The heading's anchor: lower case, dots gone. */
static char *message_anchor(const struct gen_message *message)
{
    char *anchor = host_lower(message_name(message));
    size_t len = 0;
    for (const char *c = anchor; *c != '\0'; c++) {
        if (*c != '.') {
            anchor[len++] = *c;
        }
    }
    anchor[len] = '\0';
    return anchor;
}

static char *message_link(const struct gen_message *message)
{
    return host_format("[%s](#%s)", message_name(message), message_anchor(message));
}

static const char *base_type(const struct gen_field *field)
{
    static const char *const names[] = {[GEN_STRING] = "text",
                                        [GEN_BYTES] = "base64url text",
                                        [GEN_BOOL] = "boolean",
                                        [GEN_INT64] = "integer",
                                        [GEN_INTEGER] = "integer",
                                        [GEN_ENUM] = "text",
                                        [GEN_MESSAGE] = "object",
                                        [GEN_UNSUPPORTED] = "unsupported"};
    assert(field->kind <= GEN_UNSUPPORTED);
    if ((field->flags & RULE_RAW_JSON) != 0) {
        return "any JSON";
    }
    if ((field->flags & RULE_MONEY) != 0) {
        return (field->flags & RULE_DECIMAL) != 0 ? "decimal" : "money";
    }
    if ((field->flags & RULE_FLAG) != 0) {
        return "flag";
    }
    return (field->flags & RULE_DATE) != 0 ? "date" : names[field->kind];
}

static void put_type(FILE *file, const struct gen_field *field)
{
    (void)fputs(field->repeated ? "list of " : "", file);
    (void)fputs(field->message == NULL ? base_type(field) : message_link(field->message), file);
}

static char *joined(char *const *texts, size_t count)
{
    char *all = host_format("%s", "");
    assert(texts != NULL);
    for (size_t i = 0; i < count; i++) {
        all = host_format("%s%s`%s`", all, i == 0 ? "" : ", ", texts[i]);
    }
    return all;
}

/* "1 to 5", "at least 1", "at most 5" */
static char *range(const char *min, const char *max)
{
    assert(min != NULL || max != NULL);
    if (min != NULL && max != NULL) {
        return host_format("%s to %s", min, max);
    }
    return host_format("%s %s", min != NULL ? "at least" : "at most", min != NULL ? min : max);
}

static void phrase_limits(struct phrases *list, const struct gen_field *field)
{
    const Avanta__Rule *rule = field->rule;
    unsigned decimals = (field->flags & RULE_MONEY) != 0 ? field->decimals : 0;
    if (rule->has_min != 0 || rule->has_max != 0) {
        char *min = rule->has_min != 0 ? gen_decimal_text(rule->min, decimals) : NULL;
        char *max = rule->has_max != 0 ? gen_decimal_text(rule->max, decimals) : NULL;
        phrase(list, range(min, max));
    }
    if (rule->has_min_len != 0 || rule->has_max_len != 0) {
        char *min = rule->has_min_len != 0 ? host_format("%u", rule->min_len) : NULL;
        char *max = rule->has_max_len != 0 ? host_format("%u", rule->max_len) : NULL;
        const char *unit = field->repeated ? "items" : "characters";
        phrase(list, host_format("%s %s", range(min, max), unit));
    }
}

static void phrase_flags(struct phrases *list, const struct gen_field *field)
{
    static const struct {
        uint32_t flag;
        const char *text;
    } rows[] = {
        {RULE_REQUIRED,      "**required**"        },
        {RULE_NULLABLE,      "`null` clears"       },
        {RULE_EMPTY_IS_NULL, "empty counts as null"},
        {RULE_NOT_FUTURE,    "not later than today"},
        {RULE_UPPER,         "stored in upper case"},
        {RULE_LOWER,         "stored in lower case"},
        {RULE_EXACT,         "taken as it is"      },
        {RULE_MULTILINE,     "may have lines"      },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        phrase(list, (field->flags & rows[i].flag) != 0 ? rows[i].text : "");
    }
}

static void phrase_rest(struct phrases *list, const struct gen_field *field)
{
    const Avanta__Rule *rule = field->rule;
    if (rule->pattern != NULL) {
        phrase(list, host_format("form: %s", rule->pattern));
    }
    if (rule->n_value > 0) {
        phrase(list, host_format("one of %s", joined(rule->value, rule->n_value)));
    }
    if (rule->has_decimals != 0) {
        phrase(list, host_format("%u decimals", rule->decimals));
    }
    if (rule->n_alias > 0) {
        phrase(list, host_format("also %s", joined(rule->alias, rule->n_alias)));
    }
    if (rule->cookie != NULL) {
        phrase(list, host_format("cookie `%s`", rule->cookie->name));
    }
    if (rule->header != NULL) {
        phrase(list, host_format("header `%s`", rule->header));
    }
    char *value = gen_schema_default_text(field);
    if (value != NULL) {
        phrase(list, host_format("default `%s`", value));
    }
    phrase(list, rule->description == NULL ? "" : rule->description);
}

static void put_rules(FILE *file, const struct gen_field *field)
{
    struct phrases list = {file, false};
    phrase_flags(&list, field);
    phrase_limits(&list, field);
    phrase_rest(&list, field);
}

/* --- endpoints ----------------------------------------------------------------------------- */

static bool is_input(const struct gen_field *field)
{
    return gen_schema_shows(field, GEN_SCHEMA_TEXT) || gen_schema_shows(field, GEN_SCHEMA_BODY);
}

static void put_request(FILE *file, const struct gen_rpc *rpc)
{
    static const char *const places[] = {[API_SOURCE_BODY] = "body",
                                         [API_SOURCE_QUERY] = "query",
                                         [API_SOURCE_PATH] = "path",
                                         [API_SOURCE_COOKIE] = "cookie",
                                         [API_SOURCE_HEADER] = "header"};
    size_t rows = 0;
    for (size_t i = 0; i < rpc->in->field_count; i++) {
        const struct gen_field *field = &rpc->in->fields[i];
        if (!is_input(field)) {
            continue;
        }
        if (rows++ == 0) {
            (void)fputs("| request field | in | type | rules |\n|---|---|---|---|\n", file);
        }
        (void)fprintf(file, "| `%s` | %s | ", field->name, places[field->source]);
        put_type(file, field);
        (void)fputs(" | ", file);
        put_rules(file, field);
        (void)fputs(" |\n", file);
    }
    (void)fputs(rows > 0 ? "\n" : "No request fields.\n\n", file);
}

static void put_reply(FILE *file, const struct gen_rpc *rpc)
{
    if (rpc->body_field >= 0) {
        const struct gen_field *body = &rpc->out->fields[rpc->body_field];
        (void)fputs("Reply: ", file);
        put_type(file, body);
        if (rpc->http->media_type != NULL) {
            (void)fprintf(file, " as `%s`", rpc->http->media_type);
        }
        (void)fputs(".\n\n", file);
        return;
    }
    (void)fprintf(file, "Reply: %s", message_link(rpc->out));
    const char *joint = " with ";
    for (size_t i = 0; i < rpc->out->field_count; i++) {
        if (gen_schema_shows(&rpc->out->fields[i], GEN_SCHEMA_REPLY)) {
            (void)fprintf(file, "%s`%s`", joint, rpc->out->fields[i].name);
            joint = ", ";
        }
    }
    (void)fputs(".\n\n", file);
}

static void put_endpoint(FILE *file, const struct gen_rpc *rpc)
{
    const Avanta__Http *http = rpc->http;
    assert(http != NULL);
    (void)fprintf(file, "### %s %s\n\n", http->method, http->path);
    if (http->summary != NULL) {
        size_t len = strlen(http->summary);
        bool ended = len > 0 && strchr(".?!", http->summary[len - 1]) != NULL;
        (void)fprintf(file, "%s%s\n\n", http->summary, ended ? "" : ".");
    }
    if (http->description != NULL) {
        (void)fprintf(file, "%s\n\n", http->description);
    }
    for (size_t i = 1; i < rpc->binding_count; i++) {
        (void)fprintf(file, "Also `%s %s`.\n", rpc->bindings[i].verb, rpc->bindings[i].path);
    }
    (void)fprintf(file,
                  "Permission [`%s`](permissions.md). Answers %u.%s\n\n",
                  permission_name(rpc->permission),
                  http->status,
                  gen_rpc_is_keyed(rpc) ? " Takes `Idempotency-Key`." : "");
    put_request(file, rpc);
    put_reply(file, rpc);
}

static void put_internal(const struct gen *gen, FILE *file, const struct gen_service *service)
{
    bool any = false;
    for (size_t i = 0; i < gen->rpc_count; i++) {
        const struct gen_rpc *rpc = &gen->rpcs[i];
        if (rpc->service != service || rpc->http != NULL) {
            continue;
        }
        (void)fputs(any ? ", " : "Over the bus only: ", file);
        (void)fprintf(file, "`rpc.%s.%s`", service->name, rpc->proto->name);
        any = true;
    }
    (void)fputs(any ? ".\n\n" : "", file);
}

static void put_service(const struct gen *gen, FILE *file, const struct gen_service *service)
{
    (void)fprintf(file, "## Service %s\n\n", service->name);
    for (size_t i = 0; i < gen->rpc_count; i++) {
        if (gen->rpcs[i].service == service && gen->rpcs[i].http != NULL) {
            put_endpoint(file, &gen->rpcs[i]);
        }
    }
    put_internal(gen, file, service);
}

/* --- messages -------------------------------------------------------------- */

static void put_message(FILE *file, const struct gen_message *message)
{
    (void)fprintf(file, "### %s\n\n", message_name(message));
    (void)fputs("| field | type | null | rules |\n|---|---|---|---|\n", file);
    for (size_t i = 0; i < message->field_count; i++) {
        const struct gen_field *field = &message->fields[i];
        bool shown = gen_schema_shows(field, GEN_SCHEMA_REPLY);
        if (!shown && field->rule->cookie == NULL) {
            continue;
        }
        bool null = shown && !field->repeated && (field->flags & RULE_NULL_SHOWN) != 0 &&
                    !gen_is_required_label(field);
        (void)fprintf(file, "| `%s` | ", field->name);
        put_type(file, field);
        (void)fprintf(file, " | %s | ", null ? "yes" : "");
        put_rules(file, field);
        (void)fputs(" |\n", file);
    }
    (void)fputs("\n", file);
}

static bool holds(const struct gen_message *outer, const struct gen_message *inner)
{
    assert(inner != NULL);
    for (size_t i = 0; i < outer->field_count; i++) {
        if (outer->fields[i].message == inner) {
            return true;
        }
    }
    return false;
}

/* Is the message linked to: in a reply, or inside a request? */
static bool is_linked(const struct gen *gen, const struct gen_message *message)
{
    if ((message->marks & GEN_HTTP_REPLY) != 0) {
        return true;
    }
    for (size_t i = 0; i < gen->message_count; i++) {
        const struct gen_message *outer = &gen->messages[i];
        if ((outer->marks & GEN_HTTP_REQUEST) != 0 && holds(outer, message)) {
            return true;
        }
    }
    return false;
}

static void put_messages(const struct gen *gen, FILE *file)
{
    (void)fputs("## Messages\n\n", file);
    for (size_t i = 0; i < gen->message_count; i++) {
        if (is_linked(gen, &gen->messages[i])) {
            put_message(file, &gen->messages[i]);
        }
    }
}

void gen_write_markdown(const struct gen *gen, FILE *file, const char *argument)
{
    (void)argument;
    assert(gen->errors == 0);
    (void)fputs(
        "<!-- Generated by apigen from proto/avanta. Do not edit. -->\n# API reference\n\n"
        "Requests and replies are JSON. `money` is a decimal with two places, also accepted as "
        "text; a `flag` is 0 or 1, `true` and `false` are accepted; a `date` is "
        "`YYYY-MM-DD`. Refusals are `application/problem+json`, see [errors](errors.md); what "
        "a change announces is in [events](events.md). `/api/v1/...` is the same tree as "
        "`/api/...`.\n\n",
        file);
    for (size_t i = 0; i < gen->service_count; i++) {
        put_service(gen, file, &gen->services[i]);
    }
    put_messages(gen, file);
}
