#pragma once
/* Programmer errors must end the process: runs a call in a child and tells how the child ended. */

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* True when call(argument) killed its process (by abort or by a sanitizer); quiet about it. */
static inline bool dies(void (*call)(void *argument), void *argument)
{
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

        /* The test library catches these and would go on with the tests in the child. */
        (void)signal(SIGSEGV, SIG_DFL);
        (void)signal(SIGBUS, SIG_DFL);
        (void)dup2(null, STDERR_FILENO);
        call(argument);
        _exit(0);
    }
    return child > 0 && waitpid(child, &status, 0) == child &&
           !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
