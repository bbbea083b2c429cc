#include "tests/support/check.h"

#include "libcommon/codec/note.h"

#include <string.h>

#define DASH "\xE2\x80\x94 "

/* The examples of C2SP tlog-cosignature and signed-note. */
static const char sofa[] = "example.com/behind-the-sofa\n"
                           "20852163\n"
                           "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
                           "\n" DASH "example.com/behind-the-sofa "
                           "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q"
                           "1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n" DASH "witness.example.com/w1 "
                           "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJs"
                           "X3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";
static const char poem[] = "Ognuno sta solo sul cuor della terra\n"
                           "trafitto da un raggio di sole:\n"
                           "\n"
                           "ed \xC3\xA8 subito sera.\n"
                           "\n" DASH "quasimodo.example/salvatore "
                           "NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU"
                           "0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";
static const char line[] = DASH "a AAAAAQE=\n";

static void examples_are_taken_apart(void **state)
{
    struct note note;
    struct checkpoint checkpoint;
    struct err err = {.code = OK};
    uint8_t signature[72];

    (void)state;
    assert_int_equal(note_parse(str_from(sofa), &note, &err), OK);
    assert_int_equal(note.count, 2);
    assert_true(str_eq(note.signatures[0].name, STR("example.com/behind-the-sofa")));
    assert_int_equal(note.signatures[0].key_id, 0x033de0ae);
    assert_true(str_eq(note.signatures[1].name, STR("witness.example.com/w1")));
    assert_int_equal(note.signatures[1].key_id, 0x8d66cf3f);
    assert_true(note_signature_read(&note.signatures[0], signature, 64));
    assert_false(note_signature_read(&note.signatures[0], signature, 63));
    assert_false(note_signature_read(&note.signatures[1], signature, 64));
    assert_true(note_signature_read(&note.signatures[1], signature, 72));
    assert_memory_equal(signature, "\0\0\0\0\x64\x18\x50\xcb", 8); /* 1679315147 */
    assert_int_equal(checkpoint_parse(note.text, &checkpoint, &err), OK);
    assert_true(str_eq(checkpoint.origin, STR("example.com/behind-the-sofa")));
    assert_int_equal(checkpoint.size, 20852163);
    assert_int_equal(checkpoint.root[0], 0x0a);
    assert_int_equal(checkpoint.root[31], 0x62);
    assert_int_equal(checkpoint.extensions.len, 0);
    assert_int_equal(note_parse(str_from(poem), &note, &err), OK);
    assert_int_equal(note.count, 1);
    assert_true(str_ends(note.text, STR("sole:\n\ned \xC3\xA8 subito sera.\n")));
    assert_int_equal(checkpoint_parse(note.text, &checkpoint, NULL), ERR_INVALID);
}

/* What is written again from its parts is the same, byte for byte; in any smaller room it is an
 * overflow. */
static void parts_are_put_together(void **state)
{
    struct note note;
    struct checkpoint checkpoint;
    struct err err = {.code = OK};
    uint8_t signature[72];
    char memory[1024];
    struct buf out = buf_over(memory, sizeof memory);

    (void)state;
    assert_int_equal(note_parse(str_from(sofa), &note, &err), OK);
    assert_int_equal(checkpoint_parse(note.text, &checkpoint, &err), OK);
    assert_int_equal(checkpoint_write(&checkpoint, &out, &err), OK);
    buf_char(&out, '\n');
    for (size_t i = 0; i < 2; i++) {
        size_t len = i == 0 ? 64 : 72;

        assert_true(note_signature_read(&note.signatures[i], signature, len));
        note_signature_write(
            note.signatures[i].name, note.signatures[i].key_id, signature, len, &out);
    }
    assert_true(buf_terminate(&out));
    assert_string_equal(memory, sofa);
    for (size_t cap = 0; cap < note.text.len; cap++) {
        out = buf_over(memory, cap);
        assert_row(cap, checkpoint_write(&checkpoint, &out, NULL) == ERR_TOO_LARGE);
    }
}

static void malformed_notes_are_refused(void **state)
{
    static const char *const notes[] = {
        "",
        "\n",
        "\n\n",
        "text\n",
        "text\n\n",                                 /* no signature */
        "text\n" DASH "a AAAAAQE=\n",               /* no empty line */
        "text\n\n" DASH "a AAAAAQE=",               /* no newline at the end */
        "text\n\n" DASH "a AAAAAQE=\n\n",           /* an empty line behind */
        "text\n\n" DASH "a AAAAAQE=\nb\n",          /* another line */
        "text\n\n- a AAAAAQE=\n",                   /* no em dash */
        "text\n\n" DASH " AAAAAQE=\n",              /* no name */
        "text\n\n" DASH "a+b AAAAAQE=\n",           /* a plus in the name */
        "text\n\n" DASH "a\xC2\xA0z AAAAAQE=\n",    /* U+00A0 in the name */
        "text\n\n" DASH "a\xE2\x80\x83 AAAAAQE=\n", /* U+2003 in the name */
        "text\n\n" DASH "a b AAAAAQE=\n",           /* a space in the name */
        "text\n\n" DASH "a\n",                      /* no signature on the line */
        "text\n\n" DASH "a AAAAAQ==\n",             /* nothing but a key id */
        "text\n\n" DASH "a AAAAAQE\n",              /* no padding */
        "text\n\n" DASH "a AAAAAQF=\n",             /* another spelling of the same bytes */
        "text\n\n" DASH "a AAAA AQE=\n",
        "text\n\n" DASH "a AAAAAQE= \n",
        "te\xC3xt\n\n" DASH "a AAAAAQE=\n", /* not UTF-8 */
        "te\txt\n\n" DASH "a AAAAAQE=\n",   /* control characters */
        "text\r\n\r\n" DASH "a AAAAAQE=\n",
        "text\n\n" DASH "a\x01 AAAAAQE=\n",
    };
    struct note note;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(notes); i++) {
        struct err err = {.code = OK};

        assert_row(i, note_parse(str_from(notes[i]), &note, &err) == ERR_INVALID);
        assert_row(i, err.code == ERR_INVALID && err.text[0] != '\0');
    }
    assert_int_equal(note_parse(STR("text\n\n" DASH "a AAAAAQE=\n"), &note, NULL), OK);
    assert_int_equal(note_parse(STR("text\0\n\n" DASH "a AAAAAQE=\n"), &note, NULL), ERR_INVALID);
    assert_int_equal(
        note_parse(STR("\xE2\x80\x8B\n\n" DASH "a\xE2\x80\x8B AAAAAQE=\n"), &note, NULL),
        OK); /* U+200B is no white space */
}

