#pragma once
/*
 * One map of error codes for the whole system and one fixed error object.
 * The map generates the enum, the HTTP status, the machine code of problem+json, metric labels and
 * the reference page. `struct err` is owned by the caller, never allocated, and keeps the first
 * cause. Domain refusals (a wrong password, a row already deleted) are `enum Reason` in
 * proto/avanta/common.proto.
 */

#include "libcommon/base/attr.h"

#include <stdbool.h>
#include <stddef.h>

/* clang-format off */
/*  code                    http  retry  category          wire name (machine code)    title for people */
#define ERR_MAP(X)                                                                                                     \
    X(OK,                    200, false, "client",         "OK",                       "The request succeeded")        \
    X(ERR_INVALID,           400, false, "validation",     "VALIDATION_ERROR",         "The request is not valid")     \
    X(ERR_JSON,              400, false, "client",         "INVALID_JSON",             "The body is not valid JSON")   \
    X(ERR_HTTP,              400, false, "client",         "BAD_REQUEST",              "The request is malformed")     \
    X(ERR_UNAUTHENTICATED,   401, false, "authentication", "AUTH_REQUIRED",            "Authentication is required")   \
    X(ERR_FORBIDDEN,         403, false, "authorization",  "FORBIDDEN",                "This action is not allowed")   \
    X(ERR_NOT_FOUND,         404, false, "client",         "NOT_FOUND",                "The resource was not found")   \
    X(ERR_METHOD,            405, false, "client",         "METHOD_NOT_ALLOWED",       "The method is not allowed")    \
    X(ERR_NOT_ACCEPTABLE,    406, false, "client",         "NOT_ACCEPTABLE",           "No acceptable representation") \
    X(ERR_CLIENT_TIMEOUT,    408, false, "client",         "REQUEST_TIMEOUT",          "The request took too long")    \
    X(ERR_CONFLICT,          409, false, "conflict",       "CONFLICT",                 "The request conflicts with the current state") \
    X(ERR_TOO_LARGE,         413, false, "client",         "PAYLOAD_TOO_LARGE",        "The request is too large")     \
    X(ERR_URI_TOO_LONG,      414, false, "client",         "URI_TOO_LONG",             "The address is too long")      \
    X(ERR_MEDIA_TYPE,        415, false, "client",         "UNSUPPORTED_MEDIA_TYPE",   "The media type is not supported") \
    X(ERR_EXPECTATION,       417, false, "client",         "EXPECTATION_FAILED",       "The expectation cannot be met") \
    X(ERR_REFERENCE,         422, false, "validation",     "INVALID_REFERENCE",        "A referenced record does not exist") \
    X(ERR_RATE_LIMITED,      429, true,  "rate_limit",     "RATE_LIMIT_EXCEEDED",      "Too many requests")            \
    X(ERR_HEADERS_TOO_LARGE, 431, false, "client",         "HEADERS_TOO_LARGE",        "The header fields are too large") \
    X(ERR_INTERNAL,          500, false, "server",         "INTERNAL_ERROR",           "Something went wrong on our side") \
    X(ERR_NOT_IMPLEMENTED,   501, false, "server",         "NOT_IMPLEMENTED",          "This is not available here")   \
    X(ERR_UNAVAILABLE,       503, true,  "dependency",     "SERVICE_UNAVAILABLE",      "A part of the system is not available") \
    X(ERR_OVERLOADED,        503, true,  "dependency",     "OVERLOADED",               "The system is busy")           \
    X(ERR_TIMEOUT,           504, true,  "dependency",     "TIMEOUT",                  "The answer took too long")     \
    X(ERR_VERSION,           505, false, "client",         "HTTP_VERSION_NOT_SUPPORTED", "The HTTP version is not supported") \
    X(ERR_SERIALIZATION,     503, true,  "dependency",     "RETRY",                    "Concurrent changes collided")
/* clang-format on */

#define X(code, http, retry, category, wire, title) code,
enum code {
    ERR_MAP(X) CODE_COUNT
};
#undef X

#define ERR_FIELD_BYTES 64
#define ERR_TEXT_BYTES  192

/* What ERR_TIMEOUT means for a write: it may or may not be done, now or a moment later. */
#define OUTCOME_UNKNOWN_TEXT "It is not known whether the change was saved"

/* The first cause, where it happened, and the input field it concerns ("" when none). */
struct err {
    enum code code;
    int line;
    const char *file;
    char field[ERR_FIELD_BYTES];
    char text[ERR_TEXT_BYTES];
};

/* Records the cause unless one is there already; returns `code`. `err` may be NULL. */
#define err_set(err, code, ...) err_set_at((err), (code), "", __FILE__, __LINE__, __VA_ARGS__)
#define err_set_field(err, code, field, ...) \
    err_set_at((err), (code), (field), __FILE__, __LINE__, __VA_ARGS__)
enum code err_set_at(struct err *err,
                     enum code code,
                     const char *field,
                     const char *file,
                     int line,
                     const char *fmt,
                     ...) PRINTF(6, 7);

/* Puts "prefix: " before the text of an error that is set; returns err->code. */
enum code err_prefix(struct err *err, const char *fmt, ...) PRINTF(2, 3);

int code_http(enum code code);
bool code_retryable(enum code code);
const char *code_category(enum code code);
const char *code_wire(enum code code);
const char *code_title(enum code code);
/* The code of a wire name; false when there is none. Used when a reply crosses the bus. */
bool code_from_wire(const char *wire, enum code *out);
