#pragma once
/* A client that sends what it is told to, byte by byte, for tests of malformed and slow requests.
 * Every wait is bounded. One answer at a time; failures of the test's own making fail the test. */

#include "libcommon/base/str.h"

#define RAW_ANSWER_BYTES ((size_t)1024 * 1024)

struct raw {
    int fd;
    size_t held; /* bytes read and not yet taken */
    char *bytes;
    size_t taken;      /* the length of the last answer */
    const char *media; /* of the last answer, to the end of its line */
    struct str body;
};

void raw_open(struct raw *raw, const char *port);
void raw_close(struct raw *raw);
/* Ends the connection with a reset. */
void raw_abort(struct raw *raw);
/* False when the peer has ended the connection. */
bool raw_send(struct raw *raw, struct str bytes);
/* The status of the next answer; 0 when the connection ends before one; -1 when none came in time.
 */
long raw_answer(struct raw *raw, int ms_max);
/* True when the peer ends the connection in time, without another byte. */
bool raw_ended(struct raw *raw, int ms_max);
