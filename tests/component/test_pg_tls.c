/* A service whose database and bus are spoken to over TLS, on a real PostgreSQL and a real
 * nats-server; the servers it must not trust, and the settings that say so. */
#include "tests/support/certificates.h"
#include "tests/support/check.h"
#include "tests/support/scratch_nats.h"
#include "tests/support/scratch_pg.h"
#include "tests/support/toy_process.h"

#include "libcommon/base/attr.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DAY_S     86400
#define DSN_BYTES 768
#define HERE      "IP:127.0.0.1,DNS:localhost"

static const char *plain; /* the database's connection string, without TLS */
static const char *url;
static char text[64 * 1024];

static const char *with(const char *mode, const char *ca)
{
    static char dsn[DSN_BYTES];

    (void)snprintf(dsn,
                   sizeof dsn,
                   "%s sslmode=%s sslrootcert=%s",
                   plain,
                   mode,
                   ca == NULL ? "" : certificate_path(ca, "pem"));
    return dsn;
}

static void serve(const char *certificate)
{
    scratch_pg_tls(certificate_path(certificate, "pem"), certificate_path(certificate, "key"));
}

static int migrate(const char *dsn)
{
    const char *const environment[] = {"AVANTA_PG_MIGRATE_DSN", dsn, "AVANTA_PG_TLS", "true", NULL};

    return toy_process_command("--migrate", environment, text, sizeof text);
}

static int setup_all(void **state)
{
    static char tls[512];

    (void)state;
    if (!scratch_pg_is_own()) {
        fail_msg("this test stops and starts the cluster: it needs its own");
    }
    (void)snprintf(tls,
                   sizeof tls,
                   "tls {cert_file: \"%s\"\nkey_file: \"%s\"}",
                   certificate_path("server", "pem"),
                   certificate_path("server", "key"));
    url = scratch_nats_start(NULL);
    scratch_nats_stop();
    scratch_nats_restart(&(struct scratch_nats_options){.extra = tls});
    plain = scratch_pg_database("tls");
    serve("server");
    return 0;
}

/* --- good servers ------------------------------------------------------------------------- */

static void a_service_serves_over_tls(void **state)
{
    struct toy_process toy;

    (void)state;
    assert_int_equal(migrate(with("verify-full", "ca")), 0);
    assert_int_equal(setenv("AVANTA_NATS_CA_FILE", certificate_path("ca", "pem"), 1), 0);
    assert_int_equal(setenv("AVANTA_PG_TLS", "true", 1), 0);
    toy_process_start(&toy, with("verify-full", "ca"), url);
    assert_string_equal(scratch_pg_ask(plain,
                                       "SELECT count(*) > 1 AND bool_and(s.ssl AND s.version >= "
                                       "'TLSv1.2') FROM pg_stat_activity AS a JOIN pg_stat_ssl AS "
                                       "s USING (pid) WHERE a.application_name = 'toy'"),
                        "t");
    assert_int_equal(toy_process_get(&toy, "/readyz", text, sizeof text), 200);
    toy_process_signal(&toy, SIGTERM);
    assert_int_equal(toy_process_end(&toy), 0);
    assert_int_equal(unsetenv("AVANTA_NATS_CA_FILE"), 0);
    assert_int_equal(unsetenv("AVANTA_PG_TLS"), 0);
}

/* --- others ------------------------------------------------------------------------------- */

static void other_servers_are_refused(void **state)
{
    static const struct {
        const char *certificate; /* NULL: no TLS */
        const char *ca;
        const char *told;
    } rows[] = {
        {"server",    "other", "certificate verify failed"  },
        {"expired",   "ca",    "certificate verify failed"  },
        {"elsewhere", "ca",    "does not match host name"   },
        {NULL,        "ca",    "server does not support SSL"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].certificate == NULL) {
            scratch_pg_tls(NULL, NULL);
        } else {
            serve(rows[i].certificate);
        }
        assert_row(i, migrate(with("verify-full", rows[i].ca)) == 1);
        if (strstr(text, rows[i].told) == NULL) {
            fail_msg("row %zu: %s", i, text);
        }
    }
}

/* The running service says it too, and waits for a better server. */
static void a_service_says_why_it_is_not_ready(void **state)
{
    struct toy_process toy;
    bool told = false;

    (void)state;
    serve("elsewhere");
    toy_process_spawn(&toy, with("verify-full", "ca"), url);
    for (int i = 0; i < 500 && !told; i++) {
        (void)usleep(20000);
        told = toy_process_logged(&toy, "does not match host name");
    }
    assert_true(told);
    assert_false(toy_process_logged(&toy, "event=ready"));
    toy_process_signal(&toy, SIGTERM);
    assert_int_equal(toy_process_end(&toy), 0);
    serve("server");
}

/* --- settings ----------------------------------------------------------------------------- */

static void a_weaker_address_stops_the_start(void **state)
{
    static const struct {
        const char *end; /* what the address says last */
        const char *told;
    } rows[] = {
        {"",                                                       "needs sslmode=verify-full"},
        {"sslmode=require sslrootcert=/x/ca.pem",                  "needs sslmode=verify-full"},
        {"sslmode=verify-ca sslrootcert=/x/ca.pem",                "needs sslmode=verify-full"},
        {"sslmode=verify-full",                                    "needs sslrootcert"        },
        {"sslmode=verify-full sslrootcert=''",                     "needs sslrootcert"        },
        {"sslmode=verify-full sslrootcert=/x/ca.pem host=",        "needs host"               },
        {"sslmode=verify-full sslrootcert=/x/ca.pem host=/run/pg", "needs host"               },
        {"sslmode=verify-full sslrootcert=/x/ca.pem host=a,@b",    "needs host"               },
        {"sslmode=verify-full sslrootcert=/x/ca.pem host=a,",      "needs host"               },
        {"sslmode",                                                "not a connection string"  },
    };
    char dsn[DSN_BYTES];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        (void)snprintf(dsn, sizeof dsn, "host=db.example password=hunter2 %s", rows[i].end);
        const char *const environment[] = {
            "AVANTA_PG_DSN", dsn, "AVANTA_ENVELOPE_KEY", TOY_KEY, "AVANTA_PG_TLS", "true", NULL};

        assert_row(i, toy_process_command(NULL, environment, text, sizeof text) == 2);
        assert_row(i, strstr(text, "AVANTA_PG_DSN") != NULL);
        assert_row(i, strstr(text, rows[i].told) != NULL);
        assert_row(i, strstr(text, "hunter2") == NULL);
    }
    assert_int_equal(migrate(with("require", "ca")), 2);
    assert_non_null(strstr(text, "AVANTA_PG_MIGRATE_DSN needs sslmode=verify-full"));
}

int main(int argc, char **argv)
{
    static const struct certificate certificates[] = {
        {"ca",        NULL, NULL,                    DAY_S},
        {"other",     NULL, NULL,                    DAY_S},
        {"server",    "ca", HERE,                    DAY_S},
        {"elsewhere", "ca", "DNS:elsewhere.example", DAY_S},
        {"expired",   "ca", HERE,                    -3600},
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_service_serves_over_tls),
        cmocka_unit_test(other_servers_are_refused),
        cmocka_unit_test(a_service_says_why_it_is_not_ready),
        cmocka_unit_test(a_weaker_address_stops_the_start),
    };
    int status = 0;

    if (toy_process_main(argc, argv, &status)) {
        return status;
    }
    for (size_t i = 0; i < ARRAY_LEN(certificates); i++) {
        certificate_make(&certificates[i]);
    }
    return cmocka_run_group_tests(tests, setup_all, NULL);
}
