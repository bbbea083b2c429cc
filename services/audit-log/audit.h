#pragma once
/* What the handlers of audit-log share, and its operations that no rpc names. Loop thread only;
 * memory is the request's arena. */

#include "avanta/audit_log.pb-c.h"
#include "avanta/audit_log_internal.pb-c.h"
#include "services/audit-log/errors.h"

#include "libcommon/base/config.h"
#include "libcommon/io/merkle.h"
#include "libcommon/io/note_key.h"
#include "libcommon/service/op.h"
#include "libcommon/service/req.h"

/* clang-format off */
#define AUDIT_CONFIG(X) ERRORS_CONFIG(X) \
    X(TEXT, signing_key,    "AVANTA_AUDIT_SIGNING_KEY", NULL, 64, 64, SECRET,      "hex seed of the Ed25519 key that signs checkpoints") \
    X(TEXT, origin,         "AVANTA_AUDIT_ORIGIN",      "avanta/audit-log", 1, 64, PLAIN, "name of the log in its checkpoints; whoever verifies knows it by this name") \
    X(UINT, checkpoint_ms,  "AVANTA_CHECKPOINT_MS",     "500", 100, 60000, PLAIN,  "how long a record waits at most for the checkpoint that covers it") \
    X(UINT, verify_rate,    "AVANTA_AUDIT_VERIFY_RATE", "2048", 256, 1000000, PLAIN, "records a second held against the tree, in turn; all of them when rows were changed") \
    X(TEXT, witness_keys,   "AVANTA_WITNESS_KEYS",      "", 0, 1000, SECRET,       "verifier keys of witnesses (witness --verifier-key), a comma between them") \
    X(TEXT, checkpoint_dir, "AVANTA_CHECKPOINT_DIR",    "", 0, 255, PLAIN,         "directory for the newest checkpoint and the last of each day as files; empty: none")
/* clang-format on */

CONFIG_STRUCT(audit_config, AUDIT_CONFIG);

#define FINDINGS_MAX  16
#define WITNESSES_MAX 8

/* Something that is not what was signed. */
struct finding {
    const char *what; /* table, checkpoint, node, leaf, record */
    int64_t leaf_index;
    uint64_t told_ms; /* 0: this place is free */
    uint64_t pass;    /* the last one that saw it */
};

/* How far the records were held against the tree; auditor.c. */
struct auditor {
    uint64_t next;    /* leaf */
    uint64_t due_ms;  /* monotonic */
    uint64_t changes; /* rows updated or deleted behind us, that we know of */
    uint64_t hurry;   /* leaves still to be checked without pause */
    uint64_t size;    /* of the last good checkpoint */
    struct merkle_hash root;
    struct finding findings[FINDINGS_MAX]; /* told, and still so as far as is known */
    uint64_t pass;
};

/* Of the process. */
struct audit {
    struct audit_config config;
    struct note_signer signer;
    struct note_verifier witnesses[WITNESSES_MAX];
    size_t witness_count;
    struct auditor auditor;
    struct error_intake *errors;
    uint64_t filed; /* size of the last checkpoint that was written to a file */
};

/* Reads AVANTA_WITNESS_KEYS. */
enum code audit_witnesses_read(struct audit *self, struct err *err) MUST_CHECK;
/* The key that signs checkpoints, of the settings; wiped by the caller. ERR_INVALID: they are not
 * fit. */
enum code audit_signer_make(const struct audit_config *config,
                            struct note_signer *out,
                            struct err *err) MUST_CHECK;

/* Asks for the caller's record of that id; the next step has its row, an AuditEntry. */
enum step audit_get_select(struct req *r, const char *id);

/* A cursor is "<occurred_ms>_<leaf>" of the record the next page begins behind. False: it is none,
 * the violation is set. */
bool audit_cursor_read(struct req *r,
                       const char *cursor,
                       bool falling,
                       Avanta__AuditLog__AuditSearch *out) MUST_CHECK;
/* NULL: the arena is full. */
char *audit_cursor_write(struct req *r, const Avanta__AuditLog__AuditEntry *last);

/* Stores one record of the AUDIT stream. */
extern const struct op op_audit_log_append;
/* Adds what was stored to the tree and signs a checkpoint. */
extern const struct op op_audit_log_checkpoint;
/* Holds checkpoint, nodes, leaves and a run of records against each other. */
extern const struct op op_audit_log_auditor;
/* Writes the newest checkpoint to AVANTA_CHECKPOINT_DIR. */
extern const struct op op_audit_log_checkpoint_files;
/* Makes the partitions of the months to come. */
extern const struct op op_audit_log_partitions;
