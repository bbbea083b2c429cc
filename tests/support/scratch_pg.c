/* tidy: allow lines here: one cluster and all that tests do to it */
#include "tests/support/scratch_pg.h"

#include <libpq-fe.h>

#include <arpa/inet.h>
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BIN_DIRECTORY  "/usr/lib/postgresql/15/bin/"
#define SERVER_USER    "postgres"
#define SUPERUSER      "scratch"
#define DATABASES_MAX  64
#define DSN_BYTES      512
#define PATH_BYTES     64
#define ANSWER_BYTES   1024
#define START_MS_MAX   60000
#define STOP_MS_MAX    30000
#define POLL_MS        20
#define PORT_TRIES     5
#define START_TRIES    100
#define CONNECTION_END " sslmode=disable gssencmode=disable connect_timeout=10"

struct scratch_database {
    char name[64];
    char dsn[DSN_BYTES];
};

static struct {
    bool prepared;
    bool own;
    bool tls;
    char directory[PATH_BYTES];
    char base[DSN_BYTES]; /* connection string without dbname */
    int port;
    pid_t server;
    pid_t owner; /* the process that started it: a fork must not end it */
    int count;
    struct scratch_database databases[DATABASES_MAX];
} scratch;

static __attribute__((noreturn, format(printf, 1, 2))) void give_up(const char *fmt, ...)
{
    va_list args;

    (void)fputs("scratch_pg: ", stderr);
    va_start(args, fmt);
    (void)vfprintf(stderr, fmt, args);
    va_end(args);
    (void)fputc('\n', stderr);
    exit(1);
}

static void wait_a_little(void)
{
    const struct timespec pause = {0, POLL_MS * 1000000L};

    (void)nanosleep(&pause, NULL);
}

static void print_to(char *out, size_t cap, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void print_to(char *out, size_t cap, const char *fmt, ...)
{
    va_list args;
    int len = 0;

    va_start(args, fmt);
    len = vsnprintf(out, cap, fmt, args);
    va_end(args);
    if (len < 0 || (size_t)len >= cap) {
        give_up("a text is too long for %zu bytes", cap);
    }
}

/* --- processes ----------------------------------------------------------------- */

static const struct passwd *server_user(void)
{
    const struct passwd *user = geteuid() == 0 ? getpwnam(SERVER_USER) : NULL;

    if (geteuid() == 0 && user == NULL) {
        give_up("there is no user " SERVER_USER "; install the package postgresql-15");
    }
    return user;
}

/* The child's side of a start; the dying parent takes the server with it. */
static __attribute__((noreturn)) void become(const struct passwd *user, const char *const argv[])
{
    char path[PATH_BYTES];
    char log[2 * PATH_BYTES];
    int fd = -1;

    print_to(path, sizeof(path), BIN_DIRECTORY "%s", argv[0]);
    print_to(log, sizeof(log), "%s/log", scratch.directory);
    if (user != NULL &&
        (setgroups(0, NULL) != 0 || setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0)) {
        _exit(126);
    }
    fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0 ||
        chdir(scratch.directory) != 0 || setsid() < 0 || prctl(PR_SET_PDEATHSIG, SIGQUIT) != 0) {
        _exit(126);
    }
    (void)signal(SIGPIPE, SIG_DFL);
    /* execv() changes nothing. NOLINTNEXTLINE(performance-no-int-to-ptr) */
    (void)execv(path, (char *const *)(uintptr_t)argv);
    _exit(127);
}

static pid_t spawn(const char *const argv[])
{
    const struct passwd *user = server_user();
    pid_t pid = -1;

    (void)fflush(NULL);
    pid = fork();
    if (pid < 0) {
        give_up("fork: %s", strerror(errno));
    }
    if (pid == 0) {
        become(user, argv);
    }
    return pid;
}

/* True when it ended in time. */
static bool reap(pid_t pid, int *out_status, long ms_max)
{
    for (long waited = 0; waited < ms_max; waited += POLL_MS) {
        if (waitpid(pid, out_status, WNOHANG) == pid) {
            return true;
        }
        wait_a_little();
    }
    return false;
}

static int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
        give_up("no free port: %s", strerror(errno));
    }
    (void)close(fd);
    return ntohs(address.sin_port);
}

/* --- the cluster --------------------------------------------------------------- */

static void make_cluster(void)
{
    const struct passwd *user = server_user();
    const char *temporary = getenv("TMPDIR");
    char data[2 * PATH_BYTES];
    int status = 0;

    print_to(scratch.directory,
             sizeof(scratch.directory),
             "%s/scratch-pg-XXXXXX",
             temporary == NULL || strlen(temporary) > 32 ? "/tmp" : temporary);
    if (mkdtemp(scratch.directory) == NULL) {
        give_up("%s: %s", scratch.directory, strerror(errno));
    }
    if (user != NULL && chown(scratch.directory, user->pw_uid, user->pw_gid) != 0) {
        give_up("chown %s: %s", scratch.directory, strerror(errno));
    }
    print_to(data, sizeof(data), "%s/data", scratch.directory);
    const char *const argv[] = {"initdb",
                                "--no-sync",
                                "--auth=trust",
                                "-U",
                                SUPERUSER,
                                "--encoding=UTF8",
                                "--locale=C.UTF-8",
                                "-D",
                                data,
                                NULL};
    const pid_t pid = spawn(argv);
    if (!reap(pid, &status, START_MS_MAX) || status != 0) {
        (void)kill(pid, SIGKILL);
        give_up("initdb failed (status %d), see %s/log", status, scratch.directory);
    }
}

