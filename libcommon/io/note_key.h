#pragma once
/*
 * Keys of signed notes, and what is done with them: Ed25519 signatures of a text (C2SP signed-note
 * v1, algorithm 0x01) and cosignatures of a checkpoint by a witness, with a time (tlog-cosignature
 * v1, algorithm 0x04). A verifier key is written NAME+HEX8+BASE64, a signer key with PRIVATE+KEY+
 * in front. Structs belong to the caller, who wipes signers. Pure; thread-safe.
 */

#include "libcommon/codec/note.h"
#include "libcommon/io/ed25519.h"

#define NOTE_KEY_TEXT_BYTES_MAX 384 /* of either key */

enum note_algorithm {
    NOTE_ED25519 = 0x01,
    NOTE_COSIGNATURE = 0x04
};

struct note_verifier {
    enum note_algorithm algorithm;
    uint32_t key_id; /* of name, algorithm and key */
    uint8_t key[ED25519_KEY_BYTES];
    char name[NOTE_NAME_BYTES_MAX + 1];
};

struct note_signer {
    struct note_verifier verifier;
    uint8_t seed[ED25519_KEY_BYTES];
};

/* ERR_INVALID: another form, an algorithm that is none of ours, an id that is not that of the key.
 */
enum code
note_verifier_parse(struct str vkey, struct note_verifier *out, struct err *err) MUST_CHECK;
void note_verifier_write(const struct note_verifier *verifier, struct buf *out);

/* ERR_INVALID: not a name for a note. */
enum code note_signer_make(struct str name,
                           enum note_algorithm algorithm,
                           const uint8_t seed[ED25519_KEY_BYTES],
                           struct note_signer *out,
                           struct err *err) MUST_CHECK;
/* ERR_INVALID as with verifier keys; `out` is then zero. */
/* tidy: allow unused: the audit log signs checkpoints */
enum code note_signer_parse(struct str skey, struct note_signer *out, struct err *err) MUST_CHECK;
/* tidy: allow unused: keys are made by a tool */
void note_signer_write(const struct note_signer *signer, struct buf *out);
void note_signer_wipe(struct note_signer *signer);

/* Appends a signature line for the text, which ends in a newline; the caller wrote the text and an
 * empty line before. `time_s` (POSIX seconds) counts for a cosignature alone. ERR_INVALID: a text
 * that cannot be a note's, a time past INT64_MAX. ERR_TOO_LARGE: no room. */
enum code note_sign(const struct note_signer *signer,
                    struct str text,
                    uint64_t time_s,
                    struct buf *out,
                    struct err *err) MUST_CHECK;
/* ERR_NOT_FOUND: no signature by this key. ERR_INVALID: one that does not hold. `*out_time_s` is
 * the latest time of a cosignature by it, else 0. */
enum code note_verify(const struct note *note,
                      const struct note_verifier *verifier,
                      uint64_t *out_time_s,
                      struct err *err) MUST_CHECK;
