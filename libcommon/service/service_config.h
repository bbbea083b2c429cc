#pragma once
/* The settings every service has, declared once. A service's own are in its `struct service`. */

#include "libcommon/base/config.h"
#include "libcommon/base/log_config.h"

/* clang-format off */
#define SERVICE_CONFIG(X)                                                                                                   \
    X(TEXT, pg_dsn,         "AVANTA_PG_DSN",         NULL, 1, 1000, SECRET,     "database of this service (libpq connection string)") \
    X(TEXT, pg_migrate_dsn, "AVANTA_PG_MIGRATE_DSN", "", 0, 1000, SECRET,       "the same as the tables' owner; only for --migrate and commands like it")  \
    X(BOOL, pg_tls,         "AVANTA_PG_TLS",         "false", 0, 1, PLAIN,      "refuse database addresses without sslmode=verify-full and sslrootcert") \
    X(UINT, pg_connections, "AVANTA_PG_CONNECTIONS", "4", 1, 64, PLAIN,         "connections to the database, besides the relay's")  \
    X(UINT, work_threads,   "AVANTA_WORK_THREADS",   "1", 1, 3, PLAIN,          "threads for long work, above all the hashing of passwords; they yield to all others") \
    X(UINT, work_waiting,   "AVANTA_WORK_WAITING",   "16", 0, 1024, PLAIN,      "requests that may wait for these threads; more are refused at once") \
    X(TEXT, nats_url,       "AVANTA_NATS_URL",       "nats://127.0.0.1:4222", 8, 255, PLAIN, "message bus")                 \
    X(TEXT, nats_user,      "AVANTA_NATS_USER",      "", 0, 64, PLAIN,          "user on the message bus; empty: the service's name") \
    X(TEXT, nats_password,  "AVANTA_NATS_PASSWORD",  "", 0, 128, SECRET,        "its password")                             \
    X(TEXT, nats_ca_file,   "AVANTA_NATS_CA_FILE",   "", 0, 255, PLAIN,         "certificates (PEM) that vouch for the bus; set: TLS or nothing") \
    X(TEXT, nats_cert_file, "AVANTA_NATS_CERT_FILE", "", 0, 255, PLAIN,         "our own certificate (PEM), where the bus asks for one") \
    X(TEXT, nats_key_file,  "AVANTA_NATS_KEY_FILE",  "", 0, 255, PLAIN,         "its key (PEM)")                            \
    X(TEXT, envelope_key,   "AVANTA_ENVELOPE_KEY",   NULL, 64, 64, SECRET,      "hex key that signs what comes to this service") \
    X(UINT, stream_mib,     "AVANTA_STREAM_MIB",     "1024", 1, 1048576, PLAIN, "space of each stream, for whoever makes it first; the bus sets it aside") \
    X(TEXT, admin_address,  "AVANTA_ADMIN_ADDRESS",  "127.0.0.1", 2, 64, PLAIN, "address of /livez, /readyz and /metrics")  \
    X(UINT, admin_port,     "AVANTA_ADMIN_PORT",     "0", 0, 65535, PLAIN,      "port of /livez, /readyz and /metrics; 0: any free one, logged at start") \
    LOG_CONFIG(X)
/* clang-format on */

CONFIG_STRUCT(service_config, SERVICE_CONFIG);
