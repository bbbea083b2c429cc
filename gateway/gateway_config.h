#pragma once
/* The gateway's settings, declared once. */

#include "libcommon/base/config.h"
#include "libcommon/base/log_config.h"

/* clang-format off */
#define GATEWAY_CONFIG(X)                                                                                                  \
    X(TEXT, http_address,    "AVANTA_HTTP_ADDRESS",   "127.0.0.1", 2, 64, PLAIN,  "address the API listens on")            \
    X(UINT, http_port,       "AVANTA_HTTP_PORT",      "8080", 0, 65535, PLAIN,    "port the API listens on")               \
    X(UINT, threads,         "AVANTA_GATEWAY_THREADS", "1", 1, 64, PLAIN,         "loop threads, each with its own listener and bus connection") \
    X(UINT, connections_max, "AVANTA_HTTP_CONNECTIONS", "4096", 16, 16384, PLAIN, "open connections per thread; the next one is answered 503") \
    X(UINT, header_ms,       "AVANTA_HTTP_HEADER_MS", "10000", 100, 60000, PLAIN, "time for a request's header, from its first byte") \
    X(UINT, body_ms,         "AVANTA_HTTP_BODY_MS",   "30000", 100, 300000, PLAIN, "time for a request's body")            \
    X(UINT, idle_ms,         "AVANTA_HTTP_IDLE_MS",   "60000", 100, 600000, PLAIN, "time a connection may wait for its next request") \
    X(UINT, write_ms,        "AVANTA_HTTP_WRITE_MS",  "30000", 100, 300000, PLAIN, "time a client may take no byte of an answer") \
    X(BOOL, secure_cookies,  "AVANTA_SECURE_COOKIES", "false", 0, 1, PLAIN,       "mark cookies Secure: set it where clients come over TLS") \
    X(TEXT, trusted_proxies, "AVANTA_TRUSTED_PROXIES", "", 0, 1000, PLAIN,        "networks of proxies, with commas between, whose X-Forwarded-For and -Proto are believed") \
    X(TEXT, environment,     "AVANTA_ENVIRONMENT",    "production", 1, 32, PLAIN, "name shown by /api/health")              \
    X(TEXT, token_issuer,    "AVANTA_TOKEN_ISSUER",   "avanta", 1, 128, PLAIN,    "`iss` an access token must carry")      \
    X(TEXT, token_audience,  "AVANTA_TOKEN_AUDIENCE", "avanta-api", 1, 128, PLAIN, "`aud` an access token must carry")     \
    X(TEXT, nats_url,        "AVANTA_NATS_URL",       "nats://127.0.0.1:4222", 8, 255, PLAIN, "message bus")               \
    X(TEXT, nats_user,       "AVANTA_NATS_USER",      "gateway", 1, 64, PLAIN,    "user on the message bus")               \
    X(TEXT, nats_password,   "AVANTA_NATS_PASSWORD",  NULL, 1, 128, SECRET,       "its password")                          \
    X(TEXT, nats_ca_file,    "AVANTA_NATS_CA_FILE",   "", 0, 255, PLAIN,         "certificates (PEM) that vouch for the bus; set: TLS or nothing") \
    X(TEXT, nats_cert_file,  "AVANTA_NATS_CERT_FILE", "", 0, 255, PLAIN,         "our own certificate (PEM), where the bus asks for one") \
    X(TEXT, nats_key_file,   "AVANTA_NATS_KEY_FILE",  "", 0, 255, PLAIN,         "its key (PEM)")                         \
    X(TEXT, key_identity,    "AVANTA_ENVELOPE_KEY_IDENTITY",  NULL, 64, 64, SECRET, "hex key that signs what goes to identity") \
    X(TEXT, key_ledger,      "AVANTA_ENVELOPE_KEY_LEDGER",    NULL, 64, 64, SECRET, "hex key that signs what goes to ledger") \
    X(TEXT, key_audit_log,   "AVANTA_ENVELOPE_KEY_AUDIT_LOG", NULL, 64, 64, SECRET, "hex key that signs what goes to audit-log") \
    X(TEXT, admin_address,   "AVANTA_ADMIN_ADDRESS",  "127.0.0.1", 2, 64, PLAIN,  "address of /livez, /readyz and /metrics") \
    X(UINT, admin_port,      "AVANTA_ADMIN_PORT",     "9480", 0, 65535, PLAIN,    "port of /livez, /readyz and /metrics")  \
    LOG_CONFIG(X)
/* clang-format on */

CONFIG_STRUCT(gateway_config, GATEWAY_CONFIG);
