#include "proto/tools/apigen_read.h"

#include <assert.h>
#include <stdarg.h>
#include <string.h>

/* Field numbers of our options; they are extensions, so protobuf-c knows no names for them. */
#define OPTION_HTTP    50101U
#define OPTION_RULE    50102U
#define OPTION_SHAPE   50103U
#define OPTION_EVENT   50104U
#define OPTION_REFUSAL 50105U

#define WIRE_LENGTH_PREFIXED 2
#define REASON_NUMBER_MAX    999

/* --- errors -------------------------------------------------------------------------------- */

void gen_error_rpc(struct gen *gen, const struct gen_rpc *rpc, const char *fmt, ...)
{
    char text[512];
    va_list args;
    assert(fmt != NULL);
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    gen->errors++;
    host_complain(
        "%s: rpc %s.%s: %s", rpc->service->file, rpc->service->proto_name, rpc->proto->name, text);
}

void gen_error_field(struct gen *gen,
                     const struct gen_message *message,
                     const struct gen_field *field,
                     const char *fmt,
                     ...)
{
    char text[512];
    va_list args;
    assert(fmt != NULL);
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    gen->errors++;
    host_complain("%s: message %s, field %s: %s",
                  message->file,
                  message->full_name,
                  field->proto->name,
                  text);
}

void gen_error_message(struct gen *gen, const struct gen_message *message, const char *fmt, ...)
{
    char text[512];
    va_list args;
    assert(fmt != NULL);
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    gen->errors++;
    host_complain("%s: message %s: %s", message->file, message->full_name, text);
}

/* --- options ------------------------------------------------------------------------------- */

struct option_bytes {
    uint8_t *data;
    size_t len;
    bool given;
};

/* The bytes of a length-delimited unknown field start with the length itself. */
static size_t prefix_len(const ProtobufCMessageUnknownField *field)
{
    size_t len = 0;
    while (len < field->len && (field->data[len] & 0x80U) != 0) {
        len++;
    }
    return len < field->len ? len + 1 : field->len;
}

/* All occurrences of the option, joined: concatenated messages merge, as protobuf promises. */
static struct option_bytes option_find(const ProtobufCMessage *options, uint32_t tag)
{
    struct option_bytes found = {NULL, 0, false};
    if (options == NULL) {
        return found;
    }
    for (unsigned i = 0; i < options->n_unknown_fields; i++) {
        const ProtobufCMessageUnknownField *field = &options->unknown_fields[i];
        if (field->tag != tag || (int)field->wire_type != WIRE_LENGTH_PREFIXED) {
            continue;
        }
        size_t prefix = prefix_len(field);
        size_t len = field->len - prefix;
        uint8_t *joined = host_alloc(found.len + len, 1);
        if (found.len > 0) {
            memcpy(joined, found.data, found.len);
        }
        memcpy(joined + found.len, field->data + prefix, len);
        found = (struct option_bytes){joined, found.len + len, true};
    }
    return found;
}

/* --- messages ------------------------------------------------------------------------------ */

static struct gen_message *gen_message_find(const struct gen *gen, const char *full_name)
{
    assert(full_name != NULL);
    const char *name = full_name + (full_name[0] == '.' ? 1 : 0);
    for (size_t i = 0; i < gen->message_count; i++) {
        if (strcmp(gen->messages[i].full_name, name) == 0) {
            return &gen->messages[i];
        }
    }
    return NULL;
}

struct gen_field *gen_field_find(const struct gen_message *message, const char *api_name)
{
    assert(api_name != NULL);
    for (size_t i = 0; i < message->field_count; i++) {
        if (strcmp(message->fields[i].name, api_name) == 0) {
            return &message->fields[i];
        }
    }
    return NULL;
}

bool gen_rpc_is_keyed(const struct gen_rpc *rpc)
{
    assert(rpc->http != NULL);
    return rpc->http->writes != 0 && rpc->http->secret == 0 && rpc->permission != API_PUBLIC;
}

bool gen_is_required_label(const struct gen_field *field)
{
    return field->proto->label == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_REQUIRED;
}

static void message_add(struct gen *gen,
                        const char *file,
                        const char *scope,
                        const Google__Protobuf__DescriptorProto *proto)
{
    struct gen_message message = {.file = file, .proto = proto};
    assert(proto->name != NULL);
    assert(scope != NULL);
    message.full_name = *scope == '\0' ? proto->name : host_format("%s.%s", scope, proto->name);
    message.c_name = host_snake_path(message.full_name, "__");
    message.ident = host_snake_path(message.full_name, "_");
    gen->messages = host_grow(gen->messages, gen->message_count, sizeof(*gen->messages));
    gen->messages[gen->message_count++] = message;
}

