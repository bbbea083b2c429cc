#include "tests/support/check.h"

#include "libcommon/io/note_key.h"

#include <string.h>

#define DASH "\xE2\x80\x94 "

/* The example of C2SP signed-note. */
static const char example_vkey[] =
    "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
static const char example[] = "This is an example message.\n"
                              "\n" DASH "example.com/foo "
                              "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYj"
                              "OBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

/* The example of the first implementation, golang.org/x/mod/sumdb/note: signatures are
 * deterministic, so ours are the same. */
static const char peter_skey[] =
    "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
static const char peter_vkey[] =
    "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
static const char enoch_vkey[] = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop";
static const char peter_text[] = "If you think cryptography is the answer to your problem,\n"
                                 "then you don't know what your problem is.\n";
static const char peter_line[] =
    DASH "PeterNeumann "
         "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXg"
         "KvqfqdngotpRZb6KE6RyyBwJnAM=\n";
static const char enoch_line[] =
    DASH "EnochRoot "
         "rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ov"
         "TG01oOTGwnWLox33WWd1RvMc+QQ=\n";

/* A checkpoint of a certificate transparency log of 2025 with its signatures: one of another
 * algorithm, one of the log's Ed25519 key, cosignatures of four witnesses. */
static const char arche_vkey[] = "arche2025h1.staging.ct.transparency.dev+ba2f06c0+"
                                 "AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f";
static const char remora_vkey[] =
    "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2";
static const char arche[] =
    "arche2025h1.staging.ct.transparency.dev\n"
    "1432088532\n"
    "U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=\n"
    "\n" DASH "arche2025h1.staging.ct.transparency.dev "
    "zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzal"
    "ApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=\n" DASH
    "arche2025h1.staging.ct.transparency.dev "
    "ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bf"
    "TW9g8Ei59RA23oHP7Ry1k3ZFWwQ=\n" DASH "transparency.dev/DEV:witness-little-garden "
    "2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4"
    "AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==\n" DASH "witness1.smartit.nu/witness1 "
    "pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75"
    "W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==\n" DASH "remora.n621.de "
    "2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI"
    "+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==\n" DASH "witness.stagemole.eu "
    "Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvV"
    "r+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==\n";
#define ARCHE_TIME_S 1779573024

static enum code verify(const char *text, const char *vkey, uint64_t *out_time_s)
{
    struct note note;
    struct note_verifier verifier;
    struct err err = {.code = OK};
    enum code code = OK;

    assert_int_equal(note_parse(str_from(text), &note, &err), OK);
    assert_int_equal(note_verifier_parse(str_from(vkey), &verifier, &err), OK);
    code = note_verify(&note, &verifier, out_time_s, &err);
    assert_int_equal(code, err.code);
    return code;
}

static void notes_of_others_are_verified(void **state)
{
    char both[1024];
    struct buf b = buf_over(both, sizeof both);
    uint64_t time_s = 7;

    (void)state;
    assert_int_equal(verify(example, example_vkey, &time_s), OK);
    assert_int_equal(time_s, 0);
    assert_int_equal(verify(example, peter_vkey, &time_s), ERR_NOT_FOUND);
    buf_printf(&b, "%s\n%s%s", peter_text, peter_line, enoch_line);
    assert_true(buf_terminate(&b));
    assert_int_equal(verify(both, peter_vkey, &time_s), OK);
    assert_int_equal(verify(both, enoch_vkey, &time_s), OK);
    assert_int_equal(verify(arche, arche_vkey, &time_s), OK);
    assert_int_equal(time_s, 0);
    assert_int_equal(verify(arche, remora_vkey, &time_s), OK);
    assert_int_equal(time_s, ARCHE_TIME_S);
}

