#include "libcommon/base/log.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/log_line.h"
#include "libcommon/base/log_mask.h"
#include "libcommon/base/log_ship.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define BUFFER_BYTES   65536
#define WRITE_WAIT_MS  20 /* for a reader that is behind; then lines stay in the buffer */
#define INTERRUPTS_MAX 100
#define RATE_MS        1000

_Static_assert(LOG_LINE_BYTES_MAX <= PIPE_BUF, "a line reaches a pipe in one piece");

static atomic_int threshold = LOG_INFO;
/* Of log_wants_request(). */
static atomic_uint_fast64_t sample;
static atomic_uint_fast64_t slow_us;

/* Everything below is guarded by `mutex`. */
static struct {
    pthread_mutex_t mutex;
    char service[LOG_SERVICE_BYTES];
    char instance[LOG_INSTANCE_BYTES];
    enum log_format format;
    enum log_level level;   /* of the options */
    enum log_level shipped; /* from which level on */
    uint64_t
        level_until_ms; /* monotonic: then the level of the options is back; 0: it is in force */
    char lines[BUFFER_BYTES];
    size_t len;
    uint64_t lost;
    uint64_t reported; /* part of a "log_lost" line that is still in `lines` */
    bool stuck;        /* the last write failed: do not wait again until one succeeds */
} sink = {.mutex = PTHREAD_MUTEX_INITIALIZER,
          .service = "-",
          .instance = "-",
          .level = LOG_INFO,
          .shipped = LOG_LEVEL_COUNT};

static struct log_ship ship; /* the same */

static void lock(void)
{
    int failed = pthread_mutex_lock(&sink.mutex);

    assert(failed == 0);
}

static void unlock(void)
{
    int failed = pthread_mutex_unlock(&sink.mutex);

    assert(failed == 0);
}

/* --- writing ------------------------------------------------------------------- */

/* Whole lines, as many as a pipe takes at once without mixing them with another writer's. */
static size_t piece_length(const char *lines, size_t len)
{
    size_t piece = len < PIPE_BUF ? len : PIPE_BUF;
    const char *newline = memrchr(lines, '\n', piece);

    assert(len > 0);
    return newline == NULL ? piece : (size_t)(newline - lines) + 1;
}

/* Writes what standard error takes within the wait; false, with errno, when it takes nothing. A
 * pipe that polls writable takes PIPE_BUF bytes without blocking, even when it is a blocking one.
 */
static bool write_piece(const char *lines, size_t len, size_t *out_written)
{
    struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};
    int polled = poll(&ready, 1, sink.stuck ? 0 : WRITE_WAIT_MS);
    ssize_t written = 0;

    assert(len > 0);
    assert(out_written != NULL);
    if (polled <= 0) {
        errno = polled == 0 ? EAGAIN : errno;
        return false;
    }
    written = write(STDERR_FILENO, lines, piece_length(lines, len));
    if (written < 0) {
        return false;
    }
    *out_written = (size_t)written;
    return true;
}

static uint64_t count_lines(const char *lines, size_t len)
{
    uint64_t count = 0;

    for (size_t i = 0; i < len; i++) {
        count += lines[i] == '\n' ? 1 : 0;
    }
    return count;
}

/* Nobody will ever read the lines from `at` on, nor the count of lost ones that one of them gave.
 */
static void drop_locked(size_t at)
{
    assert(at <= sink.len);
    sink.lost += count_lines(sink.lines + at, sink.len - at);
    if (sink.reported > 0) {
        sink.lost += sink.reported - 1;
    }
    sink.reported = 0;
    sink.stuck = true;
}

static void flush_locked(void)
{
    size_t done = 0;
    int interrupts = 0;

    assert(sink.len <= sizeof(sink.lines));
    while (done < sink.len) {
        size_t written = 0;

        if (write_piece(sink.lines + done, sink.len - done, &written)) {
            sink.stuck = false;
            done += written;
        } else if (errno == EAGAIN) {
            sink.stuck = true;
            break;
        } else if (errno != EINTR || ++interrupts > INTERRUPTS_MAX) {
            drop_locked(done);
            done = sink.len;
        }
    }
    if (done == sink.len) {
        sink.reported = 0;
    }
    assert(done <= sink.len);
    memmove(sink.lines, sink.lines + done, sink.len - done);
    sink.len -= done;
}

/* --- lines ------------------------------------------------------------------------ */