static void bounds_hold(void **state)
{
    static char memory[NOTE_BYTES_MAX + 64];
    struct buf b = buf_over(memory, sizeof memory);
    struct note note;
    char name[NOTE_NAME_BYTES_MAX + 1];

    (void)state;
    buf_text(&b, "text\n\n");
    for (size_t i = 0; i < NOTE_SIGNATURES_MAX; i++) {
        buf_text(&b, line);
    }
    assert_int_equal(note_parse(buf_view(&b), &note, NULL), OK);
    assert_int_equal(note.count, NOTE_SIGNATURES_MAX);
    buf_text(&b, line);
    assert_int_equal(note_parse(buf_view(&b), &note, NULL), ERR_INVALID);

    memset(memory, 'x', NOTE_TEXT_BYTES_MAX);
    b = buf_over(memory, sizeof memory);
    b.len = NOTE_TEXT_BYTES_MAX - 1;
    buf_text(&b, "\n\n");
    buf_text(&b, line);
    assert_int_equal(note_parse(buf_view(&b), &note, NULL), OK);
    assert_int_equal(note.text.len, NOTE_TEXT_BYTES_MAX);
    b.len = 0;
    memset(memory, 'x', NOTE_TEXT_BYTES_MAX);
    b.len = NOTE_TEXT_BYTES_MAX;
    buf_text(&b, "\n\n");
    buf_text(&b, line);
    assert_int_equal(note_parse(buf_view(&b), &note, NULL), ERR_INVALID);

    memset(name, 'n', sizeof name);
    assert_true(note_name_valid((struct str){name, NOTE_NAME_BYTES_MAX}));
    assert_false(note_name_valid((struct str){name, NOTE_NAME_BYTES_MAX + 1}));
    assert_false(note_name_valid(STR_EMPTY));
}

static void malformed_checkpoints_are_refused(void **state)
{
#define ROOT "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    static const char *const good[] = {
        "o\n0\n" ROOT, "o\n18446744073709551615\n" ROOT, "o\n7\n" ROOT "extension\nanother\n"};
    static const char *const bad[] = {
        "",
        "o\n",
        "o\n7\n",
        "\n7\n" ROOT,
        "o\n07\n" ROOT,
        "o\n-7\n" ROOT,
        "o\n+7\n" ROOT,
        "o\n7 \n" ROOT,
        "o\n\n" ROOT,
        "o\n18446744073709551616\n" ROOT,
        "o\n7\nAAAA\n",
        "o\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I\n",
        "o\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2J=\n",
        "o\n7\n" ROOT "\n",
        "o\n7\n" ROOT "extension\n\n",
        "o\n7\n" ROOT "extension",
        "o\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=",
    };
    struct checkpoint checkpoint;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_row(i, checkpoint_parse(str_from(good[i]), &checkpoint, NULL) == OK);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err err = {.code = OK};

        assert_row(i, checkpoint_parse(str_from(bad[i]), &checkpoint, &err) == ERR_INVALID);
        assert_row(i, err.code == ERR_INVALID && err.text[0] != '\0');
    }
}

/* A writer whose parts hold newlines of their own would say something else. */
static void checkpoints_are_not_written_by_their_origin(void **state)
{
    static const struct checkpoint bad[] = {
        {.origin = {"a\n1", 3},  .extensions = {"", 0}     },
        {.origin = {"", 0},      .extensions = {"", 0}     },
        {.origin = {"a", 1},     .extensions = {"x", 1}    },
        {.origin = {"a", 1},     .extensions = {"x\n\n", 3}},
        {.origin = {"a\xFF", 2}, .extensions = {"", 0}     },
    };
    char memory[256];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct buf out = buf_over(memory, sizeof memory);

        assert_row(i, checkpoint_write(&bad[i], &out, NULL) == ERR_INVALID);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_are_taken_apart),
        cmocka_unit_test(parts_are_put_together),
        cmocka_unit_test(malformed_notes_are_refused),
        cmocka_unit_test(bounds_hold),
        cmocka_unit_test(malformed_checkpoints_are_refused),
        cmocka_unit_test(checkpoints_are_not_written_by_their_origin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
