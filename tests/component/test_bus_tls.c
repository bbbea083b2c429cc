/* The bus over TLS on a real nats-server: who is trusted, who is refused, and that a server which
 * stands still does not hold up the loop. */
#include "tests/support/bus_rig.h"
#include "tests/support/certificates.h"
#include "tests/support/check.h"
#include "tests/support/scratch_nats.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/limits.h"
#include "libcommon/io/bus.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOON    15000
#define DAY_S   86400
#define A_WHILE 1200
#define HERE    "IP:127.0.0.1,DNS:localhost"
#define BIG_MIB 1
#define FED_MAX 200

static const char *url;
static char localhost_url[64];

/* nats-server with that certificate; `more` are further lines of its tls block. */
static void serve(const char *certificate, const char *more)
{
    char extra[1024];

    (void)snprintf(extra,
                   sizeof(extra),
                   "tls {cert_file: \"%s\"\nkey_file: \"%s\"\ntimeout: 5\n%s}",
                   certificate_path(certificate, "pem"),
                   certificate_path(certificate, "key"),
                   more);
    scratch_nats_stop();
    scratch_nats_restart(&(struct scratch_nats_options){.extra = extra});
}

static struct bus_options trusting(const char *ca)
{
    return (struct bus_options){
        .url = url, .name = "tls", .in_flight_max = 64, .ca_file = certificate_path(ca, "pem")};
}

/* --- who is trusted --------------------------------------------------------------------- */

static void works(const struct bus_options *options)
{
    struct bus_rig rig;
    struct bus *bus = NULL;

    bus_rig_open(&rig);
    bus = bus_rig_add_options(&rig, options);
    (void)bus_rig_subscribe(bus, "rpc.echo", "q", bus_rig_echo, bus);
    assert_true(bus_rig_until_up(&rig, SOON));
    assert_int_equal(OK, bus_rig_ask(&rig, bus, "rpc.echo", "x"));
    bus_rig_close(&rig);
}

/* Never up, though it tries again and again. */
static void is_refused(size_t row, const struct bus_options *options)
{
    struct bus_rig rig;

    bus_rig_open(&rig);
    (void)bus_rig_add_options(&rig, options);
    bus_rig_run(&rig, A_WHILE);
    assert_row(row, rig.ups[0] == 0);
    assert_row(row, !bus_connected(rig.buses[0]));
    bus_rig_close(&rig);
}

static void a_good_server_is_trusted(void **state)
{
    struct bus_options options = trusting("ca");

    (void)state;
    serve("server", "");
    works(&options);
    options.url = localhost_url;
    works(&options);
}

static void others_are_refused(void **state)
{
    static const struct {
        const char *certificate; /* of the server; NULL: it speaks no TLS */
        const char *ca;
    } rows[] = {
        {NULL,         "ca"   },
        {"server",     "other"},
        {"elsewhere",  "ca"   },
        {"expired",    "ca"   },
        {"nobody",     "ca"   },
        {"selfsigned", "ca"   },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct bus_options options = trusting(rows[i].ca);

        if (rows[i].certificate == NULL) {
            scratch_nats_stop();
            scratch_nats_restart(NULL);
        } else {
            serve(rows[i].certificate, "");
        }
        is_refused(i, &options);
    }
}

/* A server that wants TLS is not spoken to in plain text, and is not trusted without a CA. */
static void a_server_with_tls_needs_the_setting(void **state)
{
    const struct bus_options options = {.url = url, .name = "plain", .in_flight_max = 64};

    (void)state;
    serve("server", "");
    is_refused(0, &options);
}

static void a_server_may_want_a_certificate(void **state)
{
    struct bus_options options = trusting("ca");
    char more[400];

    (void)state;
    (void)snprintf(
        more, sizeof(more), "ca_file: \"%s\"\nverify: true\n", certificate_path("ca", "pem"));
    serve("server", more);
    is_refused(0, &options);
    options.cert_file = certificate_path("client", "pem");
    options.key_file = certificate_path("client", "key");
    works(&options);
    options.cert_file = certificate_path("stranger", "pem");
    options.key_file = certificate_path("stranger", "key");
    is_refused(1, &options);
}

