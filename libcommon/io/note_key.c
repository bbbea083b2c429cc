#include "libcommon/io/note_key.h"

#include "libcommon/io/digest.h"

#include <assert.h>
#include <string.h>

#define TIME_BYTES        8
#define COSIGNATURE_BYTES (TIME_BYTES + ED25519_SIGNATURE_BYTES)
#define MESSAGE_BYTES_MAX (64 + NOTE_TEXT_BYTES_MAX)
#define MATERIAL_BYTES    (1 + ED25519_KEY_BYTES) /* algorithm, key */
#define MATERIAL_DIGITS   44
#define ID_DIGITS         8
#define SIGNER_START      "PRIVATE+KEY+"

/* The first four bytes of SHA-256(name || 0x0A || algorithm || public key). */
static uint32_t key_id_of(struct str name, const uint8_t material[MATERIAL_BYTES])
{
    const struct str parts[] = {
        name, STR("\n"), {(const char *)material, MATERIAL_BYTES}
    };
    uint8_t digest[SHA256_BYTES];

    assert(name.len > 0);
    sha256_parts(parts, ARRAY_LEN(parts), digest);
    return (uint32_t)digest[0] << 24 | (uint32_t)digest[1] << 16 | (uint32_t)digest[2] << 8 |
           digest[3];
}

static enum code verifier_make(struct str name,
                               const uint8_t material[MATERIAL_BYTES],
                               struct note_verifier *out,
                               struct err *err)
{
    assert(out != NULL);
    if (!note_name_valid(name)) {
        return err_set(err, ERR_INVALID, "a key's name is empty, too long or not plain");
    }
    switch (material[0]) {
    case NOTE_ED25519:
        out->algorithm = NOTE_ED25519;
        break;
    case NOTE_COSIGNATURE:
        out->algorithm = NOTE_COSIGNATURE;
        break;
    default:
        return err_set(err, ERR_INVALID, "a key's algorithm is %u, not 1 or 4", material[0]);
    }
    out->key_id = key_id_of(name, material);
    memcpy(out->key, material + 1, sizeof out->key);
    (void)str_copy(name, out->name, sizeof out->name);
    return OK;
}

/* NAME+HEX8+BASE64, where only the last part may hold a '+' itself. */
static bool key_split(struct str text, struct str *out_name, struct str *out_id, uint8_t *out)
{
    size_t len = 0;

    assert(out != NULL);
    return str_split(&text, '+', out_name) && str_split(&text, '+', out_id) &&
           out_id->len == ID_DIGITS && text.len == MATERIAL_DIGITS &&
           base64_decode(text, out, MATERIAL_BYTES, &len) && len == MATERIAL_BYTES;
}

static bool id_is(struct str digits, uint32_t key_id)
{
    char text[ID_DIGITS + 2];
    struct buf b = buf_over(text, sizeof text);

    buf_printf(&b, "%08x", key_id);
    assert(!b.overflow);
    return str_eq(digits, buf_view(&b));
}

enum code note_verifier_parse(struct str vkey, struct note_verifier *out, struct err *err)
{
    uint8_t material[MATERIAL_BYTES];
    struct str name = STR_EMPTY;
    struct str id = STR_EMPTY;
    enum code code = OK;

    assert(vkey.ptr != NULL);
    assert(out != NULL);
    memset(out, 0, sizeof *out);
    if (!key_split(vkey, &name, &id, material)) {
        return err_set(err, ERR_INVALID, "a verifier key is not of the form name+id+key");
    }
    code = verifier_make(name, material, out, err);
    if (code == OK && !id_is(id, out->key_id)) {
        code = err_set(err, ERR_INVALID, "a verifier key's id is not that of its key");
    }
    return code;
}

static void key_write(const struct note_verifier *verifier,
                      const uint8_t key[ED25519_KEY_BYTES],
                      struct buf *out)
{
    uint8_t material[MATERIAL_BYTES] = {(uint8_t)verifier->algorithm};
    char *room = NULL;

