#include "tests/support/check.h"
#include "tests/unit/base/random.h"

#include "libcommon/base/str.h"

#include <string.h>

static void hex_encodes(void **state)
{
    char out[9];

    (void)state;
    hex_encode((const uint8_t *)"\x00\x7F\xA0\xFF", 4, out);
    assert_string_equal(out, "007fa0ff");
    hex_encode(NULL, 0, out);
    assert_string_equal(out, "");
}

static void hex_decodes(void **state)
{
    uint8_t out[4] = {0};
    size_t len = 77;

    (void)state;
    assert_true(hex_decode(STR("00aBFf"), out, sizeof(out), &len));
    assert_int_equal(len, 3);
    assert_memory_equal(out, "\x00\xAB\xFF", 3);
    assert_true(hex_decode(STR(""), NULL, 0, &len));
    assert_int_equal(len, 0);
}

static void hex_refuses(void **state)
{
    uint8_t out[2];
    size_t len = 77;

    (void)state;
    assert_false(hex_decode(STR("abc"), out, sizeof(out), &len));
    assert_false(hex_decode(STR("0g"), out, sizeof(out), &len));
    assert_false(hex_decode(STR("0x"), out, sizeof(out), &len));
    assert_false(hex_decode(STR(" 1"), out, sizeof(out), &len));
    assert_false(hex_decode(STR("010203"), out, sizeof(out), &len)); /* three bytes into two */
    assert_int_equal(len, 77);
}

/* RFC 4648, section 10, without padding, and the two digits that differ from plain base64. */
static const struct {
    struct str plain;
    const char *encoded;
} vectors[] = {
    {{"", 0},             ""        },
    {{"f", 1},            "Zg"      },
    {{"fo", 2},           "Zm8"     },
    {{"foo", 3},          "Zm9v"    },
    {{"foob", 4},         "Zm9vYg"  },
    {{"fooba", 5},        "Zm9vYmE" },
    {{"foobar", 6},       "Zm9vYmFy"},
    {{"\xFB\xEF\xFF", 3}, "--__"    },
};

static void base64url_meets_the_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        char text[16];
        uint8_t bytes[16];
        size_t len = 77;
        size_t expected = strlen(vectors[i].encoded);

        assert_row(i,
                   base64url_encode((const uint8_t *)vectors[i].plain.ptr,
                                    vectors[i].plain.len,
                                    text,
                                    expected + 1) == expected);
        assert_row(i, strcmp(text, vectors[i].encoded) == 0);
        assert_row(i, base64url_decode(str_from(text), bytes, vectors[i].plain.len, &len));
        assert_row(i, len == vectors[i].plain.len);
        assert_row(i, memcmp(bytes, vectors[i].plain.ptr, len) == 0);
    }
}

static void base64url_refuses(void **state)
{
    static const char *const texts[] = {
        "Z",          /* six bits are no byte */
        "Zm9vY",      /* the same after a whole group */
        "Zg==",       /* padding */
        "Zm 9",       /* blank */
        "Zm+v",       /* alphabet of plain base64 */
        "Zm/v",       /* alphabet of plain base64 */
        "Zh",         /* unused bits are not zero: a second spelling of "f" */
        "Zm9",        /* the same for two bytes */
        "Zm\n9v",     /* line break */
        "\xC3\xA9zz", /* not ASCII */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        uint8_t bytes[16];
        size_t len = 77;

        assert_row(i, !base64url_decode(str_from(texts[i]), bytes, sizeof(bytes), &len));
        assert_row(i, len == 77);
    }
}

static void base64url_respects_the_room(void **state)
{
    uint8_t bytes[2];
    char text[4] = "xyz";
    size_t len = 77;

    (void)state;
    assert_false(base64url_decode(STR("Zm9v"), bytes, sizeof(bytes), &len));
    assert_int_equal(base64url_encode((const uint8_t *)"foo", 3, text, sizeof(text)), 0);
    assert_string_equal(text, ""); /* four digits need five bytes */
}

/* RFC 4648 10, and the digits that only plain base64 has. */
static void base64_meets_the_vectors(void **state)
{
    static const char *const padded[] = {
        "", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy", "++//"};

    (void)state;
    assert_int_equal(ARRAY_LEN(padded), ARRAY_LEN(vectors));
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        char text[16];
        uint8_t bytes[16];
        size_t len = 77;
        size_t expected = strlen(padded[i]);
        const uint8_t *plain = (const uint8_t *)vectors[i].plain.ptr;

        assert_row(i, base64_encode(plain, vectors[i].plain.len, text, expected + 1) == expected);
        assert_row(i, strcmp(text, padded[i]) == 0);
        assert_row(i, base64_decode(str_from(text), bytes, vectors[i].plain.len, &len));
        assert_row(i, len == vectors[i].plain.len);
        assert_row(i, memcmp(bytes, plain, len) == 0);
        assert_row(
            i, expected == 0 || base64_encode(plain, vectors[i].plain.len, text, expected) == 0);
    }
}

static void base64_refuses(void **state)
{
    static const char *const texts[] = {
        "Zg",       /* no padding */
        "Zg=",      /* too little */
        "Zm9v====", /* too much */
        "Z===",     /* six bits are no byte */
        "====",     /* nothing but padding */
        "Zg==Zg==", /* padding inside */
        "Zm-v",     /* alphabet of base64url */
        "Zm_v",     /* alphabet of base64url */
        "Zh==",     /* unused bits are not zero: a second spelling of "f" */
        "Zm9=",     /* the same for two bytes */
        "Zm9\n",    /* line break */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        uint8_t bytes[16];
        size_t len = 77;

        assert_row(i, !base64_decode(str_from(texts[i]), bytes, sizeof(bytes), &len));
        assert_row(i, len == 77);
    }
}

static void random_bytes_survive_the_round_trip(void **state)
{
    uint64_t random = random_seed();

    (void)state;
    for (size_t i = 0; i < 2000; i++) {
        uint8_t bytes[64];
        uint8_t back[64];
        char text[2 * sizeof(bytes) + 1];
        size_t count = (size_t)(random_next(&random) % (sizeof(bytes) + 1));
        size_t len = 0;

        for (size_t b = 0; b < count; b++) {
            bytes[b] = (uint8_t)random_next(&random);
        }
        hex_encode(bytes, count, text);
        assert_row(i, hex_decode(str_from(text), back, sizeof(back), &len));
        assert_row(i, len == count && memcmp(bytes, back, count) == 0);
        (void)base64url_encode(bytes, count, text, sizeof(text));
        assert_row(i, base64url_decode(str_from(text), back, sizeof(back), &len));
        assert_row(i, len == count && memcmp(bytes, back, count) == 0);
        (void)base64_encode(bytes, count, text, sizeof(text));
        assert_row(i, base64_decode(str_from(text), back, sizeof(back), &len));
        assert_row(i, len == count && memcmp(bytes, back, count) == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hex_encodes),
        cmocka_unit_test(hex_decodes),
        cmocka_unit_test(hex_refuses),
        cmocka_unit_test(base64url_meets_the_vectors),
        cmocka_unit_test(base64url_refuses),
        cmocka_unit_test(base64url_respects_the_room),
        cmocka_unit_test(base64_meets_the_vectors),
        cmocka_unit_test(base64_refuses),
        cmocka_unit_test(random_bytes_survive_the_round_trip),
    };

    return cmocka_run_group_tests_name("str_encode", tests, NULL, NULL);
}
