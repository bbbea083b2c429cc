#include "tests/support/scratch_nats.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SERVER       "nats-server"
#define PATH_BYTES   64
#define START_MS_MAX 20000
#define STOP_MS_MAX  20000
#define POLL_MS      10
#define PORT_TRIES   5

static struct {
    bool prepared;
    char directory[PATH_BYTES];
    char url[PATH_BYTES];
    const char *configuration; /* another's, or NULL */
    int port;
    pid_t server;
    pid_t owner; /* the process that started it: a fork must not end it */
} scratch;

static __attribute__((noreturn, format(printf, 1, 2))) void give_up(const char *fmt, ...)
{
    va_list args;

    (void)fputs("scratch_nats: ", stderr);
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

static __attribute__((format(printf, 3, 4))) void
print_to(char *out, size_t cap, const char *fmt, ...)
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

static struct sockaddr_in loopback(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET};

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)port);
    return address;
}

static int free_port(void)
{
    struct sockaddr_in address = loopback(0);
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
        give_up("no free port: %s", strerror(errno));
    }
    (void)close(fd);
    return ntohs(address.sin_port);
}

/* --- configuration ----------------------------------------------------------------- */

static void write_user(FILE *file, const struct scratch_nats_user *user)
{
    (void)fprintf(file,
                  "      {user: \"%s\", password: \"%s\", permissions: {publish: [%s], "
                  "subscribe: [%s]}}\n",
                  user->user,
                  user->password,
                  user->publish != NULL ? user->publish : "\">\"",
                  user->subscribe != NULL ? user->subscribe : "\">\"");
}

static void write_configuration(const struct scratch_nats_options *options)
{
    char path[2 * PATH_BYTES];
    FILE *file = NULL;

    print_to(path, sizeof(path), "%s/nats.conf", scratch.directory);
    file = fopen(path, "w");
    if (file == NULL) {
        give_up("%s: %s", path, strerror(errno));
    }
    (void)fprintf(
        file,
        "host: 127.0.0.1\nport: %d\nserver_name: scratch\n"
        "jetstream {store_dir: \"%s/js\", max_memory_store: 64MB, max_file_store: 256MB}\n",
        scratch.port,
        scratch.directory);
    if (options != NULL && options->extra != NULL) {
        (void)fprintf(file, "%s\n", options->extra);
    }
    if (options != NULL && options->user_count > 0) {
        (void)fputs("accounts {\n  SCRATCH {\n    jetstream: enabled\n    users: [\n", file);
        for (int i = 0; i < options->user_count; i++) {
            write_user(file, &options->users[i]);
        }
        (void)fputs("    ]\n  }\n}\n", file);
    }
    if (fclose(file) != 0) {
        give_up("%s: %s", path, strerror(errno));
    }
}

/* --- the process ------------------------------------------------------------------- */

/* What a configuration that is not ours asks for. */
static void environment_set(void)
{
    char value[2 * PATH_BYTES];

    print_to(value, sizeof(value), "%d", scratch.port);
    (void)setenv("NATS_HOST", "127.0.0.1", 1);
    (void)setenv("NATS_PORT", value, 1);
    print_to(value, sizeof(value), "\"%s/js\"", scratch.directory);
    (void)setenv("NATS_STORE", value, 1);
}

/* The child's side of a start; the dying parent takes the server with it. */
static __attribute__((noreturn)) void become(void)
{
    char configuration[2 * PATH_BYTES];
    char log[2 * PATH_BYTES];
    int fd = -1;

    print_to(configuration, sizeof(configuration), "%s/nats.conf", scratch.directory);
    if (scratch.configuration != NULL) {
        print_to(configuration, sizeof(configuration), "%s", scratch.configuration);
        environment_set();
    }
    print_to(log, sizeof(log), "%s/log", scratch.directory);
    fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0 || setsid() < 0 ||
        prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
        _exit(126);
    }
    (void)signal(SIGPIPE, SIG_DFL);
    (void)execlp(SERVER, SERVER, "-c", configuration, (char *)NULL);
    _exit(127);
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

/* It greets with INFO once it serves. */
static bool server_answers(void)
{
    const struct sockaddr_in address = loopback(scratch.port);
    const struct timeval patience = {1, 0};
    char greeting[5] = {0};
    bool answers = false;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        give_up("socket: %s", strerror(errno));
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    answers = connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 &&
              recv(fd, greeting, 4, MSG_WAITALL) == 4 && strcmp(greeting, "INFO") == 0;
    (void)close(fd);
    return answers;
}

