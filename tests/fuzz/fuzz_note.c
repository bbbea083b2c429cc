/*
 * Any bytes as a note, a checkpoint and a key: never a crash, and what is taken is written again as
 * it was. An input begins with a letter that chooses: 'n' a note, 'c' a checkpoint, 'k' a verifier
 * key, 's' a signer key.
 */
#include "libcommon/io/note_key.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX (NOTE_BYTES_MAX + 1024)

static char memory[INPUT_MAX + 1024];

static void as_checkpoint(struct str text)
{
    struct checkpoint checkpoint;
    struct buf out = buf_over(memory, sizeof memory);

    if (checkpoint_parse(text, &checkpoint, NULL) == OK) {
        assert(checkpoint_write(&checkpoint, &out, NULL) == OK);
        assert(str_eq(buf_view(&out), text));
    }
}

static void line_again(const struct note_signature *row, struct buf *out)
{
    static uint8_t signature[NOTE_LINE_BYTES_MAX];
    size_t padding = str_ends(row->encoded, STR("=="))  ? 2
                     : str_ends(row->encoded, STR("=")) ? 1
                                                        : 0;
    size_t len = row->encoded.len / 4 * 3 - padding - NOTE_KEY_ID_BYTES;

    assert(note_name_valid(row->name));
    assert(note_signature_read(row, signature, len));
    assert(!note_signature_read(row, signature, len - 1));
    note_signature_write(row->name, row->key_id, signature, len, out);
}

static void as_note(struct str text)
{
    struct note note;
    struct note_verifier verifier;
    struct buf out = buf_over(memory, sizeof memory);
    uint64_t time_s = 0;

    if (note_parse(text, &note, NULL) != OK) {
        return;
    }
    assert(note.count > 0);
    assert(note_text_valid(note.text));
    buf_str(&out, note.text);
    buf_char(&out, '\n');
    for (size_t i = 0; i < note.count; i++) {
        line_again(&note.signatures[i], &out);
    }
    assert(str_eq(buf_view(&out), text));
    memset(&verifier, 0, sizeof verifier);
    verifier.algorithm = note.text.len % 2 == 0 ? NOTE_ED25519 : NOTE_COSIGNATURE;
    verifier.key_id = note.signatures[0].key_id;
    (void)str_copy(note.signatures[0].name, verifier.name, sizeof verifier.name);
    assert(note_verify(&note, &verifier, &time_s, NULL) == ERR_INVALID); /* nobody's key */
    as_checkpoint(note.text);
}

static void as_key(struct str text, bool secret)
{
    struct note_verifier verifier;
    struct note_signer signer;
    struct buf out = buf_over(memory, sizeof memory);

    if (secret && note_signer_parse(text, &signer, NULL) == OK) {
        note_signer_write(&signer, &out);
        assert(str_eq(buf_view(&out), text));
    }
    if (!secret && note_verifier_parse(text, &verifier, NULL) == OK) {
        note_verifier_write(&verifier, &out);
        assert(out.len <= NOTE_KEY_TEXT_BYTES_MAX);
        assert(str_eq(buf_view(&out), text));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = NULL;
    struct str text;

    if (size < 2 || size > INPUT_MAX) {
        return 0;
    }
    copy = malloc(size - 1); /* of exactly its length, so that a read past the end is found */
    assert(copy != NULL);
    memcpy(copy, data + 1, size - 1);
    text = (struct str){copy, size - 1};
    if (data[0] == 'n') {
        as_note(text);
    } else if (data[0] == 'c') {
        as_checkpoint(text);
    } else {
        as_key(text, data[0] == 's');
    }
    free(copy);
    return 0;
}
