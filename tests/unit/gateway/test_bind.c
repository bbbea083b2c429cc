/* What a request says about its body and its key. */
#include "api.gen.h"
#include "avanta/ledger.pb-c.h"
#include "gateway/bind.h"
#include "tests/support/check.h"

#include "libcommon/codec/transcode.h"

#include <string.h>

struct rig {
    struct arena_pool *pool;
    struct arena *arena;
    struct violations *violations;
    struct http_request http;
};

static int setup(void **state)
{
    static struct rig rig;

    memset(&rig, 0, sizeof rig);
    rig.pool = arena_pool_open(ARENA_CHUNK_BYTES, 16);
    rig.arena = arena_open(rig.pool, (size_t)1024 * 1024);
    rig.violations = arena_alloc(rig.arena, sizeof *rig.violations);
    rig.http.arena = rig.arena;
    rig.http.method = STR("POST");
    violations_init(rig.violations, rig.arena);
    *state = &rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;

    arena_dispose(&rig->arena);
    arena_pool_close(&rig->pool);
    return 0;
}

static void header_add(struct rig *rig, const char *name, struct str value)
{
    assert_true(rig->http.header_count < HTTP_HEADERS_MAX);
    rig->http.headers[rig->http.header_count++] = (struct http_header){str_from(name), value};
}

/* --- the body --- */

static enum code body_bind(struct rig *rig, const char *body, struct err *err)
{
    const struct api_method *method = &api_methods[API_LEDGER_CREATE_CATEGORY];
    struct route_match match = {.method = method};
    ProtobufCMessage *in = transcode_new(method->in->descriptor, rig->arena);

    assert_non_null(in);
    rig->http.body = str_from(body);
    return bind_request(&rig->http, &match, rig->arena, in, rig->violations, err);
}

static void a_coded_body_is_not_read(void **state)
{
    static const char *const codings[][2] = {
        {"gzip",           NULL     },
        {"GZIP",           NULL     },
        {"br",             NULL     },
        {"identity, gzip", NULL     },
        {"gzip,identity",  NULL     },
        {"identity",       "deflate"},
        {"identity;q=1",   NULL     },
        {"x identity",     NULL     },
    };
    struct rig *rig = *state;

    for (size_t i = 0; i < ARRAY_LEN(codings); i++) {
        struct err err = {.code = OK};

        rig->http.header_count = 0;
        header_add(rig, "Content-Encoding", str_from(codings[i][0]));
        if (codings[i][1] != NULL) {
            header_add(rig, "content-encoding", str_from(codings[i][1]));
        }
        assert_row(i, body_bind(rig, "{\"name\":\"Luz\"}", &err) == ERR_MEDIA_TYPE);
        assert_row(i, strstr(err.text, "Content-Encoding") != NULL);
    }
}

static void a_plain_body_is_read(void **state)
{
    static const char *const codings[] = {"identity", "Identity", "", "identity , identity", ","};
    struct rig *rig = *state;

    for (size_t i = 0; i < ARRAY_LEN(codings); i++) {
        struct err err = {.code = OK};

        rig->http.header_count = 0;
        header_add(rig, "Content-Encoding", str_from(codings[i]));
        assert_row(i, body_bind(rig, "{\"name\":\"Luz\"}", &err) == OK);
        assert_row(i, rig->violations->count == 0);
    }
}

/* --- the key --- */

static enum code key_bind(struct rig *rig, struct str value, char **out)
{
    *out = NULL;
    rig->http.header_count = 0;
    header_add(rig, "Idempotency-Key", value);
    return bind_idempotency_key(&rig->http, rig->arena, out, rig->violations);
}

static void keys_are_structured_strings_or_bare(void **state)
{
    static const char *const good[][2] = {
        {"\"k\"",                                    "k"                                   },
        {"\"8e03978e-40d5-43dd-bc93-6894a57f9324\"", "8e03978e-40d5-43dd-bc93-6894a57f9324"},
        {"8e03978e-40d5-43dd-bc93-6894a57f9324",     "8e03978e-40d5-43dd-bc93-6894a57f9324"},
        {"a1+/b2==",                                 "a1+/b2=="                            },
        {"order:7_x~*",                              "order:7_x~*"                         },
        {"\"two words, a comma; and more\"",         "two words, a comma; and more"        },
        {"\"a\\\"b\\\\c\"",                          "a\"b\\c"                             },
    };
    struct rig *rig = *state;
    char *key = NULL;

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_row(i, key_bind(rig, str_from(good[i][0]), &key) == OK);
        assert_row(i, key != NULL && strcmp(key, good[i][1]) == 0);
    }
}

static void malformed_keys_are_refused(void **state)
{
    static const char *const bad[] = {
        "",       "\"",      "\"\"",     "\"a",   "a\"",      "\"a\"b\"",     "\"\"a\"\"",
        "\"a\"b", "\"a\\\"", "\"a\\b\"", "\"a\\", "a,b",      "\"a\",\"b\"",  "a b",
        "a;b",    "\"a\";b", "a\\b",     "(a)",   "\"a\tb\"", "\"\xc3\xa9\"", "\xc3\xa9",
        "{a}",    "a@b",
    };
    struct rig *rig = *state;
    char *key = NULL;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        violations_init(rig->violations, rig->arena);
        assert_row(i, key_bind(rig, str_from(bad[i]), &key) == ERR_INVALID);
        assert_row(i, key == NULL && rig->violations->count == 1);
        assert_row(i, strcmp(rig->violations->rows[0].field, "Idempotency-Key") == 0);
    }
}

static void keys_have_a_longest(void **state)
{
    struct rig *rig = *state;
    char text[2 * 256 + 2];
    char *key = NULL;

    memset(text, 'k', sizeof text);
    assert_int_equal(key_bind(rig, (struct str){text, 255}, &key), OK);
    assert_int_equal(strlen(key), 255);
    assert_int_equal(key_bind(rig, (struct str){text, 256}, &key), ERR_INVALID);
    memset(text, '\\', sizeof text); /* escaped, each is two bytes of the header */
    text[0] = '"';
    text[511] = '"';
    assert_int_equal(key_bind(rig, (struct str){text, 512}, &key), OK);
    assert_int_equal(strlen(key), 255);
    text[513] = '"';
    text[511] = '\\';
    assert_int_equal(key_bind(rig, (struct str){text, 514}, &key), ERR_INVALID);
}

static void no_key_and_two_keys(void **state)
{
    struct rig *rig = *state;
    char *key = NULL;

    assert_int_equal(bind_idempotency_key(&rig->http, rig->arena, &key, rig->violations), OK);
    assert_null(key);
    header_add(rig, "Idempotency-Key", STR("a"));
    header_add(rig, "Idempotency-Key", STR("a"));
    assert_int_equal(bind_idempotency_key(&rig->http, rig->arena, &key, rig->violations),
                     ERR_INVALID);
    assert_null(key);
}

#define BIND(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BIND(a_coded_body_is_not_read),
        BIND(a_plain_body_is_read),
        BIND(keys_are_structured_strings_or_bare),
        BIND(malformed_keys_are_refused),
        BIND(keys_have_a_longest),
        BIND(no_key_and_two_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
