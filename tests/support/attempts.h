#pragma once
/*
 * Two replicas of identity on real servers and what tests of its lockout do to them: log in,
 * register, let time pass, hear of locks. Time passes by moving it in the database. One rig; what
 * fails ends the test. Single-threaded.
 */

#include "avanta/identity.pb-c.h"
#include "tests/support/service_rig.h"

#define ATTEMPTS_ADDRESS_BYTES 32
#define ATTEMPTS_PASSWORD      "una frase bastante larga"

struct attempts_verdict {
    enum code code;
    Avanta__Reason reason;
    uint32_t retry_after_s;
    char detail[128];
};

/* Locks that were told of. */
struct attempts_heard {
    int alerts;
    int events;
};

void attempts_open(void);
void attempts_close(void);
struct service_rig *attempts_rig(void);
struct attempts_heard *attempts_heard(void);

/* An address of its own for each: what is counted for one does not touch another. */
const char *attempts_address(char out[ATTEMPTS_ADDRESS_BYTES]);
/* Of a call that has its answer; ends it. */
struct attempts_verdict attempts_verdict_of(struct service_call *call);
/* The messages' texts are not written. */
char *attempts_text(const char *given);
struct attempts_verdict
attempts_login(const char *email, const char *password, const char *client_ip);
struct attempts_verdict attempts_register(const char *email, const char *client_ip);
/* Registers from an address of its own. */
void attempts_user(const char *email);
void attempts_expect_wrong(struct attempts_verdict verdict);
void attempts_expect_locked(struct attempts_verdict verdict, uint32_t seconds);
/* `interval` as PostgreSQL reads it. */
void attempts_time_passes(const char *interval);
/* Of the row of an e-mail, by its key. */
const char *attempts_row(const char *email, const char *column);
