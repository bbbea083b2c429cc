#include "tests/support/shell.h"

#include <assert.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define COMMAND_BYTES 8192

int shell_run(const char *command)
{
    char name[] = "sh";
    char option[] = "-c";
    char text[COMMAND_BYTES];
    char *argv[] = {name, option, text, NULL};
    pid_t pid = -1;
    int status = -1;
    const int len = snprintf(text, sizeof text, "%s", command);

    assert(len > 0 && (size_t)len < sizeof text);
    (void)fflush(NULL);
    if (posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ) != 0 ||
        waitpid(pid, &status, 0) != pid) {
        return -1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
