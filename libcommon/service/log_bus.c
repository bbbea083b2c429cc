#include "libcommon/service/log_bus.h"

#include "avanta/common.pb-c.h"

#include "libcommon/base/id.h"
#include "libcommon/base/log_line.h"
#include "libcommon/base/log_ship.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define TICK_LINES_MAX 16
#define SUBJECT_BYTES  96
#define PACKED_BYTES   4096

struct log_bus {
    struct bus *bus;
    const char *service;
    struct bus_subscription *control;
    struct log_record record; /* the one that is being sent */
};

/* --- shipping ------------------------------------------------------------------------ */

/* The texts of a record, one after the other. */
static char *next_text(char **at)
{
    char *text = *at;

    *at += strlen(text) + 1;
    return text;
}

static size_t pack(struct log_bus *log, uint8_t out[PACKED_BYTES])
{
    struct log_record *record = &log->record;
    Avanta__LogLine line = AVANTA__LOG_LINE__INIT;
    Avanta__LogField fields[LOG_FIELDS_MAX];
    Avanta__LogField *pointers[LOG_FIELDS_MAX];
    char instance[UUID_TEXT_BYTES];
    char level[8];
    char service[LOG_SERVICE_BYTES];
    char *at = record->text;
    bool fit = str_copy(str_from(log_level_name(record->level)), level, sizeof level);

    fit = str_copy(str_from(log->service), service, sizeof service) && fit;
    fit = str_copy(str_from(instance_id()), instance, sizeof instance) && fit;
    assert(fit);
    assert(record->field_count <= LOG_FIELDS_MAX);
    line.time_ms = record->wall_ms;
    line.level = level;
    line.service = service;
    line.instance = instance;
    line.event = next_text(&at);
    for (uint32_t i = 0; i < record->field_count; i++) {
        avanta__log_field__init(&fields[i]);
        fields[i].key = next_text(&at);
        fields[i].value = next_text(&at);
        pointers[i] = &fields[i];
        if (strcmp(fields[i].key, "request_id") == 0) {
            line.request_id = fields[i].value;
        } else if (strcmp(fields[i].key, "trace") == 0) {
            line.trace = fields[i].value;
        }
    }
    line.n_field = record->field_count;
    line.field = pointers;
    return avanta__log_line__get_packed_size(&line) <= PACKED_BYTES
               ? avanta__log_line__pack(&line, out)
               : 0;
}

static void send(struct log_bus *log)
{
    uint8_t packed[PACKED_BYTES];
    char memory[SUBJECT_BYTES];
    struct buf subject = buf_over(memory, sizeof memory);
    size_t len = pack(log, packed);
    struct err err = {0};
    bool fits = false;

    buf_printf(&subject, "log.%s.%s", log->service, log_level_name(log->record.level));
    fits = buf_terminate(&subject);
    assert(fits);
    if (len == 0 ||
        bus_publish(log->bus, memory, (struct str){(const char *)packed, len}, &err) != OK) {
        log_ship_lose();
    }
}

static void ship(struct log_bus *log, uint32_t lines_max)
{
    assert(log != NULL);
    for (uint32_t i = 0; i < lines_max && bus_connected(log->bus); i++) {
        if (!log_ship_take(&log->record)) {
            return;
        }
        send(log);
    }
}

void log_bus_tick(struct log_bus *log)
{
    assert(log != NULL);
    ship(log, TICK_LINES_MAX);
}

/* --- levels ---------------------------------------------------------------------------- */

static void on_control(void *ctx, struct bus_message *message)
{
    const struct log_bus *log = ctx;
    struct str rest = bus_message_data(message);
    struct str service = STR_EMPTY;
    struct str level_text = STR_EMPTY;
    enum log_level level = LOG_INFO;
    uint64_t seconds = 0;

    if (str_split(&rest, ' ', &service) && str_split(&rest, ' ', &level_text) &&
        (str_eq(service, STR("*")) || str_eq(service, str_from(log->service))) &&
        log_level_parse(level_text, &level) && str_to_uint64(rest, &seconds) && seconds > 0 &&
        seconds <= LOG_LEVEL_SECONDS_MAX) {
        log_level_set(level, seconds);
    }
    bus_message_destroy(message);
}

/* --- open and close ------------------------------------------------------------------------ */

enum code log_bus_open(struct bus *bus, const char *service, struct log_bus **out, struct err *err)
{
    struct log_bus *log = calloc(1, sizeof *log);
    enum code code = OK;

    assert(bus != NULL);
    assert(service != NULL);
    assert(strlen(service) < LOG_SERVICE_BYTES);
    if (log == NULL) {
        return err_set(err, ERR_OVERLOADED, "no memory for shipping the log");
    }
    log->bus = bus;
    log->service = service;
    code = bus_subscribe(bus, "ctl.log", NULL, on_control, log, &log->control, err);
    if (code != OK) {
        free(log);
        log = NULL;
    }
    *out = log;
    return code;
}

void log_bus_close(struct log_bus **log)
{
    struct log_bus *closing = *log;

    *log = NULL;
    if (closing == NULL) {
        return;
    }
    ship(closing, LOG_SHIP_WAITING_MAX);
    if (closing->control != NULL) {
        bus_unsubscribe(&closing->control);
    }
    free(closing);
}
