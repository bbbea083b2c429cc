#include "libcommon/base/log_ship.h"

#include "libcommon/base/buf.h"

#include <assert.h>
#include <string.h>

/* A view as a text without NUL inside; what is no UTF-8 becomes ASCII. */
static void put_text(struct buf *b, struct str s)
{
    bool valid = utf8_valid(s);

    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool shown = c != '\0' && (valid || ((unsigned char)c & 0x80U) == 0);

        if (!shown) {
            c = '?';
        }
        buf_char(b, c);
    }
    buf_char(b, '\0');
}

static struct buf rest_of(struct log_record *record)
{
    assert(record->len <= sizeof record->text);
    return buf_over(record->text + record->len, sizeof record->text - record->len);
}

struct log_record *
log_ship_begin(struct log_ship *ship, uint64_t wall_ms, enum log_level level, const char *event)
{
    struct log_record *record = NULL;
    struct buf b;

    assert(ship->count <= LOG_SHIP_WAITING_MAX);
    if (ship->count == LOG_SHIP_WAITING_MAX) {
        ship->lost++;
        return NULL;
    }
    record = &ship->records[(ship->first + ship->count) % LOG_SHIP_WAITING_MAX];
    ship->count++;
    record->wall_ms = wall_ms;
    record->level = level;
    record->field_count = 0;
    record->len = 0;
    b = rest_of(record);
    put_text(&b, str_from(event));
    assert(!b.overflow);
    record->len = (uint32_t)b.len;
    return record;
}

void log_record_add(struct log_record *record, const struct log_field *field)
{
    char digits[24];
    struct buf number = buf_over(digits, sizeof digits);
    struct buf b = rest_of(record);
    struct str value = field->text;

    if (field->type == LOG_FIELD_INT) {
        buf_int64(&number, field->number);
        value = buf_view(&number);
    } else if (field->type == LOG_FIELD_UINT) {
        buf_uint64(&number, field->unsigned_number);
        value = buf_view(&number);
    }
    put_text(&b, str_from(field->key));
    put_text(&b, utf8_cut(value, LOG_LINE_BYTES_MAX / 2));
    if (!b.overflow && record->field_count < LOG_FIELDS_MAX) {
        record->len += (uint32_t)b.len;
        record->field_count++;
    }
}
