#pragma once
/*
 * Signed notes and log checkpoints as text (C2SP signed-note v1, tlog-checkpoint v1): taken apart
 * and put together; nothing is verified here (libcommon/io/note_key.h does). A note is a text whose
 * last line ends in a newline, an empty line, and lines "— NAME BASE64" with a key id and a
 * signature. Pure; any thread; input is untrusted, results point into it.
 */

#include "libcommon/base/buf.h"
#include "libcommon/base/err.h"

#define NOTE_BYTES_MAX      (128UL * 1024)
#define NOTE_TEXT_BYTES_MAX 4096UL
#define NOTE_SIGNATURES_MAX 32   /* the specification asks for 16 at least */
#define NOTE_LINE_BYTES_MAX 8192 /* of a signature with its key id, whatever its algorithm */
#define NOTE_NAME_BYTES_MAX 255
#define NOTE_KEY_ID_BYTES   4
#define NOTE_ROOT_BYTES     32

struct note_signature {
    struct str name;
    uint32_t key_id;
    struct str encoded; /* base64 of key id and signature, checked */
};

struct note {
    struct str text; /* with its last newline: what is signed */
    size_t count;
    struct note_signature signatures[NOTE_SIGNATURES_MAX];
};

/* ERR_INVALID: not UTF-8, a control character below U+0020 other than newline, no empty line, no
 * signature line or too many, a line of another form, longer than NOTE_BYTES_MAX, a text longer
 * than NOTE_TEXT_BYTES_MAX. */
enum code note_parse(struct str bytes, struct note *out, struct err *err) MUST_CHECK;
/* Whether a text can be signed: what note_parse() asks of it. */
bool note_text_valid(struct str text);
/* Whether a name can stand in a note: 1 to NOTE_NAME_BYTES_MAX bytes of UTF-8, no white space, no
 * control character, no '+'. */
bool note_name_valid(struct str name);
/* The signature without its key id; false when it is not exactly `len` bytes long. */
bool note_signature_read(const struct note_signature *signature,
                         uint8_t *out,
                         size_t len) MUST_CHECK;
/* One signature line. The note before it ends in an empty line or in another signature line. */
void note_signature_write(
    struct str name, uint32_t key_id, const uint8_t *signature, size_t len, struct buf *out);

struct checkpoint {
    struct str origin; /* unique to the log, and the name of its key */
    uint64_t size;     /* leaves */
    uint8_t root[NOTE_ROOT_BYTES];
    struct str extensions; /* lines with their newlines, or empty */
};

/* The text of a note. ERR_INVALID: fewer than three lines, an empty line, a size with leading zeros
 * or beyond 64 bits, a root that is not 32 bytes in base64, no newline at the end. */
enum code checkpoint_parse(struct str text, struct checkpoint *out, struct err *err) MUST_CHECK;
/* ERR_INVALID: what checkpoint_parse() would refuse. ERR_TOO_LARGE: no room. */
enum code
checkpoint_write(const struct checkpoint *checkpoint, struct buf *out, struct err *err) MUST_CHECK;
