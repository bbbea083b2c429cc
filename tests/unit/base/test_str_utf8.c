#include "tests/support/check.h"
#include "tests/unit/base/random.h"

#include "libcommon/base/str.h"

#include <string.h>

#define FRAME_BYTES 80

static const struct {
    const char *text;
    bool valid;
    size_t code_points;
} sequences[] = {
    {"\x7F",             true,  1},
    {"\xC2\x80",         true,  1},
    {"\xC3\xB1",         true,  1}, /* n with tilde */
    {"\xDF\xBF",         true,  1},
    {"\xE0\xA0\x80",     true,  1},
    {"\xE2\x82\xAC",     true,  1},
    {"\xED\x9F\xBF",     true,  1}, /* U+D7FF, last before the surrogates */
    {"\xEE\x80\x80",     true,  1}, /* U+E000, first after them */
    {"\xEF\xBF\xBF",     true,  1},
    {"\xF0\x90\x80\x80", true,  1},
    {"\xF0\x9F\x92\xB0", true,  1},
    {"\xF4\x8F\xBF\xBF", true,  1}, /* U+10FFFF */
    {"\x80",             false, 0}, /* continuation alone */
    {"\xC0\x80",         false, 0}, /* longer than needed */
    {"\xC1\xBF",         false, 0},
    {"\xE0\x9F\xBF",     false, 0},
    {"\xF0\x8F\xBF\xBF", false, 0},
    {"\xED\xA0\x80",     false, 0}, /* surrogates */
    {"\xED\xBF\xBF",     false, 0},
    {"\xF4\x90\x80\x80", false, 0}, /* above U+10FFFF */
    {"\xF5\x80\x80\x80", false, 0},
    {"\xFE",             false, 0},
    {"\xFF",             false, 0},
    {"\xC3",             false, 0}, /* cut short */
    {"\xE2\x82",         false, 0},
    {"\xF0\x9F\x92",     false, 0},
    {"\xC3\x41",         false, 0},
    {"\xE2\x82\x41",     false, 0},
    {"\xE2\x41\xAC",     false, 0},
    {"\xF0\x9F\x92\x41", false, 0},
    {"\xF0\x9F\x41\xB0", false, 0},
};

/* Every sequence at every place of a text of ASCII: word-wise and byte-wise code must agree. */
static void sequences_at_every_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sequences); i++) {
        size_t len = strlen(sequences[i].text);

        for (size_t at = 0; at + len <= FRAME_BYTES; at++) {
            char frame[FRAME_BYTES];
            size_t count = 77;

            memset(frame, 'a', sizeof(frame));
            memcpy(frame + at, sequences[i].text, len);
            assert_row(i, utf8_valid((struct str){frame, sizeof(frame)}) == sequences[i].valid);
            assert_row(i, utf8_valid((struct str){frame, at + len}) == sequences[i].valid);
            assert_row(i, utf8_length((struct str){frame, at + len}, &count) == sequences[i].valid);
            assert_row(i, count == (sequences[i].valid ? at + 1 : 77));
        }
    }
}

static size_t encode(uint32_t c, unsigned char out[4])
{
    if (c < 0x80) {
        out[0] = (unsigned char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (unsigned char)(0xC0u | c >> 6);
        out[1] = (unsigned char)(0x80u | (c & 0x3Fu));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (unsigned char)(0xE0u | c >> 12);
        out[1] = (unsigned char)(0x80u | (c >> 6 & 0x3Fu));
        out[2] = (unsigned char)(0x80u | (c & 0x3Fu));
        return 3;
    }
    out[0] = (unsigned char)(0xF0u | c >> 18);
    out[1] = (unsigned char)(0x80u | (c >> 12 & 0x3Fu));
    out[2] = (unsigned char)(0x80u | (c >> 6 & 0x3Fu));
    out[3] = (unsigned char)(0x80u | (c & 0x3Fu));
    return 4;
}

static void every_code_point(void **state)
{
    (void)state;
    for (uint32_t c = 0; c <= 0x110010; c++) {
        unsigned char bytes[4];
        size_t len = encode(c, bytes);
        bool scalar = c <= 0x10FFFF && (c < 0xD800 || c > 0xDFFF);

        assert_row(c, utf8_valid((struct str){(const char *)bytes, len}) == scalar);
    }
}

static size_t slow_length(unsigned char first)
{
    if (first < 0x80) {
        return 1;
    }
    if (first < 0xC0 || first >= 0xF8) {
        return 0;
    }
    if (first < 0xE0) {
        return 2;
    }
    return first < 0xF0 ? 3 : 4;
}

static bool slow_sequence(const unsigned char *at, size_t needs)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t c = needs == 1 ? at[0] : at[0] & (0x7Fu >> needs);

    for (size_t k = 1; k < needs; k++) {
        if ((at[k] & 0xC0u) != 0x80) {
            return false;
        }
        c = c << 6 | (at[k] & 0x3Fu);
    }
    return c >= least[needs] && c <= 0x10FFFF && (c < 0xD800 || c > 0xDFFF);
}

