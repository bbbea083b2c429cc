#include "gateway/bind.h"

#include "gateway/credential.h"

#include "libcommon/base/limits.h"
#include "libcommon/codec/http_chars.h"
#include "libcommon/codec/transcode.h"

#include <assert.h>
#include <string.h>

#define COOKIE_BYTES_MAX 4096
#define KEY_BYTES_MAX    255

struct binding {
    const struct message_rules *rules;
    struct arena *arena;
    ProtobufCMessage *out;
    struct violations *violations;
    struct err *err;
    bool beacon; /* of the method */
    struct str seen[QUERY_PARAMETERS_MAX];
    uint32_t seen_count;
};

static enum code set(struct binding *b, enum api_source source, struct str name, struct str value)
{
    bool known = false;

    assert(b->out != NULL);
    assert(source <= API_SOURCE_HEADER);
    return transcode_set_text(
        b->rules, source, name, value, b->arena, b->out, b->violations, &known);
}

static enum code bind_path(struct binding *b, const struct route_match *match)
{
    enum code code = OK;

    assert(match->parameter_count <= ROUTE_PARAMETERS_MAX);
    for (uint32_t i = 0; code == OK && i < match->parameter_count; i++) {
        struct str value = STR_EMPTY;

        if (!percent_decode(match->parameters[i].value, false, b->arena, &value)) {
            return err_set(b->err, ERR_HTTP, "The address holds a malformed escape");
        }
        code = set(b, API_SOURCE_PATH, match->parameters[i].name, value);
    }
    return code;
}

/* A name given twice is an attempt to be read differently by two readers, unless the field repeats.
 */
static bool repeats(struct binding *b, struct str name)
{
    const ProtobufCMessageDescriptor *descriptor = b->rules->descriptor;

    assert(descriptor != NULL);
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        if (str_eq(str_from(b->rules->fields[i].name), name)) {
            return descriptor->fields[i].label == PROTOBUF_C_LABEL_REPEATED;
        }
    }
    return false;
}

static bool seen_before(struct binding *b, struct str name)
{
    assert(b->seen_count <= QUERY_PARAMETERS_MAX);
    for (uint32_t i = 0; i < b->seen_count; i++) {
        if (str_eq(b->seen[i], name)) {
            return true;
        }
    }
    return false;
}

static enum code bind_query_pair(struct binding *b, struct str pair)
{
    struct str name = pair;
    struct str value = STR_EMPTY;
    size_t at = 0;

    assert(pair.len > 0);
    if (str_find_char(pair, '=', &at)) {
        name = str_sub(pair, 0, at);
        value = str_sub(pair, at + 1, pair.len);
    }
    if (!percent_decode(name, true, b->arena, &name) ||
        !percent_decode(value, true, b->arena, &value)) {
        return err_set(b->err, ERR_HTTP, "The query holds a malformed escape");
    }
    if (b->seen_count == QUERY_PARAMETERS_MAX) {
        return err_set(
            b->err, ERR_HTTP, "The query has more than %d parameters", QUERY_PARAMETERS_MAX);
    }
    if (seen_before(b, name) && !repeats(b, name)) {
        violations_add(b->violations,
                       arena_strdup(b->arena, name),
                       "duplicate",
                       "The parameter is given twice");
        return OK;
    }
    b->seen[b->seen_count++] = name;
    return set(b, API_SOURCE_QUERY, name, value);
}

static enum code bind_query(struct binding *b, struct str query)
{
    struct str pair = STR_EMPTY;
    enum code code = OK;

    while (code == OK && str_split(&query, '&', &pair)) {
        if (pair.len > 0) {
            code = bind_query_pair(b, pair);
        }
    }
    return code;
}

static enum code bind_headers(struct binding *b, const struct http_request *r)
{
    enum code code = OK;

    for (unsigned i = 0; code == OK && i < b->rules->descriptor->n_fields; i++) {
        const struct field_rule *rule = &b->rules->fields[i];
        struct str value = STR_EMPTY;
        bool found = false;

        if (rule->source == API_SOURCE_COOKIE && rule->cookie != NULL) {
            found = credential_cookie(r, str_from(rule->cookie), &value);
        } else if (rule->source == API_SOURCE_HEADER && rule->header != NULL) {
            value = http_header_get(r, rule->header);
            found = value.ptr != NULL;
        }
        if (found) {
            code = set(b, (enum api_source)rule->source, str_from(rule->name), value);
        }
    }
    return code;
}

