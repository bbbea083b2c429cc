#include "services/audit-log/error_report.h"

#include "services/audit-log/error_text.h"
#include "services/audit-log/fingerprint.h"

#include "libcommon/base/buf.h"
#include "libcommon/base/log_mask.h"
#include "libcommon/codec/json_read.h"

#include <assert.h>
#include <string.h>

#define LINE_BYTES_MAX  4096
#define LINE_AGE_MS_MAX UINT64_C(3600000)

static const char *const source_names[ERROR_SOURCE_COUNT] = {
    [ERROR_FRONTEND] = "frontend", [ERROR_SERVER] = "server"};

static void fingerprint_fill(struct error_report *report)
{
    const struct fingerprint_of what = {
        .source = str_from(source_names[report->source]),
        .service = report->service,
        .name = report->name,
        .message = report->message,
        .stack = report->stack,
    };

    fingerprint(&what, report->fingerprint);
    uuid_v7(report->id);
}

/* --- browsers ----------------------------------------------------------------------------------
 */

/* The members of `error` that matter: an Error made to JSON by hand, or a text. */
struct error_members {
    struct str json;
    size_t depth;
    struct str *next; /* where the next value goes */
    struct str message;
    struct str stack;
    struct str name;
};

static enum code member_visit(void *ctx, const struct json_event *event)
{
    struct error_members *m = ctx;
    bool opens = event->kind == JSON_OBJECT_BEGIN || event->kind == JSON_ARRAY_BEGIN;
    bool closes = event->kind == JSON_OBJECT_END || event->kind == JSON_ARRAY_END;

    m->depth -= closes ? 1U : 0U;
    if (event->kind == JSON_KEY && m->depth == 1) {
        m->next = str_eq(event->text, STR("message")) ? &m->message
                  : str_eq(event->text, STR("stack")) ? &m->stack
                  : str_eq(event->text, STR("name"))  ? &m->name
                                                      : NULL;
    } else if (m->next != NULL && m->depth == 1 && !opens && !closes) {
        *m->next = str_sub(m->json, event->from, event->to);
        m->next = NULL;
    }
    m->depth += opens ? 1U : 0U;
    return OK;
}

static void members_read(struct str json, struct arena *arena, struct error_members *out)
{
    struct err err = {.code = OK};

    assert(out != NULL);
    *out = (struct error_members){.json = json};
    json = str_trim(json);
    if (json.len == 0 || json.ptr[0] != '{') {
        out->message = json;
        return;
    }
    out->json = json;
    if (json_read(json, arena, member_visit, out, &err) != OK) {
        *out = (struct error_members){.json = STR_EMPTY};
    }
}

/* The first of the two that says something, as text. */
static struct str text_of(const char *first, struct str second, struct arena *arena)
{
    struct str text = error_json_text(str_from(first), arena);

    if (text.ptr != NULL && str_trim(text).len == 0) {
        text = error_json_text(second, arena);
    }
    return text;
}

/* What the page calls itself, when that is a word. */
static struct str service_of(const char *source, struct arena *arena)
{
    struct str word = error_json_text(str_from(source), arena);

    if (word.ptr == NULL || word.len == 0 || word.len > ERROR_SERVICE_BYTES_MAX) {
        return STR("frontend");
    }
    for (size_t i = 0; i < word.len; i++) {
        char c = word.ptr[i];

        if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_') {
            return STR("frontend");
        }
    }
    return word;
}

static struct str network_of(const char *client_ip, struct arena *arena)
{
    char *network = arena_alloc(arena, LOG_ADDRESS_BYTES);

    if (network == NULL) {
        return (struct str){NULL, 0};
    }
    log_mask_address(str_from(client_ip), network);
    return str_from(network);
}

static bool is_complete(const struct error_report *report)
{
    const struct str *const texts[] = {&report->service,
                                       &report->name,
                                       &report->message,
                                       &report->stack,
                                       &report->context,
                                       &report->url,
                                       &report->agent,
                                       &report->network,
                                       &report->reporter,
                                       &report->request,
                                       &report->release};

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (texts[i]->ptr == NULL) {
            return false;
        }
    }
    return true;
}

static struct str word_of(const char *text, struct arena *arena)
{
    return error_text(str_from(text), ERROR_WORD_BYTES_MAX, arena);
}

/* The connection's is not the page's to say; a proxy in front may have another. */
static struct str agent_of(const Avanta__AuditLog__ReportErrorRequest *in,
                           const struct error_client *client,
                           struct arena *arena)
{
    struct str given = error_json_text(str_from(in->agent), arena);

    assert(client != NULL);
    if (given.ptr != NULL && given.len == 0) {
        given = str_from(client->agent);
    }
    return given.ptr == NULL ? given : error_text(given, ERROR_AGENT_BYTES_MAX, arena);
}

