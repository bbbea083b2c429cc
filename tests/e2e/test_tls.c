/* A stack of TLS=1: everybody reaches PostgreSQL and nats-server over TLS and nobody without;
 * certificates last, and are renewed before they end. */
#include "tests/support/api.h"
#include "tests/support/shell.h"
#include "tests/support/stack.h"

#include <libpq-fe.h>
#include <nats/nats.h>

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES 600
#define TEXT_BYTES 8192

static struct api api;

static int setup(void **state)
{
    assert_int_equal(setenv("TLS", "1", 1), 0);
    if (stack_setup(state) != 0) {
        return 1;
    }
    api_open(&api, stack_url());
    return 0;
}

static int teardown(void **state)
{
    api_close(&api);
    return stack_teardown(state);
}

static void log_in(void)
{
    char email[256];

    (void)snprintf(email, sizeof email, "%s", stack_value("AVANTA_ADMIN_EMAIL"));
    api.token[0] = '\0';
    assert_int_equal(
        api_send(
            &api,
            "POST",
            "/api/auth/login",
            json_pack(
                "{s:s,s:s}", "email", email, "password", stack_value("AVANTA_ADMIN_PASSWORD"))),
        200);
    (void)snprintf(api.token, sizeof api.token, "%s", api_text(&api, "token"));
    assert_int_equal(api_get(&api, "/api/auth/me"), 200);
    assert_int_equal(api_get(&api, "/api/accounts"), 200);
}

static const char *path_of(const char *name)
{
    static char path[PATH_BYTES];

    (void)snprintf(path, sizeof path, "%s/tls/%s", getenv("STATE"), name);
    return path;
}

static size_t file_read(const char *name, char *out)
{
    FILE *file = fopen(path_of(name), "r");
    size_t len = 0;

    assert_non_null(file);
    len = fread(out, 1, TEXT_BYTES - 1, file);
    out[len] = '\0';
    (void)fclose(file);
    return len;
}

/* --- over TLS ----------------------------------------------------------------------------- */

static PGconn *database(const char *mode)
{
    char dsn[PATH_BYTES + 512];

    (void)snprintf(dsn, sizeof dsn, "host=127.0.0.1 port=%s", stack_value("PG_PORT"));
    (void)snprintf(dsn + strlen(dsn),
                   sizeof dsn - strlen(dsn),
                   " dbname=avanta_ledger user=avanta_super password=%s sslmode=%s "
                   "sslrootcert='%s'",
                   stack_value("PG_SUPER_PASSWORD"),
                   mode,
                   path_of("ca.pem"));
    return PQconnectdb(dsn);
}

static void the_database_is_reached_over_tls_only(void **state)
{
    PGconn *pq = database("disable");
    PGresult *rows = NULL;

    (void)state;
    log_in();
    assert_int_equal(PQstatus(pq), CONNECTION_BAD);
    assert_non_null(strstr(PQerrorMessage(pq), "no encryption"));
    PQfinish(pq);
    pq = database("verify-full");
    assert_int_equal(PQstatus(pq), CONNECTION_OK);
    rows = PQexec(pq,
                  "SELECT count(DISTINCT application_name), bool_and(ssl) FROM pg_stat_activity "
                  "JOIN pg_stat_ssl USING (pid) WHERE usename IN ('identity', 'ledger', "
                  "'audit_log')");
    assert_int_equal(PQresultStatus(rows), PGRES_TUPLES_OK);
    assert_string_equal(PQgetvalue(rows, 0, 1), "t");
    assert_true(strtol(PQgetvalue(rows, 0, 0), NULL, 10) >= 3);
    PQclear(rows);
    PQfinish(pq);
}

/* nats.c itself takes TLS when a server asks for it, so the refusal is of the certificate. */
static natsStatus bus_status(const char *ca)
{
    natsConnection *connection = NULL;
    natsOptions *options = NULL;
    natsStatus status = natsOptions_Create(&options);
    char url[128];

    (void)snprintf(url, sizeof url, "nats://127.0.0.1:%s", stack_value("NATS_PORT"));
    assert_int_equal(status, NATS_OK);
    assert_int_equal(natsOptions_SetURL(options, url), NATS_OK);
    assert_int_equal(natsOptions_SetAllowReconnect(options, false), NATS_OK);
    assert_int_equal(
        natsOptions_SetUserInfo(options, "operator", stack_value("NATS_OPERATOR_PASSWORD")),
        NATS_OK);
    if (ca != NULL) {
        assert_int_equal(natsOptions_SetSecure(options, true), NATS_OK);
        assert_int_equal(natsOptions_LoadCATrustedCertificates(options, ca), NATS_OK);
    }
    status = natsConnection_Connect(&connection, options);
    natsConnection_Destroy(connection);
    natsOptions_Destroy(options);
    return status;
}

