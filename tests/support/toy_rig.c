#include "tests/support/toy_rig.h"

#include "api.gen.h"
#include "tests/support/check.h"

#include "libcommon/base/limits.h"
#include "libcommon/service/idempotency.h"
#include "libcommon/service/service_metrics.h"

#include <stdlib.h>
#include <string.h>

static void put_copy(char *out, size_t cap, const char *text)
{
    struct buf b = buf_over(out, cap);

    buf_text(&b, text == NULL ? "" : text);
    assert_true(buf_terminate(&b));
}

static void reply_body(struct toy_reply *out, const struct req *r, const Avanta__Reply *reply)
{
    if (r->endpoint->out == &toy__row__descriptor) {
        Toy__Row *row = toy__row__unpack(NULL, reply->body.len, reply->body.data);
        assert_non_null(row);
        out->id = row->id;
        toy__row__free_unpacked(row, NULL);
    } else if (r->endpoint->out == &toy__list_reply__descriptor) {
        Toy__ListReply *list = toy__list_reply__unpack(NULL, reply->body.len, reply->body.data);
        assert_non_null(list);
        out->rows = list->n_rows;
        toy__list_reply__free_unpacked(list, NULL);
    }
}

static void finish(void *ctx, struct req *r)
{
    struct toy_rig *rig = ctx;
    struct toy_reply *out = r->source_data;
    Avanta__Reply reply;
    struct err err = {0};

    assert_int_equal(req_reply(r, &reply, &err), OK);
    out->times++;
    out->order = ++rig->answered;
    assert_true(code_from_wire(reply.code, &out->code));
    out->reason = reply.has_reason ? reply.reason : AVANTA__REASON__NONE;
    out->replayed = reply.has_replayed && reply.replayed;
    put_copy(out->detail, sizeof out->detail, reply.detail);
    if (reply.n_violations > 0) {
        put_copy(out->field, sizeof out->field, reply.violations[0]->field);
        put_copy(out->violation, sizeof out->violation, reply.violations[0]->code);
    }
    if (out->code == OK) {
        reply_body(out, r, &reply);
    }
}

static char *copy(struct arena *arena, const char *text)
{
    char *out = text == NULL ? NULL : arena_strdup(arena, str_from(text));

    assert_true(text == NULL || out != NULL);
    return out;
}

static Avanta__Request *envelope_new(struct arena *arena,
                                     const struct endpoint *endpoint,
                                     const char *user,
                                     const char *name,
                                     const char *key)
{
    Avanta__Request *envelope = arena_alloc(arena, sizeof *envelope);
    Avanta__Principal *principal = arena_alloc(arena, sizeof *principal);

    assert_non_null(envelope);
    assert_non_null(principal);
    avanta__request__init(envelope);
    avanta__principal__init(principal);
    principal->user_id = copy(arena, user);
    principal->session_id = copy(arena, "session-1");
    envelope->method = copy(arena, endpoint->name);
    envelope->request_id = copy(arena, "request-1");
    envelope->client_ip = copy(arena, "192.0.2.7");
    envelope->user_agent = copy(arena, "rig");
    envelope->principal = user == NULL ? NULL : principal;
    envelope->idempotency_key = copy(arena, key);
    /* What stands for the packed body: it is only hashed here. */
    envelope->has_body = 1;
    envelope->body = (ProtobufCBinaryData){strlen(name), (uint8_t *)copy(arena, name)};
    return envelope;
}

static ProtobufCMessage *input_new(struct arena *arena, enum toy_op op, const char *name)
{
    if (op == TOY_LIST || op == TOY_SECRET || op == TOY_EXPORT) {
        Toy__ListRequest *in = arena_alloc(arena, sizeof *in);
        assert_non_null(in);
        toy__list_request__init(in);
        in->prefix = copy(arena, name);
        return &in->base;
    }
    Toy__AddRequest *in = arena_alloc(arena, sizeof *in);
    assert_non_null(in);
    toy__add_request__init(in);
    in->name = copy(arena, name);
    return &in->base;
}

size_t toy_send_keyed(
    struct toy_rig *rig, enum toy_op op, const char *user, const char *name, const char *key)
{
    struct endpoint *endpoint = &rig->endpoints[op];
    struct arena *arena = arena_open(rig->arenas, REQ_ARENA_BYTES_MAX);
    size_t number = rig->sent++;
    struct req *r = NULL;

