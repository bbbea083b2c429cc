#include "services/identity/id_token.h"
#include "tests/support/check.h"
#include "tests/support/rsa_key.h"

#include "libcommon/base/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOW_MS UINT64_C(1795000000000)
#define CLIENT "client-1.apps.example.com"
#define HEADER "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"g1\"}"
/* All that is needed but what a row adds. */
#define WHO  "\"sub\":\"1137\",\"email\":\"Ana@Example.com\",\"name\":\"Ana\""
#define FOR  "\"iss\":\"https://accounts.example.com\",\"aud\":\"" CLIENT "\""
#define AT   "\"iat\":1795000000,\"exp\":1795003600"
#define YES  "\"email_verified\":true"
#define GOOD "{" WHO "," FOR "," AT "," YES "}"

static struct arena_pool *pool;
static struct rsa_key *keys[2];
static struct google_keys set;
static struct arena *arena;

static int setup_all(void **state)
{
    (void)state;
    pool = arena_pool_open(ARENA_CHUNK_BYTES, 1024);
    keys[0] = rsa_key_make(2048);
    keys[1] = rsa_key_make(2048);
    return pool == NULL;
}

static int teardown_all(void **state)
{
    (void)state;
    rsa_key_free(&keys[0]);
    rsa_key_free(&keys[1]);
    arena_pool_close(&pool);
    return 0;
}

static struct str set_of(const struct rsa_key *key, const char *kid, const char *more)
{
    static char memory[8192];
    struct buf b = buf_over(memory, sizeof memory);

    buf_text(&b, "{\"keys\":[");
    rsa_key_jwk(key, kid, more, &b);
    buf_text(&b, "]}");
    assert_false(b.overflow);
    return buf_view(&b);
}

static enum code load(struct str json)
{
    struct err err = {.code = OK};

    return google_keys_load(&set, json, arena, &err);
}