static void changed_notes_are_refused(void **state)
{
    static const char *const vkeys[] = {arche_vkey, remora_vkey};
    char text[sizeof arche];
    uint64_t time_s = 7;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(vkeys); i++) {
        memcpy(text, arche, sizeof text);
        *strstr(text, "1432088532") = '2';
        assert_int_equal(verify(text, vkeys[i], &time_s), ERR_INVALID);
        assert_int_equal(time_s, 0);
    }
    /* The time is signed. */
    memcpy(text, arche, sizeof text);
    strstr(text, "2net5wAAAABqEiEg")[15] = 'k';
    assert_int_equal(verify(text, remora_vkey, &time_s), ERR_INVALID);
    /* The same key id under another name is another key's. */
    memcpy(text, arche, sizeof text);
    *strstr(text, "remora") = 'R';
    assert_int_equal(verify(text, remora_vkey, &time_s), ERR_NOT_FOUND);
    /* One signature by a key that does not hold spoils one that does. */
    {
        char twice[1024];
        struct buf b = buf_over(twice, sizeof twice);

        buf_printf(&b, "%s\n%s%s", peter_text, peter_line, peter_line);
        assert_true(buf_terminate(&b));
        assert_int_equal(verify(twice, peter_vkey, &time_s), OK);
        twice[b.len - 10] = twice[b.len - 10] == 'A' ? 'B' : 'A';
        assert_int_equal(verify(twice, peter_vkey, &time_s), ERR_INVALID);
    }
}

static void keys_are_read_and_written(void **state)
{
    static const char *const vkeys[] = {
        example_vkey, peter_vkey, enoch_vkey, arche_vkey, remora_vkey};
    char memory[NOTE_KEY_TEXT_BYTES_MAX];
    struct note_signer signer;
    struct err err = {.code = OK};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(vkeys); i++) {
        struct note_verifier verifier;
        struct buf out = buf_over(memory, sizeof memory);

        assert_int_equal(note_verifier_parse(str_from(vkeys[i]), &verifier, &err), OK);
        note_verifier_write(&verifier, &out);
        assert_row(i, str_eq(buf_view(&out), str_from(vkeys[i])));
        assert_row(i, (verifier.algorithm == NOTE_COSIGNATURE) == (vkeys[i] == remora_vkey));
    }
    assert_int_equal(note_signer_parse(str_from(peter_skey), &signer, &err), OK);
    {
        struct buf out = buf_over(memory, sizeof memory);

        note_signer_write(&signer, &out);
        assert_true(str_eq(buf_view(&out), str_from(peter_skey)));
        out = buf_over(memory, sizeof memory);
        note_verifier_write(&signer.verifier, &out);
        assert_true(str_eq(buf_view(&out), str_from(peter_vkey)));
    }
    note_signer_wipe(&signer);
    for (size_t i = 0; i < sizeof signer; i++) {
        assert_int_equal(((const uint8_t *)&signer)[i], 0);
    }
}

/* Every part of a key, and every key with a character changed, is no key. */
static void mangled_keys_are_refused(void **state)
{
    char text[sizeof peter_skey];
    struct note_verifier verifier;
    struct note_signer signer;
    struct str vkey = str_from(peter_vkey);
    struct str skey = str_from(peter_skey);

    (void)state;
    for (size_t from = 0; from < vkey.len; from++) {
        for (size_t to = from; to <= vkey.len; to++) {
            if (from != 0 || to != vkey.len) {
                assert_row(from,
                           note_verifier_parse(str_sub(vkey, from, to), &verifier, NULL) ==
                               ERR_INVALID);
            }
        }
    }
    for (size_t i = 0; i < vkey.len; i++) {
        memcpy(text, peter_vkey, sizeof peter_vkey);
        text[i]++;
        assert_row(i, note_verifier_parse(str_from(text), &verifier, NULL) == ERR_INVALID);
    }
    for (size_t to = 0; to < skey.len; to++) {
        assert_row(to, note_signer_parse(str_sub(skey, 0, to), &signer, NULL) == ERR_INVALID);
    }
    for (size_t i = 0; i < skey.len; i++) {
        memcpy(text, peter_skey, sizeof peter_skey);
        text[i]++;
        assert_row(i, note_signer_parse(str_from(text), &signer, NULL) == ERR_INVALID);
    }
    /* Longer than a key and of no known algorithm, with ids that are right. */
    assert_int_equal(
        note_verifier_parse(
            STR("PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY=="),
            &verifier,
            NULL),
        ERR_INVALID);
    assert_int_equal(note_verifier_parse(
                         STR("PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"),
                         &verifier,
                         NULL),
                     ERR_INVALID);
    assert_int_equal(note_verifier_parse(
                         STR("PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"),
                         &verifier,
                         NULL),
                     ERR_INVALID);
}