/* A NULL view stays one. */
static struct str cleaned(struct str text, size_t bytes_max, struct arena *arena)
{
    return text.ptr == NULL ? text : error_text(text, bytes_max, arena);
}

enum error_read error_report_read(const Avanta__AuditLog__ReportErrorRequest *in,
                                  const struct error_client *client,
                                  struct arena *arena,
                                  struct error_report *out)
{
    struct error_members error;
    struct str message;
    struct str url;

    assert(in != NULL);
    assert(client != NULL);
    members_read(str_from(in->error), arena, &error);
    message = text_of(in->message, error.message, arena);
    if (message.ptr != NULL && str_trim(message).len == 0) {
        return arena_exhausted(arena) ? ERROR_NO_MEMORY : ERROR_NO_MESSAGE;
    }
    url = error_json_text(str_from(in->url), arena);
    *out = (struct error_report){
        .source = ERROR_FRONTEND,
        .at_ms = client->now_ms,
        .service = service_of(in->source, arena),
        .name = cleaned(text_of(in->name, error.name, arena), ERROR_NAME_BYTES_MAX, arena),
        .message = cleaned(str_trim(message), ERROR_MESSAGE_BYTES_MAX, arena),
        .stack = cleaned(text_of(in->stack, error.stack, arena), ERROR_STACK_BYTES_MAX, arena),
        .context = in->context == NULL
                       ? STR_EMPTY
                       : error_json(str_from(in->context), ERROR_CONTEXT_BYTES_MAX, arena),
        .url = url.ptr == NULL ? url : error_url(url, ERROR_URL_BYTES_MAX, arena),
        .agent = agent_of(in, client, arena),
        .network = network_of(client->client_ip, arena),
        .reporter = str_from(client->user_id),
        .request = word_of(client->request_id, arena),
        .release =
            cleaned(error_json_text(str_from(in->release), arena), ERROR_WORD_BYTES_MAX, arena),
    };
    if (arena_exhausted(arena) || !is_complete(out)) {
        return ERROR_NO_MEMORY;
    }
    if (out->name.len == 0) {
        out->name = STR("Error");
    }
    fingerprint_fill(out);
    return ERROR_READ;
}

/* --- programs ----------------------------------------------------------------------------------
 */

/* What differs each time says nothing of the error. */
static bool is_incidental(const char *key)
{
    static const char *const keys[] = {"request_id",
                                       "trace",
                                       "us",
                                       "ms",
                                       "instance",
                                       "user",
                                       "client",
                                       "bytes_in",
                                       "bytes_out",
                                       "attempts",
                                       "reruns",
                                       "end"};

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (strcmp(key, keys[i]) == 0) {
            return true;
        }
    }
    return str_ends(str_from(key), STR("_us")) || str_ends(str_from(key), STR("_ms"));
}

/* The fields as they stand in the line. */
static struct str fields_of(const Avanta__LogLine *line, struct arena *arena)
{
    char *memory = arena_alloc(arena, LINE_BYTES_MAX);
    struct buf out = buf_over(memory, memory == NULL ? 0 : LINE_BYTES_MAX);

    assert(line != NULL);
    if (memory == NULL) {
        return (struct str){NULL, 0};
    }
    for (size_t i = 0; i < line->n_field; i++) {
        const Avanta__LogField *field = line->field[i];

        if (!is_incidental(field->key)) {
            buf_text(&out, out.len > 0 ? " " : "");
            buf_text(&out, field->key);
            buf_char(&out, '=');
            buf_text(&out, field->value);
        }
    }
    return out.len == 0 ? str_from(line->event) : buf_view(&out);
}

bool error_report_of_line(const Avanta__LogLine *line,
                          uint64_t now_ms,
                          struct arena *arena,
                          struct error_report *out)
{
    bool timely = line->time_ms <= now_ms && now_ms - line->time_ms < LINE_AGE_MS_MAX;

    assert(line != NULL);
    assert(out != NULL);
    *out = (struct error_report){
        .source = ERROR_SERVER,
        .at_ms = timely ? line->time_ms : now_ms,
        .service = error_text(str_from(line->service), ERROR_SERVICE_BYTES_MAX, arena),
        .name = error_text(str_from(line->event), ERROR_NAME_BYTES_MAX, arena),
        .message = cleaned(fields_of(line, arena), ERROR_MESSAGE_BYTES_MAX, arena),
        .stack = STR_EMPTY,
        .context = STR_EMPTY,
        .url = STR_EMPTY,
        .agent = word_of(line->instance, arena),
        .network = STR_EMPTY,
        .reporter = STR_EMPTY,
        .request = word_of(line->request_id, arena),
        .release = STR_EMPTY,
    };
    if (arena_exhausted(arena) || !is_complete(out)) {
        return false;
    }
    fingerprint_fill(out);
    return true;
}
