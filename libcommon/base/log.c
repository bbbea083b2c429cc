#include "libcommon/base/log.h"

#include "libcommon/base/buf.h"
#include "libcommon/base/clock.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define SERVICE_BYTES_MAX 32
#define BUFFER_BYTES      65536
#define TAIL_BYTES        16 /* kept back for `" cut=true` and the newline */
#define FIELDS_MAX        32
#define WRITE_WAIT_MS     20 /* for a reader that is behind; then lines stay in the buffer */
#define INTERRUPTS_MAX    100
#define RATE_MS           1000
#define REPLACEMENT       "\\ufffd"

_Static_assert(LOG_LINE_BYTES_MAX <= PIPE_BUF, "a line reaches a pipe in one piece");

static const char *const level_names[LOG_LEVEL_COUNT] = {"debug", "info", "warn", "error"};

static atomic_int threshold = LOG_INFO;

/* Everything below is guarded by `mutex`. */
static struct {
    pthread_mutex_t mutex;
    char service[SERVICE_BYTES_MAX];
    char lines[BUFFER_BYTES];
    size_t len;
    uint64_t lost;
    uint64_t reported; /* part of a "log_lost" line that is still in `lines` */
    bool stuck;        /* the last write failed: do not wait again until one succeeds */
} sink = {.mutex = PTHREAD_MUTEX_INITIALIZER, .service = "-"};

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

/* --- one line ------------------------------------------------------------------ */

/* Values of these characters need no quotes and stay easy to search for. */
static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("-_.:/@+,*%~", c) != NULL);
}

static bool needs_quotes(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!is_plain(s.ptr[i])) {
            return true;
        }
    }
    return s.len == 0;
}

/* Events and keys come from our own sources, never from input. */
static bool is_key(const char *key)
{
    assert(key != NULL);
    for (size_t i = 0; key[i] != '\0'; i++) {
        if ((key[i] < 'a' || key[i] > 'z') && (key[i] < '0' || key[i] > '9') && key[i] != '_') {
            return false;
        }
    }
    return key[0] != '\0';
}

/* Escapes are those of JSON, which logfmt readers understand. */
static void put_ascii(struct buf *line, unsigned char c)
{
    static const char digits[] = "0123456789abcdef";
    char escape[] = {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 0x0Fu]};

    switch (c) {
    case '"':
        buf_str(line, STR("\\\""));
        break;
    case '\\':
        buf_str(line, STR("\\\\"));
        break;
    case '\n':
        buf_str(line, STR("\\n"));
        break;
    case '\r':
        buf_str(line, STR("\\r"));
        break;
    case '\t':
        buf_str(line, STR("\\t"));
        break;
    default:
        if (c < 0x20 || c == 0x7F) {
            buf_append(line, escape, sizeof(escape));
        } else {
            buf_char(line, (char)c);
        }
        break;
    }
}

/* A sequence of a valid text. What terminals obey and what readers take for the end of a line (C1
 * controls, U+2028, U+2029) is spelled out. Returns the bytes consumed. */
static size_t put_sequence(struct buf *line, const unsigned char *at, size_t left)
{
    size_t len = at[0] >= 0xF0 ? 4 : at[0] >= 0xE0 ? 3 : 2;

    assert(at[0] >= 0xC2);
    assert(len <= left);
    if (at[0] == 0xC2 && at[1] <= 0x9F) {
        char escape[8];
        struct buf text = buf_over(escape, sizeof(escape));

        buf_printf(&text, "\\u00%02x", at[1]);
        buf_str(line, buf_view(&text));
    } else if (at[0] == 0xE2 && at[1] == 0x80 && (at[2] & 0xFEu) == 0xA8) {
        buf_str(line, at[2] == 0xA8 ? STR("\\u2028") : STR("\\u2029"));
    } else {
        buf_append(line, at, len);
    }
    return len;
}

/* Each sequence and each escape goes in whole or not at all, so a cut line is still well formed. */
static void put_quoted(struct buf *line, struct str s)
{
    const unsigned char *bytes = (const unsigned char *)s.ptr;
    bool valid = utf8_valid(s);
    size_t at = 0;

    while (at < s.len && !line->overflow) {
        if (bytes[at] < 0x80) {
            put_ascii(line, bytes[at]);
            at++;
        } else if (valid) {
            at += put_sequence(line, bytes + at, s.len - at);
        } else {
            buf_str(line, STR(REPLACEMENT));
            at++;
        }
    }
}

/* " key=value". A value that does not fit is cut inside its quotes: then the answer is true and the
 * closing quote still to come. A number that does not fit is left out. */