/* False when the server ended at once, as it does when somebody else has the port. */
static bool launch(const struct scratch_nats_options *options)
{
    int status = 0;

    write_configuration(options);
    (void)fflush(NULL);
    scratch.server = fork();
    if (scratch.server < 0) {
        give_up("fork: %s", strerror(errno));
    }
    if (scratch.server == 0) {
        become();
    }
    for (long waited = 0; waited < START_MS_MAX; waited += POLL_MS) {
        if (waitpid(scratch.server, &status, WNOHANG) == scratch.server) {
            scratch.server = 0;
            return false;
        }
        if (server_answers()) {
            return true;
        }
        wait_a_little();
    }
    give_up("the server did not answer within %d ms, see %s/log", START_MS_MAX, scratch.directory);
}

static void end_server(int signum)
{
    int status = 0;

    if (scratch.server == 0) {
        return;
    }
    (void)kill(scratch.server, signum);
    if (!reap(scratch.server, &status, STOP_MS_MAX)) {
        (void)fprintf(stderr, "scratch_nats: the server does not stop, killing it\n");
        (void)kill(scratch.server, SIGKILL);
        (void)reap(scratch.server, &status, STOP_MS_MAX);
    }
    scratch.server = 0;
}

static void make_directory(void)
{
    const char *temporary = getenv("TMPDIR");

    print_to(scratch.directory,
             sizeof(scratch.directory),
             "%s/scratch-nats-XXXXXX",
             temporary == NULL || strlen(temporary) > 32 ? "/tmp" : temporary);
    if (mkdtemp(scratch.directory) == NULL) {
        give_up("%s: %s", scratch.directory, strerror(errno));
    }
}

/* By the system's own tool: JetStream keeps directories of directories. */
static void remove_directory(const char *path)
{
    int status = 0;
    const pid_t pid = fork();

    if (pid == 0) {
        (void)execl("/bin/rm", "rm", "-rf", "--one-file-system", "--", path, (char *)NULL);
        _exit(127);
    }
    if (pid < 0 || !reap(pid, &status, STOP_MS_MAX) || status != 0) {
        (void)fprintf(stderr, "scratch_nats: %s is left behind\n", path);
    }
}

/* --- for tests ----------------------------------------------------------------------- */

const char *scratch_nats_start(const struct scratch_nats_options *options)
{
    assert(!scratch.prepared);
    scratch.prepared = true;
    scratch.owner = getpid();
    if (atexit(scratch_nats_end) != 0) {
        give_up("atexit is refused");
    }
    make_directory();
    scratch.configuration = options != NULL ? options->configuration : NULL;
    for (int i = 0; i < PORT_TRIES; i++) {
        scratch.port = free_port();
        if (launch(options)) {
            print_to(scratch.url, sizeof(scratch.url), "nats://127.0.0.1:%d", scratch.port);
            return scratch.url;
        }
    }
    give_up("the server does not start, see %s/log", scratch.directory);
}

void scratch_nats_stop(void)
{
    assert(scratch.server > 0);
    end_server(SIGTERM);
}

void scratch_nats_kill(void)
{
    assert(scratch.server > 0);
    end_server(SIGKILL);
}

void scratch_nats_wipe(void)
{
    char path[2 * PATH_BYTES];

    assert(scratch.prepared);
    assert(scratch.server == 0);
    print_to(path, sizeof(path), "%s/js", scratch.directory);
    remove_directory(path);
}

void scratch_nats_restart(const struct scratch_nats_options *options)
{
    assert(scratch.prepared);
    assert(scratch.server == 0);
    if (!launch(options)) {
        give_up("the server does not start again, see %s/log", scratch.directory);
    }
}

void scratch_nats_pause(void)
{
    assert(scratch.server > 0);
    (void)kill(scratch.server, SIGSTOP);
}

void scratch_nats_continue(void)
{
    assert(scratch.server > 0);
    (void)kill(scratch.server, SIGCONT);
}

void scratch_nats_end(void)
{
    if (!scratch.prepared || scratch.owner != getpid()) {
        return;
    }
    scratch.prepared = false;
    end_server(SIGKILL);
    remove_directory(scratch.directory);
}