/* What pages send as they close may not say JSON without asking first; it is all the same. */
static bool is_json(struct str content_type, bool beacon)
{
    size_t at = 0;

    if (str_find_char(content_type, ';', &at)) {
        content_type = str_sub(content_type, 0, at);
    }
    content_type = str_trim(content_type);
    return str_eq_nocase(content_type, STR("application/json")) ||
           (beacon && str_eq_nocase(content_type, STR("text/plain")));
}

static bool names_coding(struct str codings)
{
    struct str coding = STR_EMPTY;

    while (str_split(&codings, ',', &coding)) {
        coding = str_trim(coding);
        if (coding.len > 0 && !str_eq_nocase(coding, STR("identity"))) {
            return true;
        }
    }
    return false;
}

/* A coded body holds other bytes than it says; RFC 9110, 8.4: a list, in one field or several. */
static bool is_coded(const struct http_request *r)
{
    assert(r->header_count <= HTTP_HEADERS_MAX);
    for (uint32_t i = 0; i < r->header_count; i++) {
        if (str_eq_nocase(r->headers[i].name, STR("Content-Encoding")) &&
            names_coding(r->headers[i].value)) {
            return true;
        }
    }
    return false;
}

static enum code bind_body(struct binding *b, const struct http_request *r)
{
    struct str type = http_header_get(r, "Content-Type");

    assert(b->rules != NULL);
    if (is_coded(r)) {
        return err_set(b->err, ERR_MEDIA_TYPE, "Send the body without Content-Encoding");
    }
    if (r->body.len == 0) {
        return transcode_from_json(STR_EMPTY, b->rules, b->arena, b->out, b->violations, b->err);
    }
    if (type.ptr != NULL && !is_json(type, b->beacon)) {
        return err_set(b->err, ERR_MEDIA_TYPE, "Send the body as application/json");
    }
    return transcode_from_json(r->body, b->rules, b->arena, b->out, b->violations, b->err);
}

enum code bind_request(const struct http_request *r,
                       const struct route_match *match,
                       struct arena *arena,
                       ProtobufCMessage *out,
                       struct violations *violations,
                       struct err *err)
{
    struct binding *b = arena_calloc(arena, 1, sizeof *b);
    bool has_body = str_eq(r->method, STR("POST")) || str_eq(r->method, STR("PUT")) ||
                    str_eq(r->method, STR("PATCH"));
    enum code code = OK;

    assert(match->method != NULL);
    assert(match->method->in != NULL);
    assert(out != NULL);
    assert(violations != NULL);
    if (b == NULL) {
        return err_set(err, ERR_TOO_LARGE, "The request needs too much memory");
    }
    assert(out->descriptor == match->method->in->descriptor);
    b->rules = match->method->in;
    b->arena = arena;
    b->out = out;
    b->violations = violations;
    b->err = err;
    b->beacon = match->method->beacon;
    if (has_body) {
        code = bind_body(b, r);
    }
    if (code == OK) {
        code = bind_query(b, r->query);
    }
    if (code == OK) {
        code = bind_headers(b, r);
    }
    if (code == OK) {
        code = bind_path(b, match);
    }
    return code;
}

bool bind_uses_cookies(const struct message_rules *rules)
{
    assert(rules != NULL);
    assert(rules->descriptor != NULL);
    for (unsigned i = 0; i < rules->descriptor->n_fields; i++) {
        if (rules->fields[i].source == API_SOURCE_COOKIE) {
            return true;
        }
    }
    return false;
}

/* `value` empty: the browser forgets the cookie. */
static enum code cookie_add(const struct field_rule *rule,
                            const char *value,
                            bool secure,
                            struct arena *arena,
                            struct http_response *response)
{
    char *memory = arena_alloc(arena, COOKIE_BYTES_MAX);
    struct buf b = {0};

    assert(rule->cookie != NULL);
    assert(rule->cookie_path != NULL);
    if (memory == NULL) {
        return ERR_TOO_LARGE;
    }
    b = buf_over(memory, COOKIE_BYTES_MAX);
    buf_printf(
        &b, "%s=%s; Path=%s; HttpOnly; SameSite=Strict", rule->cookie, value, rule->cookie_path);
    if (value[0] == '\0' || rule->cookie_max_age_s != 0) {
        buf_printf(&b, "; Max-Age=%u", value[0] == '\0' ? 0U : rule->cookie_max_age_s);
    }
    if (secure) {
        buf_text(&b, "; Secure");
    }
    if (b.overflow) {
        return ERR_INTERNAL;
    }
    http_response_add(response, "Set-Cookie", buf_view(&b));
    return OK;
}

