#include "libcommon/codec/http_write.h"
#include "libcommon/codec/json_write.h"

#include <assert.h>

#define PROBLEM_BYTES_GUESS 768
#define PROBLEM_BYTES_MAX   ((size_t)128 * 1024)
#define TYPE_PREFIX         "urn:avanta:problem:"

static void member(struct json_writer *w, struct str key, const char *value)
{
    assert(key.len > 0);
    json_key(w, key);
    json_text(w, str_from(value));
}

static void violations_write(struct json_writer *w, const struct violations *v)
{
    json_key(w, STR("errors"));
    json_array_begin(w);
    for (size_t i = 0; v != NULL && i < v->count; i++) {
        json_object_begin(w);
        member(w, STR("field"), v->rows[i].field);
        member(w, STR("code"), v->rows[i].code);
        member(w, STR("message"), v->rows[i].message);
        json_object_end(w);
    }
    json_array_end(w);
    if (v != NULL && v->more > 0) {
        json_key(w, STR("errors_omitted"));
        json_uint64(w, v->more);
    }
}

/* Without a title of its own the first field that is wrong speaks, with its name: many clients show
 * the detail alone. NULL when the arena is full. */
static const char *detail_make(const struct problem *p, const char *title, struct arena *arena)
{
    const struct violation *first = NULL;

    assert(p != NULL);
    if (p->title != NULL || p->violations == NULL || p->violations->count == 0) {
        return title;
    }
    first = &p->violations->rows[0];
    return first->field[0] == '\0' ? first->message
                                   : arena_printf(arena, "%s: %s", first->field, first->message);
}

static enum code body_write(const struct problem *p, struct arena *arena, struct str *out)
{
    const char *wire = p->wire == NULL ? code_wire(p->code) : p->wire;
    const char *title = p->title == NULL ? code_title(p->code) : p->title;
    const char *detail = p->detail == NULL ? detail_make(p, title, arena) : p->detail;
    const char *type = arena_printf(arena, "%s%s", TYPE_PREFIX, wire);
    struct json_writer w;

    assert(!p->once || code_http(p->code) >= 500);
    assert(wire != NULL);
    assert(out != NULL);
    if (type == NULL || detail == NULL) {
        return ERR_TOO_LARGE;
    }
    json_open(&w, arena, PROBLEM_BYTES_GUESS, PROBLEM_BYTES_MAX);
    json_object_begin(&w);
    member(&w, STR("type"), type);
    member(&w, STR("title"), title);
    json_key(&w, STR("status"));
    json_int64(&w, code_http(p->code));
    member(&w, STR("detail"), detail);
    json_key(&w, STR("instance"));
    json_text(&w, p->instance);
    member(&w, STR("error"), detail);
    member(&w, STR("message"), detail);
    member(&w, STR("code"), wire);
    member(&w, STR("category"), code_category(p->code));
    json_key(&w, STR("request_id"));
    if (p->request_id.len > 0) {
        json_text(&w, p->request_id);
    } else {
        json_none(&w);
    }
    json_key(&w, STR("retryable"));
    json_bool(&w, code_retryable(p->code) && !p->once);
    violations_write(&w, p->violations);
    json_object_end(&w);
    return json_finish(&w, out, NULL);
}

enum code problem_write(const struct problem *p, struct arena *arena, struct http_response *out)
{
    const char *seconds = NULL;
    enum code code = OK;

    assert(p != NULL);
    assert(p->code != OK);
    assert(out != NULL);
    assert(p->code < CODE_COUNT);
    *out = (struct http_response){
        .status = (uint16_t)code_http(p->code),
        .content_type = STR("application/problem+json"),
        .body = STR_EMPTY,
    };
    code = body_write(p, arena, &out->body);
    if (code == OK && p->retry_after_s > 0 && !p->once) {
        seconds = arena_printf(arena, "%u", p->retry_after_s);
        if (seconds == NULL) {
            return ERR_TOO_LARGE;
        }
        http_response_add(out, "Retry-After", str_from(seconds));
    }
    return code;
}