static bool server_answers(void)
{
    char dsn[DSN_BYTES + 32];

    print_to(dsn, sizeof(dsn), "%s dbname=postgres", scratch.base);
    return PQping(dsn) == PQPING_OK;
}

/* False when the server ended at once, as it does when somebody else has the port. */
static bool wait_until_ready(void)
{
    int status = 0;

    for (long waited = 0; waited < START_MS_MAX; waited += POLL_MS) {
        if (server_answers()) {
            return true;
        }
        if (waitpid(scratch.server, &status, WNOHANG) == scratch.server) {
            scratch.server = 0;
            return false;
        }
        wait_a_little();
    }
    give_up("the server did not answer within %d ms, see %s/log", START_MS_MAX, scratch.directory);
}

static bool launch(int port)
{
    char data[2 * PATH_BYTES];
    char number[16];
    char socket_directory[2 * PATH_BYTES];
    const char *const argv[] = {"postgres",
                                "-D",
                                data,
                                "-p",
                                number,
                                "-k",
                                socket_directory,
                                "-c",
                                "listen_addresses=127.0.0.1",
                                "-c",
                                "max_connections=60",
                                "-c",
                                "shared_buffers=64MB",
                                "-c",
                                "fsync=off",
                                "-c",
                                "logging_collector=off",
                                "-c",
                                scratch.tls ? "ssl=on" : "ssl=off",
                                "-c",
                                "ssl_cert_file=../server.pem",
                                "-c",
                                "ssl_key_file=../server.key",
                                NULL};

    print_to(data, sizeof(data), "%s/data", scratch.directory);
    print_to(number, sizeof(number), "%d", port);
    print_to(socket_directory, sizeof(socket_directory), "%s", scratch.directory);
    print_to(scratch.base,
             sizeof(scratch.base),
             "host=127.0.0.1 port=%d user=" SUPERUSER CONNECTION_END,
             port);
    scratch.port = port;
    scratch.server = spawn(argv);
    return wait_until_ready();
}

static void prepare(void)
{
    const char *given = getenv("AVANTA_TEST_PG_DSN");

    if (scratch.prepared) {
        return;
    }
    scratch.prepared = true;
    scratch.owner = getpid();
    if (atexit(scratch_pg_end) != 0) {
        give_up("atexit is refused");
    }
    if (given != NULL && given[0] != '\0') {
        print_to(scratch.base, sizeof(scratch.base), "%s" CONNECTION_END, given);
        return;
    }
    scratch.own = true;
    make_cluster();
    for (int i = 0; i < PORT_TRIES; i++) {
        if (launch(free_port())) {
            return;
        }
    }
    give_up("the server does not start, see %s/log", scratch.directory);
}

static void stop_server(int signum)
{
    int status = 0;

    if (scratch.server == 0) {
        return;
    }
    (void)kill(scratch.server, signum);
    if (!reap(scratch.server, &status, STOP_MS_MAX)) {
        (void)fprintf(stderr, "scratch_pg: the server does not stop, killing it\n");
        (void)kill(scratch.server, SIGKILL);
        (void)reap(scratch.server, &status, STOP_MS_MAX);
    }
    scratch.server = 0;
}

/* --- files --------------------------------------------------------------------- */

/* By the system's own tool: a cluster has a thousand files in directories of directories. */
static void remove_directory(void)
{
    int status = 0;
    const pid_t pid = fork();

    if (pid == 0) {
        (void)execl("/bin/rm", "rm", "-rf", "--", scratch.directory, (char *)NULL);
        _exit(127);
    }
    if (pid < 0 || !reap(pid, &status, STOP_MS_MAX) || status != 0) {
        (void)fprintf(stderr, "scratch_pg: %s is left behind\n", scratch.directory);
    }
}

/* --- for tests ----------------------------------------------------------------- */

bool scratch_pg_is_own(void)
{
    prepare();
    return scratch.own;
}

static PGresult *query(PGconn *pq, const char *dsn, const char *sql)
{
    PGresult *result = NULL;
    ExecStatusType status = PGRES_FATAL_ERROR;

    if (PQstatus(pq) != CONNECTION_OK) {
        give_up("connecting to %s: %s", dsn, PQerrorMessage(pq));
    }
    result = PQexec(pq, sql);
    status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
        give_up("%s: %s", sql, PQerrorMessage(pq));
    }
    return result;
}

void scratch_pg_run(const char *dsn, const char *sql)
{
    PGconn *pq = PQconnectdb(dsn);

    PQclear(query(pq, dsn, sql));
    PQfinish(pq);
}

