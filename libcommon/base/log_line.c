#include "libcommon/base/log_line.h"

#include "libcommon/base/clock.h"

#include <assert.h>
#include <string.h>

#define TAIL_BYTES  16 /* kept back for `","cut":true}` and the newline */
#define REPLACEMENT "\\ufffd"

static const char *const level_names[LOG_LEVEL_COUNT] = {"debug", "info", "warn", "error"};

const char *log_level_name(enum log_level level)
{
    assert((unsigned)level < LOG_LEVEL_COUNT);
    return level_names[level];
}

/* Values of these characters need no quotes and stay easy to search for. */
static bool is_plain(char c)
{
    if ((c >= 'a' && c <= 'z') || (c >= '+' && c <= ':') || (c >= 'A' && c <= 'Z')) {
        return true; /* + , - . / 0 to 9 : stand side by side */
    }
    return c == '_' || c == '@' || c == '*' || c == '%' || c == '~';
}

bool log_value_plain(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!is_plain(s.ptr[i])) {
            return false;
        }
    }
    return s.len > 0;
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

/* --- texts: both formats escape as JSON does, which logfmt readers understand ------ */

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

/* --- fields -------------------------------------------------------------------------- */

static void put_key(struct log_line *line, const char *key)
{
    bool json = line->format == LOG_JSON;

    buf_str(&line->buf, json ? STR(",\"") : STR(" "));
    buf_text(&line->buf, key);
    buf_str(&line->buf, json ? STR("\":") : STR("="));
}

/* A value that does not fit is cut inside its quotes; the closing one is still to come. */
static void put_text(struct log_line *line, struct str text)
{
    struct buf *b = &line->buf;
    bool fits = text.len <= b->cap - b->len;

    if (line->format == LOG_LOGFMT && fits && log_value_plain(text)) {
        buf_str(b, text);
        return;
    }
    buf_char(b, '"');
    if (b->overflow) {
        return;
    }
    put_quoted(b, text);
    buf_char(b, '"');
    line->in_quotes = b->overflow;
}

void log_line_field(struct log_line *line, const struct log_field *field)
{
    struct buf *b = &line->buf;
    size_t start = b->len;

    assert(is_key(field->key));
    if (line->cut) {
        return;
    }
    put_key(line, field->key);
    if (field->type == LOG_FIELD_STR) {
        put_text(line, field->text);
    } else if (field->type == LOG_FIELD_INT) {
        buf_int64(b, field->number);
    } else {
        buf_uint64(b, field->unsigned_number);
    }
    line->cut = b->overflow;
    if (line->cut && !line->in_quotes) {
        b->len = start; /* a number is there whole or not at all */
    }
}

/* --- the line -------------------------------------------------------------------------- */

void log_line_begin(struct log_line *line,
                    char memory[LOG_LINE_BYTES_MAX],
                    const struct log_head *head)
{
    char timestamp[TIMESTAMP_TEXT_BYTES];
    bool json = head->format == LOG_JSON;

    assert(is_key(head->event));
    *line = (struct log_line){.buf = buf_over(memory, LOG_LINE_BYTES_MAX - TAIL_BYTES),
                              .format = head->format};
    timestamp_format(head->wall_ms, timestamp);
    buf_str(&line->buf, json ? STR("{\"ts\":\"") : STR("ts="));
    buf_text(&line->buf, timestamp);
    buf_str(&line->buf, json ? STR("\"") : STR_EMPTY);
    log_line_field(line, &LOG_S("level", log_level_name(head->level)));
    log_line_field(line, &LOG_S("service", head->service));
    log_line_field(line, &LOG_S("instance", head->instance));
    log_line_field(line, &LOG_S("event", head->event));
    assert(!line->buf.overflow); /* names are short */
}

struct str log_line_end(struct log_line *line)
{
    struct buf *b = &line->buf;
    bool json = line->format == LOG_JSON;

    assert(b->cap + TAIL_BYTES == LOG_LINE_BYTES_MAX);
    b->cap += TAIL_BYTES;
    b->overflow = false;
    if (line->in_quotes) {
        buf_char(b, '"');
    }
    if (line->cut) {
        buf_str(b, json ? STR(",\"cut\":true") : STR(" cut=true"));
    }
    buf_str(b, json ? STR("}\n") : STR("\n"));
    assert(!b->overflow);
    return buf_view(b);
}
