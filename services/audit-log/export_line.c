#include "services/audit-log/export_line.h"

#include "libcommon/codec/json_read.h"
#include "libcommon/codec/json_write.h"

#include <assert.h>
#include <string.h>

#define HASH_DIGITS   44 /* of 32 bytes in base64 */
#define WRITE_AT_ONCE 1024

enum value {
    VALUE_TEXT,
    VALUE_NUMBER,
    VALUE_HASH,
    VALUE_HASHES,
    VALUE_DIGEST, /* as sha256sum(1) writes it */
    VALUE_RECORD
};

static const struct {
    const char *name;
    enum value value;
} fields[EXPORT_FIELD_COUNT] = {
    [EXPORT_FIELD_FORMAT] = {"format",          VALUE_TEXT  },
    [EXPORT_FIELD_KIND] = {"kind",            VALUE_TEXT  },
    [EXPORT_FIELD_MONTH] = {"month",           VALUE_TEXT  },
    [EXPORT_FIELD_PREVIOUS_SHA256] = {"previous_sha256", VALUE_DIGEST},
    [EXPORT_FIELD_FIRST] = {"first",           VALUE_NUMBER},
    [EXPORT_FIELD_LEFT] = {"left",            VALUE_HASHES},
    [EXPORT_FIELD_CHECKPOINT] = {"checkpoint",      VALUE_TEXT  },
    [EXPORT_FIELD_LEAF_INDEX] = {"leaf_index",      VALUE_NUMBER},
    [EXPORT_FIELD_LEAF_HASH] = {"leaf_hash",       VALUE_HASH  },
    [EXPORT_FIELD_RECORD] = {"record",          VALUE_RECORD},
    [EXPORT_FIELD_PROOF] = {"proof",           VALUE_HASHES},
    [EXPORT_FIELD_NEXT] = {"next",            VALUE_NUMBER},
    [EXPORT_FIELD_NODES] = {"nodes",           VALUE_HASHES},
    [EXPORT_FIELD_COUNT_OF] = {"count",           VALUE_NUMBER},
    [EXPORT_FIELD_RIGHT] = {"right",           VALUE_HASHES},
};

#define LISTS (EXPORT_HAS(LEFT) | EXPORT_HAS(PROOF) | EXPORT_HAS(NODES) | EXPORT_HAS(RIGHT))

struct reading {
    struct str line;
    struct arena *arena;
    struct export_line *out;
    enum export_field field; /* whose value comes */
    unsigned depth;
    size_t record_from;
    bool at_time; /* the value of the record's occurred_ms comes */
    struct err *err;
};

static struct str *text_of(struct export_line *line, enum export_field field)
{
    assert(fields[field].value == VALUE_TEXT);
    if (field == EXPORT_FIELD_FORMAT) {
        return &line->format;
    }
    if (field == EXPORT_FIELD_MONTH) {
        return &line->month;
    }
    return field == EXPORT_FIELD_KIND ? &line->kind : &line->checkpoint;
}

static uint64_t *number_of(struct export_line *line, enum export_field field)
{
    assert(fields[field].value == VALUE_NUMBER);
    if (field == EXPORT_FIELD_FIRST) {
        return &line->first;
    }
    if (field == EXPORT_FIELD_NEXT) {
        return &line->next;
    }
    return field == EXPORT_FIELD_LEAF_INDEX ? &line->leaf_index : &line->count;
}

static enum code refuse(struct reading *r, const char *why)
{
    assert(r->field < EXPORT_FIELD_COUNT);
    return err_set(r->err, ERR_JSON, "\"%s\" %s", fields[r->field].name, why);
}

static enum code on_name(struct reading *r, struct str name)
{
    unsigned lists = 0;

    assert(r->depth == 1);
    for (unsigned i = 0; i < EXPORT_FIELD_COUNT; i++) {
        if (str_eq(name, str_from(fields[i].name))) {
            r->field = (enum export_field)i;
            r->out->has |= 1U << i;
            lists = r->out->has & LISTS;
            return (lists & (lists - 1)) == 0 ? OK : refuse(r, "does not go with the other list");
        }
    }
    return err_set(r->err, ERR_JSON, "a member is none of the format's");
}