/* The newest lines are the ones to go when the buffer is full: what led to the trouble is kept. */
static void append_locked(struct str line)
{
    assert(line.len <= LOG_LINE_BYTES_MAX);
    assert(sink.len <= sizeof(sink.lines));
    if (line.len > sizeof(sink.lines) - sink.len && !sink.stuck) {
        flush_locked();
    }
    if (line.len > sizeof(sink.lines) - sink.len) {
        sink.lost++;
        return;
    }
    memcpy(sink.lines + sink.len, line.ptr, line.len);
    sink.len += line.len;
}

static struct log_head head_of(enum log_level level, const char *event)
{
    return (struct log_head){.format = sink.format,
                             .level = level,
                             .wall_ms = clock_wall_ms(),
                             .service = sink.service,
                             .instance = sink.instance,
                             .event = event};
}

/* Once lines go through again, the log says how many are missing. */
static void report_lost_locked(void)
{
    char memory[LOG_LINE_BYTES_MAX];
    struct log_head head = head_of(LOG_WARN, "log_lost");
    struct log_line line;

    if (sink.lost == 0 || sink.stuck || sizeof(sink.lines) - sink.len < LOG_LINE_BYTES_MAX) {
        return;
    }
    log_line_begin(&line, memory, &head);
    log_line_field(&line, &LOG_U("lines", sink.lost));
    sink.reported = sink.lost;
    sink.lost = 0;
    append_locked(log_line_end(&line));
}

/* --- levels ------------------------------------------------------------------------ */

static void level_put(enum log_level level, uint64_t until_ms)
{
    sink.level_until_ms = until_ms;
    atomic_store_explicit(&threshold, (int)level, memory_order_relaxed);
}

static void level_due_locked(void)
{
    if (sink.level_until_ms != 0 && clock_mono_ms() >= sink.level_until_ms) {
        level_put(sink.level, 0);
    }
}

bool log_enabled(enum log_level level)
{
    assert((unsigned)level < LOG_LEVEL_COUNT);
    return (int)level >= atomic_load_explicit(&threshold, memory_order_relaxed);
}

