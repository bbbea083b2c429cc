#include "services/witness/seen.h"

#include <assert.h>
#include <string.h>

static enum code
text_read(struct seen *out, const struct note *note, struct str origin, struct err *err)
{
    struct checkpoint checkpoint;
    enum code code = checkpoint_parse(note->text, &checkpoint, err);

    if (code != OK) {
        return code;
    }
    if (!str_eq(checkpoint.origin, origin)) {
        return err_set(err, ERR_INVALID, "the checkpoint is of another log");
    }
    if (checkpoint.size == 0 || checkpoint.size > MERKLE_SIZE_MAX) {
        return err_set(err, ERR_INVALID, "the checkpoint's size is none that a log can have");
    }
    _Static_assert(sizeof checkpoint.root == sizeof out->root.bytes, "both are SHA-256");
    memcpy(out->root.bytes, checkpoint.root, sizeof out->root.bytes);
    out->size = checkpoint.size;
    out->text_len = note->text.len;
    return OK;
}

enum code
seen_read(struct str note, const struct note_verifier *log, struct seen *out, struct err *err)
{
    struct note parsed;
    uint64_t time_s = 0;
    enum code code = OK;

    assert(log->algorithm == NOTE_ED25519);
    *out = (struct seen){.len = note.len < SEEN_BYTES_MAX ? note.len : SEEN_BYTES_MAX};
    memcpy(out->note, note.ptr, out->len);
    if (note.len > SEEN_BYTES_MAX) {
        return err_set(err, ERR_INVALID, "the note is longer than %d bytes", SEEN_BYTES_MAX);
    }
    code = note_parse((struct str){out->note, out->len}, &parsed, err);
    if (code == OK && note_verify(&parsed, log, &time_s, err) != OK) {
        code = ERR_INVALID;
    }
    return code == OK ? text_read(out, &parsed, str_from(log->name), err) : code;
}

struct str seen_text(const struct seen *seen)
{
    assert(seen->text_len > 0);
    assert(seen->text_len < seen->len);
    return (struct str){seen->note, seen->text_len};
}

bool seen_cosigned(const struct seen *seen, const struct note_verifier *witness)
{
    struct note parsed;
    uint64_t time_s = 0;

    assert(witness->algorithm == NOTE_COSIGNATURE);
    return note_parse((struct str){seen->note, seen->len}, &parsed, NULL) == OK &&
           note_verify(&parsed, witness, &time_s, NULL) == OK;
}

bool seen_same_tree(const struct seen *a, const struct seen *b)
{
    assert(a->size == b->size);
    return merkle_hash_eq(&a->root, &b->root);
}

bool seen_proven(const struct seen *a, const struct seen *b, const struct merkle_proof *proof)
{
    const struct seen *small = a->size < b->size ? a : b;
    const struct seen *large = small == a ? b : a;

    assert(small->size < large->size);
    assert(proof != NULL);
    return merkle_consistency_verify(small->size, large->size, &small->root, proof, &large->root);
}
