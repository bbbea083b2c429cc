#include "tests/support/check.h"
#include "tests/unit/base/dies.h"
#include "tests/unit/base/random.h"

#include "libcommon/base/buf.h"
#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HEAD "ts=2000-02-28T23:59:59.007Z level=info service=ledger instance=i-1 event="

static char seen[1 << 20];
static int saved_stderr = -1;
static int sink = -1;

static uint64_t fixed_wall_ms(void)
{
    return UINT64_C(951782399007);
}

static const struct log_options options = {
    .service = "ledger", .instance = "i-1", .level = LOG_INFO, .ship = LOG_LEVEL_COUNT};

static uint64_t mono_us;

static uint64_t fake_mono_us(void)
{
    return mono_us;
}

/* Standard error becomes a file in memory until written() gives its text. */
static int setup(void **state)
{
    static const struct clock_source fake = {fake_mono_us, fixed_wall_ms};

    (void)state;
    clock_replace(&fake);
    sink = memfd_create("stderr", MFD_CLOEXEC);
    saved_stderr = dup(STDERR_FILENO);
    if (sink < 0 || saved_stderr < 0 || dup2(sink, STDERR_FILENO) < 0) {
        return 1;
    }
    log_open(&options);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    log_close();
    (void)dup2(saved_stderr, STDERR_FILENO);
    (void)close(saved_stderr);
    (void)close(sink);
    clock_replace(NULL);
    return 0;
}

static const char *written(void)
{
    ssize_t len = pread(sink, seen, sizeof(seen) - 1, 0);

    assert_true(len >= 0);
    seen[len] = '\0';
    return seen;
}

static void lines_have_the_form(void **state)
{
    (void)state;
    log_event(LOG_INFO, "started", LOG_S("what", "x"), LOG_I("n", -5), LOG_U("u", UINT64_MAX));
    log_flush();
    assert_string_equal(written(), HEAD "started what=x n=-5 u=18446744073709551615\n");
}

static void levels_filter_and_hurry(void **state)
{
    enum log_level level = LOG_ERROR;
    struct log_options loud = options;

    (void)state;
    log_event(LOG_DEBUG, "hidden", LOG_U("n", 1));
    assert_false(log_enabled(LOG_DEBUG));
    assert_true(log_enabled(LOG_INFO));
    log_event(LOG_INFO, "waits", LOG_U("n", 2));
    assert_string_equal(written(), "");
    log_event(LOG_WARN, "hurries", LOG_U("n", 3));
    assert_non_null(strstr(written(), "event=waits n=2\n"));
    assert_non_null(
        strstr(written(), "level=warn service=ledger instance=i-1 event=hurries n=3\n"));
    assert_null(strstr(written(), "hidden"));
    loud.level = LOG_ERROR;
    log_open(&loud);
    assert_false(log_enabled(LOG_WARN));
    assert_true(log_level_parse(STR("debug"), &level));
    assert_int_equal(level, LOG_DEBUG);
    assert_false(log_level_parse(STR("DEBUG"), &level));
    assert_false(log_level_parse(STR(""), &level));
}

static void values_cannot_forge(void **state)
{
    static const struct {
        struct str value;
        const char *expected;
    } rows[] = {
        {{"plain-1.2_x:/~", 14},  "plain-1.2_x:/~"      },
        {{"", 0},                 "\"\""                },
        {{NULL, 0},               "\"\""                },
        {{"a b", 3},              "\"a b\""             },
        {{"a=b", 3},              "\"a=b\""             },
        {{"a\nts=1 x=y", 10},     "\"a\\nts=1 x=y\""    },
        {{"\r\t\"\\", 4},         "\"\\r\\t\\\"\\\\\""  },
        {{"\x1b[2J", 4},          "\"\\u001b[2J\""      },
        {{"a\0b", 3},             "\"a\\u0000b\""       },
        {{"\x7f", 1},             "\"\\u007f\""         },
        {{"caf\xC3\xA9", 5},      "\"caf\xC3\xA9\""     },
        {{"\xC2\x85|", 3},        "\"\\u0085|\""        },
        {{"\xC2\x9B|", 3},        "\"\\u009b|\""        },
        {{"\xC2\xA0|", 3},        "\"\xC2\xA0|\""       },
        {{"\xE2\x80\xA8", 3},     "\"\\u2028\""         },
        {{"\xE2\x80\xA9", 3},     "\"\\u2029\""         },
        {{"\xE2\x80\xAA", 3},     "\"\xE2\x80\xAA\""    },
        {{"\xF0\x9F\x92\xB0", 4}, "\"\xF0\x9F\x92\xB0\""},
        {{"\xFF|", 2},            "\"\\ufffd|\""        },
        {{"\xC3", 1},             "\"\\ufffd\""         },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char expected[128];

        (void)snprintf(expected, sizeof(expected), HEAD "e v=%s end=1\n", rows[i].expected);
        assert_int_equal(ftruncate(sink, 0), 0);
        assert_int_equal(lseek(sink, 0, SEEK_SET), 0);
        log_event(LOG_INFO, "e", LOG_V("v", rows[i].value), LOG_U("end", 1));
        log_flush();
        assert_string_equal(written(), expected);
    }
}