/* The plain reading of RFC 3629, to compare with on random bytes. */
static bool slow_valid(const unsigned char *at, size_t len)
{
    size_t i = 0;

    while (i < len) {
        size_t needs = slow_length(at[i]);

        if (needs == 0 || len - i < needs || !slow_sequence(at + i, needs)) {
            return false;
        }
        i += needs;
    }
    return true;
}

static void random_bytes_agree_with_the_plain_reading(void **state)
{
    static const unsigned char likely[] = {
        'a', 0xC3, 0xA9, 0xE2, 0x82, 0xED, 0x9F, 0xF0, 0x90, 0xF4, 0x8F};
    uint64_t random = random_seed();
    size_t valid_count = 0;

    (void)state;
    for (size_t i = 0; i < 100000; i++) {
        unsigned char bytes[12];
        size_t len = (size_t)(random_next(&random) % (sizeof(bytes) + 1));
        bool valid = false;

        for (size_t b = 0; b < len; b++) {
            bytes[b] = likely[random_next(&random) % ARRAY_LEN(likely)];
        }
        valid = slow_valid(bytes, len);
        valid_count += valid ? 1 : 0;
        assert_row(i, utf8_valid((struct str){(const char *)bytes, len}) == valid);
    }
    assert_in_range(valid_count, 1000, 99000);
}

static void controls_at_every_place(void **state)
{
    static const struct {
        const char *text;
        bool control;
    } rows[] = {
        {"\x01",         true },
        {"\x1F",         true },
        {"\x7F",         true },
        {"\xC2\x80",     true },
        {"\xC2\x85",     true },
        {"\xC2\x9F",     true },
        {"\n",           false}, /* allowed below */
        {"\t",           false},
        {"\r",           true },
        {" ",            false},
        {"~",            false},
        {"\xC2\xA0",     false},
        {"\xC3\x80",     false},
        {"\xC3\x9F",     false},
        {"\xE2\x82\xAC", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t len = strlen(rows[i].text);

        for (size_t at = 0; at + len <= FRAME_BYTES; at++) {
            char frame[FRAME_BYTES];

            memset(frame, at % 2 == 0 ? ' ' : '~', sizeof(frame));
            memcpy(frame + at, rows[i].text, len);
            assert_row(
                i, utf8_has_control((struct str){frame, sizeof(frame)}, "\n\t") == rows[i].control);
            assert_row(i,
                       utf8_has_control((struct str){frame, at + len}, "\n\t") == rows[i].control);
        }
    }
}

static void nul_is_never_allowed(void **state)
{
    (void)state;
    assert_true(utf8_has_control(STR("a\0b"), "\n"));
    assert_true(utf8_has_control(STR("a\0bcdefghijkl"), NULL));
    assert_true(utf8_has_control(STR("\n"), NULL));
    assert_false(utf8_has_control((struct str){NULL, 0}, NULL));
    assert_true(utf8_valid((struct str){NULL, 0}));
    assert_true(utf8_valid(STR("a\0b")));
}

static void turns_of_direction_at_every_place(void **state)
{
    (void)state;
    for (uint32_t c = 0x80; c < 0x11000; c++) {
        unsigned char bytes[4];
        size_t len = encode(c, bytes);
        bool turns = (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);

        for (size_t at = 0; at + len <= 12; at++) {
            char frame[12];

            memset(frame, 'x', sizeof(frame));
            memcpy(frame + at, bytes, len);
            assert_row(c, utf8_has_bidi_control((struct str){frame, sizeof(frame)}) == turns);
            assert_row(c, utf8_has_bidi_control((struct str){frame, at + len}) == turns);
        }
    }
    assert_true(utf8_has_bidi_control(STR("\xE2\x80\x8F\xE2\x81\xA9"))); /* not the first E2 */
    assert_false(utf8_has_bidi_control(STR("\xE2\x80"))); /* cut: no UTF-8, and no overrun */
    assert_false(utf8_has_bidi_control((struct str){NULL, 0}));
}

static void texts_are_cut_between_characters(void **state)
{
    static const char text[] = "a\xC3\xB1\xE2\x82\xAC\xF0\x9F\x92\xB0z";
    static const size_t ends[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11, 11};

    (void)state;
    for (size_t max = 0; max < ARRAY_LEN(ends); max++) {
        struct str cut = utf8_cut(str_from(text), max);
        assert_row(max, cut.ptr == text && cut.len == ends[max] && utf8_valid(cut));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(turns_of_direction_at_every_place),
        cmocka_unit_test(texts_are_cut_between_characters),
        cmocka_unit_test(sequences_at_every_place),
        cmocka_unit_test(every_code_point),
        cmocka_unit_test(random_bytes_agree_with_the_plain_reading),
        cmocka_unit_test(controls_at_every_place),
        cmocka_unit_test(nul_is_never_allowed),
    };

    return cmocka_run_group_tests_name("str_utf8", tests, NULL, NULL);
}
