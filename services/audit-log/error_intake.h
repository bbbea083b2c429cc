#pragma once
/*
 * What was reported and is not in the database yet. Reports are counted here by fingerprint, with a
 * few samples each, and written together by error_store.c: whatever comes in, the database sees one
 * transaction per pass, of bounded size. What goes beyond the bounds is counted as dropped. How
 * fast reports are taken is bounded too: from one address, from all browsers, and from all
 * programs, each by itself. One owner, loop thread; memory is fixed at opening.
 */

#include "libcommon/base/id.h"
#include "libcommon/io/digest.h"

#define ERROR_GROUPS_WAITING_MAX  128 /* fingerprints of one pass */
#define ERROR_SAMPLES_WAITING_MAX 64  /* of all of them */
#define ERROR_SAMPLES_EACH_MAX    4   /* of one fingerprint */
#define ERROR_NAME_BYTES_MAX      128
#define ERROR_SERVICE_BYTES_MAX   32
#define ERROR_MESSAGE_BYTES_MAX   2000
#define ERROR_STACK_BYTES_MAX     ((size_t)16 * 1024)
#define ERROR_CONTEXT_BYTES_MAX   ((size_t)8 * 1024)
#define ERROR_URL_BYTES_MAX       1000
#define ERROR_AGENT_BYTES_MAX     500
#define ERROR_WORD_BYTES_MAX      64

enum error_source {
    ERROR_FRONTEND,
    ERROR_SERVER,
    ERROR_SOURCE_COUNT
};

/* Texts are cleaned (error_text.h) and no longer than their maximum; empty: not known. */
struct error_report {
    enum error_source source;
    uint8_t fingerprint[SHA256_BYTES];
    char id[UUID_TEXT_BYTES];
    uint64_t at_ms;
    struct str service;
    struct str name;
    struct str message;
    struct str stack;
    struct str context; /* JSON */
    struct str url;
    struct str agent;
    struct str network;  /* of the client, masked */
    struct str reporter; /* user id */
    struct str request;
    struct str release;
};

struct error_sample {
    size_t group; /* index */
    uint64_t at_ms;
    char id[UUID_TEXT_BYTES];
    char message[ERROR_MESSAGE_BYTES_MAX + 1];
    char stack[ERROR_STACK_BYTES_MAX + 1];
    char context[ERROR_CONTEXT_BYTES_MAX + 1];
    char url[ERROR_URL_BYTES_MAX + 1];
    char agent[ERROR_AGENT_BYTES_MAX + 1];
    char network[ERROR_WORD_BYTES_MAX + 1];
    char reporter[ERROR_WORD_BYTES_MAX + 1];
    char request[ERROR_WORD_BYTES_MAX + 1];
    char release[ERROR_WORD_BYTES_MAX + 1];
};

struct error_pending {
    enum error_source source;
    uint8_t fingerprint[SHA256_BYTES];
    uint64_t count;
    uint64_t first_ms;
    uint64_t last_ms;
    size_t samples;
    char service[ERROR_SERVICE_BYTES_MAX + 1];
    char name[ERROR_NAME_BYTES_MAX + 1];
    char message[ERROR_MESSAGE_BYTES_MAX + 1];
};

struct error_batch {
    struct error_pending groups[ERROR_GROUPS_WAITING_MAX];
    size_t group_count;
    struct error_sample samples[ERROR_SAMPLES_WAITING_MAX];
    size_t sample_count;
    uint64_t dropped[ERROR_SOURCE_COUNT];
    uint64_t until_ms; /* when the last of it came */
};

struct error_limits {
    uint64_t address_per_minute;
    uint64_t frontend_per_minute;
    uint64_t server_per_minute;
    uint64_t alerts_per_minute;
};

enum error_verdict {
    ERROR_ADMITTED,
    ERROR_TOO_MANY_OF_ADDRESS, /* *out_wait_ms until the next one is taken */
    ERROR_TOO_MANY             /* counted as dropped */
};

struct error_intake;

struct error_intake *error_intake_open(const struct error_limits *limits); /* NULL: no memory */
void error_intake_close(struct error_intake **intake);                     /* accepts NULL */

/* Before anything costly is done with a report. `address` of a browser's client; of servers empty.
 * Times are monotonic. */
enum error_verdict error_intake_admit(struct error_intake *intake,
                                      enum error_source source,
                                      struct str address,
                                      uint64_t now_us,
                                      uint64_t *out_wait_ms);
/* False: no room, counted as dropped. Copies. */
bool error_intake_add(struct error_intake *intake, const struct error_report *report);

/* What the run with this id has to write, the same each time it asks; NULL: nothing. What an
 * earlier run took and did not report as written comes again. */
const struct error_batch *error_intake_begin(struct error_intake *intake, struct str run);
/* The statements of the run succeeded; its commit follows. */
void error_intake_written(struct error_intake *intake, struct str run);

/* How many alerts may be published now; those that are, are told. */
uint32_t error_intake_alerts(const struct error_intake *intake, uint64_t now_us);
void error_intake_alerted(struct error_intake *intake, uint32_t count, uint64_t now_us);
