/* tidy: allow lines here: one parser and its refusals */
#include "tests/support/check.h"

#include "libcommon/base/buf.h"
#include "libcommon/codec/http_chunk.h"
#include "libcommon/codec/http_parse.h"

#include <stdlib.h>
#include <string.h>

/* clang-format off */
/* STR() for tables, whose initializers must be constant. */
#define T(literal) {"" literal, sizeof(literal) - 1}
/* clang-format on */

#define ARENA_MAX  ((size_t)4 * 1024 * 1024)
#define DUMP_BYTES 65536

static struct arena_pool *pool;
static char big[HTTP_BODY_BYTES_MAX * 2];

static int setup(void **state)
{
    (void)state;
    pool = arena_pool_open(ARENA_CHUNK_BYTES, 1024);
    return pool == NULL;
}

static int teardown(void **state)
{
    (void)state;
    arena_pool_close(&pool);
    return 0;
}

/* --- running a parser over pieces -------------------------------------------------- */

struct outcome {
    enum code code;
    enum http_phase phase;
    size_t consumed;
    char *dump; /* everything the request says, or "" */
};

static char *dump_request(const struct http_request *r)
{
    char *text = malloc(DUMP_BYTES);
    struct buf b = buf_over(text, DUMP_BYTES - 1);

    assert_non_null(text);
    buf_printf(&b, "%.*s|%.*s|", STR_FMT(r->method), STR_FMT(r->path));
    buf_printf(&b, "%.*s|1.%d|%s", STR_FMT(r->query), r->version_minor, r->keep_alive ? "ka" : "");
    buf_text(&b, r->expects_continue ? "|expect|" : "||");
    for (uint32_t i = 0; i < r->header_count; i++) {
        buf_printf(&b, "%.*s=", STR_FMT(r->headers[i].name));
        buf_printf(&b, "%.*s;", STR_FMT(r->headers[i].value));
    }
    buf_printf(&b, "|%zu:", r->body.len);
    buf_str(&b, r->body.len < 1000 ? r->body : STR("long"));
    assert_false(b.overflow);
    text[b.len] = '\0';
    return text;
}

/* Feeds `text` in pieces that end at `first`, then every `step` bytes. Each piece lives in memory
 * of its own length that is gone before the next one, so a view left in it is found. */
static struct outcome run(struct str text, size_t first, size_t step)
{
    struct outcome o = {OK, HTTP_PHASE_IDLE, 0, NULL};
    struct arena *arena = arena_open(pool, ARENA_MAX);
    void *memory = malloc(http_parser_bytes());
    struct http_parser *p = http_parser_init(memory);
    struct http_request *r = malloc(sizeof(*r));
    size_t end = first;

    http_parser_begin(p, r, arena);
    while (o.consumed < text.len && o.code == OK && o.phase != HTTP_PHASE_COMPLETE) {
        struct str piece = str_sub(text, o.consumed, end);
        char *copy = malloc(piece.len + 1);
        size_t used = 0;

        assert_non_null(copy);
        memcpy(copy, piece.ptr, piece.len);
        o.code = http_parser_feed(p, (struct str){copy, piece.len}, &used, &o.phase, NULL);
        if (o.code == OK && o.phase != HTTP_PHASE_COMPLETE) {
            assert_int_equal(used, piece.len);
        }
        memset(copy, '!', piece.len);
        free(copy);
        o.consumed += used;
        end += step;
    }
    if (o.code == OK && o.phase == HTTP_PHASE_COMPLETE) {
        assert_ptr_equal(r->arena, arena);
        o.dump = dump_request(r);
    } else {
        o.dump = calloc(1, 1);
    }
    free(r);
    free(memory);
    arena_dispose(&arena);
    return o;
}

static struct outcome run_whole(struct str text)
{
    return run(text, text.len, text.len);
}

static void same(struct str text, const struct outcome *whole, size_t first, size_t step)
{
    struct outcome o = run(text, first, step);

    if (o.code != whole->code || strcmp(o.dump, whole->dump) != 0 ||
        (o.code == OK && (o.consumed != whole->consumed || o.phase != whole->phase))) {
        fail_msg(
            "split at %zu step %zu: code %s phase %d consumed %zu '%s', whole: %s %d %zu '%s'; "
            "input '%.60s'",
            first,
            step,
            code_wire(o.code),
            (int)o.phase,
            o.consumed,
            o.dump,
            code_wire(whole->code),
            (int)whole->phase,
            whole->consumed,
            whole->dump,
            text.ptr);
    }
    free(o.dump);
}

/* The result must not depend on how the bytes come. */
static struct outcome run_every_way(struct str text)
{
    struct outcome whole = run_whole(text);
    size_t stride = text.len > 2000 ? text.len / 97 : 1;

    for (size_t cut = 1; cut < text.len; cut += stride) {
        same(text, &whole, cut, text.len);
    }
    if (text.len < 40000) {
        same(text, &whole, 1, 1);
    }
    same(text, &whole, 1, 7);
    same(text, &whole, 3, 16384);
    return whole;
}

