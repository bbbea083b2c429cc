#pragma once
/* The settings of the witness, declared once. What it cannot run without has no default that works:
 * only the options of its command line do without it. */

#include "libcommon/base/config.h"
#include "libcommon/base/log_config.h"

/* clang-format off */
#define WITNESS_CONFIG(X)                                                                                                   \
    X(TEXT, key,            "AVANTA_WITNESS_KEY",    NULL, 64, 64, SECRET,      "hex seed of the Ed25519 key that cosigns checkpoints") \
    X(TEXT, name,           "AVANTA_WITNESS_NAME",   "avanta/witness", 1, 64, PLAIN, "name of the witness in its cosignatures") \
    X(TEXT, log_key,        "AVANTA_WITNESS_LOG_KEY", "", 0, 384, SECRET,       "verifier key of the log (audit-log --verifier-key); required to run") \
    X(TEXT, dir,            "AVANTA_WITNESS_DIR",    "", 0, 255, PLAIN,         "directory for the checkpoint cosigned last and for evidence; required to run, never shared") \
    X(TEXT, key_audit_log,  "AVANTA_ENVELOPE_KEY_AUDIT_LOG", "", 0, 64, SECRET, "hex key that signs what goes to audit-log; required to run") \
    X(TEXT, nats_url,       "AVANTA_NATS_URL",       "nats://127.0.0.1:4222", 8, 255, PLAIN, "message bus")                 \
    X(TEXT, nats_user,      "AVANTA_NATS_USER",      "witness", 1, 64, PLAIN,   "user on the message bus")                  \
    X(TEXT, nats_password,  "AVANTA_NATS_PASSWORD",  "", 0, 128, SECRET,        "its password")                             \
    X(TEXT, nats_ca_file,   "AVANTA_NATS_CA_FILE",   "", 0, 255, PLAIN,         "certificates (PEM) that vouch for the bus; set: TLS or nothing") \
    X(TEXT, nats_cert_file, "AVANTA_NATS_CERT_FILE", "", 0, 255, PLAIN,         "our own certificate (PEM), where the bus asks for one") \
    X(TEXT, nats_key_file,  "AVANTA_NATS_KEY_FILE",  "", 0, 255, PLAIN,         "its key (PEM)")                            \
    X(TEXT, admin_address,  "AVANTA_ADMIN_ADDRESS",  "127.0.0.1", 2, 64, PLAIN, "address of /livez, /readyz and /metrics")  \
    X(UINT, admin_port,     "AVANTA_ADMIN_PORT",     "0", 0, 65535, PLAIN,      "port of /livez, /readyz and /metrics; 0: any free one, logged at start") \
    LOG_CONFIG(X)
/* clang-format on */

CONFIG_STRUCT(witness_config, WITNESS_CONFIG);
