#pragma once
/*
 * The witness's program as it is deployed, in a scratch directory, on scratch_nats beside a log of
 * service_rig. The program is $AVANTA_BUILD/bin/witness. Every wait is bounded; what fails ends the
 * test. Single-threaded.
 */

#include "libcommon/io/note_key.h"

#include <sys/types.h>

#define WITNESS_RIG_ORIGIN     "avanta/audit-log" /* of the log */
#define WITNESS_RIG_NOTE_BYTES 4096

struct witness_rig {
    pid_t pid; /* 0: it does not run */
    struct note_signer signer;
    char log_key[NOTE_KEY_TEXT_BYTES_MAX];
    char dir[64];
    char log_path[96];
};

/* The directory and the keys; `out_key` is what its cosignatures are verified with. */
void witness_rig_make(struct witness_rig *rig,
                      const char *log_key,
                      char out_key[NOTE_KEY_TEXT_BYTES_MAX]);
/* Waits until it runs. */
void witness_rig_start(struct witness_rig *rig, const char *nats_url);
/* Ends it by SIGTERM and asserts that it exits with 0. */
void witness_rig_stop(struct witness_rig *rig);
void witness_rig_remove(struct witness_rig *rig);
/* Of the last start; lines are written some times a second, so what is not there is waited for a
 * moment. */
bool witness_rig_logged(const struct witness_rig *rig, const char *text);
/* A file of its directory, in static memory. */
const char *witness_rig_file(const struct witness_rig *rig, const char *name);

/* A checkpoint of WITNESS_RIG_ORIGIN with a root of that byte alone; gives `out`. */
char *witness_rig_note(const struct note_signer *signer,
                       int64_t size,
                       uint8_t fill,
                       char out[WITNESS_RIG_NOTE_BYTES]);
/* What a superuser does behind the log: keeps a copy of all of it by a name, and puts that in its
 * place. */
void witness_rig_log_copy(const char *dsn, const char *name);
void witness_rig_log_restore(const char *dsn, const char *name);
