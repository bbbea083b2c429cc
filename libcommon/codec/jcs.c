#include "libcommon/codec/jcs.h"

#include "libcommon/base/limits.h"
#include "libcommon/codec/jcs_number.h"
#include "libcommon/codec/json_chars.h"
#include "libcommon/codec/json_read.h"

#include <assert.h>
#include <string.h>

#define MEMBERS_FIRST 64
/* Lead bytes of UTF-8: from here on two UTF-16 code units, the first below U+E000. */
#define LEAD_PAIR   0xF0u
#define LEAD_U_E000 0xEEu

/* --- what both ways share ------------------------------------------------------------------- */

/* RFC 8785 3.2.3: by UTF-16 code units. Bytes of UTF-8 sort alike but for one case: characters past
 * U+FFFF, in UTF-16 pairs that begin with D800 to DBFF, come before U+E000 to U+FFFF. */
static int name_cmp(struct str a, struct str b)
{
    size_t shorter = a.len < b.len ? a.len : b.len;
    size_t at = 0;

    while (at < shorter && a.ptr[at] == b.ptr[at]) {
        at++;
    }
    if (at == shorter) {
        return a.len < b.len ? -1 : a.len > b.len;
    }

    unsigned left = (unsigned char)a.ptr[at];
    unsigned right = (unsigned char)b.ptr[at];

    assert(left != right);
    if (left >= LEAD_PAIR && right >= LEAD_U_E000 && right < LEAD_PAIR) {
        return -1;
    }
    if (right >= LEAD_PAIR && left >= LEAD_U_E000 && left < LEAD_PAIR) {
        return 1;
    }
    return left < right ? -1 : 1;
}

/* RFC 8785 3.2.2.2. */
static void write_escape(unsigned char c, struct buf *out)
{
    static const char digits[] = "0123456789abcdef";
    static const char short_form[32] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};

    assert(c < 0x20 || c == '"' || c == '\\');
    buf_char(out, '\\');
    if (c >= 0x20) {
        buf_char(out, (char)c);
    } else if (short_form[c] != '\0') {
        buf_char(out, short_form[c]);
    } else {
        buf_text(out, c < 0x10 ? "u000" : "u001");
        buf_char(out, digits[c & 0x0Fu]);
    }
}

static void write_string(struct str text, struct buf *out)
{
    size_t at = 0;

    assert(text.ptr != NULL);
    buf_char(out, '"');
    while (at < text.len) {
        size_t plain = json_plain_run(text.ptr + at, text.len - at, '"');

        buf_append(out, text.ptr + at, plain);
        at += plain;
        if (at < text.len) {
            write_escape((unsigned char)text.ptr[at++], out);
        }
    }
    buf_char(out, '"');
}

/* --- a text brought into the form ----------------------------------------------------------- */

/* A member of an open object, and its bytes in the output: name, colon and value. */
struct member {
    struct str name;
    size_t from;
    size_t to;
};

struct level {
    bool object;
    bool has_item;
    size_t from;         /* in the output, behind the bracket */
    size_t first_member; /* of this object */
};

struct canon {
    struct str json;
    struct arena *arena;
    struct buf out;
    char *scratch; /* as large as the output, taken when first needed */
    struct member *members;
    size_t member_count;
    size_t member_cap;
    uint32_t depth;
    struct level levels[JSON_DEPTH_MAX];
    struct err *err;
};

static enum code no_memory(struct canon *c)
{
    assert(c != NULL);
    return err_set(
        c->err, ERR_TOO_LARGE, "the text does not fit the memory for its canonical form");
}

static struct level *level_of(struct canon *c)
{
    assert(c->depth <= JSON_DEPTH_MAX);
    return c->depth == 0 ? NULL : &c->levels[c->depth - 1];
}

static enum code members_grow(struct canon *c)
{
    size_t cap = c->member_cap == 0 ? MEMBERS_FIRST : 2 * c->member_cap;
    struct member *larger = arena_calloc(c->arena, cap, sizeof *larger);

    if (larger == NULL) {
        return no_memory(c);
    }
    if (c->member_count > 0) {
        memcpy(larger, c->members, c->member_count * sizeof *larger);
    }
    c->members = larger;
    c->member_cap = cap;
    assert(c->member_count < c->member_cap);
    return OK;
}

/* A decoded text is gone after its event, unless it stands in the JSON as it is. */
static bool name_keep(struct canon *c, struct str *name)
{
    uintptr_t at = (uintptr_t)name->ptr;
    uintptr_t begin = (uintptr_t)c->json.ptr;

    assert(name->ptr != NULL);
    if (at < begin || at >= begin + c->json.len) {
        name->ptr = arena_strdup(c->arena, *name);
    }
    return name->ptr != NULL;
}

static enum code on_key(struct canon *c, struct str name)
{
    struct level *level = level_of(c);
    enum code code = OK;

