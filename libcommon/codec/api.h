#pragma once
/*
 * The shape of the tables that proto/tools/apigen writes from the proto files. The tables are
 * constant, thread-safe and live for the whole program: build/gen/api.gen.[ch] defines
 * `api_methods[API_METHOD_COUNT]`, `api_routes[API_ROUTE_COUNT]`, `api_reasons[]`, `api_events[]`.
 */

#include "libcommon/codec/access.h"

#include <protobuf-c/protobuf-c.h>

#include <stdint.h>

enum rule_flag {
    RULE_REQUIRED = 1 << 0,
    RULE_NULLABLE = 1 << 1,
    RULE_NULLS = 1 << 2,
    RULE_MONEY = 1 << 3,
    RULE_FLAG = 1 << 4,
    RULE_DATE = 1 << 5,
    RULE_NOT_FUTURE = 1 << 6,
    RULE_RAW_JSON = 1 << 7,
    RULE_HAS_MIN = 1 << 8,
    RULE_HAS_MAX = 1 << 9,
    RULE_UPPER = 1 << 10,
    RULE_LOWER = 1 << 11,
    RULE_EXACT = 1 << 12,
    RULE_MULTILINE = 1 << 13,
    RULE_NULL_SHOWN = 1 << 14, /* resolved from the field and its message's shape */
    RULE_EMPTY_IS_NULL = 1 << 15,
    RULE_HIDDEN = 1 << 16, /* also set on cookie fields */
    RULE_DECIMAL = 1 << 17 /* int64 scaled by 10^decimals; set together with RULE_MONEY */
};

enum api_source {
    API_SOURCE_BODY,
    API_SOURCE_QUERY,
    API_SOURCE_PATH,
    API_SOURCE_COOKIE,
    API_SOURCE_HEADER
};

enum api_pattern {
    API_PATTERN_NONE,
    API_PATTERN_EMAIL, /* local@domain.tld, at most 254 bytes, no blanks or controls */
    API_PATTERN_RFC,   /* SAT RFC: 3-4 letters (Ñ, &), 6 digits that are a date, 3 alphanumerics */
    API_PATTERN_UUID,
    API_PATTERN_CURRENCY,    /* three letters, ISO 4217 form */
    API_PATTERN_COLOR,       /* #RRGGBB */
    API_PATTERN_URL_OR_PATH, /* https?://... or /... */
    API_PATTERN_COUNT
};

struct message_rules;

/* One row per field, parallel to descriptor->fields (which protobuf-c sorts by tag). */
struct field_rule {
    const char *name;           /* API name, unique in the message */
    const char *const *aliases; /* NULL-terminated, or NULL */
    uint32_t flags;             /* enum rule_flag */
    uint8_t decimals;           /* 2 for money */
    uint8_t source;             /* enum api_source for request messages */
    uint8_t pattern;            /* enum api_pattern */
    uint32_t len_min;           /* code points, or items of a repeated field */
    uint32_t len_max;           /* 0: the type's own bound */
    int64_t min;                /* with RULE_HAS_MIN; scaled like the field */
    int64_t max;
    const char *const *values; /* NULL-terminated, or NULL */
    const char *cookie;        /* cookie name, or NULL */
    const char *cookie_path;
    uint32_t cookie_max_age_s;           /* 0: session cookie */
    const char *header;                  /* header name for API_SOURCE_HEADER */
    const struct message_rules *message; /* of a message-typed field */
};

struct message_rules {
    const ProtobufCMessageDescriptor *descriptor;
    const struct field_rule *fields; /* descriptor->n_fields rows */
    bool strict;
};

struct api_method {
    const char *service;   /* "ledger": lower case, subject and program name */
    const char *name;      /* "CreateTransaction" */
    const char *full_name; /* "ledger.CreateTransaction" */
    const char *subject; /* "rpc.ledger.CreateTransaction"; NULL when the gateway answers itself */
    const struct message_rules *in;
    const struct message_rules *out;
    int body_field; /* index into out->fields of the whole body, or -1 */
    enum api_permission permission;
    uint32_t deadline_ms;
    uint16_t status;
    bool writes;
    bool secret;            /* holds a password or is shown once: kept nowhere */
    bool audited;           /* a read that leaves an audit record */
    bool beacon;            /* public: takes text/plain as JSON and notes a good session */
    const char *media_type; /* NULL for application/json */
    const char *summary;
};

/* Whether a reply is kept under an Idempotency-Key. Not what anybody may call, and not
 * what shows a secret: tokens and keys are stored nowhere. */
static inline bool api_method_keyed(const struct api_method *method)
{
    return method->writes && !method->secret && method->permission != API_PUBLIC;
}

/* One HTTP binding. Segments are the path split at '/', "{name}" being parameters. */
struct api_route {
    const char *verb;
    const char *path;
    uint16_t method; /* index into api_methods */
};

struct api_reason {
    const char *wire; /* "CONFIRMATION_REQUIRED" */
    enum code code;
    const char *text;
};

struct api_event {
    const ProtobufCMessageDescriptor *descriptor;
    const struct message_rules *rules;
    const char *subject;
    const char *entity;
    const char *action;
    const char *alert; /* "alert.warning.identity": published there too; NULL: not */
    bool unaudited;
};