enum code bind_cookies(const ProtobufCMessage *reply,
                       const struct message_rules *rules,
                       bool secure,
                       struct arena *arena,
                       struct http_response *response)
{
    enum code code = OK;

    assert(reply != NULL);
    assert(rules != NULL);
    assert(response != NULL);
    for (unsigned i = 0; i < rules->descriptor->n_fields && code == OK; i++) {
        const struct field_rule *rule = &rules->fields[i];
        const ProtobufCFieldDescriptor *field = &rules->descriptor->fields[i];
        const char *value = NULL;

        if (rule->cookie == NULL) {
            continue;
        }
        assert(field->type == PROTOBUF_C_TYPE_STRING);
        value = *(char *const *)(const void *)((const char *)reply + field->offset);
        if (value != NULL && value != field->default_value) {
            code = cookie_add(rule, value, secure, arena, response);
        }
    }
    return code;
}

void bind_reply_headers(const ProtobufCMessage *reply,
                        const struct message_rules *rules,
                        struct http_response *response)
{
    assert(reply != NULL);
    assert(rules != NULL);
    for (unsigned i = 0; i < rules->descriptor->n_fields; i++) {
        const struct field_rule *rule = &rules->fields[i];
        const ProtobufCFieldDescriptor *field = &rules->descriptor->fields[i];
        const char *value = NULL;

        if (rule->header == NULL) {
            continue;
        }
        assert(field->type == PROTOBUF_C_TYPE_STRING);
        value = *(char *const *)(const void *)((const char *)reply + field->offset);
        if (value == NULL || value == field->default_value) {
            continue;
        }
        if (strcmp(rule->header, "Content-Type") == 0) {
            response->content_type = str_from(value);
        } else {
            http_response_add(response, rule->header, str_from(value));
        }
    }
}

/* A structured-field string (RFC 8941, 3.3.3) into the arena; false when it is none. */
static bool key_unquote(struct str text, struct arena *arena, struct str *out)
{
    char *key = arena_alloc(arena, text.len);
    size_t len = 0;
    size_t i = 1;

    assert(text.len > 0);
    assert(text.ptr[0] == '"');
    assert(out != NULL);
    for (; key != NULL && i < text.len && text.ptr[i] != '"'; i++) {
        if (text.ptr[i] == '\\' &&
            (++i == text.len || (text.ptr[i] != '"' && text.ptr[i] != '\\'))) {
            return false;
        }
        if (text.ptr[i] < ' ' || text.ptr[i] > '~') {
            return false;
        }
        key[len++] = text.ptr[i];
    }
    assert(len < text.len);
    *out = (struct str){key, len};
    return key != NULL && i + 1 == text.len;
}

/* Without quotes nothing may stand that a reader of structured fields, or one that joins two fields
 * with a comma, takes for more than one word. */
static bool key_is_bare(struct str text)
{
    assert(text.len > 0);
    for (size_t i = 0; i < text.len; i++) {
        if (!http_char_is(HTTP_CLASS_TOKEN, text.ptr[i]) && text.ptr[i] != ':' &&
            text.ptr[i] != '/' && text.ptr[i] != '=') {
            return false;
        }
    }
    return true;
}

enum code bind_idempotency_key(const struct http_request *r,
                               struct arena *arena,
                               char **out,
                               struct violations *violations)
{
    struct str text = http_header_get(r, "Idempotency-Key");
    struct str key = text;
    bool good = http_header_count_of(r, "Idempotency-Key") == 1;

    assert(*out == NULL);
    assert(violations != NULL);
    if (text.ptr == NULL) {
        return OK;
    }
    good = good && text.len > 0 &&
           (text.ptr[0] == '"' ? key_unquote(text, arena, &key) : key_is_bare(text));
    if (!good || key.len < 1 || key.len > KEY_BYTES_MAX) {
        violations_add(violations,
                       "Idempotency-Key",
                       "format",
                       "must be one text of 1 to 255 printable characters in "
                       "double quotes, or of letters, digits and !#$%%&'*+-.^_`|~:/= without them");
        return ERR_INVALID;
    }
    *out = arena_strdup(arena, key);
    return *out == NULL ? ERR_TOO_LARGE : OK;
}