    assert(level != NULL);
    assert(level->object);
    if (c->member_count == c->member_cap) {
        code = members_grow(c);
    }
    if (code != OK) {
        return code;
    }
    if (!name_keep(c, &name)) {
        return no_memory(c);
    }
    if (level->has_item) {
        c->members[c->member_count - 1].to = c->out.len;
        buf_char(&c->out, ',');
    }
    level->has_item = true;
    c->members[c->member_count++] = (struct member){name, c->out.len, 0};
    write_string(name, &c->out);
    buf_char(&c->out, ':');
    return OK;
}

static void before_value(struct canon *c)
{
    struct level *level = level_of(c);

    if (level != NULL && !level->object) {
        if (level->has_item) {
            buf_char(&c->out, ',');
        }
        level->has_item = true;
    }
    assert(level == NULL || level->has_item);
}

static void on_open(struct canon *c, bool object)
{
    before_value(c);
    buf_char(&c->out, object ? '{' : '[');
    assert(c->depth < JSON_DEPTH_MAX);
    c->levels[c->depth++] =
        (struct level){.object = object, .from = c->out.len, .first_member = c->member_count};
}

/* Heap sort, because qsort() may allocate and quicksorts have bad days that can be arranged. */
static void sift_down(struct member *members, size_t at, size_t count)
{
    assert(at < count);
    for (size_t child = 2 * at + 1; child < count; child = 2 * at + 1) {
        struct member held = members[at];

        if (child + 1 < count && name_cmp(members[child].name, members[child + 1].name) < 0) {
            child++;
        }
        if (name_cmp(held.name, members[child].name) >= 0) {
            return;
        }
        members[at] = members[child];
        members[child] = held;
        at = child;
    }
}

static void sort(struct member *members, size_t count)
{
    assert(count > 0);
    for (size_t i = count / 2; i > 0; i--) {
        sift_down(members, i - 1, count);
    }
    for (size_t end = count - 1; end > 0; end--) {
        struct member largest = members[0];

        members[0] = members[end];
        members[end] = largest;
        sift_down(members, 0, end);
    }
}

static bool is_sorted(const struct member *members, size_t count)
{
    assert(count > 0);
    for (size_t i = 1; i < count; i++) {
        if (name_cmp(members[i - 1].name, members[i].name) > 0) {
            return false;
        }
    }
    return true;
}

/* The members of the object that ends change places. */
static enum code members_sort(struct canon *c, const struct level *level)
{
    struct member *members = c->members + level->first_member;
    size_t count = c->member_count - level->first_member;
    size_t bytes = c->out.len - level->from;
    struct buf sorted;

    if (is_sorted(members, count)) {
        return OK;
    }
    if (c->scratch == NULL) {
        c->scratch = arena_alloc(c->arena, c->out.cap);
    }
    if (c->scratch == NULL) {
        return no_memory(c);
    }
    sort(members, count);
    sorted = buf_over(c->scratch, c->out.cap);
    for (size_t i = 0; i < count; i++) {
        buf_text(&sorted, i == 0 ? "" : ",");
        buf_append(&sorted, c->out.ptr + members[i].from, members[i].to - members[i].from);
    }
    assert(sorted.len == bytes);
    memcpy(c->out.ptr + level->from, sorted.ptr, bytes);
    return OK;
}

static enum code on_close(struct canon *c, bool object)
{
    struct level *level = level_of(c);
    enum code code = OK;

    assert(level != NULL);
    assert(level->object == object);
    if (object && level->has_item) {
        c->members[c->member_count - 1].to = c->out.len;
        code = c->out.overflow ? OK : members_sort(c, level);
    }
    c->member_count = level->first_member;
    c->depth--;
    buf_char(&c->out, object ? '}' : ']');
    return code;
}

static enum code on_event(void *ctx, const struct json_event *event)
{
    struct canon *c = ctx;

    assert(event != NULL);
    switch (event->kind) {
    case JSON_KEY:
        return on_key(c, event->text);
    case JSON_OBJECT_BEGIN:
    case JSON_ARRAY_BEGIN:
        on_open(c, event->kind == JSON_OBJECT_BEGIN);
        return OK;
    case JSON_OBJECT_END:
    case JSON_ARRAY_END:
        return on_close(c, event->kind == JSON_OBJECT_END);
    case JSON_NULL:
    case JSON_BOOL:
    case JSON_NUMBER:
    case JSON_STRING:
        break;
    }
    before_value(c);
    if (event->kind == JSON_NUMBER) {
        return jcs_number_write(event->text, &c->out, c->err);
    }
    if (event->kind == JSON_STRING) {
        write_string(event->text, &c->out);
    } else if (event->kind == JSON_BOOL) {
        buf_text(&c->out, event->boolean ? "true" : "false");
    } else {
        buf_text(&c->out, "null");
    }
    return OK;
}