/* Nested messages are appended behind the one that holds them, so one pass finds all depths. */
static void messages_collect(struct gen *gen, const Google__Protobuf__FileDescriptorProto *file)
{
    size_t first = gen->message_count;
    for (size_t i = 0; i < file->n_message_type; i++) {
        const char *package = file->package == NULL ? "" : file->package;
        message_add(gen, file->name, package, file->message_type[i]);
    }
    for (size_t m = first; m < gen->message_count; m++) {
        struct gen_message outer = gen->messages[m]; /* a copy: the array moves when it grows */
        for (size_t i = 0; i < outer.proto->n_nested_type; i++) {
            message_add(gen, file->name, outer.full_name, outer.proto->nested_type[i]);
        }
    }
}

static const Google__Protobuf__EnumDescriptorProto *
enum_in(Google__Protobuf__EnumDescriptorProto *const *enums,
        size_t count,
        const char *scope,
        const char *full_name)
{
    size_t scope_len = strlen(scope);
    if (strncmp(full_name, scope, scope_len) != 0 || full_name[scope_len] != '.') {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(enums[i]->name, full_name + scope_len + 1) == 0) {
            return enums[i];
        }
    }
    return NULL;
}

static const Google__Protobuf__EnumDescriptorProto *enum_find(const struct gen *gen,
                                                              const char *full_name)
{
    const Google__Protobuf__EnumDescriptorProto *found = NULL;
    for (size_t f = 0; f < gen->set->n_file && found == NULL; f++) {
        const Google__Protobuf__FileDescriptorProto *file = gen->set->file[f];
        const char *package = file->package == NULL ? "" : file->package;
        found = enum_in(file->enum_type, file->n_enum_type, package, full_name);
    }
    for (size_t m = 0; m < gen->message_count && found == NULL; m++) {
        const struct gen_message *outer = &gen->messages[m];
        found = enum_in(
            outer->proto->enum_type, outer->proto->n_enum_type, outer->full_name, full_name);
    }
    return found;
}

/* The file of a top-level enum, "" when there is none. */
static const char *file_of_enum(const struct gen *gen, const char *full_name)
{
    for (size_t f = 0; f < gen->set->n_file; f++) {
        const Google__Protobuf__FileDescriptorProto *file = gen->set->file[f];
        const char *package = file->package == NULL ? "" : file->package;
        if (enum_in(file->enum_type, file->n_enum_type, package, full_name) != NULL) {
            return file->name;
        }
    }
    return "";
}

static enum gen_kind kind_of(const Google__Protobuf__FieldDescriptorProto *proto)
{
    static const enum gen_kind kinds[] = {
        [GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_DOUBLE] = GEN_UNSUPPORTED,
        [GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_FLOAT] = GEN_UNSUPPORTED,
        [GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_INT64] = GEN_INT64,
        [GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_UINT64] = GEN_INTEGER,
        [GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_INT32] = GEN_INTEGER,
        [GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_FIXED64] = GEN_INTEGER,
        [GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_FIXED32] = GEN_INTEGER,
        [GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_BOOL] = GEN_BOOL,
        [GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_STRING] = GEN_STRING,
        [GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_GROUP] = GEN_UNSUPPORTED,
        [GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_MESSAGE] = GEN_MESSAGE,
        [GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_BYTES] = GEN_BYTES,
        [GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_UINT32] = GEN_INTEGER,
        [GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_ENUM] = GEN_ENUM,
        [GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_SFIXED32] = GEN_INTEGER,
        [GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_SFIXED64] = GEN_INT64,
        [GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_SINT32] = GEN_INTEGER,
        [GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_SINT64] = GEN_INT64,
    };
    size_t type = (size_t)proto->type;
    return type < ARRAY_LEN(kinds) ? kinds[type] : GEN_UNSUPPORTED;
}

static const Avanta__Rule *
rule_read(struct gen *gen, const struct gen_message *message, const struct gen_field *field)
{
    static const Avanta__Rule unset = AVANTA__RULE__INIT;
    const Google__Protobuf__FieldOptions *options = field->proto->options;
    struct option_bytes bytes = option_find(options == NULL ? NULL : &options->base, OPTION_RULE);
    if (!bytes.given) {
        return &unset;
    }
    const Avanta__Rule *rule = avanta__rule__unpack(NULL, bytes.len, bytes.data);
    if (rule == NULL) {
        gen_error_field(gen, message, field, "option rule cannot be read or lacks a required part");
        return &unset;
    }
    return rule;
}