    assert(verifier->name[0] != '\0');
    memcpy(material + 1, key, ED25519_KEY_BYTES);
    buf_printf(out, "%s+%08x+", verifier->name, verifier->key_id);
    room = buf_reserve(out, MATERIAL_DIGITS + 1);
    if (room != NULL) {
        buf_commit(out, base64_encode(material, sizeof material, room, MATERIAL_DIGITS + 1));
    }
    explicit_bzero(material, sizeof material);
}

void note_verifier_write(const struct note_verifier *verifier, struct buf *out)
{
    assert(verifier != NULL);
    key_write(verifier, verifier->key, out);
}

enum code note_signer_make(struct str name,
                           enum note_algorithm algorithm,
                           const uint8_t seed[ED25519_KEY_BYTES],
                           struct note_signer *out,
                           struct err *err)
{
    uint8_t material[MATERIAL_BYTES] = {(uint8_t)algorithm};
    enum code code = OK;

    assert(seed != NULL);
    assert(out != NULL);
    memset(out, 0, sizeof *out);
    ed25519_public(seed, material + 1);
    code = verifier_make(name, material, &out->verifier, err);
    if (code == OK) {
        memcpy(out->seed, seed, sizeof out->seed);
    }
    return code;
}

enum code note_signer_parse(struct str skey, struct note_signer *out, struct err *err)
{
    uint8_t material[MATERIAL_BYTES] = {0};
    struct str name = STR_EMPTY;
    struct str id = STR_EMPTY;
    enum code code = OK;

    assert(skey.ptr != NULL);
    assert(out != NULL);
    memset(out, 0, sizeof *out);
    if (!str_starts(skey, STR(SIGNER_START)) ||
        !key_split(str_sub(skey, sizeof(SIGNER_START) - 1, skey.len), &name, &id, material)) {
        code = err_set(
            err, ERR_INVALID, "a signer key is not of the form " SIGNER_START "name+id+key");
    } else if (material[0] != NOTE_ED25519 && material[0] != NOTE_COSIGNATURE) {
        code = err_set(err, ERR_INVALID, "a key's algorithm is %u, not 1 or 4", material[0]);
    } else {
        code = note_signer_make(name,
                                material[0] == NOTE_ED25519 ? NOTE_ED25519 : NOTE_COSIGNATURE,
                                material + 1,
                                out,
                                err);
    }
    if (code == OK && !id_is(id, out->verifier.key_id)) {
        note_signer_wipe(out);
        code = err_set(err, ERR_INVALID, "a signer key's id is not that of its key");
    }
    explicit_bzero(material, sizeof material);
    return code;
}

void note_signer_write(const struct note_signer *signer, struct buf *out)
{
    assert(signer != NULL);
    buf_text(out, SIGNER_START);
    key_write(&signer->verifier, signer->seed, out);
}

void note_signer_wipe(struct note_signer *signer)
{
    assert(signer != NULL);
    explicit_bzero(signer, sizeof *signer);
}

/* --- signatures ----------------------------------------------------------------------------- */

/* What a witness signs: a header, the time, the checkpoint. */
static void cosigned_message(struct str text, uint64_t time_s, struct buf *out)
{
    assert(out->len == 0);
    buf_text(out, "cosignature/v1\ntime ");
    buf_uint64(out, time_s);
    buf_char(out, '\n');
    buf_str(out, text);
    assert(!out->overflow);
}

static void sign_plain(const struct note_signer *signer, struct str text, struct buf *out)
{
    uint8_t signature[ED25519_SIGNATURE_BYTES];

    assert(signer->verifier.algorithm == NOTE_ED25519);
    ed25519_sign(signer->seed, text, signature);
    note_signature_write(
        str_from(signer->verifier.name), signer->verifier.key_id, signature, sizeof signature, out);
}

