#pragma once
/*
 * The witness's program as it is deployed, in a scratch directory, on scratch_nats beside a log of
 * service_rig. The program is $AVANTA_BUILD/bin/witness. Every wait is bounded; what fails ends the
 * test. Single-threaded.
 */

#include "libcommon/io/note_key.h"

#include <sys/types.h>

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