static bool hash_read(struct str digits, struct merkle_hash *out)
{
    size_t len = 0;

    assert(out != NULL);
    return digits.len == HASH_DIGITS &&
           base64_decode(digits, out->bytes, sizeof out->bytes, &len) && len == sizeof out->bytes;
}

/* One spelling: small letters. */
static bool digest_read(struct str digits, uint8_t out[SHA256_BYTES])
{
    char again[2 * SHA256_BYTES + 1];
    size_t len = 0;

    assert(out != NULL);
    if (!hex_decode(digits, out, SHA256_BYTES, &len) || len != SHA256_BYTES) {
        return false;
    }
    hex_encode(out, SHA256_BYTES, again);
    return str_eq(digits, str_from(again));
}

static enum code on_text(struct reading *r, struct str text)
{
    struct str *out = text_of(r->out, r->field);

    out->ptr = arena_strdup(r->arena, text);
    out->len = text.len;
    assert(r->depth == 1);
    return out->ptr != NULL ? OK : err_set(r->err, ERR_TOO_LARGE, "the line does not fit");
}

/* A value of the line itself, but for the record and the lists. */
static enum code on_scalar(struct reading *r, const struct json_event *event)
{
    enum value value = fields[r->field].value;

    assert(r->depth == 1);
    if (value == VALUE_TEXT && event->kind == JSON_STRING) {
        return on_text(r, event->text);
    }
    if (value == VALUE_HASH && event->kind == JSON_STRING) {
        return hash_read(event->text, &r->out->leaf_hash) ? OK : refuse(r, "is no hash");
    }
    if (value == VALUE_DIGEST && event->kind == JSON_STRING) {
        return digest_read(event->text, r->out->previous_sha256) ? OK : refuse(r, "is no SHA-256");
    }
    if (value == VALUE_NUMBER && event->kind == JSON_NUMBER) {
        uint64_t *number = number_of(r->out, r->field);

        return str_to_uint64(event->text, number) && *number <= MERKLE_SIZE_MAX
                   ? OK
                   : refuse(r, "is no number of a leaf");
    }
    return refuse(r, "has a value of another type");
}

static enum code on_list_item(struct reading *r, const struct json_event *event)
{
    struct export_line *out = r->out;

    assert(r->depth == 2);
    if (event->kind != JSON_STRING || out->hash_count == MERKLE_COVER_MAX ||
        !hash_read(event->text, &out->hashes[out->hash_count])) {
        return refuse(r, "is no list of hashes, or too long a one");
    }
    out->hash_count++;
    return OK;
}

static enum code on_open(struct reading *r, const struct json_event *event)
{
    enum value value = fields[r->field].value;
    enum json_kind wanted = value == VALUE_HASHES ? JSON_ARRAY_BEGIN : JSON_OBJECT_BEGIN;

    r->depth++;
    r->at_time = false;
    if (r->depth == 1) {
        return event->kind == JSON_OBJECT_BEGIN
                   ? OK
                   : err_set(r->err, ERR_JSON, "the line is no object");
    }
    if (r->depth == 2) {
        if ((value != VALUE_HASHES && value != VALUE_RECORD) || event->kind != wanted) {
            return refuse(r, "has a value of another type");
        }
        r->record_from = event->from;
        return OK;
    }
    assert(r->depth > 2);
    return value == VALUE_RECORD ? OK : refuse(r, "has a value of another type");
}

static enum code on_close(struct reading *r, const struct json_event *event)
{
    assert(r->depth > 0);
    r->depth--;
    if (r->depth == 1 && fields[r->field].value == VALUE_RECORD) {
        r->out->record = str_sub(r->line, r->record_from, event->to);
    }
    return OK;
}

static enum code on_key(struct reading *r, const struct json_event *event)
{
    assert(event->kind == JSON_KEY);
    r->at_time = r->depth == 2 && fields[r->field].value == VALUE_RECORD &&
                 str_eq(event->text, STR("occurred_ms"));
    return r->depth == 1 ? on_name(r, event->text) : OK;
}

