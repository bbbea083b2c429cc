/*
 * TLS to the bus. nats.c makes the handshake and checks chain, dates and host name; but it has no
 * bound for the handshake, and on a connection that belongs to an event loop it waits inside
 * SSL_read() and SSL_write() until a record is whole or the socket takes more: the loop would stand
 * still as long as the server does (3.4.1). So its SSL_CTX, which it does not hand out, is caught
 * where OpenSSL makes it, and gets what nats.c lacks: time limits for the handshake's reads and
 * writes, and a socket that says EAGAIN, which nats.c understands, where OpenSSL would have it
 * called again.
 */
#include "libcommon/io/bus_internal.h"

#include <assert.h>
#include <errno.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#define CIPHERS_12                                               \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:" \
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:" \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define CIPHERS_13 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int hook = -1;
/* Where this thread wants the next SSL_CTX it makes; NULL: nowhere. */
static _Thread_local SSL_CTX **wanted;

static void
context_made(void *parent, void *ptr, CRYPTO_EX_DATA *data, int index, long number, void *arg)
{
    assert(parent != NULL);
    (void)ptr;
    (void)data;
    (void)index;
    (void)number;
    (void)arg;
    if (wanted != NULL) {
        *wanted = parent;
    }
}

static void hook_set(void)
{
    assert(hook < 0);
    hook = SSL_CTX_get_ex_new_index(0, NULL, context_made, NULL, NULL);
}

/* After each read and write of the socket. OpenSSL gives the parameters. */
/* NOLINTNEXTLINE(readability-function-size) */
static long socket_used(BIO *bio,
                        int operation,
                        const char *bytes,
                        size_t len,
                        int argi,
                        long argl,
                        int result,
                        size_t *processed) /* NOLINT(readability-non-const-parameter) */
{
    const bool used =
        operation == (BIO_CB_READ | BIO_CB_RETURN) || operation == (BIO_CB_WRITE | BIO_CB_RETURN);

    assert(bio != NULL);
    (void)bytes;
    (void)len;
    (void)argi;
    (void)argl;
    (void)processed;
    if (used && result <= 0 && BIO_should_retry(bio)) {
        BIO_clear_retry_flags(bio);
        errno = EAGAIN;
    }
    return result;
}
/* NOLINTEND(readability-function-size,readability-non-const-parameter) */

/* The handshake is on a pool thread and blocks. */
static void handshake_moved(const SSL *ssl, int where, int result)
{
    const struct timeval limit = {BUS_CONNECT_MS_MAX / 1000, BUS_CONNECT_MS_MAX % 1000 * 1000L};
    BIO *bio = SSL_get_rbio(ssl);
    const int fd = SSL_get_fd(ssl);

    assert(ssl != NULL);
    (void)result;
    if ((where & SSL_CB_HANDSHAKE_START) != 0 && fd >= 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    } else if ((where & SSL_CB_HANDSHAKE_DONE) != 0 && bio != NULL) {
        assert(bio == SSL_get_wbio(ssl)); /* SSL_set_fd() makes one for both */
        BIO_set_callback_ex(bio, socket_used);
    }
}

static bool given(const char *path)
{
    return path != NULL && path[0] != '\0';
}

static enum code refuse(struct err *err, natsStatus status, const char *setting, const char *path)
{
    assert(status != NATS_OK);
    assert(given(path));
    return err_set_field(
        err, ERR_INVALID, setting, "%s=%s: %s", setting, path, natsStatus_GetText(status));
}

static enum code load_files(natsOptions *o, const struct bus_options *options, struct err *err)
{
    natsStatus s = natsOptions_LoadCATrustedCertificates(o, options->ca_file);
    const bool cert = given(options->cert_file);
    const bool key = given(options->key_file);

    if (s != NATS_OK) {
        return refuse(err, s, "AVANTA_NATS_CA_FILE", options->ca_file);
    }
    if (cert != key) {
        return err_set_field(err,
                             ERR_INVALID,
                             cert ? "AVANTA_NATS_KEY_FILE" : "AVANTA_NATS_CERT_FILE",
                             "a certificate for the bus needs AVANTA_NATS_CERT_FILE and "
                             "AVANTA_NATS_KEY_FILE");
    }
    s = cert ? natsOptions_LoadCertificatesChain(o, options->cert_file, options->key_file)
             : NATS_OK;
    return s == NATS_OK ? OK : refuse(err, s, "AVANTA_NATS_CERT_FILE", options->cert_file);
}

static enum code secure(natsOptions *o, struct err *err)
{
    SSL_CTX *context = NULL;
    natsStatus s = NATS_OK;

    assert(wanted == NULL);
    (void)pthread_once(&once, hook_set);
    wanted = &context;
    s = natsOptions_SetSecure(o, true);
    wanted = NULL;
    if (s != NATS_OK || hook < 0 || context == NULL) {
        return err_set(err, ERR_INTERNAL, "TLS for the bus: %s", natsStatus_GetText(s));
    }
    /* nats.c moves what waits to be written. */
    (void)SSL_CTX_set_mode(context, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_info_callback(context, handshake_moved);
    s = natsOptions_SetCiphers(o, CIPHERS_12);
    s = s != NATS_OK ? s : natsOptions_SetCipherSuites(o, CIPHERS_13);
    if (s != NATS_OK || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1) {
        return err_set(err, ERR_INTERNAL, "TLS for the bus: %s", natsStatus_GetText(s));
    }
    return OK;
}

enum code bus_tls_open(natsOptions *o, const struct bus_options *options, struct err *err)
{
    enum code code = OK;

    assert(o != NULL);
    assert(options->url != NULL);
    if (given(options->ca_file)) {
        code = secure(o, err);
        return code == OK ? load_files(o, options, err) : code;
    }
    if (given(options->cert_file) || given(options->key_file) ||
        strncmp(options->url, "tls://", 6) == 0) {
        return err_set_field(
            err, ERR_INVALID, "AVANTA_NATS_CA_FILE", "TLS to the bus needs AVANTA_NATS_CA_FILE");
    }
    return OK;
}

const char *bus_tls_advice(natsStatus status, bool secure)
{
    assert(status != NATS_OK);
    if (status == NATS_SECURE_CONNECTION_WANTED) {
        return "the server speaks no TLS: give it a certificate, or take AVANTA_NATS_CA_FILE away";
    }
    if (status == NATS_SSL_ERROR || status == NATS_SECURE_CONNECTION_REQUIRED) {
        return secure ? "the server's certificate must be in date, signed by a certificate in "
                        "AVANTA_NATS_CA_FILE, and for the host of AVANTA_NATS_URL"
                      : "the server wants TLS: set AVANTA_NATS_CA_FILE";
    }
    if (secure && (status == NATS_PROTOCOL_ERROR || status == NATS_CONNECTION_CLOSED ||
                   status == NATS_IO_ERROR)) {
        return "the server may want a certificate of ours: set AVANTA_NATS_CERT_FILE and "
               "AVANTA_NATS_KEY_FILE";
    }
    return "";
}
