/* What each program may say and hear on the bus: deploy/nats.conf itself on a real nats-server,
 * asked by a client that speaks the protocol by hand, so that nothing but the server refuses.
 * Whatever a row does not grant must be refused. */
#include "tests/support/check.h"
#include "tests/support/scratch_nats.h"

#include "libcommon/base/attr.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_BYTES 8192

static const struct {
    char letter; /* in the rows below */
    const char *user;
    const char *variable;
} users[] = {
    {'G', "gateway",   "NATS_GATEWAY_PASSWORD"  },
    {'I', "identity",  "NATS_IDENTITY_PASSWORD" },
    {'L', "ledger",    "NATS_LEDGER_PASSWORD"   },
    {'A', "audit-log", "NATS_AUDIT_LOG_PASSWORD"},
    {'W', "witness",   "NATS_WITNESS_PASSWORD"  },
    {'O', "operator",  "NATS_OPERATOR_PASSWORD" },
};

struct right {
    const char *subject;
    const char *whose; /* letters of those who may */
};

/* clang-format off */
static const struct right may_publish[] = {
    {"rpc.identity.Login", "G"}, {"rpc.ledger.CreateTransaction", "G"}, {"rpc.audit-log.ListRecords", "G"},
    {"evt.identity.user.created", "I"}, {"evt.ledger.account.created", "L"}, {"evt.audit-log.record.added", "A"},
    {"evt.gateway.request.made", ""},
    {"rpc.audit-log.WitnessCheckpoint", "GW"}, {"rpc.audit-log.WitnessConsistency", "GW"},
    {"rpc.audit-log.AddCosignature", "GW"}, {"rpc.audit-log.GetCheckpoint", "G"}, {"rpc.witness.Anything", "G"},
    {"evt.audit.checkpoint", "A"}, {"evt.audit-log.checkpoint.refused", "AW"}, {"evt.audit-log.tampering.detected", "A"},
    {"evt.witness.a", ""}, {"audit.witness", ""}, {"log.witness.a", "W"}, {"log.ledger.a", "L"},
    {"alert.critical.audit-log", "AW"}, {"alert.warning.audit-log", "A"}, {"alert.critical.witness", ""},
    {"audit.identity", "I"}, {"audit.ledger", "L"}, {"audit.audit-log", "A"}, {"audit.gateway", "G"},
    {"metric.identity.a", "I"}, {"metric.ledger.a", "L"}, {"metric.audit-log.a", "A"}, {"metric.gateway.a", ""},
    {"alert.high.identity", "I"}, {"alert.high.ledger", "L"}, {"alert.high.audit-log", "A"}, {"alert.high.gateway", ""},
    {"log.identity.warn", "I"}, {"log.ledger.error", "L"}, {"log.audit-log.warn", "A"}, {"log.gateway.warn", "G"},
    {"log.operator.warn", ""}, {"log.warn", ""}, {"ctl.log", "O"},
    {"ctl.revoke", "I"}, {"ctl.keys", "I"}, {"ctl.access", "I"}, {"ctl.drain", ""},
    /* Answers go to whoever asked; they are signed. */
    {"_INBOX.gateway.a.1", "ILA"}, {"_INBOX.ledger.a.1", "ILA"}, {"_INBOX.operator.a.1", "ILA"},
    {"$SRV.PING", "O"}, {"$SRV.STATS.ledger", "O"},
    {"$JS.API.STREAM.INFO.EVENTS", "ILA"}, {"$JS.API.STREAM.CREATE.EVENTS", "ILA"},
    {"$JS.API.STREAM.UPDATE.EVENTS", "ILA"},
    {"$JS.API.STREAM.DELETE.EVENTS", ""}, {"$JS.API.STREAM.PURGE.AUDIT", ""}, {"$JS.API.STREAM.LIST", ""},
    {"$JS.API.STREAM.NAMES", ""}, {"$JS.API.STREAM.MSG.GET.AUDIT", ""}, {"$JS.API.STREAM.MSG.DELETE.AUDIT", ""},
    {"$JS.API.STREAM.SNAPSHOT.AUDIT", ""}, {"$JS.API.STREAM.RESTORE.AUDIT", ""}, {"$JS.API.DIRECT.GET.AUDIT", ""},
    {"$JS.API.INFO", ""}, {"$JS.API.ACCOUNT.PURGE.AVANTA", ""},
    {"$JS.API.CONSUMER.CREATE.EVENTS", ""}, {"$JS.API.CONSUMER.CREATE.AUDIT", ""},
    {"$JS.API.CONSUMER.DURABLE.CREATE.EVENTS.x", ""}, {"$JS.API.CONSUMER.DURABLE.CREATE.AUDIT.audit-log", "A"},
    {"$JS.API.CONSUMER.INFO.EVENTS.x", ""}, {"$JS.API.CONSUMER.INFO.AUDIT.audit-log", "A"},
    {"$JS.API.CONSUMER.DELETE.AUDIT.audit-log", ""}, {"$JS.API.CONSUMER.MSG.NEXT.AUDIT.audit-log", ""},
    {"$JS.ACK.AUDIT.audit-log.1.1.1.1.0", "A"}, {"$JS.ACK.EVENTS.x.1.1.1.1.0", ""},
    {"deliver.AUDIT.audit-log", ""}, {"$SYS.REQ.SERVER.PING", ""}, {"$SYS.REQ.ACCOUNT.AVANTA.CONNZ", ""},
    {"anything", ""},
};

