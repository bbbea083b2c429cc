#pragma once
/*
 * What apigen knows about the declarations: the descriptor set with our options
 * (avanta/options.proto) read from its unknown fields, resolved and checked. Built once, never
 * changed after `gen_check`, never freed: the process ends with its one output. Errors are printed
 * with file and rpc or field, and counted.
 */

#include "avanta/options.pb-c.h"

#include "libcommon/codec/api.h"
#include "libcommon/tools/host.h"

/* The protobuf types as our rules tell them apart. */
enum gen_kind {
    GEN_STRING,
    GEN_BYTES,
    GEN_BOOL,
    GEN_INT64,
    GEN_INTEGER, /* the other integers */
    GEN_ENUM,
    GEN_MESSAGE,
    GEN_UNSUPPORTED /* float, double, groups */
};

/* From where a message is reached, through message-typed fields too. */
enum gen_mark {
    GEN_USED = 1 << 0,         /* any rpc, or it is an event: has rules */
    GEN_HTTP_REQUEST = 1 << 1, /* input of an rpc with HTTP */
    GEN_HTTP_REPLY = 1 << 2,   /* output of an rpc with HTTP */
    GEN_REPLY = 1 << 3         /* output of any rpc */
};

struct gen_message;

struct gen_field {
    const Google__Protobuf__FieldDescriptorProto *proto;
    const Avanta__Rule *rule; /* all unset when the field has none */
    const char *name;         /* API name */
    enum gen_kind kind;
    bool repeated;
    struct gen_message *message;                             /* of a message-typed field */
    const Google__Protobuf__EnumDescriptorProto *enum_proto; /* of an enum-typed field */
    uint32_t flags; /* enum rule_flag; from here on: resolved */
    uint8_t decimals;
    enum api_pattern pattern;
    enum api_source source;
    bool takes_null; /* in a request's body */
};

struct gen_rpc;

struct gen_message {
    const char *file;
    const char *full_name; /* "avanta.ledger.Transaction" */
    const char *c_name;    /* "avanta__ledger__transaction" */
    const char *ident;     /* "avanta_ledger_transaction" */
    const Google__Protobuf__DescriptorProto *proto;
    struct gen_field *fields; /* by tag number, as protobuf-c sorts them */
    size_t field_count;
    const Avanta__Shape *shape;       /* all unset when the message has none */
    const Avanta__Event *event;       /* NULL: not an event */
    unsigned marks;                   /* enum gen_mark */
    const struct gen_rpc *sources_by; /* the rpc that settled the fields' sources */
};

struct gen_binding {
    const char *verb;
    const char *path;
};

struct gen_service {
    const char *file;
    const Google__Protobuf__ServiceDescriptorProto *proto;
    const char *proto_name; /* "AuditLog" */
    const char *name;       /* "audit-log" */
    const char *ident;      /* "audit_log" */
};

struct gen_rpc {
    const struct gen_service *service;
    const Google__Protobuf__MethodDescriptorProto *proto;
    const char *ident;        /* "create_transaction" */
    const char *enum_name;    /* "API_LEDGER_CREATE_TRANSACTION" */
    const Avanta__Http *http; /* NULL: internal, over the bus only */
    struct gen_binding *bindings;
    size_t binding_count;
    struct gen_message *in;
    struct gen_message *out;
    int body_field; /* index into out->fields, or -1 */
    enum api_permission permission;
};

struct gen_route {
    const struct gen_rpc *rpc;
    size_t index; /* of the binding in the rpc */
    const char *verb;
    const char *path;
};

struct gen_reason {
    const char *name;
    const char *error; /* "ERR_CONFLICT", "OK" for NONE; NULL in a gap */
    const char *text;
};

struct gen {
    struct gen_message *messages; /* in file order */
    size_t message_count;
    struct gen_service *services;
    size_t service_count;
    struct gen_rpc *rpcs; /* in file order */
    size_t rpc_count;
    struct gen_route *routes; /* every binding of every rpc, in that order */
    size_t route_count;
    struct gen_reason *reasons; /* by number */
    size_t reason_count;
    const struct gen_reason **reason_order; /* as declared, which is their precedence */
    size_t reason_value_count;
    const char *reasons_file;
    const Google__Protobuf__FileDescriptorSet *set;
    size_t errors;
};

/* Reads the descriptor set; options that cannot be read are counted as errors. */
void gen_read(struct gen *gen, const char *path);
/* Flags, patterns, sources, reachability, body fields; errors where they cannot be settled. */
void gen_resolve(struct gen *gen);
/* Everything else that must hold of declarations. */
void gen_check(struct gen *gen);
/* The part of it that concerns message number `index` and its fields. */
void gen_check_message(struct gen *gen, size_t index);

void gen_error_rpc(struct gen *gen, const struct gen_rpc *rpc, const char *fmt, ...) PRINTF(3, 4);
void gen_error_field(struct gen *gen,
                     const struct gen_message *message,
                     const struct gen_field *field,
                     const char *fmt,
                     ...) PRINTF(4, 5);
void gen_error_message(struct gen *gen, const struct gen_message *message, const char *fmt, ...)
    PRINTF(3, 4);

const struct gen_service *gen_service_find(const struct gen *gen, const char *name);
struct gen_field *gen_field_find(const struct gen_message *message, const char *api_name);
/* The next "{name}" of a path from *at on; moves *at behind it. NULL: no more. */
char *gen_path_parameter(const char *path, size_t *at);
bool gen_path_has(const char *path, const char *name);
/* Takes an Idempotency-Key; api_method_keyed() says the same of the table's row. */
bool gen_rpc_is_keyed(const struct gen_rpc *rpc);
bool gen_is_required_label(const struct gen_field *field);