/* A value inside of a record or a list. */
static enum code on_inner(struct reading *r, const struct json_event *event)
{
    uint64_t number = 0;

    assert(r->depth > 1);
    if (fields[r->field].value != VALUE_RECORD) {
        return on_list_item(r, event);
    }
    if (r->at_time && event->kind == JSON_NUMBER && str_to_uint64(event->text, &number)) {
        r->out->occurred_ms = number;
    }
    r->at_time = false;
    return OK;
}

static enum code on_event(void *ctx, const struct json_event *event)
{
    struct reading *r = ctx;

    assert(event != NULL);
    switch (event->kind) {
    case JSON_OBJECT_BEGIN:
    case JSON_ARRAY_BEGIN:
        return on_open(r, event);
    case JSON_OBJECT_END:
    case JSON_ARRAY_END:
        return on_close(r, event);
    case JSON_KEY:
        return on_key(r, event);
    case JSON_NULL:
    case JSON_BOOL:
    case JSON_NUMBER:
    case JSON_STRING:
        break;
    }
    if (r->depth == 0) {
        return err_set(r->err, ERR_JSON, "the line is no object");
    }
    if (r->depth == 1) {
        return on_scalar(r, event);
    }
    return on_inner(r, event);
}

enum code
export_line_read(struct str line, struct arena *arena, struct export_line *out, struct err *err)
{
    struct reading r = {.line = line, .arena = arena, .out = out, .err = err};

    assert(arena != NULL);
    assert(out != NULL);
    memset(out, 0, sizeof *out);
    if (line.len > EXPORT_LINE_BYTES_MAX) {
        return err_set(
            err, ERR_TOO_LARGE, "the line is longer than %lu bytes", EXPORT_LINE_BYTES_MAX);
    }
    return json_read(line, arena, on_event, &r, err);
}

/* --- writing -------------------------------------------------------------------------------- */

static void write_hash(struct json_writer *w, const struct merkle_hash *hash)
{
    char digits[HASH_DIGITS + 1];
    size_t len = base64_encode(hash->bytes, sizeof hash->bytes, digits, sizeof digits);

    assert(len == HASH_DIGITS);
    json_text(w, (struct str){digits, len});
}

static void write_digest(struct json_writer *w, const uint8_t digest[SHA256_BYTES])
{
    char digits[2 * SHA256_BYTES + 1];

    assert(digest != NULL);
    hex_encode(digest, SHA256_BYTES, digits);
    json_text(w, str_from(digits));
}

static void write_value(struct json_writer *w, struct export_line *line, enum export_field field)
{
    assert(field < EXPORT_FIELD_COUNT);
    switch (fields[field].value) {
    case VALUE_TEXT:
        json_text(w, *text_of(line, field));
        break;
    case VALUE_NUMBER:
        json_uint64(w, *number_of(line, field));
        break;
    case VALUE_HASH:
        write_hash(w, &line->leaf_hash);
        break;
    case VALUE_DIGEST:
        write_digest(w, line->previous_sha256);
        break;
    case VALUE_RECORD:
        json_raw(w, line->record);
        break;
    case VALUE_HASHES:
        json_array_begin(w);
        for (size_t i = 0; i < line->hash_count; i++) {
            write_hash(w, &line->hashes[i]);
        }
        json_array_end(w);
        break;
    }
}

enum code export_line_write(const struct export_line *line,
                            struct arena *arena,
                            struct str *out,
                            struct err *err)
{
    struct export_line own = *line;
    struct json_writer w;

    assert(line->hash_count <= MERKLE_COVER_MAX);
    assert(arena != NULL);
    json_open(&w, arena, WRITE_AT_ONCE + line->record.len, EXPORT_LINE_BYTES_MAX);
    json_object_begin(&w);
    for (unsigned i = 0; i < EXPORT_FIELD_COUNT; i++) {
        if ((line->has & 1U << i) != 0) {
            json_key(&w, str_from(fields[i].name));
            write_value(&w, &own, (enum export_field)i);
        }
    }
    json_object_end(&w);
    return json_finish(&w, out, err);
}