    assert_true(number < TOY_REPLIES_MAX);
    assert_non_null(arena);
    Avanta__Request *envelope = envelope_new(arena, endpoint, user, name, key);
    ProtobufCMessage *in = input_new(arena, op, name);
    r = runner_take(rig->runner, endpoint, &rig->source, &arena);
    if (r == NULL) {
        arena_dispose(&arena);
        rig->replies[number].times = 1;
        rig->replies[number].code = ERR_OVERLOADED;
        return number;
    }
    r->envelope = envelope;
    r->in = in;
    r->source_data = &rig->replies[number];
    r->context.user_id = envelope->principal == NULL ? NULL : envelope->principal->user_id;
    r->context.actor_id = r->context.user_id;
    r->context.request_id = envelope->request_id;
    if (key != NULL) {
        assert_true(idempotency_prepare(r));
    }
    runner_submit(r, clock_mono_ms() + TOY_DEADLINE_MS);
    return number;
}

size_t toy_send(struct toy_rig *rig, enum toy_op op, const char *user, const char *name)
{
    return toy_send_keyed(rig, op, user, name, NULL);
}

void toy_pass(struct toy_rig *rig)
{
    for (int i = 0; i < 1000 && rig->fake->woken; i++) {
        rig->fake->woken = false;
        if (runner_pass(rig->runner)) {
            rig->fake->woken = true;
        }
    }
    assert_false(rig->fake->woken);
}

void toy_settle(struct toy_rig *rig)
{
    int turns = 0;

    do {
        toy_pass(rig);
        assert_true(turns++ < 10000);
    } while (fake_answer(rig->fake));
    toy_pass(rig);
}

void toy_time(struct toy_rig *rig, uint64_t ms)
{
    fake_pass_time(rig->fake, ms);
    runner_sweep(rig->runner);
}

uint64_t toy_metric(const struct toy_rig *rig, size_t row)
{
    return metric_value(service_metrics_rows(rig->metrics), row, 0);
}

static void on_committed(void *ctx, const struct outbox_rows *rows)
{
    (void)rows;
    ((struct toy_rig *)ctx)->commits++;
}

struct toy_rig *toy_open(uint32_t connections, uint32_t requests_max)
{
    struct toy_rig *rig = calloc(1, sizeof *rig);
    struct err err = {0};

    assert_non_null(rig);
    rig->fake = fake_open(connections);
    rig->arenas = arena_pool_open(ARENA_CHUNK_BYTES, 2048);
    rig->source = (struct request_source){finish, rig};
    for (size_t i = 0; i < TOY_OP_COUNT; i++) {
        const struct api_method *method = toy_ops[i].method;
        rig->endpoints[i] = (struct endpoint){.name = method->full_name,
                                              .op = toy_ops[i].op,
                                              .method = method,
                                              .in = method->in,
                                              .out = method->out->descriptor};
    }
    rig->metrics = service_metrics_open(rig->endpoints, TOY_OP_COUNT, NULL, 0);
    assert_non_null(rig->metrics);
    struct runner_options options = {.effects = &rig->fake->effects,
                                     .service = &toy_service,
                                     .arenas = rig->arenas,
                                     .requests_max = requests_max,
                                     .work_threads = TOY_WORK_THREADS,
                                     .work_waiting = TOY_WORK_WAITING,
                                     .connections = connections,
                                     .events = toy_service.events,
                                     .event_count = toy_service.event_count,
                                     .reasons = api_reasons,
                                     .metrics = service_metrics_rows(rig->metrics),
                                     .on_committed = on_committed,
                                     .ctx = rig};
    assert_int_equal(runner_open(&options, &rig->runner, &err), OK);
    runner_database_state(rig->runner, true);
    return rig;
}

void toy_close(struct toy_rig *rig)
{
    for (size_t i = 0; i < rig->sent; i++) {
        assert_int_equal(rig->replies[i].times, 1);
    }
    runner_close(&rig->runner);
    service_metrics_close(&rig->metrics);
    fake_close(rig->fake);
    assert_int_equal(arena_pool_bytes_used(rig->arenas), 0);
    arena_pool_close(&rig->arenas);
    free(rig);
}