bool log_level_parse(struct str s, enum log_level *out)
{
    assert(out != NULL);
    for (int i = 0; i < LOG_LEVEL_COUNT; i++) {
        if (str_eq(s, str_from(log_level_name((enum log_level)i)))) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

void log_level_set(enum log_level level, uint64_t seconds)
{
    assert((unsigned)level < LOG_LEVEL_COUNT);
    assert(seconds > 0);
    assert(seconds <= LOG_LEVEL_SECONDS_MAX);
    lock();
    level_put(level, clock_mono_ms() + seconds * 1000);
    unlock();
    log_event(LOG_WARN,
              "log_level_changed",
              LOG_S("to", log_level_name(level)),
              LOG_U("seconds", seconds));
}

enum log_level log_level_now(uint64_t *out_seconds)
{
    enum log_level level = LOG_INFO;

    assert(out_seconds != NULL);
    lock();
    level_due_locked();
    level = (enum log_level)atomic_load_explicit(&threshold, memory_order_relaxed);
    *out_seconds =
        sink.level_until_ms == 0 ? 0 : (sink.level_until_ms - clock_mono_ms() + 999) / 1000;
    unlock();
    return level;
}

bool log_wants_request(struct str request_id, bool failed, uint64_t us)
{
    uint64_t one_of = atomic_load_explicit(&sample, memory_order_relaxed);
    uint64_t slow = atomic_load_explicit(&slow_us, memory_order_relaxed);

    if (log_enabled(LOG_DEBUG)) {
        return true;
    }
    if (!log_enabled(LOG_INFO)) {
        return false;
    }
    if (failed || (slow > 0 && us >= slow) || one_of <= 1) {
        return true;
    }
    return hash_bytes(request_id.ptr, request_id.len, 0) % one_of == 0;
}

/* --- interface ----------------------------------------------------------------- */

static void name_put(char *out, size_t cap, const char *name)
{
    bool fits = str_copy(str_from(name), out, cap);

    assert(fits);
    assert(log_value_plain(str_from(name)));
}

void log_open(const struct log_options *options)
{
    assert((unsigned)options->level < LOG_LEVEL_COUNT);
    assert((unsigned)options->ship <= LOG_LEVEL_COUNT);
    assert(options->service != NULL);
    lock();
    name_put(sink.service, sizeof sink.service, options->service);
    name_put(
        sink.instance, sizeof sink.instance, options->instance == NULL ? "-" : options->instance);
    sink.format = options->format;
    sink.level = options->level;
    sink.shipped = options->ship;
    level_put(options->level, 0);
    unlock();
    atomic_store_explicit(&sample, options->sample, memory_order_relaxed);
    atomic_store_explicit(&slow_us, options->slow_ms * 1000, memory_order_relaxed);
}

void log_close(void)
{
    const struct log_options none = {.service = "-", .level = LOG_INFO, .ship = LOG_LEVEL_COUNT};

    lock();
    flush_locked();
    sink.len = 0;
    sink.lost = 0;
    sink.reported = 0;
    sink.stuck = false;
    ship.first = 0;
    ship.count = 0;
    ship.lost = 0;
    unlock();
    log_open(&none);
}

void log_flush(void)
{
    lock();
    level_due_locked();
    flush_locked();
    report_lost_locked();
    flush_locked();
    unlock();
}

static void put_locked(enum log_level level, struct str line)
{
    bool tried = false;

    if (sink.stuck && sink.len > 0) {
        flush_locked();
        tried = sink.stuck; /* one attempt per line is enough */
    }
    report_lost_locked();
    append_locked(line);
    if (level >= LOG_WARN && !tried) {
        flush_locked();
    }
}

/* The field as it may be shown. */
static struct log_field
masked(const struct log_field *field, char memory[LOG_MASK_BYTES], bool *out_cut)
{
    struct log_field shown = *field;

    *out_cut = false;
    if (log_mask_key(field->key)) {
        return LOG_S(field->key, LOG_MASK);
    }
    if (field->type == LOG_FIELD_STR) {
        shown.text = log_mask_text(field->text, memory, out_cut);
    }
    return shown;
}

static void write_fields(const struct log_head *head,
                         const struct log_field *fields,
                         size_t count,
                         struct log_record *record)
{
    char memory[LOG_LINE_BYTES_MAX];
    char shown[LOG_MASK_BYTES];
    struct log_line line;

    log_line_begin(&line, memory, head);
    for (size_t i = 0; i < count && !line.cut; i++) {
        bool cut = false;
        struct log_field field = masked(&fields[i], shown, &cut);

        log_line_field(&line, &field);
        line.cut = line.cut || cut;
        if (record != NULL) {
            log_record_add(record, &field);
        }
    }
    put_locked(head->level, log_line_end(&line));
}

static void log_put(enum log_level level,
                    const char *event,
                    const struct log_field *fields,
                    size_t count,
                    bool may_ship)
{
    struct log_head head;
    struct log_record *record = NULL;

    assert(event != NULL);
    assert(fields != NULL || count == 0);
    assert(count <= LOG_FIELDS_MAX);
    if (!log_enabled(level)) {
        return;
    }
    lock();
    head = head_of(level, event);
    if (may_ship && level >= sink.shipped) {
        record = log_ship_begin(&ship, head.wall_ms, level, event);
    }
    write_fields(&head, fields, count, record);
    unlock();
}

void log_fields(enum log_level level,
                const char *event,
                const struct log_field *fields,
                size_t count)
{
    log_put(level, event, fields, count, true);
}

void log_fields_here(enum log_level level,
                     const char *event,
                     const struct log_field *fields,
                     size_t count)
{
    log_put(level, event, fields, count, false);
}

bool log_ship_take(struct log_record *out)
{
    bool any = false;

    assert(out != NULL);
    lock();
    any = ship.count > 0;
    if (any) {
        *out = ship.records[ship.first];
        ship.first = (ship.first + 1) % LOG_SHIP_WAITING_MAX;
        ship.count--;
    }
    unlock();
    return any;
}

void log_ship_lose(void)
{
    lock();
    ship.lost++;
    unlock();
}

uint64_t log_ship_lost(void)
{
    uint64_t lost = 0;

    lock();
    lost = ship.lost;
    unlock();
    return lost;
}

bool log_rate_allows(uint64_t *last_ms)
{
    uint64_t now_ms = clock_mono_ms();

    assert(last_ms != NULL);
    if (*last_ms != 0 && now_ms < *last_ms + RATE_MS) {
        return false;
    }
    *last_ms = now_ms == 0 ? 1 : now_ms;
    return true;
}
