#include "tests/support/stack.h"

#include "libcommon/base/buf.h"

#include <netinet/in.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATH_BYTES  512
#define VALUE_BYTES 256

static char directory[PATH_BYTES];
static char url[VALUE_BYTES];

static int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    (void)close(fd);
    return ntohs(address.sin_port);
}

/* Runs a script of deploy/ with the stack's variables, its words going to the test's output. */
static int script(const char *name)
{
    char path[PATH_BYTES];
    char *argv[] = {path, NULL};
    pid_t pid = -1;
    int status = -1;

    (void)snprintf(path, sizeof path, "deploy/%s", name);
    assert_int_equal(setenv("STATE", directory, 1), 0);
    if (posix_spawn(&pid, path, NULL, NULL, argv, environ) != 0) {
        return -1;
    }
    if (waitpid(pid, &status, 0) != pid) {
        return -1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int stack_setup(void **state)
{
    const char *build = getenv("AVANTA_BUILD");
    char value[PATH_BYTES];
    int port = 0;

    (void)state;
    if (build == NULL) {
        fail_msg("AVANTA_BUILD is not set: it names the directory with bin/");
    }
    (void)snprintf(directory, sizeof directory, "/tmp/avanta-e2e-XXXXXX");
    assert_non_null(mkdtemp(directory));
    (void)snprintf(value, sizeof value, "%s/bin", build);
    assert_int_equal(setenv("BIN", value, 1), 0);
    port = free_port();
    (void)snprintf(value, sizeof value, "%d", port);
    assert_int_equal(setenv("PORT", value, 1), 0);
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%d", port);
    stack_up();
    return 0;
}

void stack_up(void)
{
    if (script("up.sh") != 0) {
        (void)script("down.sh");
        fail_msg("the stack did not come up; see %s/log", directory);
    }
}

int stack_teardown(void **state)
{
    char rm[] = "rm";
    char recursive[] = "-rf";
    char *argv[] = {rm, recursive, directory, NULL};
    pid_t pid = -1;
    int status = 0;
    int stopped = script("down.sh");

    (void)state;
    if (stopped != 0) {
        (void)fprintf(stderr, "the stack did not stop cleanly; see %s/log\n", directory);
        return stopped;
    }
    assert_int_equal(posix_spawnp(&pid, "rm", NULL, NULL, argv, environ), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return 0;
}

const char *stack_url(void)
{
    return url;
}

static bool value_read(const char *file, const char *name, char out[VALUE_BYTES])
{
    char path[PATH_BYTES + 16];
    char line[VALUE_BYTES];
    size_t length = strlen(name);
    bool found = false;
    FILE *f = NULL;

    (void)snprintf(path, sizeof path, "%s/%s", directory, file);
    f = fopen(path, "r");
    assert_non_null(f);
    while (!found && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, name, length) == 0 && line[length] == '=') {
            line[strcspn(line, "\n")] = '\0';
            memcpy(out, line + length + 1, strlen(line + length + 1) + 1);
            found = true;
        }
    }
    (void)fclose(f);
    return found;
}

const char *stack_value(const char *name)
{
    static char value[VALUE_BYTES];

    if (!value_read("env", name, value) && !value_read("admin.env", name, value)) {
        fail_msg("the stack has no %s", name);
    }
    return value;
}

pid_t stack_pid(const char *program)
{
    char path[PATH_BYTES + 32];
    char text[32] = "";
    int64_t pid = 0;
    FILE *f = NULL;

    (void)snprintf(path, sizeof path, "%s/%s.pid", directory, program);
    f = fopen(path, "r");
    assert_non_null(f);
    assert_non_null(fgets(text, sizeof text, f));
    (void)fclose(f);
    text[strcspn(text, "\n")] = '\0';
    assert_true(str_to_int64(str_from(text), &pid) && pid > 1);
    return (pid_t)pid;
}