static void the_bus_is_reached_over_tls_only(void **state)
{
    (void)state;
    assert_int_equal(bus_status(NULL), NATS_SSL_ERROR);
    assert_int_equal(bus_status(path_of("ca.pem")), NATS_OK);
}

/* --- certificates ------------------------------------------------------------------------- */

static void keys_are_for_their_owner_only(void **state)
{
    static const char *const keys[] = {"ca.key", "nats.key", "postgres.key", "../env"};
    struct stat about;

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(stat(path_of(keys[i]), &about), 0);
        assert_row(i, (about.st_mode & 07777) == 0600);
    }
}

/* What PostgreSQL shows to who comes now. */
static void served(char out[TEXT_BYTES])
{
    PGconn *pq = database("verify-full");
    X509 *certificate = NULL;
    BIO *text = BIO_new(BIO_s_mem());
    int len = 0;

    assert_int_equal(PQstatus(pq), CONNECTION_OK);
    certificate = SSL_get1_peer_certificate(PQsslStruct(pq, "OpenSSL"));
    assert_non_null(certificate);
    assert_int_equal(PEM_write_bio_X509(text, certificate), 1);
    len = BIO_read(text, out, TEXT_BYTES - 1);
    assert_true(len > 0);
    out[len] = '\0';
    X509_free(certificate);
    (void)BIO_free(text);
    PQfinish(pq);
}

/* A certificate of the stack's own authority that ends in ten days. */
static void make_old(const char *name)
{
    char command[6 * PATH_BYTES];
    char tls[PATH_BYTES];

    (void)snprintf(tls, sizeof tls, "%s", path_of(""));
    (void)snprintf(command,
                   sizeof command,
                   "cd '%s' && openssl req -x509 -key %s.key -subj /CN=old -CA ca.pem -CAkey "
                   "ca.key -days 10 -addext subjectAltName=IP:127.0.0.1 -addext "
                   "basicConstraints=critical,CA:FALSE -out %s.pem 2>/dev/null",
                   tls,
                   name,
                   name);
    assert_int_equal(shell_run(command), 0);
}

static void certificates_last_and_are_renewed_in_time(void **state)
{
    static const char *const names[] = {"ca.pem", "nats.pem", "postgres.pem"};
    static char before[3][TEXT_BYTES];
    static char after[TEXT_BYTES];

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        (void)file_read(names[i], before[i]);
    }
    stack_up();
    for (size_t i = 0; i < 3; i++) {
        (void)file_read(names[i], after);
        assert_row(i, strcmp(before[i], after) == 0);
    }
    make_old("nats");
    make_old("postgres");
    stack_up();
    for (size_t i = 0; i < 3; i++) {
        (void)file_read(names[i], after);
        assert_row(i, (strcmp(before[i], after) == 0) == (i == 0));
        assert_row(i, strstr(after, "BEGIN CERTIFICATE") != NULL);
    }
    /* The servers have them, and nobody was cut off. */
    for (int i = 0; i < 250 && strcmp(after, before[2]) != 0; i++) {
        served(before[2]);
        (void)usleep(20000);
    }
    assert_string_equal(after, before[2]);
    for (int i = 0; i < 250 && !stack_logged("nats", "Reloaded server configuration"); i++) {
        (void)usleep(20000);
    }
    assert_true(stack_logged("nats", "Reloaded server configuration"));
    assert_int_equal(bus_status(path_of("ca.pem")), NATS_OK);
    log_in();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_database_is_reached_over_tls_only),
        cmocka_unit_test(the_bus_is_reached_over_tls_only),
        cmocka_unit_test(keys_are_for_their_owner_only),
        cmocka_unit_test(certificates_last_and_are_renewed_in_time),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
