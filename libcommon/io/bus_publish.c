/* Subjects, publishing, answering. */
#include "libcommon/io/bus_internal.h"

#include <assert.h>
#include <string.h>

/* --- subjects ---------------------------------------------------------------------- */

static bool token_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

enum code bus_token_check(const char *token, size_t bytes_max, struct err *err)
{
    const size_t len = strlen(token);

    if (len == 0 || len > bytes_max) {
        return err_set(
            err, ERR_INVALID, "a name of %zu bytes, 1 to %zu are allowed", len, bytes_max);
    }
    for (size_t i = 0; i < len; i++) {
        if (!token_byte(token[i])) {
            return err_set(err, ERR_INVALID, "a name may hold letters, digits, '_' and '-'");
        }
    }
    return OK;
}

static bool subject_token_fits(struct str token, bool wildcards, bool last)
{
    size_t at = 0;

    if (token.len == 0) {
        return false;
    }
    if (str_eq(token, STR("*"))) {
        return wildcards;
    }
    if (str_eq(token, STR(">"))) {
        return wildcards && last;
    }
    for (size_t i = 0; i < token.len; i++) {
        const unsigned char c = (unsigned char)token.ptr[i];

        if (c <= ' ' || c == 0x7f) {
            return false;
        }
    }
    return !str_find_char(token, '*', &at) && !str_find_char(token, '>', &at);
}

/* A blank or a line end in a subject would be protocol to the server. */
enum code bus_subject_check(const char *subject, bool wildcards, struct err *err)
{
    const struct str whole = str_from(subject);
    size_t from = 0;

    if (whole.len == 0 || whole.len > BUS_SUBJECT_BYTES_MAX) {
        return err_set(err, ERR_INVALID, "a subject of %zu bytes", whole.len);
    }
    for (size_t i = 0; i <= whole.len; i++) {
        if (i < whole.len && whole.ptr[i] != '.') {
            continue;
        }
        if (!subject_token_fits(str_sub(whole, from, i), wildcards, i == whole.len)) {
            return err_set(err, ERR_INVALID, "not a subject");
        }
        from = i + 1;
    }
    return OK;
}

/* --- publishing -------------------------------------------------------------------- */

enum code bus_ready(struct bus *bus, struct err *err)
{
    assert(bus != NULL);
    if (!bus_usable(bus)) {
        return err_set(err, ERR_UNAVAILABLE, "the bus is down");
    }
    if (natsConnection_Buffered(bus->link.nc) > BUS_PENDING_BYTES_MAX) {
        return err_set(err, ERR_OVERLOADED, "the server does not take what is published");
    }
    return OK;
}

enum code bus_sent(struct bus *bus, natsStatus status, struct err *err)
{
    if (status == NATS_MAX_PAYLOAD) {
        return err_set(err, ERR_TOO_LARGE, "more than the server takes in one message");
    }
    if (status != NATS_OK) {
        return err_set(err, ERR_UNAVAILABLE, "publish: %s", natsStatus_GetText(status));
    }
    bus->published++;
    if (natsConnection_Buffered(bus->link.nc) >= BUS_FLUSH_BYTES) {
        bus_link_flush(bus);
    }
    return OK;
}

enum code bus_publish(struct bus *bus, const char *subject, struct str payload, struct err *err)
{
    enum code code = bus_subject_check(subject, false, err);

    if (code == OK && payload.len > BUS_PAYLOAD_BYTES_MAX) {
        code = err_set(err, ERR_TOO_LARGE, "a message of %zu bytes", payload.len);
    }
    if (code == OK) {
        code = bus_ready(bus, err);
    }
    if (code != OK) {
        return code;
    }
    return bus_sent(
        bus, natsConnection_Publish(bus->link.nc, subject, payload.ptr, (int)payload.len), err);
}

struct part {
    struct str payload;
    size_t index;
    size_t count;
};

static void part_head(const struct part *part, unsigned char *out)
{
    out[0] = (unsigned char)(part->index >> 8);
    out[1] = (unsigned char)part->index;
    out[2] = (unsigned char)(part->count >> 8);
    out[3] = (unsigned char)part->count;
}

static enum code
respond_part(struct bus *bus, const char *subject, const struct part *part, struct err *err)
{
    const struct str payload = part->payload;
    enum code code = bus_ready(bus, err);

    assert(payload.len <= BUS_PART_BYTES);
    assert(part->index < part->count);
    if (code != OK) {
        return code;
    }
    part_head(part, bus->part);
    if (payload.len > 0) {
        memcpy(bus->part + BUS_PART_HEAD_BYTES, payload.ptr, payload.len);
    }
    return bus_sent(bus,
                    natsConnection_Publish(
                        bus->link.nc, subject, bus->part, (int)(BUS_PART_HEAD_BYTES + payload.len)),
                    err);
}

/* Small answers to another bus go with the turn's others to it. */
static bool respond_packed(struct bus *bus, struct str subject, struct str payload)
{
    const struct part only = {payload, 0, 1};
    unsigned char head[BUS_PART_HEAD_BYTES];
    char inbox[BUS_INBOX_BYTES_MAX];
    struct buf b = buf_over(inbox, sizeof inbox);
    struct pack_entry entry = {.subject = inbox, .answer = true, .body = payload};
    struct str name = STR_EMPTY;

    if (!bus_pack_takes(payload) || !bus_pack_inbox(subject, &name, &entry.handle)) {
        return false;
    }
    buf_str(&b, name);
    if (!buf_terminate(&b)) {
        return false;
    }
    part_head(&only, head);
    entry.head = (struct str){(const char *)head, sizeof head};
    (void)bus_pack_add(bus, &entry);
    return true;
}

enum code
bus_respond(struct bus *bus, struct str reply_subject, struct str payload, struct err *err)
{
    char subject[BUS_SUBJECT_BYTES_MAX + 1];
    struct buf b = buf_over(subject, sizeof(subject));
    const size_t count = payload.len == 0 ? 1 : (payload.len + BUS_PART_BYTES - 1) / BUS_PART_BYTES;
    enum code code = OK;

    buf_str(&b, reply_subject);
    /* The asker chooses it: it must not make us say something elsewhere. */
    if (!buf_terminate(&b) || !str_starts(reply_subject, STR("_INBOX."))) {
        return err_set(err, ERR_INVALID, "not the subject of an inbox");
    }
    code = bus_subject_check(subject, false, err);
    if (code == OK && count > BUS_PARTS_MAX) {
        code = err_set(err, ERR_TOO_LARGE, "a reply of %zu bytes", payload.len);
    }
    if (code == OK) {
        code = bus_ready(bus, err);
    }
    if (code == OK && respond_packed(bus, reply_subject, payload)) {
        return OK;
    }
    for (size_t i = 0; code == OK && i < count; i++) {
        const size_t from = i * BUS_PART_BYTES;
        const struct part part = {str_sub(payload, from, from + BUS_PART_BYTES), i, count};

        code = respond_part(bus, subject, &part, err);
    }
    return code;
}
