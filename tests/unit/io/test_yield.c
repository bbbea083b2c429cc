/* Threads of long work step back; the loop's thread does not. */
#include "tests/support/check.h"

#include "libcommon/io/loop.h"

#include <sched.h>
#include <sys/resource.h>

struct priority {
    struct loop *loop;
    int nice;
    int policy;
};

static void priority_work(void *arg)
{
    struct priority *seen = arg;

    seen->nice = getpriority(PRIO_PROCESS, 0);
    seen->policy = sched_getscheduler(0);
}

static void priority_done(void *arg)
{
    struct priority *seen = arg;

    loop_stop(seen->loop);
}

static void long_work_steps_back(void **state)
{
    const int before = getpriority(PRIO_PROCESS, 0);
    struct priority seen = {loop_open(), before, -1};

    (void)state;
    assert_int_equal(loop_work_long(seen.loop, priority_work, priority_done, &seen, NULL), OK);
    loop_run(seen.loop);
    loop_close(&seen.loop);
    assert_int_equal(seen.nice, before + 10 > 19 ? 19 : before + 10);
    assert_int_equal(seen.policy, SCHED_BATCH);
    assert_int_equal(getpriority(PRIO_PROCESS, 0), before); /* the loop's thread as before */
    assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_work_steps_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