static int setup(void **state)
{
    (void)state;
    arena = arena_open(pool, (size_t)4 * 1024 * 1024);
    assert_non_null(arena);
    assert_int_equal(load(set_of(keys[0], "g1", ",\"use\":\"sig\",\"alg\":\"RS256\"")), OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    google_keys_clear(&set);
    arena_dispose(&arena);
    return 0;
}

static struct str token_by(const struct rsa_key *key, const char *header, const char *claims)
{
    static char memory[32768];
    struct buf b = buf_over(memory, sizeof memory);

    rsa_key_token(key, header, claims, &b);
    return buf_view(&b);
}

static const Avanta__Google__IdToken *claims_read;

/* "" when the token is good, else why it is not. */
static const char *verdict_for(struct str token, const char *issuer)
{
    static struct err err;
    const struct id_token_options options = {issuer, CLIENT, &set};
    enum code code = OK;

    err = (struct err){.code = OK};
    code = id_token_verify(&options, token, NOW_MS, arena, &claims_read, &err);
    assert_true(code == OK || code == ERR_INVALID);
    return code == OK ? "" : err.text;
}

static const char *verdict(struct str token)
{
    return verdict_for(token, "https://accounts.example.com");
}

static void expect(size_t row, const char *header, const char *claims, const char *wanted)
{
    const char *got = verdict(token_by(keys[0], header, claims));

    if (strcmp(got, wanted) != 0) {
        fail_msg("row %zu: '%s' and not '%s'", row, got, wanted);
    }
}

static void a_good_token_says_who_it_is(void **state)
{
    (void)state;
    assert_string_equal(verdict(token_by(keys[0], HEADER, GOOD)), "");
    assert_string_equal(claims_read->sub, "1137");
    assert_string_equal(claims_read->email, "ana@example.com");
    assert_string_equal(claims_read->name, "Ana");
}

static void headers_are_pinned(void **state)
{
    static const char *const rows[][2] = {
        {"{\"alg\":\"RS256\",\"kid\":\"g1\"}",                                           ""           },
        {"{\"alg\":\"none\",\"kid\":\"g1\"}",                                            "algorithm"  },
        {"{\"alg\":\"HS256\",\"kid\":\"g1\"}",                                           "algorithm"  },
        {"{\"alg\":\"RS512\",\"kid\":\"g1\"}",                                           "algorithm"  },
        {"{\"alg\":\"PS256\",\"kid\":\"g1\"}",                                           "algorithm"  },
        {"{\"alg\":\"ES256\",\"kid\":\"g1\"}",                                           "algorithm"  },
        {"{\"kid\":\"g1\"}",                                                             "header"     },
        {"{\"alg\":\"RS256\"}",                                                          "header"     },
        {"{\"alg\":\"RS256\",\"kid\":\"\"}",                                             "header"     },
        {"{\"alg\":\"RS256\",\"kid\":\"g2\"}",                                           "unknown key"},
        {"{\"alg\":\"RS256\",\"kid\":\"g1\",\"typ\":\"at+jwt\"}",                        "type"       },
        {"{\"alg\":\"RS256\",\"kid\":\"g1\",\"crit\":[\"exp\"]}",                        "header"     },
        {"{\"alg\":\"RS256\",\"kid\":\"g1\",\"crit\":null}",                             "header"     },
        {"{\"alg\":\"RS256\",\"alg\":\"RS256\",\"kid\":\"g1\"}",                         "header"     },
        {"{\"alg\":\"RS256\",\"kid\":\"g1\",\"jku\":\"https://evil.example.com/keys\"}", ""           },
        {"[]",                                                                           "header"     },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        expect(i, rows[i][0], GOOD, rows[i][1]);
    }
}

static void claims_are_checked(void **state)
{
    static const char *const rows[][2] = {
        {"{" WHO "," AT "," YES ",\"iss\":\"accounts.example.com\",\"aud\":\"" CLIENT "\"}",        ""                          },
        {"{" WHO "," AT "," YES ",\"iss\":\"https://evil.example.com\",\"aud\":\"" CLIENT "\"}",
         "issuer"                                                                                                               },
        {"{" WHO "," AT "," YES ",\"iss\":\"http://accounts.example.com\",\"aud\":\"" CLIENT "\"}",
         "issuer"                                                                                                               },
        {"{" WHO "," AT "," YES ",\"iss\":\"\",\"aud\":\"" CLIENT "\"}",                            "claims"                    },
        {"{" WHO "," AT "," YES ",\"iss\":\"https://accounts.example.com\",\"aud\":\"another\"}",
         "audience"                                                                                                             },
        {"{" WHO "," AT "," YES ",\"iss\":\"https://accounts.example.com\",\"aud\":[\"" CLIENT
         "\"]}",                                                                           "claims"                    },
        {"{" WHO "," FOR "," AT "," YES ",\"azp\":\"another\"}",                                    "audience"                  },
        {"{" WHO "," FOR "," AT "," YES ",\"azp\":\"" CLIENT "\"}",                                 ""                          },
        {"{" WHO "," FOR "," YES ",\"iat\":1794999000,\"exp\":1795000000}",                         "expired"                   },
        {"{" WHO "," FOR "," YES ",\"iat\":1794999000,\"exp\":1795000001}",                         ""                          },
        {"{" WHO "," FOR "," YES ",\"iat\":1795000060,\"exp\":1795003600}",                         ""                          },
        {"{" WHO "," FOR "," YES ",\"iat\":1795000061,\"exp\":1795003600}",                         "not valid yet"             },
        {"{" WHO "," FOR "," AT "," YES ",\"nbf\":1795000061}",                                     "not valid yet"             },
        {"{" WHO "," FOR "," YES ",\"iat\":1795000000,\"exp\":1795007201}",                         "lives too long"            },
        {"{" WHO "," FOR "," YES ",\"iat\":1794990000,\"exp\":1795000100}",                         "lives too long"            },
        {"{" WHO "," FOR "," YES ",\"exp\":1795003600}",                                            "claims"                    },
        {"{" WHO "," FOR "," YES ",\"iat\":1795000000}",                                            "claims"                    },
        {"{" WHO "," FOR "," AT ",\"email_verified\":false}",                                       "the e-mail is not verified"},
        {"{" WHO "," FOR "," AT "}",                                                                "claims"                    },
        {"{" FOR "," AT "," YES ",\"email\":\"ana@example.com\"}",                                  "claims"                    },
        {"{" FOR "," AT "," YES ",\"sub\":\"1137\"}",                                               "claims"                    },
        {"{" FOR "," AT "," YES ",\"sub\":\"\",\"email\":\"ana@example.com\"}",                     "claims"                    },
        {"{" FOR "," AT "," YES ",\"sub\":\"1137\",\"email\":\"ana\"}",                             "claims"                    },
        {"{" WHO "," FOR "," AT "," YES ",\"sub\":\"1138\"}",                                       "claims"                    },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        expect(i, HEADER, rows[i][0], rows[i][1]);
    }
}

static void signatures_of_others_are_refused(void **state)
{
    struct str token = token_by(keys[1], HEADER, GOOD);

    (void)state;
    assert_string_equal(verdict(token), "signature");
    token = token_by(keys[0], HEADER, GOOD);
    for (size_t i = 0; i < token.len; i += 13) {
        char *byte = (char *)(uintptr_t)token.ptr + i;
        char kept = *byte;

        *byte = kept == 'A' ? 'Q' : 'A';
        assert_row(i, verdict(token)[0] != '\0');
        *byte = kept;
    }
    assert_string_equal(verdict(token), "");
    assert_string_equal(verdict(str_sub(token, 0, token.len - 2)), "signature");
    assert_string_equal(verdict(STR("a.b")), "not a compact JWS");
    assert_string_equal(verdict(STR("a.b.c.d")), "header");
    assert_string_equal(verdict(STR("..")), "not a compact JWS");
}

static void an_issuer_without_https_is_only_itself(void **state)
{
    (void)state;
    assert_string_equal(verdict_for(token_by(keys[0], HEADER, GOOD), "accounts.example.com"),
                        "issuer");
}

static void only_keys_for_rs256_are_taken(void **state)
{
    static const char *const refused[] = {
        ",\"use\":\"enc\"", ",\"alg\":\"RS512\"", ",\"alg\":\"PS256\"", ",\"alg\":\"RSA1_5\""};
    struct rsa_key *weak = rsa_key_make(1024);
    char memory[8192];
    struct buf b = buf_over(memory, sizeof memory);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        assert_row(i, load(set_of(keys[1], "g1", refused[i])) == ERR_INVALID);
    }
    assert_int_equal(load(set_of(weak, "g1", "")), ERR_INVALID);
    assert_int_equal(load(STR("{\"keys\":[]}")), ERR_INVALID);
    assert_int_equal(load(STR("{}")), ERR_INVALID);
    assert_int_equal(load(STR("[]")), ERR_INVALID);
    assert_int_equal(load(STR("")), ERR_INVALID);
    assert_int_equal(load(STR("{\"keys\":[{\"kty\":\"EC\",\"kid\":\"g1\"}]}")), ERR_INVALID);
    assert_int_equal(set.count, 1); /* what was there stays */
    assert_string_equal(verdict(token_by(keys[0], HEADER, GOOD)), "");
    /* A name for two keys is nobody's; the others are taken. */
    buf_text(&b, "{\"keys\":[");
    rsa_key_jwk(keys[0], "g1", "", &b);
    buf_char(&b, ',');
    rsa_key_jwk(keys[1], "g1", "", &b);
    buf_char(&b, ',');
    rsa_key_jwk(keys[1], "g2", "", &b);
    buf_text(&b, "]}");
    assert_int_equal(load(buf_view(&b)), OK);
    assert_int_equal(set.count, 1);
    assert_string_equal(verdict(token_by(keys[0], HEADER, GOOD)), "unknown key");
    assert_string_equal(verdict(token_by(keys[1], "{\"alg\":\"RS256\",\"kid\":\"g2\"}", GOOD)), "");
    rsa_key_free(&weak);
}