static void expect_code(struct str text, enum code code)
{
    struct outcome o = run_every_way(text);

    if (o.code != code) {
        fail_msg("%s instead of %s for '%.80s'", code_wire(o.code), code_wire(code), text.ptr);
    }
    free(o.dump);
}

static void expect_dump(struct str text, const char *dump)
{
    struct outcome o = run_every_way(text);

    if (o.code != OK) {
        fail_msg("%s for '%.80s'", code_wire(o.code), text.ptr);
    }
    assert_string_equal(o.dump, dump);
    assert_int_equal(o.consumed, text.len);
    free(o.dump);
}

/* --- what is accepted -------------------------------------------------------------- */

#define H "Host: a\r\n"

static void accepts(void **state)
{
    static const struct {
        struct str text;
        const char *dump;
    } cases[] = {
        {T("GET / HTTP/1.1\r\n" H "\r\n"),                                                                   "GET|/||1.1|ka||Host=a;|0:"           },
        {T("\r\nGET / HTTP/1.1\r\n" H "\r\n"),                                                               "GET|/||1.1|ka||Host=a;|0:"           },
        {T("HEAD /a%20b?x=1&y HTTP/1.1\r\n" H "\r\n"),                                                       "HEAD|/a%20b|x=1&y|1.1|ka||Host=a;|0:"},
        {T("GET /? HTTP/1.1\r\n" H "\r\n"),                                                                  "GET|/||1.1|ka||Host=a;|0:"           },
        {T("GET //x HTTP/1.1\r\n" H "\r\n"),                                                                 "GET|//x||1.1|ka||Host=a;|0:"         },
        {T("GET /?a?b=/ HTTP/1.1\r\n" H "\r\n"),                                                             "GET|/|a?b=/|1.1|ka||Host=a;|0:"      },
        {T("GET /{x}|y HTTP/1.1\r\n" H "\r\n"),                                                              "GET|/{x}|y||1.1|ka||Host=a;|0:"      },
        {T("GET http://A:80/p?q HTTP/1.1\r\nHost: a:80\r\n\r\n"),                                            "GET|/p|q|1.1|ka||Host=a:80;|0:"      },
        {T("GET https://a HTTP/1.1\r\n" H "\r\n"),                                                           "GET|/||1.1|ka||Host=a;|0:"           },
        {T("GET https://a?q HTTP/1.1\r\n" H "\r\n"),                                                         "GET|/|q|1.1|ka||Host=a;|0:"          },
        {T("OPTIONS * HTTP/1.1\r\n" H "\r\n"),                                                               "OPTIONS|*||1.1|ka||Host=a;|0:"       },
        {T("DELETE /x HTTP/1.1\r\n" H "Connection: close\r\n\r\n"),
         "DELETE|/x||1.1|||Host=a;Connection=close;|0:"                                                                                            },
        {T("GET / HTTP/1.1\r\n" H "Connection: foo, Close\r\n\r\n"),
         "GET|/||1.1|||Host=a;Connection=foo, Close;|0:"                                                                                           },
        {T("GET / HTTP/1.0\r\n\r\n"),                                                                        "GET|/||1.0||||0:"                    },
        {T("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
         "GET|/||1.0|ka||Connection=keep-alive;|0:"                                                                                                },
        {T("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n"),
         "GET|/||1.0|||Connection=keep-alive, close;|0:"                                                                                           },
        {T("GET / HTTP/1.1\r\nhOST:\t [::1]:8080 \t\r\nX-Empty:\r\nX-Blank:  \r\n\r\n"),
         "GET|/||1.1|ka||hOST=[::1]:8080;X-Empty=;X-Blank=;|0:"                                                                                    },
        {T("GET / HTTP/1.1\r\n" H "X: caf\xc3\xa9 \xff\tz\r\n\r\n"),
         "GET|/||1.1|ka||Host=a;X=caf\xc3\xa9 \xff\tz;|0:"                                                                                         },
        {T("POST / HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello"),
         "POST|/||1.1|ka||Host=a;Content-Length=5;|5:hello"                                                                                        },
        {T("PUT / HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n"),
         "PUT|/||1.1|ka||Host=a;Content-Length=0;|0:"                                                                                              },
        {T("PATCH / HTTP/1.1\r\n" H "Content-Length: 003\r\n\r\nabc"),
         "PATCH|/||1.1|ka||Host=a;Content-Length=003;|3:abc"                                                                                       },
        {T("GET / HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nhi"),
         "GET|/||1.1|ka||Host=a;Content-Length=2;|2:hi"                                                                                            },
        {T("POST / HTTP/1.1\r\n" H "Content-Length: 2\r\nExpect: 100-Continue\r\n\r\nhi"),
         "POST|/||1.1|ka|expect|Host=a;Content-Length=2;Expect=100-Continue;|2:hi"                                                                 },
        {T("POST / HTTP/1.0\r\nContent-Length: 2\r\nExpect: cake\r\n\r\nhi"),
         "POST|/||1.0|||Content-Length=2;Expect=cake;|2:hi"                                                                                        },
        {T("POST / HTTP/1.1\r\n" H "Transfer-Encoding: Chunked\r\n\r\n"
           "5\r\nhello\r\n00006 \r\n world\r\n0\r\n\r\n"),
         NULL                                                                                                                                      },
        {T("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"
           "5;a=b;c=\"d;\\\" e\";f\r\nhello\r\nB\r\n, new world\r\n000\r\nX-Sum: 1\r\nY:\r\n\r\n"),
         "POST|/||1.1|ka||Host=a;Transfer-Encoding=chunked;|16:hello, new world"                                                                   },
        {T("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
         "POST|/||1.1|ka||Host=a;Transfer-Encoding=chunked;|0:"                                                                                    },
        {T("GET / HTTP/1.1\r\n" H "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n"),
         "GET|/||1.1|ka||Host=a;Connection=Upgrade, HTTP2-Settings;Upgrade=h2c;|0:"                                                                },
        {T("POST / HTTP/1.1\r\n" H
           "Connection: Upgrade\r\nUpgrade: x\r\nContent-Length: 1\r\n\r\nz"),
         "POST|/||1.1|ka||Host=a;Connection=Upgrade;Upgrade=x;Content-Length=1;|1:z"                                                               },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (cases[i].dump == NULL) {
            expect_code(cases[i].text, ERR_HTTP);
        } else {
            expect_dump(cases[i].text, cases[i].dump);
        }
    }
}

/* --- what is refused --------------------------------------------------------------- */

#define GET  "GET / HTTP/1.1\r\n"
#define POST "POST / HTTP/1.1\r\n" H

static const struct {
    struct str text;
    enum code code;
} bad_headers[] = {
  /* request line */
    {T("\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n"),                                             ERR_HTTP           },
    {T("\nGET / HTTP/1.1\r\n" H "\r\n"),                                                   ERR_HTTP           },
    {T("\rGET / HTTP/1.1\r\n" H "\r\n"),                                                   ERR_HTTP           },
    {T(" GET / HTTP/1.1\r\n" H "\r\n"),                                                    ERR_HTTP           },
    {T("GET  / HTTP/1.1\r\n" H "\r\n"),                                                    ERR_HTTP           },
    {T("GET\t/ HTTP/1.1\r\n" H "\r\n"),                                                    ERR_HTTP           },
    {T("GET /  HTTP/1.1\r\n" H "\r\n"),                                                    ERR_HTTP           },
    {T("GET /\tHTTP/1.1\r\n" H "\r\n"),                                                    ERR_HTTP           },
    {T("GET / HTTP/1.1 \r\n" H "\r\n"),                                                    ERR_HTTP           },
    {T("GET / HTTP/1.1\n" H "\r\n"),                                                       ERR_HTTP           },
    {T("GET / HTTP/1.1\r" H "\r\n"),                                                       ERR_HTTP           },
    {T("GET / http/1.1\r\n" H "\r\n"),                                                     ERR_HTTP           },
    {T("GET / HTTP/1\r\n" H "\r\n"),                                                       ERR_HTTP           },
    {T("GET / HTTP/x.1\r\n" H "\r\n"),                                                     ERR_HTTP           },
    {T("GET / HTTP/11.1\r\n" H "\r\n"),                                                    ERR_HTTP           },
    {T("GET / ICE/1.1\r\n" H "\r\n"),                                                      ERR_HTTP           },
    {T("GET / RTSP/1.0\r\n" H "\r\n"),                                                     ERR_HTTP           },
    {T("GET / HTTP/1.2\r\n" H "\r\n"),                                                     ERR_VERSION        },
    {T("GET / HTTP/2.0\r\n" H "\r\n"),                                                     ERR_VERSION        },
    {T("GET / HTTP/0.9\r\n" H "\r\n"),                                                     ERR_VERSION        },
    {T("GET / HTTP/3.0\r\n" H "\r\n"),                                                     ERR_VERSION        },
    {T("GET /\r\n\r\n"),                                                                   ERR_HTTP           },
    {T("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),                                                ERR_VERSION        },
    {T("get / HTTP/1.1\r\n" H "\r\n"),                                                     ERR_NOT_IMPLEMENTED},
    {T("GETS / HTTP/1.1\r\n" H "\r\n"),                                                    ERR_NOT_IMPLEMENTED},
    {T("BREW / HTTP/1.1\r\n" H "\r\n"),                                                    ERR_NOT_IMPLEMENTED},
    {T("PROPFIND / HTTP/1.1\r\n" H "\r\n"),                                                ERR_NOT_IMPLEMENTED},
    {T("SOURCE / ICE/1.0\r\n" H "\r\n"),                                                   ERR_NOT_IMPLEMENTED},
    {T("DESCRIBE / RTSP/1.0\r\n" H "\r\n"),                                                ERR_NOT_IMPLEMENTED},
    {T("TRACE / HTTP/1.1\r\n" H "\r\n"),                                                   ERR_METHOD         },
    {T("CONNECT a:443 HTTP/1.1\r\n" H "\r\n"),                                             ERR_METHOD         },
    {T("G@T / HTTP/1.1\r\n" H "\r\n"),                                                     ERR_HTTP           },
    {T("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),                                    ERR_HTTP           },
    {T("\0GET / HTTP/1.1\r\n"),                                                            ERR_HTTP           },
 /* target */
    {T("GET a HTTP/1.1\r\n" H "\r\n"),                                                     ERR_HTTP           },
    {T("GET * HTTP/1.1\r\n" H "\r\n"),                                                     ERR_HTTP           },
    {T("OPTIONS *x HTTP/1.1\r\n" H "\r\n"),                                                ERR_HTTP           },
    {T("GET ?q HTTP/1.1\r\n" H "\r\n"),                                                    ERR_HTTP           },
    {T("GET a:443 HTTP/1.1\r\n" H "\r\n"),                                                 ERR_HTTP           },
    {T("GET /#f HTTP/1.1\r\n" H "\r\n"),                                                   ERR_HTTP           },
    {T("GET /?a#f HTTP/1.1\r\n" H "\r\n"),                                                 ERR_HTTP           },
    {T("GET /\x01 HTTP/1.1\r\n" H "\r\n"),                                                 ERR_HTTP           },
    {T("GET /\x7f HTTP/1.1\r\n" H "\r\n"),                                                 ERR_HTTP           },
    {T("GET /\0x HTTP/1.1\r\n" H "\r\n"),                                                  ERR_HTTP           },
    {T("GET /\xc3\xa9 HTTP/1.1\r\n" H "\r\n"),                                             ERR_HTTP           },
    {T("GET http://b/ HTTP/1.1\r\n" H "\r\n"),                                             ERR_HTTP           },
    {T("GET http://u@a/ HTTP/1.1\r\n" H "\r\n"),                                           ERR_HTTP           },
    {T("GET http:///x HTTP/1.1\r\n" H "\r\n"),                                             ERR_HTTP           },
    {T("GET ftp://a/ HTTP/1.1\r\n" H "\r\n"),                                              ERR_HTTP           },
    {T("GET http://a/ HTTP/1.0\r\n\r\n"),                                                  ERR_HTTP           },
 /* field lines */
    {T(GET "Host : a\r\n\r\n"),                                                            ERR_HTTP           },
    {T(GET H "X\tY: 1\r\n\r\n"),                                                           ERR_HTTP           },
    {T(GET " Host: a\r\n\r\n"),                                                            ERR_HTTP           },
    {T(GET H "X: 1\r\n 2\r\n\r\n"),                                                        ERR_HTTP           },
    {T(GET H "X: 1\r\n\t\r\n\r\n"),                                                        ERR_HTTP           },
    {T(GET H "X:\r\n 2\r\n\r\n"),                                                          ERR_HTTP           },
    {T(GET H " X: 2\r\n\r\n"),                                                             ERR_HTTP           },
    {T(GET H "X(: 1\r\n\r\n"),                                                             ERR_HTTP           },
    {T(GET H "X\xe9: 1\r\n\r\n"),                                                          ERR_HTTP           },
    {T(GET H ": 1\r\n\r\n"),                                                               ERR_HTTP           },
    {T(GET H "X\r\n\r\n"),                                                                 ERR_HTTP           },
    {T(GET H "X: 1\nY: 2\r\n\r\n"),                                                        ERR_HTTP           },
    {T(GET H "X: 1\rY: 2\r\n\r\n"),                                                        ERR_HTTP           },
    {T(GET H "X: 1\r\r\n\r\n"),                                                            ERR_HTTP           },
    {T(GET H "X: a\0b\r\n\r\n"),                                                           ERR_HTTP           },
    {T(GET H "X: a\x0b\r\n\r\n"),                                                          ERR_HTTP           },
    {T(GET H "X: \x0c\r\n\r\n"),                                                           ERR_HTTP           },
    {T(GET H "X: a\x7f\r\n\r\n"),                                                          ERR_HTTP           },
    {T(GET H "X: 1\r\n\n"),                                                                ERR_HTTP           },
    {T(GET H "X: 1\r\n\rx"),                                                               ERR_HTTP           },
    {T(GET H "X: 1\n\r\n"),                                                                ERR_HTTP           },
 /* Host */
    {T(GET "\r\n"),                                                                        ERR_HTTP           },
    {T(GET "X: 1\r\n\r\n"),                                                                ERR_HTTP           },
    {T(GET H H "\r\n"),                                                                    ERR_HTTP           },
    {T(GET H "hOsT: b\r\n\r\n"),                                                           ERR_HTTP           },
    {T("GET / HTTP/1.0\r\n" H H "\r\n"),                                                   ERR_HTTP           },
    {T(GET "Host:\r\n\r\n"),                                                               ERR_HTTP           },
    {T(GET "Host: a b\r\n\r\n"),                                                           ERR_HTTP           },
    {T(GET "Host: a,b\r\n\r\n"),                                                           OK                 },
    {T(GET "Host: a/b\r\n\r\n"),                                                           ERR_HTTP           },
    {T(GET "Host: u@a\r\n\r\n"),                                                           ERR_HTTP           },
    {T(GET "Host: a:b\r\n\r\n"),                                                           ERR_HTTP           },
    {T(GET "Host: a:99999\r\n\r\n"),                                                       ERR_HTTP           },
    {T(GET "Host: :80\r\n\r\n"),                                                           ERR_HTTP           },
    {T(GET "Host: [::1\r\n\r\n"),                                                          ERR_HTTP           },
    {T(GET "Host: [::1]x\r\n\r\n"),                                                        ERR_HTTP           },
    {T(GET "Host: a[::1]\r\n\r\n"),                                                        ERR_HTTP           },
    {T(GET "Host: \xc3\xa9\r\n\r\n"),                                                      ERR_HTTP           },
 /* expectations */
    {T(POST "Content-Length: 1\r\nExpect: 200-ok\r\n\r\nx"),                               ERR_EXPECTATION    },
    {T(POST "Content-Length: 1\r\nExpect: 100-continue, x\r\n\r\nx"),                      ERR_EXPECTATION    },
    {T(POST "Content-Length: 1\r\nExpect: 100-continue\r\nExpect: 100-continue\r\n\r\nx"),
     ERR_EXPECTATION                                                                                          },
};

static void refuses_headers(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad_headers); i++) {
        expect_code(bad_headers[i].text, bad_headers[i].code);
    }
}

#define CHUNKED POST "Transfer-Encoding: chunked\r\n"

static const struct {
    struct str text;
    enum code code;
} bad_bodies[] = {
    {T(POST "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx"),                  ERR_HTTP           },
    {T(POST "Content-Length: 1\r\nContent-Length: 2\r\n\r\nx"),                  ERR_HTTP           },
    {T(POST "Content-Length: 1, 1\r\n\r\nx"),                                    ERR_HTTP           },
    {T(POST "Content-Length: +1\r\n\r\nx"),                                      ERR_HTTP           },
    {T(POST "Content-Length: -1\r\n\r\nx"),                                      ERR_HTTP           },
    {T(POST "Content-Length: 0x1\r\n\r\nx"),                                     ERR_HTTP           },
    {T(POST "Content-Length: 1 1\r\n\r\nx"),                                     ERR_HTTP           },
    {T(POST "Content-Length: 1a\r\n\r\nx"),                                      ERR_HTTP           },
    {T(POST "Content-Length:\r\n\r\nx"),                                         ERR_HTTP           },
    {T(POST "Content-Length : 1\r\n\r\nx"),                                      ERR_HTTP           },
    {T(POST "Content-Length: 99999999999999999999999\r\n\r\nx"),                 ERR_HTTP           },
    {T(POST "Content-Length: 786433\r\n\r\nx"),                                  ERR_TOO_LARGE      },
    {T(POST "Content-Length: 4294967297\r\n\r\nx"),                              ERR_TOO_LARGE      },
    {T(POST "Content-Length: 18446744073709551615\r\n\r\nx"),                    ERR_TOO_LARGE      },
    {T(CHUNKED "Content-Length: 1\r\n\r\n0\r\n\r\n"),                            ERR_HTTP           },
    {T(POST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), ERR_HTTP           },
    {T(CHUNKED "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),                   ERR_NOT_IMPLEMENTED},
    {T("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),        ERR_HTTP           },
    {T(POST "Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n"),                         ERR_NOT_IMPLEMENTED},
    {T(POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),                ERR_NOT_IMPLEMENTED},
    {T(POST "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),                ERR_NOT_IMPLEMENTED},
    {T(POST "Transfer-Encoding: identity\r\n\r\n0\r\n\r\n"),                     ERR_NOT_IMPLEMENTED},
    {T(POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),                     ERR_NOT_IMPLEMENTED},
    {T(POST "Transfer-Encoding: chunkedx\r\n\r\n0\r\n\r\n"),                     ERR_NOT_IMPLEMENTED},
    {T(POST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),                  ERR_NOT_IMPLEMENTED},
    {T(POST "Transfer-Encoding:\r\n\r\n0\r\n\r\n"),                              ERR_NOT_IMPLEMENTED},
    {T(POST "Transfer-Encoding: \x0b"
            "chunked\r\n\r\n0\r\n\r\n"),
     ERR_HTTP                                                                                       },
    {T(POST "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),                  ERR_HTTP           },
    {T(POST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),                     ERR_HTTP           },
    {T(CHUNKED "\r\nx\r\n"),                                                     ERR_HTTP           },
    {T(CHUNKED "\r\n\r\n"),                                                      ERR_HTTP           },
    {T(CHUNKED "\r\n-1\r\n"),                                                    ERR_HTTP           },
    {T(CHUNKED "\r\n0x1\r\nx\r\n"),                                              ERR_HTTP           },
    {T(CHUNKED "\r\n 1\r\nx\r\n"),                                               ERR_HTTP           },
    {T(CHUNKED "\r\n1 \r\nx\r\n"),                                               ERR_HTTP           },
    {T(CHUNKED "\r\n1\nx\r\n"),                                                  ERR_HTTP           },
    {T(CHUNKED "\r\n1\rx\r\n"),                                                  ERR_HTTP           },
    {T(CHUNKED "\r\n1\r\nx\n0\r\n\r\n"),                                         ERR_HTTP           },
    {T(CHUNKED "\r\n1\r\nxx\r\n0\r\n\r\n"),                                      ERR_HTTP           },
    {T(CHUNKED "\r\n2\r\nx\r\n0\r\n\r\n"),                                       ERR_HTTP           },
    {T(CHUNKED "\r\n000000001\r\nx\r\n"),                                        ERR_HTTP           },
    {T(CHUNKED "\r\nffffffffff\r\nx\r\n"),                                       ERR_HTTP           },
    {T(CHUNKED "\r\nffffffff\r\nx\r\n"),                                         ERR_TOO_LARGE      },
    {T(CHUNKED "\r\nc0001\r\nx\r\n"),                                            ERR_TOO_LARGE      },
    {T(CHUNKED "\r\n1;\r\nx\r\n"),                                               ERR_HTTP           },
    {T(CHUNKED "\r\n1;=b\r\nx\r\n"),                                             ERR_HTTP           },
    {T(CHUNKED "\r\n1;a=\r\nx\r\n"),                                             ERR_HTTP           },
    {T(CHUNKED "\r\n1;a b\r\nx\r\n"),                                            ERR_HTTP           },
    {T(CHUNKED "\r\n1;a=\"b\r\nx\r\n"),                                          ERR_HTTP           },
    {T(CHUNKED "\r\n1;a=\"b\"c\r\nx\r\n"),                                       ERR_HTTP           },
    {T(CHUNKED "\r\n1;a=b\"c\"\r\nx\r\n"),                                       ERR_HTTP           },
    {T(CHUNKED "\r\n1;\xc3\xa9\r\nx\r\n"),                                       ERR_HTTP           },
    {T(CHUNKED "\r\n1;a\n\r\nx\r\n"),                                            ERR_HTTP           },
    {T(CHUNKED "\r\n1;a\x01\r\nx\r\n"),                                          ERR_HTTP           },
    {T(CHUNKED "\r\n0\r\n X: 1\r\n\r\n"),                                        ERR_HTTP           },
    {T(CHUNKED "\r\n0\r\nX : 1\r\n\r\n"),                                        ERR_HTTP           },
    {T(CHUNKED "\r\n0\r\nX: 1\n\r\n"),                                           ERR_HTTP           },
    {T(CHUNKED "\r\n0\r\nX: \x01\r\n\r\n"),                                      ERR_HTTP           },
    {T(CHUNKED "\r\n0\r\n: 1\r\n\r\n"),                                          ERR_HTTP           },
    {T(CHUNKED "\r\n0\r\n\rx"),                                                  ERR_HTTP           },
};

static void refuses_bodies(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad_bodies); i++) {
        expect_code(bad_bodies[i].text, bad_bodies[i].code);
    }
}

/* --- limits ------------------------------------------------------------------------ */

static struct str big_view(const struct buf *b)
{
    assert_false(b->overflow);
    return buf_view(b);
}

static void repeat(struct buf *b, char c, size_t times)
{
    char *room = buf_reserve(b, times);

    assert_non_null(room);
    memset(room, c, times);
    buf_commit(b, times);
}

static void limits_target(void **state)
{
    struct buf b = buf_over(big, sizeof(big));
    struct outcome o;

    (void)state;
    for (int beyond = 0; beyond <= 1; beyond++) {
        buf_reset(&b);
        buf_text(&b, "GET /");
        repeat(&b, 'a', HTTP_TARGET_BYTES_MAX - 1 + (size_t)beyond);
        buf_text(&b, " HTTP/1.1\r\n" H "\r\n");
        expect_code(big_view(&b), beyond == 1 ? ERR_URI_TOO_LONG : OK);
    }
    /* Beyond the maximum nothing is looked at, not even what is wrong there. */
    buf_reset(&b);
    buf_text(&b, "GET /");
    repeat(&b, 'a', HTTP_TARGET_BYTES_MAX + 100);
    buf_text(&b, "\x01");
    repeat(&b, 'a', 20000);
    expect_code(big_view(&b), ERR_URI_TOO_LONG);
    /* A target that never ends is refused without waiting for its end. */
    o = run_whole(str_sub(big_view(&b), 0, HTTP_TARGET_BYTES_MAX + 6));
    assert_int_equal(o.code, ERR_URI_TOO_LONG);
    free(o.dump);
}

static void limits_header_bytes(void **state)
{
    static const struct str start = T("GET / HTTP/1.1\r\n" H "X: ");
    struct buf b = buf_over(big, sizeof(big));

    (void)state;
    for (int beyond = 0; beyond <= 1; beyond++) {
        buf_reset(&b);
        buf_str(&b, start);
        repeat(&b, 'v', HTTP_HEADER_BYTES_MAX - start.len - 4 + (size_t)beyond);
        buf_text(&b, "\r\n\r\n");
        expect_code(big_view(&b), beyond == 1 ? ERR_HEADERS_TOO_LARGE : OK);
    }
    buf_reset(&b);
    buf_str(&b, start);
    repeat(&b, 'v', HTTP_HEADER_BYTES_MAX);
    expect_code(big_view(&b), ERR_HEADERS_TOO_LARGE);
}

static void limits_header_count(void **state)
{
    struct buf b = buf_over(big, sizeof(big));

    (void)state;
    for (int count = HTTP_HEADERS_MAX; count <= HTTP_HEADERS_MAX + 1; count++) {
        buf_reset(&b);
        buf_text(&b, GET H);
        for (int i = 1; i < count; i++) {
            buf_printf(&b, "X-%d: %d\r\n", i, i);
        }
        buf_text(&b, "\r\n");
        expect_code(big_view(&b), count > HTTP_HEADERS_MAX ? ERR_HEADERS_TOO_LARGE : OK);
    }
}

static void limits_body(void **state)
{
    struct buf b = buf_over(big, sizeof(big));
    struct outcome o;

    (void)state;
    buf_printf(&b, POST "Content-Length: %d\r\n\r\n", HTTP_BODY_BYTES_MAX);
    repeat(&b, 'b', (size_t)HTTP_BODY_BYTES_MAX);
    expect_code(big_view(&b), OK);
    /* The largest chunked body, in chunks of 4 KiB. */
    for (int beyond = 0; beyond <= 1; beyond++) {
        buf_reset(&b);
        buf_text(&b, CHUNKED "\r\n");
        for (int i = 0; i < HTTP_BODY_BYTES_MAX / 4096; i++) {
            buf_text(&b, "1000\r\n");
            repeat(&b, 'c', 4096);
            buf_text(&b, "\r\n");
        }
        buf_text(&b, beyond == 1 ? "1\r\nx\r\n0\r\n\r\n" : "0\r\n\r\n");
        expect_code(big_view(&b), beyond == 1 ? ERR_TOO_LARGE : OK);
    }
    /* What is announced is refused before it comes. */
    o = run_whole(STR(POST "Content-Length: 786433\r\n\r\n"));
    assert_int_equal(o.code, ERR_TOO_LARGE);
    free(o.dump);
}

static void limits_chunk_overhead(void **state)
{
    struct buf b = buf_over(big, sizeof(big));

    (void)state;
    for (int beyond = 0; beyond <= 1; beyond++) {
        buf_reset(&b);
        buf_text(&b, CHUNKED "\r\n1;");
        repeat(&b, 'e', HTTP_CHUNK_EXTENSION_BYTES_MAX - 2);
        buf_text(&b, "\r\nx\r\n1;");
        repeat(&b, 'e', 2 + (size_t)beyond);
        buf_text(&b, "\r\nx\r\n0\r\n\r\n");
        expect_code(big_view(&b), beyond == 1 ? ERR_HTTP : OK);
    }
    for (int beyond = 0; beyond <= 1; beyond++) {
        buf_reset(&b);
        buf_text(&b, CHUNKED "\r\n0\r\nX:");
        /* The CR of the empty line counts, the LFs do not. */
        repeat(&b, 't', HTTP_TRAILER_BYTES_MAX - 4 + (size_t)beyond);
        buf_text(&b, "\r\n\r\n");
        expect_code(big_view(&b), beyond == 1 ? ERR_HEADERS_TOO_LARGE : OK);
    }
}

static void memory_that_runs_out_is_an_answer(void **state)
{
    static const struct str text = T(POST "Content-Length: 9000\r\n\r\nx");
    struct http_request request;
    enum http_phase phase = HTTP_PHASE_IDLE;
    size_t used = 0;
    void *memory = malloc(http_parser_bytes());
    struct http_parser *p = http_parser_init(memory);

    (void)state;
    for (size_t bytes_max = 16; bytes_max <= 1024; bytes_max *= 64) {
        struct arena *arena = arena_open(pool, bytes_max);

        http_parser_begin(p, &request, arena);
        assert_int_equal(http_parser_feed(p, text, &used, &phase, NULL), ERR_OVERLOADED);
        arena_dispose(&arena);
    }
    free(memory);
}

/* A body that is only announced reserves little. */
static void reserves_what_has_come(void **state)
{
    static const struct str text = T(POST "Content-Length: 786432\r\n\r\nx");
    struct arena *arena = arena_open(pool, ARENA_MAX);
    struct http_request request;
    enum http_phase phase = HTTP_PHASE_IDLE;
    size_t used = 0;
    void *memory = malloc(http_parser_bytes());
    struct http_parser *p = http_parser_init(memory);

    (void)state;
    http_parser_begin(p, &request, arena);
    assert_int_equal(http_parser_feed(p, text, &used, &phase, NULL), OK);
    assert_int_equal(phase, HTTP_PHASE_BODY);
    assert_true(arena_bytes_used(arena) < 20000);
    arena_dispose(&arena);
    free(memory);
}

/* --- several requests --------------------------------------------------------------- */

static void pipelined(void **state)
{
    static const struct str text =
        T("GET /1 HTTP/1.1\r\n" H "\r\n"
          "POST /2 HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc"
          "\r\nPOST /3 HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"
          "1\r\nx\r\n0\r\n\r\n"
          "GET /4 HTTP/1.1\r\n" H "\r\nGET");
    static const char *const paths[] = {"/1", "/2", "/3", "/4"};
    struct str rest = text;
    struct arena *arena = arena_open(pool, ARENA_MAX);
    struct http_request request;
    enum http_phase phase = HTTP_PHASE_IDLE;
    size_t used = 0;
    void *memory = malloc(http_parser_bytes());
    struct http_parser *p = http_parser_init(memory);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        http_parser_begin(p, &request, arena);
        assert_int_equal(http_parser_feed(p, rest, &used, &phase, NULL), OK);
        assert_int_equal(phase, HTTP_PHASE_COMPLETE);
        assert_true(str_eq(request.path, str_from(paths[i])));
        rest = str_sub(rest, used, rest.len);
    }
    http_parser_begin(p, &request, arena);
    assert_int_equal(http_parser_feed(p, STR_EMPTY, &used, &phase, NULL), OK);
    assert_int_equal(phase, HTTP_PHASE_IDLE);
    assert_int_equal(http_parser_feed(p, rest, &used, &phase, NULL), OK);
    assert_int_equal(phase, HTTP_PHASE_HEADER);
    assert_int_equal(used, 3);
    arena_dispose(&arena);
    free(memory);
}

static void looks_up_fields(void **state)
{
    struct http_request *r = calloc(1, sizeof(*r));

    (void)state;
    assert_non_null(r);
    r->headers[0] = (struct http_header){STR("Accept"), STR("a")};
    r->headers[1] = (struct http_header){STR("accept"), STR("b")};
    r->header_count = 2;
    assert_true(str_eq(http_header_get(r, "ACCEPT"), STR("a")));
    assert_int_equal(http_header_count_of(r, "Accept"), 2);
    assert_null(http_header_get(r, "Accep").ptr);
    assert_int_equal(http_header_count_of(r, "Host"), 0);
    free(r);
}

static void decodes_percent(void **state)
{
    static const struct {
        struct str text;
        bool plus;
        bool good;
        struct str decoded;
    } cases[] = {
        {T(""),          false, true,  T("")         },
        {T("abc"),       false, true,  T("abc")      },
        {T("a+b"),       true,  true,  T("a b")      },
        {T("a+b"),       false, true,  T("a+b")      },
        {T("%2B%2b"),    true,  true,  T("++")       },
        {T("%41%7e"),    false, true,  T("A~")       },
        {T("%C3%B1o"),   false, true,  T("\xc3\xb1o")},
        {T("%25%32%35"), false, true,  T("%25")      },
        {T("%"),         false, false, T("")         },
        {T("%4"),        false, false, T("")         },
        {T("%4g"),       false, false, T("")         },
        {T("%g4"),       false, false, T("")         },
        {T("%%41"),      false, false, T("")         },
        {T("a%00"),      false, false, T("")         },
        {T("a\0b"),      false, false, T("")         },
        {T("%C3"),       false, false, T("")         },
        {T("%C0%AF"),    false, false, T("")         },
        {T("%ED%A0%80"), false, false, T("")         },
    };
    struct arena *arena = arena_open(pool, ARENA_MAX);
    struct arena *tiny = arena_open(pool, 16);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str out = STR_EMPTY;

        assert_int_equal(percent_decode(cases[i].text, cases[i].plus, arena, &out), cases[i].good);
        assert_true(!cases[i].good || str_eq(out, cases[i].decoded));
    }
    assert_false(percent_decode(STR("12345678901234567"), false, tiny, &(struct str){0}));
    arena_dispose(&arena);
    arena_dispose(&tiny);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts),
        cmocka_unit_test(refuses_headers),
        cmocka_unit_test(refuses_bodies),
        cmocka_unit_test(limits_target),
        cmocka_unit_test(limits_header_bytes),
        cmocka_unit_test(limits_header_count),
        cmocka_unit_test(limits_body),
        cmocka_unit_test(limits_chunk_overhead),
        cmocka_unit_test(memory_that_runs_out_is_an_answer),
        cmocka_unit_test(reserves_what_has_come),
        cmocka_unit_test(pipelined),
        cmocka_unit_test(looks_up_fields),
        cmocka_unit_test(decodes_percent),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
