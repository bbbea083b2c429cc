#include "libcommon/io/yield.h"

#include <assert.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <threads.h>
#include <unistd.h>

#define YIELD_NICE   10 /* more than the process has: a tenth of the share of others */
#define SESSION_NICE "5"

_Static_assert(YIELD_NICE < 19, "there is something below");

/* Kernels that share the cores between sessions first compare a thread's nice value only within its
 * session, and the session has one of its own. It is left alone where it is somebody else's. */
static void session_yield(void)
{
    static atomic_flag yielded = ATOMIC_FLAG_INIT;
    static const char value[] = SESSION_NICE;
    int fd = -1;

    if (getsid(0) != getpid() || atomic_flag_test_and_set(&yielded)) {
        return;
    }
    fd = open("/proc/self/autogroup", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) { /* else there is no such thing here */
        (void)!write(fd, value, sizeof value - 1);
        (void)close(fd);
    }
}

/* Once for each thread of the pool. What is refused leaves the thread as it is: slower for others,
 * not wrong. */
void yield_to_others(void)
{
    static thread_local bool yields;
    const struct sched_param none = {.sched_priority = 0};

    if (!yields) {
        yields = true;
        session_yield();
        /* Both are of the calling thread, on Linux. */
        (void)setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + YIELD_NICE);
        (void)sched_setscheduler(0, SCHED_BATCH, &none);
    }
}