static void put_file(const char *path, struct str content)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(content.ptr, 1, content.len, file), content.len);
    assert_int_equal(fclose(file), 0);
}

static void the_file_is_read_when_it_has_changed(void **state)
{
    static char large[GOOGLE_FILE_BYTES_MAX + 1];
    char directory[] = "/tmp/avanta-jwks-XXXXXX";
    char path[64];
    struct google_file file = {.path = path, .bytes = malloc(GOOGLE_FILE_BYTES_MAX)};

    (void)state;
    assert_non_null(file.bytes);
    assert_non_null(mkdtemp(directory));
    (void)snprintf(path, sizeof path, "%s/jwks.json", directory);
    google_file_read(&file);
    assert_int_equal(file.code, ERR_INVALID); /* there is none */
    put_file(path, set_of(keys[0], "g1", ""));
    google_file_read(&file);
    assert_int_equal(file.code, OK);
    assert_false(file.same);
    assert_int_equal(load((struct str){file.bytes, file.len}), OK);
    google_file_read(&file);
    assert_true(file.same);
    put_file(path, STR("{}"));
    google_file_read(&file);
    assert_false(file.same);
    assert_int_equal(file.len, 2);
    memset(large, ' ', sizeof large);
    put_file(path, (struct str){large, sizeof large});
    google_file_read(&file);
    assert_int_equal(file.code, ERR_INVALID);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0); /* nobody writes: reading it would wait */
    file = (struct google_file){.path = path, .bytes = file.bytes};
    google_file_read(&file);
    assert_int_equal(file.code, ERR_INVALID);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(directory), 0);
    free(file.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_good_token_says_who_it_is, setup, teardown),
        cmocka_unit_test_setup_teardown(headers_are_pinned, setup, teardown),
        cmocka_unit_test_setup_teardown(claims_are_checked, setup, teardown),
        cmocka_unit_test_setup_teardown(signatures_of_others_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(an_issuer_without_https_is_only_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(only_keys_for_rs256_are_taken, setup, teardown),
        cmocka_unit_test_setup_teardown(the_file_is_read_when_it_has_changed, setup, teardown),
    };

    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