/* Only a number with an exponent can grow: its digits are written out. */
static size_t bytes_max(struct str json)
{
    size_t bytes = json.len;

    assert(json.len > 0);
    for (size_t i = 1; i < json.len; i++) {
        bool exponent = json.ptr[i] == 'e' || json.ptr[i] == 'E';

        if (exponent && json.ptr[i - 1] >= '0' && json.ptr[i - 1] <= '9') {
            bytes += JCS_NUMBER_BYTES_MAX;
        }
    }
    return bytes;
}

enum code jcs_canonical(struct str json, struct arena *arena, struct str *out_text, struct err *err)
{
    struct canon c = {.json = json, .arena = arena, .err = err};
    enum code code = OK;
    size_t cap = 0;

    assert(arena != NULL);
    assert(out_text != NULL);
    if (json.len == 0 || json.len > JCS_BYTES_MAX) {
        return err_set(
            err, ERR_JSON, "the text has %zu bytes, at most %lu", json.len, JCS_BYTES_MAX);
    }
    cap = bytes_max(json);
    c.out = buf_over(arena_alloc(arena, cap), 0);
    if (c.out.ptr == NULL) {
        return no_memory(&c);
    }
    c.out.cap = cap;
    code = json_read(json, arena, on_event, &c, err);
    if (code == OK) {
        assert(!c.out.overflow); /* or bytes_max() is wrong */
        assert(c.depth == 0);
        *out_text = buf_view(&c.out);
    }
    return code;
}

/* --- an object written in the form ---------------------------------------------------------- */

static enum code member_check(const struct jcs_member *member, struct err *err)
{
    assert(member->name.ptr != NULL);
    if (!utf8_valid(member->name)) {
        return err_set(err, ERR_INVALID, "a name is not valid UTF-8");
    }
    if (member->kind == JCS_STRING && !utf8_valid(member->text)) {
        return err_set(err,
                       ERR_INVALID,
                       "%.*s is not valid UTF-8",
                       (int)utf8_cut(member->name, 64).len,
                       member->name.ptr);
    }
    if (member->kind == JCS_INTEGER &&
        (member->integer > JCS_INTEGER_MAX || member->integer < -JCS_INTEGER_MAX)) {
        return err_set(err,
                       ERR_INVALID,
                       "%.*s is no exact double",
                       (int)utf8_cut(member->name, 64).len,
                       member->name.ptr);
    }
    return OK;
}

/* Where member `i` goes among the `i` before it, which are in order. */
static size_t place_of(const struct jcs_member *members, size_t i, const uint8_t *order)
{
    size_t at = i;

    assert(i < JCS_MEMBERS_MAX);
    while (at > 0 && name_cmp(members[i].name, members[order[at - 1]].name) < 0) {
        at--;
    }
    return at;
}

/* By insertion: few members, and callers mostly give them in order. */
static enum code members_order(const struct jcs_member *members,
                               size_t count,
                               uint8_t order[JCS_MEMBERS_MAX],
                               struct err *err)
{
    assert(count <= JCS_MEMBERS_MAX);
    for (size_t i = 0; i < count; i++) {
        size_t at = place_of(members, i, order);

        if (at > 0 && str_eq(members[i].name, members[order[at - 1]].name)) {
            return err_set(err, ERR_INVALID, "a name is given twice");
        }
        memmove(order + at + 1, order + at, i - at);
        order[at] = (uint8_t)i;
    }
    return OK;
}

static void member_write(const struct jcs_member *member, struct buf *out)
{
    write_string(member->name, out);
    buf_char(out, ':');
    switch (member->kind) {
    case JCS_NULL:
        buf_text(out, "null");
        break;
    case JCS_STRING:
        write_string(member->text, out);
        break;
    case JCS_INTEGER:
        assert(member->integer <= JCS_INTEGER_MAX);
        buf_int64(out, member->integer);
        break;
    }
}

enum code
jcs_object(const struct jcs_member *members, size_t count, struct buf *out, struct err *err)
{
    uint8_t order[JCS_MEMBERS_MAX] = {0};
    enum code code = OK;

    assert(members != NULL || count == 0);
    assert(out != NULL);
    if (count > JCS_MEMBERS_MAX) {
        return err_set(err, ERR_INVALID, "%zu members, at most %d", count, JCS_MEMBERS_MAX);
    }
    for (size_t i = 0; i < count && code == OK; i++) {
        code = member_check(&members[i], err);
    }
    code = code == OK ? members_order(members, count, order, err) : code;
    if (code != OK) {
        return code;
    }
    buf_char(out, '{');
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            buf_char(out, ',');
        }
        member_write(&members[order[i]], out);
    }
    buf_char(out, '}');
    return out->overflow ? err_set(err, ERR_TOO_LARGE, "no room for the object") : OK;
}