static void field_read(struct gen *gen,
                       const struct gen_message *message,
                       struct gen_field *field,
                       const Google__Protobuf__FieldDescriptorProto *proto)
{
    field->proto = proto;
    field->rule = rule_read(gen, message, field);
    field->name = field->rule->name == NULL ? proto->name : field->rule->name;
    field->kind = kind_of(proto);
    field->repeated =
        proto->label == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_REPEATED;
    const char *type = proto->type_name;
    if (field->kind == GEN_MESSAGE && type != NULL) {
        field->message = gen_message_find(gen, type);
    } else if (field->kind == GEN_ENUM && type != NULL) {
        field->enum_proto = enum_find(gen, type + (type[0] == '.' ? 1 : 0));
    }
}

/* Insertion keeps the fields in tag order; messages are short. */
static void fields_read(struct gen *gen, struct gen_message *message)
{
    assert(message->fields == NULL);
    message->fields = host_alloc(message->proto->n_field, sizeof(*message->fields));
    for (size_t i = 0; i < message->proto->n_field; i++) {
        struct gen_field field = {0};
        field_read(gen, message, &field, message->proto->field[i]);
        size_t at = message->field_count++;
        while (at > 0 && message->fields[at - 1].proto->number > field.proto->number) {
            message->fields[at] = message->fields[at - 1];
            at--;
        }
        message->fields[at] = field;
    }
}

static void message_options_read(struct gen *gen, struct gen_message *message)
{
    static const Avanta__Shape unset = AVANTA__SHAPE__INIT;
    const Google__Protobuf__MessageOptions *options = message->proto->options;
    const ProtobufCMessage *base = options == NULL ? NULL : &options->base;
    assert(message->shape == NULL);
    message->shape = &unset;
    struct option_bytes bytes = option_find(base, OPTION_SHAPE);
    if (bytes.given) {
        const Avanta__Shape *shape = avanta__shape__unpack(NULL, bytes.len, bytes.data);
        message->shape = shape == NULL ? &unset : shape;
    }
    bytes = option_find(base, OPTION_EVENT);
    if (bytes.given) {
        message->event = avanta__event__unpack(NULL, bytes.len, bytes.data);
        if (message->event == NULL) {
            gen_error_message(gen, message, "an event needs subject, entity and action");
        }
    }
}

/* --- services ------------------------------------------------------------------------------ */

static const Avanta__Http *http_read(struct gen *gen, const struct gen_rpc *rpc)
{
    const Google__Protobuf__MethodOptions *options = rpc->proto->options;
    struct option_bytes bytes = option_find(options == NULL ? NULL : &options->base, OPTION_HTTP);
    if (!bytes.given) {
        return NULL;
    }
    const Avanta__Http *http = avanta__http__unpack(NULL, bytes.len, bytes.data);
    if (http == NULL) {
        gen_error_rpc(gen, rpc, "option http needs method, path and permission");
    }
    return http;
}

static void bindings_read(struct gen_rpc *rpc)
{
    assert(rpc->bindings == NULL);
    if (rpc->http == NULL) {
        return;
    }
    rpc->binding_count = 1 + rpc->http->n_also;
    rpc->bindings = host_alloc(rpc->binding_count, sizeof(*rpc->bindings));
    rpc->bindings[0] = (struct gen_binding){rpc->http->method, rpc->http->path};
    for (size_t i = 0; i < rpc->http->n_also; i++) {
        const Avanta__Binding *also = rpc->http->also[i];
        rpc->bindings[i + 1] = (struct gen_binding){also->method, also->path};
    }
}

static void rpc_read(struct gen *gen,
                     const struct gen_service *service,
                     const Google__Protobuf__MethodDescriptorProto *proto)
{
    struct gen_rpc rpc = {.service = service, .proto = proto, .body_field = -1};
    assert(service->ident != NULL);
    rpc.ident = host_snake(proto->name);
    rpc.enum_name = host_upper(host_format("api_%s_%s", service->ident, rpc.ident));
    rpc.in = gen_message_find(gen, proto->input_type);
    rpc.out = gen_message_find(gen, proto->output_type);
    if (rpc.in == NULL || rpc.out == NULL) {
        host_die("%s: rpc %s: its messages are not in the descriptor set (--include_imports?)",
                 service->file,
                 proto->name);
    }
    rpc.http = http_read(gen, &rpc);
    bindings_read(&rpc);
    gen->rpcs = host_grow(gen->rpcs, gen->rpc_count, sizeof(*gen->rpcs));
    gen->rpcs[gen->rpc_count++] = rpc;
}