static const struct right may_subscribe[] = {
    {"rpc.identity.>", "I"}, {"rpc.ledger.>", "L"}, {"rpc.audit-log.>", "A"}, {"rpc.ledger.CreateTransaction", "L"},
    {"rpc.>", ""}, {"rpc.*.*", ""},
    {"evt.audit.checkpoint", "W"}, {"evt.audit.>", ""}, {"_INBOX.witness.>", "W"}, {"rpc.witness.>", ""},
    {"evt.>", ""}, {"evt.identity.>", ""}, {"evt.ledger.>", ""}, {"audit.>", ""}, {"audit.ledger", ""},
    {"metric.>", ""}, {"alert.>", ""}, {"log.>", "O"}, {"log.ledger.warn", "O"}, {"log.ledger.error", "OA"},
    {"log.*.error", "OA"}, {"log.audit-log.>", "O"}, {"ctl.log", "GILAW"},
    {"ctl.>", "GILA"}, {"ctl.revoke", "GILA"},
    {"_INBOX.gateway.>", "G"}, {"_INBOX.identity.>", "I"}, {"_INBOX.ledger.>", "L"}, {"_INBOX.audit-log.>", "A"},
    {"_INBOX.operator.>", "O"}, {"_INBOX.>", ""}, {"_INBOX.*.>", ""},
    {"$SRV.>", "ILA"}, {"$SRV.PING", "ILA"},
    {"deliver.AUDIT.>", "A"}, {"deliver.>", ""},
    {"$JS.>", ""}, {"$JS.API.>", ""}, {"$JS.ACK.>", ""}, {"$JS.EVENT.ADVISORY.>", ""}, {"$SYS.>", ""},
    {">", ""}, {"*", ""}, {"anything", ""},
};
/* clang-format on */

static int port;

/* Says it and a PING, and reads up to the PONG or the end of the connection. */
static const char *say(int fd, const char *words)
{
    static char answer[ANSWER_BYTES];
    size_t len = 0;
    ssize_t got = 1;

    assert_int_equal(send(fd, words, strlen(words), MSG_NOSIGNAL), strlen(words));
    assert_int_equal(send(fd, "PING\r\n", 6, MSG_NOSIGNAL), 6);
    answer[0] = '\0';
    while (got > 0 && strstr(answer, "PONG\r\n") == NULL && len < sizeof answer - 1) {
        got = recv(fd, answer + len, sizeof answer - 1 - len, 0);
        len += got > 0 ? (size_t)got : 0;
        answer[len] = '\0';
    }
    return answer;
}