static void our_signatures_are_those_of_others(void **state)
{
    struct note_signer signer;
    char memory[256];
    struct buf out = buf_over(memory, sizeof memory);
    struct err err = {.code = OK};

    (void)state;
    assert_int_equal(note_signer_parse(str_from(peter_skey), &signer, &err), OK);
    assert_int_equal(note_sign(&signer, str_from(peter_text), 0, &out, &err), OK);
    assert_true(str_eq(buf_view(&out), str_from(peter_line)));
    for (size_t cap = 0; cap < out.len; cap++) {
        struct buf small = buf_over(memory, cap);

        assert_row(cap, note_sign(&signer, str_from(peter_text), 0, &small, NULL) == ERR_TOO_LARGE);
    }
    assert_int_equal(note_sign(&signer, STR("no newline"), 0, &out, NULL), ERR_INVALID);
    assert_int_equal(note_sign(&signer, STR("tab\t\n"), 0, &out, NULL), ERR_INVALID);
    assert_int_equal(note_sign(&signer, STR_EMPTY, 0, &out, NULL), ERR_INVALID);
    note_signer_wipe(&signer);
}

/* One seed under one name gives keys that are not each other's. */
static void a_log_signs_and_a_witness_cosigns(void **state)
{
    uint8_t seed[ED25519_KEY_BYTES] = {42};
    struct note_signer log;
    struct note_signer witness;
    struct note note;
    const struct checkpoint checkpoint = {
        .origin = STR("avanta.example/audit"), .size = 3, .extensions = STR_EMPTY};
    char memory[1024];
    struct buf out = buf_over(memory, sizeof memory);
    struct str text;
    struct err err = {.code = OK};
    uint64_t time_s = 0;

    (void)state;
    assert_int_equal(note_signer_make(checkpoint.origin, NOTE_ED25519, seed, &log, &err), OK);
    assert_int_equal(note_signer_make(checkpoint.origin, NOTE_COSIGNATURE, seed, &witness, &err),
                     OK);
    assert_int_not_equal(log.verifier.key_id, witness.verifier.key_id);
    assert_int_equal(checkpoint_write(&checkpoint, &out, &err), OK);
    text = buf_view(&out);
    buf_char(&out, '\n');
    assert_int_equal(note_sign(&log, text, 0, &out, &err), OK);
    assert_int_equal(note_sign(&witness, text, 1795557887, &out, &err), OK);
    assert_int_equal(note_parse(buf_view(&out), &note, &err), OK);
    assert_int_equal(note.count, 2);
    assert_int_equal(note_verify(&note, &log.verifier, &time_s, &err), OK);
    assert_int_equal(time_s, 0);
    assert_int_equal(note_verify(&note, &witness.verifier, &time_s, &err), OK);
    assert_int_equal(time_s, 1795557887);
    /* A later cosignature counts. */
    assert_int_equal(note_sign(&witness, text, 1795557889, &out, &err), OK);
    assert_int_equal(note_sign(&witness, text, 1795557888, &out, &err), OK);
    assert_int_equal(note_parse(buf_view(&out), &note, &err), OK);
    assert_int_equal(note_verify(&note, &witness.verifier, &time_s, &err), OK);
    assert_int_equal(time_s, 1795557889);
    assert_int_equal(note_sign(&witness, text, UINT64_C(1) << 63, &out, NULL), ERR_INVALID);
    assert_int_equal(note_sign(&witness, str_from(peter_text), 1, &out, NULL), ERR_INVALID);
    assert_int_equal(note_signer_make(STR("a b"), NOTE_ED25519, seed, &log, NULL), ERR_INVALID);
    note_signer_wipe(&log);
    note_signer_wipe(&witness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(notes_of_others_are_verified),
        cmocka_unit_test(changed_notes_are_refused),
        cmocka_unit_test(keys_are_read_and_written),
        cmocka_unit_test(mangled_keys_are_refused),
        cmocka_unit_test(our_signatures_are_those_of_others),
        cmocka_unit_test(a_log_signs_and_a_witness_cosigns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