/* Whatever the value, the line stays one line within its limit, closed in its quotes. */
static void long_lines_are_cut_cleanly(void **state)
{
    static const char *const fills[] = {"x", " ", "\n", "\xC3\xA9", "\xF0\x9F\x92\xB0", "\xFF"};
    char value[3000];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(fills) * 8; i++) {
        struct buf text = buf_over(value, sizeof(value));
        size_t line_len = 0;

        for (size_t shift = 0; shift < i % 8; shift++) {
            buf_char(&text, 'a'); /* so that the cut falls on every place of a sequence */
        }
        while (!text.overflow) {
            buf_text(&text, fills[i / 8]);
        }
        assert_int_equal(ftruncate(sink, 0), 0);
        assert_int_equal(lseek(sink, 0, SEEK_SET), 0);
        log_event(LOG_INFO, "e", LOG_V("v", buf_view(&text)), LOG_U("never", 1));
        log_flush();
        line_len = strlen(written());
        assert_row(i, line_len <= LOG_LINE_BYTES_MAX);
        assert_row(i, line_len > LOG_LINE_BYTES_MAX - 30);
        assert_row(i, strchr(seen, '\n') == seen + line_len - 1);
        assert_row(i, strcmp(seen + line_len - 11, "\" cut=true\n") == 0);
        assert_row(i, strstr(seen, "never") == NULL);
        assert_row(i, utf8_valid(str_from(seen)));
    }
}

/* Each length around the limit: the number after the text is there whole or not at all. */
static void fields_at_the_limit_are_whole(void **state)
{
    char value[LOG_LINE_BYTES_MAX];

    (void)state;
    memset(value, 'p', sizeof(value));
    for (size_t len = LOG_LINE_BYTES_MAX - 140; len < LOG_LINE_BYTES_MAX - 80; len++) {
        const char *tail = NULL;

        assert_int_equal(ftruncate(sink, 0), 0);
        assert_int_equal(lseek(sink, 0, SEEK_SET), 0);
        log_event(LOG_INFO, "e", LOG_V("v", ((struct str){value, len})), LOG_U("n", 1234567));
        log_flush();
        assert_row(len, strlen(written()) <= LOG_LINE_BYTES_MAX);
        tail = strrchr(seen, 'p') + 1;
        assert_row(len,
                   strcmp(tail, " n=1234567\n") == 0 || strcmp(tail, " cut=true\n") == 0 ||
                       strcmp(tail, "\" cut=true\n") == 0);
    }
}

static void buffer_is_written_when_full(void **state)
{
    size_t count = 0;
    size_t newlines = 0;

    (void)state;
    while (written()[0] == '\0') {
        log_event(LOG_INFO, "fill", LOG_U("number", count));
        count++;
        assert_in_range(count, 1, 5000);
    }
    log_flush();
    for (const char *at = written(); *at != '\0'; at++) {
        newlines += *at == '\n' ? 1 : 0;
    }
    assert_int_equal(newlines, count);
}

/* --- readers that do not read -------------------------------------------------- */

static int ends[2];

static void use_pipe(int flags)
{
    assert_int_equal(pipe2(ends, flags), 0);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
}

static void read_some(char *out, size_t cap)
{
    ssize_t len = read(ends[0], out, cap - 1);

    assert_true(len >= 0);
    out[len] = '\0';
}

static uint64_t real_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Fills pipe and buffer, then reads both: complete lines in order, and the number of missing ones.
 */