const char *scratch_pg_ask(const char *dsn, const char *sql)
{
    static char answer[ANSWER_BYTES];
    PGconn *pq = PQconnectdb(dsn);
    PGresult *result = query(pq, dsn, sql);

    if (PQntuples(result) == 0) {
        give_up("%s: no row", sql);
    }
    print_to(answer, sizeof(answer), "%s", PQgetvalue(result, 0, 0));
    PQclear(result);
    PQfinish(pq);
    return answer;
}

const char *scratch_pg_database(const char *name)
{
    struct scratch_database *database = NULL;
    char dsn[DSN_BYTES + 32];
    char sql[DSN_BYTES];

    prepare();
    if (scratch.count == DATABASES_MAX) {
        give_up("more than %d databases", DATABASES_MAX);
    }
    database = &scratch.databases[scratch.count];
    print_to(
        database->name, sizeof(database->name), "%s_%ld_%d", name, (long)getpid(), scratch.count);
    print_to(dsn, sizeof(dsn), "%s dbname=postgres", scratch.base);
    print_to(sql, sizeof(sql), "CREATE DATABASE \"%s\" TEMPLATE template0", database->name);
    scratch_pg_run(dsn, sql);
    print_to(database->dsn, sizeof(database->dsn), "%s dbname=%s", scratch.base, database->name);
    scratch.count++;
    return database->dsn;
}

const char *scratch_pg_socket_dsn(const char *dsn)
{
    static char out[DSN_BYTES];
    const char *name = strrchr(dsn, '=');

    if (!scratch_pg_is_own()) {
        give_up("only the own cluster has a known socket");
    }
    assert(name != NULL);
    print_to(out,
             sizeof(out),
             "host=%s port=%d user=" SUPERUSER CONNECTION_END " dbname%s",
             scratch.directory,
             scratch.port,
             name);
    return out;
}

static void need_own(void)
{
    if (!scratch_pg_is_own()) {
        give_up("the cluster of AVANTA_TEST_PG_DSN is not ours to stop");
    }
}

/* After a kill the orphaned children hold the shared memory for a moment, and a start is refused.
 */
void scratch_pg_start(void)
{
    need_own();
    assert(scratch.server == 0);
    for (int i = 0; i < START_TRIES; i++) {
        if (launch(scratch.port)) {
            return;
        }
        wait_a_little();
    }
    give_up("the server does not start again, see %s/log", scratch.directory);
}

void scratch_pg_restart(void)
{
    need_own();
    stop_server(SIGINT);
    scratch_pg_start();
}

/* The server reads it as its own user, and wants a key that nobody else can read. */
static void copy_file(const char *from, const char *name)
{
    const struct passwd *user = server_user();
    char path[2 * PATH_BYTES];
    char bytes[8192];
    FILE *in = fopen(from, "r");
    FILE *out = NULL;
    size_t len = 0;

    print_to(path, sizeof(path), "%s/%s", scratch.directory, name);
    out = fopen(path, "w");
    if (in == NULL || out == NULL) {
        give_up("%s to %s: %s", from, path, strerror(errno));
    }
    len = fread(bytes, 1, sizeof(bytes), in);
    if (fwrite(bytes, 1, len, out) != len || fclose(out) != 0 || fclose(in) != 0 ||
        chmod(path, 0600) != 0 || (user != NULL && chown(path, user->pw_uid, user->pw_gid) != 0)) {
        give_up("%s: %s", path, strerror(errno));
    }
}

void scratch_pg_tls(const char *certificate, const char *key)
{
    need_own();
    scratch.tls = certificate != NULL;
    if (scratch.tls) {
        copy_file(certificate, "server.pem");
        copy_file(key, "server.key");
    }
    scratch_pg_restart();
}

/* The children notice that the postmaster is gone and end by themselves. */
void scratch_pg_kill(void)
{
    int status = 0;

    need_own();
    assert(scratch.server > 0);
    (void)kill(scratch.server, SIGKILL);
    if (!reap(scratch.server, &status, STOP_MS_MAX)) {
        give_up("the server cannot be killed");
    }
    scratch.server = 0;
}

static void drop_databases(void)
{
    char dsn[DSN_BYTES + 32];
    char sql[DSN_BYTES];

    if (scratch.own || scratch.count == 0) {
        return; /* the whole cluster goes */
    }
    print_to(dsn, sizeof(dsn), "%s dbname=postgres", scratch.base);
    for (int i = 0; i < scratch.count; i++) {
        print_to(sql,
                 sizeof(sql),
                 "DROP DATABASE IF EXISTS \"%s\" WITH (FORCE)",
                 scratch.databases[i].name);
        PGconn *pq = PQconnectdb(dsn);
        PQclear(PQexec(pq, sql));
        PQfinish(pq);
    }
    scratch.count = 0;
}

void scratch_pg_end(void)
{
    if (!scratch.prepared || scratch.owner != getpid()) {
        return;
    }
    scratch.prepared = false;
    drop_databases();
    if (scratch.own) {
        stop_server(SIGINT);
        remove_directory();
    }
}