static void
sign_timed(const struct note_signer *signer, struct str text, uint64_t time_s, struct buf *out)
{
    char memory[MESSAGE_BYTES_MAX];
    struct buf message = buf_over(memory, sizeof memory);
    uint8_t signature[COSIGNATURE_BYTES];

    assert(signer->verifier.algorithm == NOTE_COSIGNATURE);
    cosigned_message(text, time_s, &message);
    for (size_t i = 0; i < TIME_BYTES; i++) {
        signature[i] = (uint8_t)(time_s >> 8 * (TIME_BYTES - 1 - i));
    }
    ed25519_sign(signer->seed, buf_view(&message), signature + TIME_BYTES);
    note_signature_write(
        str_from(signer->verifier.name), signer->verifier.key_id, signature, sizeof signature, out);
}

enum code note_sign(const struct note_signer *signer,
                    struct str text,
                    uint64_t time_s,
                    struct buf *out,
                    struct err *err)
{
    struct checkpoint checkpoint;

    assert(signer != NULL);
    assert(out != NULL);
    if (!note_text_valid(text)) {
        return err_set(err, ERR_INVALID, "the text cannot be that of a note");
    }
    if (signer->verifier.algorithm == NOTE_ED25519) {
        sign_plain(signer, text, out);
    } else if (time_s > INT64_MAX) {
        return err_set(err, ERR_INVALID, "the time of a cosignature is too large");
    } else if (checkpoint_parse(text, &checkpoint, err) != OK) {
        return ERR_INVALID;
    } else {
        sign_timed(signer, text, time_s, out);
    }
    return out->overflow ? err_set(err, ERR_TOO_LARGE, "no room for the signature") : OK;
}

static bool
plain_holds(const struct note_signature *row, const struct note_verifier *verifier, struct str text)
{
    uint8_t signature[ED25519_SIGNATURE_BYTES];

    assert(verifier->algorithm == NOTE_ED25519);
    return note_signature_read(row, signature, sizeof signature) &&
           ed25519_verify(verifier->key, text, signature);
}

static bool timed_holds(const struct note_signature *row,
                        const struct note_verifier *verifier,
                        struct str text,
                        uint64_t *out_time_s)
{
    char memory[MESSAGE_BYTES_MAX];
    struct buf message = buf_over(memory, sizeof memory);
    uint8_t signature[COSIGNATURE_BYTES];
    struct checkpoint checkpoint;
    uint64_t time_s = 0;

    assert(verifier->algorithm == NOTE_COSIGNATURE);
    if (checkpoint_parse(text, &checkpoint, NULL) != OK ||
        !note_signature_read(row, signature, sizeof signature)) {
        return false;
    }
    for (size_t i = 0; i < TIME_BYTES; i++) {
        time_s = time_s << 8 | signature[i];
    }
    if (time_s > INT64_MAX) {
        return false;
    }
    cosigned_message(text, time_s, &message);
    if (!ed25519_verify(verifier->key, buf_view(&message), signature + TIME_BYTES)) {
        return false;
    }
    *out_time_s = time_s > *out_time_s ? time_s : *out_time_s;
    return true;
}

enum code note_verify(const struct note *note,
                      const struct note_verifier *verifier,
                      uint64_t *out_time_s,
                      struct err *err)
{
    struct str name = str_from(verifier->name);
    size_t found = 0;

    assert(note->count <= NOTE_SIGNATURES_MAX);
    assert(out_time_s != NULL);
    *out_time_s = 0;
    for (size_t i = 0; i < note->count; i++) {
        const struct note_signature *row = &note->signatures[i];

        if (row->key_id != verifier->key_id || !str_eq(row->name, name)) {
            continue;
        }
        found++;
        if (verifier->algorithm == NOTE_ED25519
                ? !plain_holds(row, verifier, note->text)
                : !timed_holds(row, verifier, note->text, out_time_s)) {
            *out_time_s = 0;
            return err_set(
                err, ERR_INVALID, "the signature by %.64s does not hold", verifier->name);
        }
    }
    return found > 0 ? OK : err_set(err, ERR_NOT_FOUND, "no signature by %.64s", verifier->name);
}