static int connected(void)
{
    const struct timeval patience = {10, 0};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* True when the server takes that user with that password. */
static bool logs_in(int fd, const char *user, const char *password)
{
    char words[512];

    (void)snprintf(words,
                   sizeof words,
                   "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"user\":\"%s\","
                   "\"pass\":\"%s\"}\r\n",
                   user,
                   password);
    return strstr(say(fd, words), "PONG\r\n") != NULL;
}

static bool is_allowed(int fd, const char *form, const char *subject)
{
    char words[512];
    const char *answer = NULL;
    bool refused = false;

    (void)snprintf(
        words, sizeof words, "%s %s%s", form, subject, form[0] == 'P' ? " 0\r\n\r\n" : " 7\r\n");
    if (strncmp(form, "QUEUE", 5) == 0) {
        (void)snprintf(words, sizeof words, "SUB %s workers 7\r\n", subject);
    }
    answer = say(fd, words);
    assert_non_null(strstr(answer, "PONG\r\n")); /* the connection stays */
    refused = strstr(answer, "Permissions Violation") != NULL;
    if (form[0] != 'P') {
        (void)say(fd, "UNSUB 7\r\n");
    }
    return !refused;
}

static void check_rights(const char *form, const struct right *rights, size_t count)
{
    for (size_t u = 0; u < ARRAY_LEN(users); u++) {
        const int fd = connected();

        assert_true(logs_in(fd, users[u].user, getenv(users[u].variable)));
        for (size_t i = 0; i < count; i++) {
            const bool wanted = strchr(rights[i].whose, users[u].letter) != NULL;

            if (is_allowed(fd, form, rights[i].subject) != wanted) {
                fail_msg("%s %s by %s is %s",
                         form,
                         rights[i].subject,
                         users[u].user,
                         wanted ? "refused" : "taken");
            }
        }
        (void)close(fd);
    }
}

static void programs_say_what_is_theirs(void **state)
{
    (void)state;
    check_rights("PUB", may_publish, ARRAY_LEN(may_publish));
}

static void programs_hear_what_is_theirs(void **state)
{
    (void)state;
    check_rights("SUB", may_subscribe, ARRAY_LEN(may_subscribe));
    check_rights("QUEUE", may_subscribe, ARRAY_LEN(may_subscribe));
}

static void nobody_is_taken_without_a_password(void **state)
{
    static const char *const connects[] = {
        "", /* no CONNECT at all */
        "CONNECT {}\r\n",
        "CONNECT {\"verbose\":false}\r\n",
        "CONNECT {\"user\":\"gateway\"}\r\n",
        "CONNECT {\"user\":\"\",\"pass\":\"\"}\r\n",
        "CONNECT {\"auth_token\":\"x\"}\r\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(connects); i++) {
        const int fd = connected();
        const char *answer = say(fd, connects[i]);

        assert_row(i, strstr(answer, "PONG\r\n") == NULL);
        assert_row(i, strstr(answer, "Authorization Violation") != NULL);
        (void)close(fd);
    }
    for (size_t u = 0; u < ARRAY_LEN(users); u++) {
        const int fd = connected();

        /* With the password of the next one. */
        assert_row(u,
                   !logs_in(fd, users[u].user, getenv(users[(u + 1) % ARRAY_LEN(users)].variable)));
        (void)close(fd);
    }
}

/* Lists of what is allowed, and nothing that takes away from them or lets somebody in. */
static void the_configuration_has_allow_lists_only(void **state)
{
    static const char *const never[] = {
        "no_auth_user",
        "deny",
        "allow_responses",
        "default_permissions",
        "leafnodes",
        "websocket",
        "mqtt",
        "cluster",
        "monitor",
        "http",
        "trusted",
        "gateway {",
    };
    static char text[32768];
    FILE *file = fopen("deploy/nats.conf", "r");
    size_t len = 0;
    int user_count = 0;
    int listed = 0;

    (void)state;
    assert_non_null(file);
    len = fread(text, 1, sizeof text - 1, file);
    text[len] = '\0';
    (void)fclose(file);
    for (size_t i = 0; i < ARRAY_LEN(never); i++) {
        assert_row(i, strstr(text, never[i]) == NULL);
    }
    for (const char *at = text; (at = strstr(at, "user: ")) != NULL; at++) {
        user_count++;
    }
    for (const char *at = text; (at = strstr(at, "permissions {")) != NULL; at++) {
        listed++;
    }
    assert_int_equal(user_count, ARRAY_LEN(users) + 1); /* and `system`, in an account of its own */
    assert_int_equal(listed, ARRAY_LEN(users));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(programs_say_what_is_theirs),
        cmocka_unit_test(programs_hear_what_is_theirs),
        cmocka_unit_test(nobody_is_taken_without_a_password),
        cmocka_unit_test(the_configuration_has_allow_lists_only),
    };
    const struct scratch_nats_options options = {.configuration = "deploy/nats.conf"};
    char password[64];

    for (size_t u = 0; u < ARRAY_LEN(users); u++) {
        (void)snprintf(password, sizeof password, "p%s", users[u].user);
        (void)setenv(users[u].variable, password, 1);
    }
    (void)setenv("NATS_SYSTEM_PASSWORD", "psystem", 1);
    port = (int)strtol(strrchr(scratch_nats_start(&options), ':') + 1, NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