static void wrong_settings_are_told(void **state)
{
    const char *const ca = certificate_path("ca", "pem");
    const char *const pem = certificate_path("client", "pem");
    const char *const other_key = certificate_path("server", "key");
    const struct {
        const char *url;
        const char *ca;
        const char *cert;
        const char *key;
        const char *field;
    } rows[] = {
        {url,                    "/nowhere/ca.pem", NULL, NULL,      "AVANTA_NATS_CA_FILE"  },
        {url,                    ca,                pem,  NULL,      "AVANTA_NATS_KEY_FILE" },
        {url,                    ca,                NULL, other_key, "AVANTA_NATS_CERT_FILE"},
        {url,                    ca,                pem,  other_key, "AVANTA_NATS_CERT_FILE"},
        {url,                    "",                pem,  other_key, "AVANTA_NATS_CA_FILE"  },
        {"tls://127.0.0.1:4222", "",                "",   "",        "AVANTA_NATS_CA_FILE"  },
    };
    struct bus_rig rig;

    (void)state;
    bus_rig_open(&rig);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct bus_options options = {.url = rows[i].url,
                                            .name = "wrong",
                                            .in_flight_max = 64,
                                            .ca_file = rows[i].ca,
                                            .cert_file = rows[i].cert,
                                            .key_file = rows[i].key};
        struct bus *bus = NULL;
        struct err err = {0};

        assert_row(i, bus_open(rig.loop, &options, &bus, &err) == ERR_INVALID);
        assert_row(i, bus == NULL);
        assert_row(i, strcmp(err.field, rows[i].field) == 0);
    }
    bus_rig_close(&rig);
}

/* --- a server that stands still ----------------------------------------------------------- */

/* Replies of many records, in both directions. */
static void large_messages_pass(void **state)
{
    static char bytes[4 << 20];
    const struct bus_options options = trusting("ca");
    struct bus_outcome outcomes[8];
    struct bus_rig rig;
    struct bus *bus = NULL;

    (void)state;
    serve("server", "");
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (char)(i * 7 + i / 251);
    }
    bus_rig_open(&rig);
    bus = bus_rig_add_options(&rig, &options);
    (void)bus_rig_subscribe(bus, "rpc.echo", "q", bus_rig_echo, bus);
    assert_true(bus_rig_until_up(&rig, SOON));
    for (size_t i = 0; i < 8; i++) {
        const struct str payload = {bytes + i, BUS_PART_BYTES_MAX - i};

        bus_rig_call(bus, "rpc.echo", payload, &outcomes[i]);
    }
    for (size_t i = 0; i < 8; i++) {
        assert_true(bus_rig_until(&rig, &outcomes[i].count, 1, SOON));
        bus_rig_expect(i, OK, outcomes[i].code);
        assert_int_equal(outcomes[i].len, BUS_PART_BYTES_MAX - i);
        assert_true(outcomes[i].hash == hash_bytes(bytes + i, BUS_PART_BYTES_MAX - i, 1));
    }
    bus_rig_close(&rig);
}

/* What the socket does not take waits with us, within bounds; the loop goes on. If it did not, the
 * server would stay paused for ever. */
