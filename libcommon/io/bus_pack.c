/*
 * Packs: the small requests of one turn for one subject, and the small answers of one turn to one
 * asker, leave as one message each. A message costs the server and both connections more than the
 * bytes in it. A pack of one leaves as the plain message it would have been. On the wire a member
 * is its call's slot and generation, its length (four bytes each, big-endian) and its bytes;
 * the reply subject (of requests) or the subject (of answers) is <inbox>pack.<number>.
 */
#include "libcommon/base/log.h"
#include "libcommon/io/bus_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* --- bytes ---------------------------------------------------------------------------- */

static void put_u32(unsigned char *at, uint32_t value)
{
    at[0] = (unsigned char)(value >> 24);
    at[1] = (unsigned char)(value >> 16);
    at[2] = (unsigned char)(value >> 8);
    at[3] = (unsigned char)value;
}

/* An empty view may have no address, and memcpy() wants one all the same. */
static unsigned char *put_view(unsigned char *at, struct str view)
{
    if (view.len > 0) {
        memcpy(at, view.ptr, view.len);
    }
    return at + view.len;
}

static uint32_t get_u32(const unsigned char *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

bool bus_pack_next(struct str *rest, struct pack_member *out)
{
    const unsigned char *head = (const unsigned char *)rest->ptr;
    uint32_t len = 0;

    if (rest->len < BUS_PACK_HEAD_BYTES) {
        return false;
    }
    len = get_u32(head + 8);
    if (len > rest->len - BUS_PACK_HEAD_BYTES) {
        return false;
    }
    out->handle = (struct pool_handle){get_u32(head), get_u32(head + 4)};
    out->body = (struct str){rest->ptr + BUS_PACK_HEAD_BYTES, len};
    *rest = str_sub(*rest, BUS_PACK_HEAD_BYTES + len, rest->len);
    return true;
}

/* --- inboxes -------------------------------------------------------------------------- */

/* The dot before the token that ends at `end`; 0: there is none. */
static size_t dot_before(struct str s, size_t end)
{
    while (end > 0 && s.ptr[end - 1] != '.') {
        end--;
    }
    return end == 0 ? 0 : end - 1;
}

bool bus_pack_inbox(struct str subject, struct str *out_inbox, struct pool_handle *out_handle)
{
    const size_t generation = dot_before(subject, subject.len);
    const size_t slot = dot_before(subject, generation);
    const size_t random = dot_before(subject, slot);

    /* Only an inbox of a bus: strangers get plain messages. */
    if (random == 0 || slot - random - 1 != BUS_INBOX_RANDOM_DIGITS ||
        slot + 1 >= BUS_INBOX_BYTES_MAX || !str_starts(subject, STR("_INBOX."))) {
        return false;
    }
    *out_inbox = str_sub(subject, 0, slot + 1);
    return bus_hex_number(str_sub(subject, slot + 1, generation), &out_handle->slot) &&
           bus_hex_number(str_sub(subject, generation + 1, subject.len), &out_handle->generation);
}

bool bus_pack_subject(struct str subject, struct str *out_inbox, uint32_t *out_number)
{
    const size_t number = dot_before(subject, subject.len);
    const size_t word = dot_before(subject, number);

    if (word == 0 || word + 1 >= BUS_INBOX_BYTES_MAX ||
        !str_eq(str_sub(subject, word + 1, number), STR("pack"))) {
        return false;
    }
    *out_inbox = str_sub(subject, 0, word + 1);
    return bus_hex_number(str_sub(subject, number + 1, subject.len), out_number);
}

static void subject_print(struct buf *b, struct str inbox, const struct bus_pack *pack)
{
    bool fits = false;

    buf_str(b, inbox);
    if (pack->count == 1) {
        buf_printf(b, "%x.%x", pack->first.slot, pack->first.generation);
    } else {
        buf_printf(b, "pack.%x", pack->number);
    }
    fits = buf_terminate(b);
    assert(fits);
}

/* --- out ------------------------------------------------------------------------------- */

static struct str inbox_of(const struct bus *bus)
{
    return (struct str){bus->inbox_prefix, bus->inbox_len};
}

static natsStatus publish(struct bus *bus, const struct bus_pack *pack)
{
    char name[BUS_INBOX_BYTES_MAX + 24];
    struct buf b = buf_over(name, sizeof name);
    const size_t from = pack->count == 1 ? BUS_PACK_HEAD_BYTES : 0;
    const void *bytes = pack->bytes + from;
    const int len = (int)(pack->len - from);

    if (pack->answers) {
        subject_print(&b, str_from(pack->subject), pack);
        return natsConnection_Publish(bus->link.nc, name, bytes, len);
    }
    subject_print(&b, inbox_of(bus), pack);
    return natsConnection_PublishRequest(bus->link.nc, pack->subject, name, bytes, len);
}

/* Fails only when the connection is no more: its loss ends the calls. */
static void send(struct bus *bus, struct bus_pack *pack)
{
    struct err err = {0};

    assert(pack->count > 0);
    if (bus_sent(bus, publish(bus, pack), &err) != OK && log_rate_allows(&bus->logged_ms)) {
        log_event(LOG_WARN, "bus_publish_failed", LOG_S("bus", bus->name), LOG_S("text", err.text));
    }
    pack->count = 0;
    pack->len = 0;
}

void bus_packs_flush(struct bus *bus)
{
    for (size_t i = 0; i < BUS_PACKS; i++) {
        if (bus->packs[i].count > 0) {
            send(bus, &bus->packs[i]);
        }
    }
}

void bus_packs_end(struct bus *bus, bool answer)
{
    for (size_t i = 0; i < BUS_PACKS; i++) {
        struct bus_pack *pack = &bus->packs[i];
        const bool calls = pack->count > 0 && !pack->answers;

        if (answer && pack->count > 0 && pack->answers) {
            send(bus, pack);
        }
        pack->count = 0;
        pack->len = 0;
        if (calls) {
            bus_calls_end_pack(bus, pack->number, ERR_UNAVAILABLE); /* nobody got them */
        }
    }
}

/* The one with this destination, else an empty one; NULL: all are taken by others. */
static struct bus_pack *pack_of(struct bus *bus, const char *subject, bool answers)
{
    struct bus_pack *empty = NULL;

    for (size_t i = 0; i < BUS_PACKS; i++) {
        struct bus_pack *pack = &bus->packs[i];

        if (pack->count == 0) {
            empty = empty == NULL ? pack : empty;
        } else if (pack->answers == answers && strcmp(pack->subject, subject) == 0) {
            return pack;
        }
    }
    return empty;
}

static void begin(struct bus *bus, struct bus_pack *pack, const struct pack_entry *entry)
{
    assert(pack->count == 0);
    assert(strlen(entry->subject) < sizeof pack->subject);
    memcpy(pack->subject, entry->subject, strlen(entry->subject) + 1);
    pack->answers = entry->answer;
    pack->number = ++bus->pack_number;
    pack->first = entry->handle;
    loop_pass_arm(bus->flush);
}

bool bus_pack_takes(struct str body)
{
    return body.len <= BUS_PACK_BODY_BYTES_MAX;
}

uint32_t bus_pack_add(struct bus *bus, const struct pack_entry *entry)
{
    const size_t body_len = entry->head.len + entry->body.len;
    struct bus_pack *pack = pack_of(bus, entry->subject, entry->answer);
    unsigned char *at = NULL;

    assert(body_len <= BUS_PACK_BODY_BYTES_MAX + BUS_PART_HEAD_BYTES);
    if (pack == NULL) {
        bus_packs_flush(bus);
        pack = &bus->packs[0];
    }
    if (pack->count == BUS_PACK_MEMBERS_MAX ||
        pack->len + BUS_PACK_HEAD_BYTES + body_len > BUS_PACK_BYTES) {
        send(bus, pack);
    }
    if (pack->count == 0) {
        begin(bus, pack, entry);
    }
    at = pack->bytes + pack->len;
    put_u32(at, entry->handle.slot);
    put_u32(at + 4, entry->handle.generation);
    put_u32(at + 8, (uint32_t)body_len);
    at = put_view(at + BUS_PACK_HEAD_BYTES, entry->head);
    (void)put_view(at, entry->body);
    pack->len += BUS_PACK_HEAD_BYTES + body_len;
    pack->count++;
    return pack->number;
}

/* --- life ------------------------------------------------------------------------------ */

enum code bus_packs_open(struct bus *bus, struct err *err)
{
    bus->pack_memory = calloc(BUS_PACKS, BUS_PACK_BYTES);
    if (bus->pack_memory == NULL) {
        return err_set(err, ERR_INTERNAL, "no memory for the packs");
    }
    for (size_t i = 0; i < BUS_PACKS; i++) {
        bus->packs[i].bytes = bus->pack_memory + i * BUS_PACK_BYTES;
    }
    return OK;
}

void bus_packs_close(struct bus *bus)
{
    free(bus->pack_memory);
    bus->pack_memory = NULL;
}
