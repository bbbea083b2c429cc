/*
 * The HTTP parser on arbitrary bytes. The first two bytes choose how the rest is cut into pieces.
 * Checked besides memory: the result does not depend on the cuts, an accepted request obeys its own
 * rules, and a chunked body reads the same in llhttp, which is another's reading of the same bytes.
 */
#include "libcommon/base/limits.h"
#include "libcommon/codec/http_parse.h"

#include <assert.h>
#include <llhttp.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_MAX  ((size_t)4 * 1024 * 1024)
#define CUT_BYTES  2
#define PARSED_MAX 32

/* NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    enum code code;
    size_t requests;
    size_t consumed;
    uint64_t hash; /* of everything the requests say */
};

static struct arena_pool *pool;

static uint64_t hash_view(uint64_t seed, struct str view)
{
    assert(view.ptr != NULL);
    return hash_bytes(view.ptr, view.len, seed + view.len);
}

/* Reads every byte of the request, so that a view into memory that is gone is found. */
static uint64_t hash_request(const struct http_request *r, uint64_t seed)
{
    uint64_t hash = hash_view(seed, r->method);

    hash = hash_view(hash, r->target);
    hash = hash_view(hash, r->path);
    hash = hash_view(hash, r->query);
    hash = hash_view(hash, r->body) + r->version_minor + (r->keep_alive ? 16U : 0U);
    for (uint32_t i = 0; i < r->header_count; i++) {
        hash = hash_view(hash, r->headers[i].name);
        hash = hash_view(hash, r->headers[i].value);
    }
    return hash;
}

static void check_value(struct str value)
{
    for (size_t i = 0; i < value.len; i++) {
        assert(value.ptr[i] == '\t' || (unsigned char)value.ptr[i] >= ' ');
        assert(value.ptr[i] != 0x7F);
    }
}

static void check_request(const struct http_request *r)
{
    size_t lengths = http_header_count_of(r, "Content-Length");
    size_t codings = http_header_count_of(r, "Transfer-Encoding");
    struct str decoded = STR_EMPTY;

    assert(r->header_count <= HTTP_HEADERS_MAX);
    assert(r->target.len <= HTTP_TARGET_BYTES_MAX);
    assert(r->body.len <= (size_t)HTTP_BODY_BYTES_MAX);
    assert(r->path.len > 0);
    assert(r->path.ptr[0] == '/' || str_eq(r->path, STR("*")));
    assert(lengths + codings <= 1);
    assert(r->body.len == 0 || lengths + codings == 1);
    assert(r->version_minor == 0 || http_header_count_of(r, "Host") == 1);
    for (uint32_t i = 0; i < r->header_count; i++) {
        assert(r->headers[i].name.len > 0);
        check_value(r->headers[i].value);
    }
    (void)percent_decode(r->path, false, r->arena, &decoded);
    (void)percent_decode(r->query, true, r->arena, &decoded);
}

/* --- ours ------------------------------------------------------------------------------ */

struct run {
    struct outcome outcome;
    struct http_parser *parser;
    struct http_request *request;
    struct arena *arena;
    enum http_phase phase;
};

/* One piece, in memory of exactly its length that is gone afterwards. Returns what was consumed. */
static size_t feed(struct run *run, struct str piece)
{
    char *copy = malloc(piece.len == 0 ? 1 : piece.len);
    size_t used = 0;

    assert(copy != NULL);
    memcpy(copy, piece.ptr, piece.len);
    run->outcome.code =
        http_parser_feed(run->parser, (struct str){copy, piece.len}, &used, &run->phase, NULL);
    memset(copy, 0xEE, piece.len);
    free(copy);
    assert(used <= piece.len);
    return used;
}

static struct outcome parse(struct str text, size_t first, size_t step)
{
    struct run run = {.phase = HTTP_PHASE_COMPLETE};
    void *memory = malloc(http_parser_bytes());
    size_t at = 0;
    size_t end = first;

    run.parser = http_parser_init(memory);
    run.request = malloc(sizeof(*run.request));
    assert(run.request != NULL);
    while (at < text.len && run.outcome.code == OK && run.outcome.requests < PARSED_MAX) {
        if (run.phase == HTTP_PHASE_COMPLETE) {
            arena_dispose(&run.arena);
            run.arena = arena_open(pool, ARENA_MAX);
            http_parser_begin(run.parser, run.request, run.arena);
        }
        at += feed(&run, str_sub(text, at, end));
        if (run.outcome.code == OK && run.phase == HTTP_PHASE_COMPLETE) {
            check_request(run.request);
            run.outcome.hash = hash_request(run.request, run.outcome.hash);
            run.outcome.consumed = at;
            run.outcome.requests++;
        }
        end = at >= end ? end + step : end;
    }
    arena_dispose(&run.arena);
    free(run.request);
    free(memory);
    return run.outcome;
}

/* --- theirs ----------------------------------------------------------------------------- */

struct other {
    llhttp_t llhttp;
    uint64_t body_bytes;
    size_t requests;
    bool closed; /* the last of them closes: what follows is skipped */
};

static int on_body(llhttp_t *llhttp, const char *at, size_t len)
{
    struct other *o = CONTAINER_OF(llhttp, struct other, llhttp);

    assert(at != NULL);
    o->body_bytes += len;
    return HPE_OK;
}

static int on_message_complete(llhttp_t *llhttp)
{
    struct other *o = CONTAINER_OF(llhttp, struct other, llhttp);

    assert(!o->closed);
    o->requests++;
    o->closed = llhttp_should_keep_alive(llhttp) == 0;
    return HPE_OK;
}

/* Whatever we take for whole requests, llhttp takes for as many. */
static void compare(struct str text, const struct outcome *ours)
{
    static const llhttp_settings_t settings = {
        .on_body = on_body,
        .on_message_complete = on_message_complete,
    };
    struct other o = {.requests = 0};
    enum llhttp_errno number = HPE_OK;

    llhttp_init(&o.llhttp, HTTP_REQUEST, &settings);
    number = llhttp_execute(&o.llhttp, text.ptr, ours->consumed);
    if (number == HPE_OK) {
        assert(o.requests == ours->requests || (o.closed && o.requests < ours->requests));
        return;
    }
    /* It knows no second extension after one with a value. */
    if (number == HPE_INVALID_CHUNK_SIZE) {
        assert(llhttp_get_error_pos(&o.llhttp)[-1] == ';');
        return;
    }
    /* It stops after a request that closes or upgrades, which we leave to the connection, and gives
     * a meaning to trailer fields, which we discard. */
    assert(number == HPE_CLOSED_CONNECTION || number == HPE_PAUSED_UPGRADE ||
           number == HPE_INVALID_TRANSFER_ENCODING || number == HPE_INVALID_CONTENT_LENGTH ||
           number == HPE_UNEXPECTED_CONTENT_LENGTH);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text;
    struct outcome whole;
    struct outcome cut;

    if (pool == NULL) {
        pool = arena_pool_open(ARENA_CHUNK_BYTES, 1024);
        assert(pool != NULL);
    }
    if (size < CUT_BYTES) {
        return 0;
    }
    text = (struct str){(const char *)data + CUT_BYTES, size - CUT_BYTES};
    whole = parse(text, text.len, text.len);
    cut = parse(text, (size_t)data[0] + 1, (size_t)data[1] + 1);
    assert(whole.code == cut.code);
    assert(whole.requests == cut.requests);
    assert(whole.hash == cut.hash);
    assert(whole.consumed == cut.consumed);
    compare(text, &whole);
    assert(arena_pool_bytes_used(pool) == 0);
    return 0;
}