static bool put_field(struct buf *line, const struct log_field *field)
{
    size_t start = line->len;
    size_t needs = strlen(field->key) + sizeof(" =") - 1 + field->text.len;
    bool quoted = field->type == LOG_FIELD_STR &&
                  (needs > line->cap - line->len || needs_quotes(field->text));

    assert(is_key(field->key));
    buf_char(line, ' ');
    buf_text(line, field->key);
    buf_str(line, quoted ? STR("=\"") : STR("="));
    if (quoted && !line->overflow) {
        put_quoted(line, field->text);
        buf_char(line, '"');
        return line->overflow;
    }
    if (field->type == LOG_FIELD_STR) {
        buf_str(line, field->text);
    } else if (field->type == LOG_FIELD_INT) {
        buf_int64(line, field->number);
    } else {
        buf_uint64(line, field->unsigned_number);
    }
    if (line->overflow) {
        line->len = start;
    }
    return false;
}

/* The fields every line begins with; they always fit. Called with the lock, for the service's name.
 */
static void put_head(struct buf *line, enum log_level level, const char *event)
{
    char timestamp[TIMESTAMP_TEXT_BYTES];

    assert((unsigned)level < LOG_LEVEL_COUNT);
    timestamp_format(clock_wall_ms(), timestamp);
    buf_str(line, STR("ts="));
    buf_text(line, timestamp);
    buf_str(line, STR(" level="));
    buf_text(line, level_names[level]);
    buf_str(line, STR(" service="));
    buf_text(line, sink.service);
    buf_str(line, STR(" event="));
    buf_text(line, event);
    assert(!line->overflow);
}

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

/* Once lines go through again, the log says how many are missing. */
static void report_lost_locked(void)
{
    char memory[LOG_LINE_BYTES_MAX];
    struct buf line = buf_over(memory, sizeof(memory));

    if (sink.lost == 0 || sink.stuck || sizeof(sink.lines) - sink.len < LOG_LINE_BYTES_MAX) {
        return;
    }
    put_head(&line, LOG_WARN, "log_lost");
    buf_str(&line, STR(" lines="));
    buf_uint64(&line, sink.lost);
    buf_char(&line, '\n');
    sink.reported = sink.lost;
    sink.lost = 0;
    append_locked(buf_view(&line));
}

/* --- interface ----------------------------------------------------------------- */

void log_open(const char *service, enum log_level level)
{
    size_t len = 0;

    assert(service != NULL);
    assert((unsigned)level < LOG_LEVEL_COUNT);
    len = strlen(service);
    assert(len > 0);
    assert(len < SERVICE_BYTES_MAX);
    assert(!needs_quotes(str_from(service)));
    lock();
    memcpy(sink.service, service, len + 1);
    unlock();
    atomic_store_explicit(&threshold, (int)level, memory_order_relaxed);
}

void log_close(void)
{
    lock();
    flush_locked();
    sink.len = 0;
    sink.lost = 0;
    sink.reported = 0;
    sink.stuck = false;
    memcpy(sink.service, "-", 2);
    unlock();
    atomic_store_explicit(&threshold, LOG_INFO, memory_order_relaxed);
}

void log_flush(void)
{
    lock();
    flush_locked();
    report_lost_locked();
    flush_locked();
    unlock();
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
        if (str_eq(s, str_from(level_names[i]))) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

/* Ends a line; the room for this was kept back. */
static void put_tail(struct buf *line, bool in_quotes)
{
    bool cut = line->overflow;

    assert(line->cap + TAIL_BYTES <= LOG_LINE_BYTES_MAX);
    line->cap += TAIL_BYTES;
    line->overflow = false;
    if (in_quotes) {
        buf_char(line, '"');
    }
    if (cut) {
        buf_str(line, STR(" cut=true"));
    }
    buf_char(line, '\n');
    assert(!line->overflow);
}

void log_fields(enum log_level level,
                const char *event,
                const struct log_field *fields,
                size_t count)
{
    char memory[LOG_LINE_BYTES_MAX];
    struct buf line = buf_over(memory, sizeof(memory) - TAIL_BYTES);
    bool in_quotes = false;
    bool tried = false;

    assert(event != NULL);
    assert(fields != NULL || count == 0);
    assert(count <= FIELDS_MAX);
    if (!log_enabled(level)) {
        return;
    }
    assert(is_key(event));
    lock();
    put_head(&line, level, event);
    for (size_t i = 0; i < count && !line.overflow; i++) {
        in_quotes = put_field(&line, &fields[i]);
    }
    put_tail(&line, in_quotes);
    if (sink.stuck && sink.len > 0) {
        flush_locked();
        tried = sink.stuck; /* one attempt per line is enough */
    }
    report_lost_locked();
    append_locked(buf_view(&line));
    if (level >= LOG_WARN && !tried) {
        flush_locked();
    }
    unlock();
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
