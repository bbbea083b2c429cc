#pragma once
/*
 * What audit-log does besides serving: `audit-log --verify FILE ...`. Blocking, before any loop;
 * each gives the status of the program: 0 it is so, 1 it is not or failed, 2 the command line is
 * wrong. What was done goes to standard output, all else to standard error.
 */

#include "services/audit-log/verify.h"

#include "libcommon/io/note_key.h"
#include "libcommon/io/pg_blocking.h"
#include "libcommon/service/service.h"

#define COMMAND_FAILED 1

extern const struct service_command audit_commands[];
extern const size_t audit_command_count;
extern const char audit_command_help[];

/* "--name VALUE"; the value is NULL where it was not given. */
struct command_option {
    const char *name;
    const char *value;
};

struct command_options {
    struct command_option *all;
    size_t count;
};

/* Everything that is no option's is `out_operand`, of which there is one, or none when it is NULL.
 * False: told. */
bool command_read(int argc,
                  char **argv,
                  const char **out_operand,
                  const struct command_options *options) MUST_CHECK;
/* A whole number, `fallback` where it was not given. False: told. */
bool command_number(const struct command_option *option,
                    uint64_t fallback,
                    uint64_t max,
                    uint64_t *out) MUST_CHECK;
/* "audit-log: TEXT" and what the error says. */
int command_fail(const struct err *err);
/* What is wrong, at which line and record. */
int command_refuse(const char *path, const struct verify_report *report, const struct err *err);
/* The key that was given, else that of the service's settings. ERR_INVALID: neither. */
enum code command_log_key(const char *given,
                          const struct command_settings *settings,
                          char out[NOTE_KEY_TEXT_BYTES_MAX],
                          struct err *err) MUST_CHECK;
/* On the statements of audit-log. */
enum code command_connect(const struct command_settings *settings,
                          struct pg_blocking **out,
                          struct err *err) MUST_CHECK;

int command_verify(int argc, char **argv, const struct command_settings *settings);
int command_export(int argc, char **argv, const struct command_settings *settings);
int command_seal(int argc, char **argv, const struct command_settings *settings);
int command_seals(int argc, char **argv, const struct command_settings *settings);