static void a_stalled_server_does_not_stop_the_loop(void **state)
{
    static char bytes[BIG_MIB << 20];
    const struct bus_options options = trusting("ca");
    struct bus_rig rig;
    struct bus *bus = NULL;
    enum code code = OK;
    struct err err = {0};

    (void)state;
    serve("server", "");
    bus_rig_open(&rig);
    bus = bus_rig_add_options(&rig, &options);
    assert_true(bus_rig_until_up(&rig, SOON));
    scratch_nats_pause();
    for (int i = 0; code == OK && i < FED_MAX; i++) {
        code = bus_publish(bus, "a", (struct str){bytes, sizeof(bytes)}, &err);
        bus_rig_run(&rig, 1);
    }
    assert_int_equal(ERR_OVERLOADED, code);
    scratch_nats_continue();
    for (int i = 0; code == ERR_OVERLOADED && i < 200; i++) {
        bus_rig_run(&rig, 20);
        code = bus_rig_ask(&rig, bus, "rpc.nobody", "x");
    }
    assert_int_equal(ERR_UNAVAILABLE, code); /* nobody answers: it got through all of it */
    assert_int_equal(0, rig.downs[0]);
    bus_rig_close(&rig);
}

/* --- a server that begins and then says nothing -------------------------------------------- */

static void *be_silent(void *arg)
{
    static const char info[] = "INFO {\"server_id\":\"x\",\"version\":\"2.9.10\",\"proto\":1,"
                               "\"tls_required\":true,\"max_payload\":1048576}\r\n";
    const int listener = *(const int *)arg;
    int fd = accept(listener, NULL, NULL);
    char byte = 0;

    (void)send(fd, info, sizeof(info) - 1, MSG_NOSIGNAL);
    while (recv(fd, &byte, 1, 0) > 0) {
    }
    (void)close(fd);
    return NULL;
}

static void a_silent_handshake_ends(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof(address);
    struct bus_options options = trusting("ca");
    struct bus_rig rig;
    char silent_url[64];
    pthread_t thread;
    uint64_t from = 0;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)state;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(0, bind(fd, (struct sockaddr *)&address, sizeof(address)));
    assert_int_equal(0, listen(fd, 1));
    assert_int_equal(0, getsockname(fd, (struct sockaddr *)&address, &len));
    assert_int_equal(0, pthread_create(&thread, NULL, be_silent, &fd));
    (void)snprintf(
        silent_url, sizeof(silent_url), "nats://127.0.0.1:%d", (int)ntohs(address.sin_port));
    options.url = silent_url;
    bus_rig_open(&rig);
    (void)bus_rig_add_options(&rig, &options);
    bus_rig_run(&rig, 300);
    from = clock_mono_ms();
    bus_rig_close(&rig); /* waits for the attempt under way */
    assert_true(clock_mono_ms() - from < 5000);
    (void)shutdown(fd, SHUT_RDWR);
    assert_int_equal(0, pthread_join(thread, NULL));
    (void)close(fd);
}

int main(void)
{
    static const struct certificate certificates[] = {
        {"ca",         NULL,    NULL,                    DAY_S},
        {"other",      NULL,    NULL,                    DAY_S},
        {"server",     "ca",    HERE,                    DAY_S},
        {"elsewhere",  "ca",    "DNS:elsewhere.example", DAY_S},
        {"expired",    "ca",    HERE,                    -3600},
        {"nobody",     "ca",    NULL,                    DAY_S},
        {"selfsigned", NULL,    HERE,                    DAY_S},
        {"client",     "ca",    NULL,                    DAY_S},
        {"stranger",   "other", NULL,                    DAY_S},
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_server_is_trusted),
        cmocka_unit_test(others_are_refused),
        cmocka_unit_test(a_server_with_tls_needs_the_setting),
        cmocka_unit_test(a_server_may_want_a_certificate),
        cmocka_unit_test(wrong_settings_are_told),
        cmocka_unit_test(large_messages_pass),
        cmocka_unit_test(a_stalled_server_does_not_stop_the_loop),
        cmocka_unit_test(a_silent_handshake_ends),
    };

    (void)alarm(120); /* a test that hangs is a test that fails */
    for (size_t i = 0; i < sizeof(certificates) / sizeof(certificates[0]); i++) {
        certificate_make(&certificates[i]);
    }
    url = scratch_nats_start(NULL);
    (void)snprintf(
        localhost_url, sizeof(localhost_url), "nats://localhost:%s", strrchr(url, ':') + 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