static void services_read(struct gen *gen, const Google__Protobuf__FileDescriptorProto *file)
{
    for (size_t i = 0; i < file->n_service; i++) {
        const Google__Protobuf__ServiceDescriptorProto *proto = file->service[i];
        struct gen_service service = {.file = file->name, .proto = proto};
        service.proto_name = proto->name;
        service.ident = host_snake(proto->name);
        service.name = host_replace(service.ident, '_', '-');
        gen->services = host_grow(gen->services, gen->service_count, sizeof(*gen->services));
        gen->services[gen->service_count++] = service;
    }
}

static void rpcs_read(struct gen *gen, const struct gen_service *service)
{
    for (size_t i = 0; i < service->proto->n_method; i++) {
        rpc_read(gen, service, service->proto->method[i]);
    }
}

static void routes_read(struct gen *gen, const struct gen_rpc *rpc)
{
    for (size_t i = 0; i < rpc->binding_count; i++) {
        const struct gen_binding *binding = &rpc->bindings[i];
        gen->routes = host_grow(gen->routes, gen->route_count, sizeof(*gen->routes));
        gen->routes[gen->route_count++] = (struct gen_route){rpc, i, binding->verb, binding->path};
    }
}

const struct gen_service *gen_service_find(const struct gen *gen, const char *name)
{
    for (size_t i = 0; i < gen->service_count; i++) {
        if (strcmp(gen->services[i].name, name) == 0) {
            return &gen->services[i];
        }
    }
    return NULL;
}

/* --- reasons ------------------------------------------------------------------------------- */

static void reason_read(struct gen *gen, const Google__Protobuf__EnumValueDescriptorProto *value)
{
    struct gen_reason *reason = &gen->reasons[value->number];
    reason->name = value->name;
    reason->error = "OK";
    reason->text = "";
    if (value->number == 0) {
        return;
    }
    const Google__Protobuf__EnumValueOptions *options = value->options;
    struct option_bytes bytes =
        option_find(options == NULL ? NULL : &options->base, OPTION_REFUSAL);
    const Avanta__Refusal *refusal =
        bytes.given ? avanta__refusal__unpack(NULL, bytes.len, bytes.data) : NULL;
    if (refusal == NULL) {
        reason->error = NULL;
        gen->errors++;
        host_complain("%s: enum Reason, value %s: option refusal needs error and text",
                      gen->reasons_file,
                      value->name);
        return;
    }
    reason->error = refusal->error;
    reason->text = refusal->text;
}

static void reasons_read(struct gen *gen)
{
    const Google__Protobuf__EnumDescriptorProto *proto = enum_find(gen, "avanta.Reason");
    if (proto == NULL) {
        host_die("enum avanta.Reason is not in the descriptor set");
    }
    gen->reasons_file = file_of_enum(gen, "avanta.Reason");
    for (size_t i = 0; i < proto->n_value; i++) {
        int number = proto->value[i]->number;
        if (number < 0 || number > REASON_NUMBER_MAX) {
            host_die("%s: enum Reason, value %s: the number must be 0 to %d",
                     gen->reasons_file,
                     proto->value[i]->name,
                     REASON_NUMBER_MAX);
        }
        if ((size_t)number >= gen->reason_count) {
            gen->reason_count = (size_t)number + 1;
        }
    }
    gen->reasons = host_alloc(gen->reason_count, sizeof(*gen->reasons));
    gen->reason_order = host_alloc(proto->n_value, sizeof(void *));
    gen->reason_value_count = proto->n_value;
    for (size_t i = 0; i < proto->n_value; i++) {
        reason_read(gen, proto->value[i]);
        gen->reason_order[i] = &gen->reasons[proto->value[i]->number];
    }
}

void gen_read(struct gen *gen, const char *path)
{
    *gen = (struct gen){0};
    struct host_bytes bytes = host_read(path);
    gen->set =
        google__protobuf__file_descriptor_set__unpack(NULL, bytes.len, (const uint8_t *)bytes.data);
    if (gen->set == NULL) {
        host_die("%s: not a descriptor set", path);
    }
    /* Each step points into the array of the one before, which no longer moves then. */
    for (size_t i = 0; i < gen->set->n_file; i++) {
        messages_collect(gen, gen->set->file[i]);
        services_read(gen, gen->set->file[i]);
    }
    for (size_t i = 0; i < gen->message_count; i++) {
        fields_read(gen, &gen->messages[i]);
        message_options_read(gen, &gen->messages[i]);
    }
    for (size_t i = 0; i < gen->service_count; i++) {
        rpcs_read(gen, &gen->services[i]);
    }
    for (size_t i = 0; i < gen->rpc_count; i++) {
        routes_read(gen, &gen->rpcs[i]);
    }
    reasons_read(gen);
}
