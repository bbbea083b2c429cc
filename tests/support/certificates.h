#pragma once
/*
 * Certificates for tests, in a temporary directory that goes with the process. P-256 keys; each
 * certificate NAME is NAME.pem with its key in NAME.key. One directory per process. What fails
 * prints a message and ends the process with status 1. Single-threaded.
 */

#include <stdint.h>

struct certificate {
    const char *name;
    const char *issuer; /* a certificate made before; NULL: its own, and may sign others */
    const char *hosts;  /* "IP:127.0.0.1,DNS:localhost"; NULL: none */
    int64_t until_s;    /* seconds from now; negative: it has ended */
};

void certificate_make(const struct certificate *spec);
/* The path of NAME.pem or NAME.key, in memory that the eighth call after this one uses again. */
const char *certificate_path(const char *name, const char *ending);