static void stuck_reader_costs_lines_not_time(int flags)
{
    enum {
        LINES = 5000
    };
    uint64_t start_ms = real_ms();
    size_t next = 0;
    size_t lost = 0;
    char *line = NULL;
    char *rest = NULL;

    use_pipe(flags);
    for (size_t i = 0; i < LINES; i++) {
        log_event(LOG_WARN, "n", LOG_U("i", i));
    }
    assert_in_range(real_ms() - start_ms, 0, 20000);                  /* not for ever, that is */
    assert_int_equal(fcntl(ends[0], F_SETPIPE_SZ, 1 << 18), 1 << 18); /* room again */
    log_event(LOG_WARN, "n", LOG_U("i", LINES));
    log_event(LOG_WARN, "n", LOG_U("i", LINES + 1));
    log_flush();
    read_some(seen, sizeof(seen));
    for (line = strtok_r(seen, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        const char *lines = strstr(line, "event=log_lost lines=");
        const char *number = strstr(line, "event=n i=");

        assert_row(next, strncmp(line, "ts=", 3) == 0);
        if (lines != NULL) {
            lost += strtoul(lines + sizeof("event=log_lost lines=") - 1, NULL, 10);
            next += lost;
            continue;
        }
        assert_non_null(number);
        assert_row(next, strtoul(number + sizeof("event=n i=") - 1, NULL, 10) >= next);
        next++;
    }
    assert_in_range(lost, 1000, LINES);
    assert_int_equal(next, LINES + 2); /* every line was written or counted */
    (void)close(ends[0]);
    (void)close(ends[1]);
}

static void stuck_pipe_nonblocking(void **state)
{
    (void)state;
    stuck_reader_costs_lines_not_time(O_CLOEXEC | O_NONBLOCK);
}

/* A blocking pipe must not block either. */
static void stuck_pipe_blocking(void **state)
{
    (void)state;
    stuck_reader_costs_lines_not_time(O_CLOEXEC);
}

static void vanished_reader_is_survived(void **state)
{
    void (*before)(int) = signal(SIGPIPE, SIG_IGN);

    (void)state;
    use_pipe(O_CLOEXEC);
    (void)close(ends[0]);
    for (size_t i = 0; i < 10; i++) {
        log_event(LOG_ERROR, "nobody", LOG_U("i", i));
    }
    assert_true(dup2(sink, STDERR_FILENO) >= 0);
    log_event(LOG_INFO, "back", LOG_U("i", 11));
    log_flush();
    assert_non_null(strstr(written(), "event=log_lost lines=10\n"));
    assert_non_null(strstr(written(), "event=back i=11\n"));
    (void)close(ends[1]);
    (void)signal(SIGPIPE, before);
}

/* --- the rest ------------------------------------------------------------------ */

enum {
    THREADS = 4,
    PER_THREAD = 5000
};

static void *log_many(void *index)
{
    for (uint64_t i = 0; i < PER_THREAD; i++) {
        log_event(i % 100 == 0 ? LOG_WARN : LOG_INFO,
                  "thread",
                  LOG_U("t", *(const uint64_t *)index),
                  LOG_U("i", i));
    }
    return NULL;
}

/* Each thread's lines come whole and in its order. */
static void threads_share_the_log(void **state)
{
    static char text[4 << 20];
    pthread_t threads[THREADS];
    uint64_t indexes[THREADS];
    unsigned long next[THREADS] = {0};
    char *rest = NULL;
    ssize_t len = 0;

    (void)state;
    for (size_t i = 0; i < THREADS; i++) {
        indexes[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, log_many, &indexes[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    log_flush();
    len = pread(sink, text, sizeof(text) - 1, 0);
    assert_true(len > 0);
    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        char *fields = strstr(line, "event=thread t=");
        char *number = NULL;
        unsigned long thread = 0;

        assert_non_null(fields);
        thread = strtoul(fields + sizeof("event=thread t=") - 1, &number, 10);
        assert_in_range(thread, 0, THREADS - 1);
        assert_int_equal(strncmp(number, " i=", 3), 0);
        assert_row(thread, strtoul(number + 3, NULL, 10) == next[thread]);
        next[thread]++;
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_row(i, next[i] == PER_THREAD);
    }
}

static void close_flushes_and_forgets(void **state)
{
    (void)state;
    log_event(LOG_INFO, "last", LOG_U("n", 1));
    log_close();
    assert_string_equal(written(), HEAD "last n=1\n");
    log_event(LOG_WARN, "after", LOG_U("n", 2));
    assert_non_null(strstr(written(), "level=warn service=- instance=- event=after n=2\n"));
}

static void rate_is_one_per_second(void **state)
{
    uint64_t slot = 0;
    uint64_t other = 0;

    (void)state;
    mono_us = 0;
    assert_true(log_rate_allows(&slot)); /* even at time zero */
    assert_false(log_rate_allows(&slot));
    assert_true(log_rate_allows(&other)); /* slots are apart */
    mono_us = 1000000;
    assert_false(log_rate_allows(&slot));
    mono_us = 1001000;
    assert_true(log_rate_allows(&slot));
    assert_false(log_rate_allows(&slot));
}

static void bad_key(void *unused)
{
    (void)unused;
    log_event(LOG_INFO, "e", LOG_U("a b", 1));
}

static void bad_event(void *unused)
{
    (void)unused;
    log_event(LOG_INFO, "e x=1", LOG_U("a", 1));
}

static void names_are_checked(void **state)
{
    (void)state;
    assert_true(dies(bad_key, NULL));
    assert_true(dies(bad_event, NULL));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(lines_have_the_form),
        CASE(levels_filter_and_hurry),
        CASE(values_cannot_forge),
        CASE(long_lines_are_cut_cleanly),
        CASE(fields_at_the_limit_are_whole),
        CASE(buffer_is_written_when_full),
        CASE(stuck_pipe_nonblocking),
        CASE(stuck_pipe_blocking),
        CASE(vanished_reader_is_survived),
        CASE(threads_share_the_log),
        CASE(close_flushes_and_forgets),
        CASE(rate_is_one_per_second),
        CASE(names_are_checked),
    };

    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
