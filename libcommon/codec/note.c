#include "libcommon/codec/note.h"

#include <assert.h>
#include <string.h>

#define LINE_START  "\xE2\x80\x94 " /* em dash, space */
#define ROOT_DIGITS 44              /* of 32 bytes in base64 */

/* --- words ---------------------------------------------------------------------------------- */

/* The characters with the Unicode property White_Space past ASCII, in UTF-8. */
static size_t wide_space(struct str rest)
{
    static const char *const spaces[] = {"\xC2\x85",
                                         "\xC2\xA0",
                                         "\xE1\x9A\x80",
                                         "\xE2\x80\xA8",
                                         "\xE2\x80\xA9",
                                         "\xE2\x80\xAF",
                                         "\xE2\x81\x9F",
                                         "\xE3\x80\x80"};

    for (size_t i = 0; i < ARRAY_LEN(spaces); i++) {
        if (str_starts(rest, str_from(spaces[i]))) {
            return strlen(spaces[i]);
        }
    }
    /* U+2000 to U+200A */
    return str_starts(rest, STR("\xE2\x80")) && rest.len >= 3 && (unsigned char)rest.ptr[2] <= 0x8Au
               ? 3
               : 0;
}

bool note_name_valid(struct str name)
{
    assert(name.ptr != NULL);
    if (name.len == 0 || name.len > NOTE_NAME_BYTES_MAX || !utf8_valid(name)) {
        return false;
    }
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.ptr[i];

        if (c <= ' ' || c == '+' || c == 0x7F || wide_space(str_sub(name, i, name.len)) > 0) {
            return false;
        }
    }
    return true;
}

static bool has_forbidden(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if ((unsigned char)text.ptr[i] < 0x20 && text.ptr[i] != '\n') {
            return true;
        }
    }
    return false;
}

bool note_text_valid(struct str text)
{
    assert(text.ptr != NULL);
    return text.len > 0 && text.len <= NOTE_TEXT_BYTES_MAX && text.ptr[text.len - 1] == '\n' &&
           utf8_valid(text) && !has_forbidden(text);
}

/* --- notes ---------------------------------------------------------------------------------- */

/* The text ends where the last empty line stands; a text may have some of its own. */
static bool split(struct str bytes, struct str *out_text, struct str *out_lines)
{
    assert(out_text != NULL);
    for (size_t at = bytes.len; at >= 2; at--) {
        if (bytes.ptr[at - 1] == '\n' && bytes.ptr[at - 2] == '\n') {
            *out_text = str_sub(bytes, 0, at - 1);
            *out_lines = str_sub(bytes, at, bytes.len);
            return true;
        }
    }
    return false;
}

static bool line_parse(struct str line, struct note_signature *out)
{
    uint8_t bytes[NOTE_LINE_BYTES_MAX];
    size_t space = 0;
    size_t len = 0;

    assert(out != NULL);
    if (!str_starts(line, STR(LINE_START))) {
        return false;
    }
    line = str_sub(line, sizeof(LINE_START) - 1, line.len);
    if (!str_find_char(line, ' ', &space)) {
        return false;
    }
    out->name = str_sub(line, 0, space);
    out->encoded = str_sub(line, space + 1, line.len);
    if (!note_name_valid(out->name) || !base64_decode(out->encoded, bytes, sizeof bytes, &len) ||
        len <= NOTE_KEY_ID_BYTES) {
        return false;
    }
    out->key_id =
        (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
    return true;
}

enum code note_parse(struct str bytes, struct note *out, struct err *err)
{
    struct str lines = STR_EMPTY;
    struct str line = STR_EMPTY;

    assert(bytes.ptr != NULL);
    assert(out != NULL);
    out->count = 0;
    if (bytes.len > NOTE_BYTES_MAX) {
        return err_set(err, ERR_INVALID, "the note is longer than %lu bytes", NOTE_BYTES_MAX);
    }
    if (!split(bytes, &out->text, &lines)) {
        return err_set(err, ERR_INVALID, "the note has no empty line before its signatures");
    }
    if (!note_text_valid(out->text)) {
        return err_set(err, ERR_INVALID, "the note's text is too long, not UTF-8 or not plain");
    }
    if (lines.len == 0 || lines.ptr[lines.len - 1] != '\n') {
        return err_set(err, ERR_INVALID, "the note ends without a signature line");
    }
    lines.len--; /* else an empty part would follow the last newline */
    while (str_split(&lines, '\n', &line)) {
        if (out->count == NOTE_SIGNATURES_MAX) {
            return err_set(
                err, ERR_INVALID, "the note has more than %d signatures", NOTE_SIGNATURES_MAX);
        }
        if (!line_parse(line, &out->signatures[out->count])) {
            return err_set(
                err, ERR_INVALID, "signature line %zu of the note is malformed", out->count + 1);
        }
        out->count++;
    }
    assert(out->count > 0);
    return OK;
}

bool note_signature_read(const struct note_signature *signature, uint8_t *out, size_t len)
{
    uint8_t bytes[NOTE_LINE_BYTES_MAX];
    size_t had = 0;

    assert(signature != NULL);
    assert(len <= sizeof bytes - NOTE_KEY_ID_BYTES);
    if (!base64_decode(signature->encoded, bytes, sizeof bytes, &had) ||
        had != len + NOTE_KEY_ID_BYTES) {
        return false;
    }
    memcpy(out, bytes + NOTE_KEY_ID_BYTES, len);
    return true;
}

/* Straight into the buffer's own room. */
static void write_base64(const uint8_t *bytes, size_t len, struct buf *out)
{
    size_t digits = (len + 2) / 3 * 4;
    char *room = buf_reserve(out, digits + 1);

    assert(len > 0);
    if (room != NULL) {
        buf_commit(out, base64_encode(bytes, len, room, digits + 1));
    }
}

void note_signature_write(
    struct str name, uint32_t key_id, const uint8_t *signature, size_t len, struct buf *out)
{
    uint8_t bytes[NOTE_LINE_BYTES_MAX] = {
        (uint8_t)(key_id >> 24), (uint8_t)(key_id >> 16), (uint8_t)(key_id >> 8), (uint8_t)key_id};

    assert(note_name_valid(name));
    assert(len > 0);
    assert(len <= sizeof bytes - NOTE_KEY_ID_BYTES);
    memcpy(bytes + NOTE_KEY_ID_BYTES, signature, len);
    buf_str(out, STR(LINE_START));
    buf_str(out, name);
    buf_char(out, ' ');
    write_base64(bytes, NOTE_KEY_ID_BYTES + len, out);
    buf_char(out, '\n');
}

/* --- checkpoints ---------------------------------------------------------------------------- */

/* Takes a line with its newline off the front; false when there is none, or an empty one. */
static bool take_line(struct str *rest, struct str *out)
{
    size_t at = 0;

    assert(rest != NULL);
    if (!str_find_char(*rest, '\n', &at) || at == 0) {
        return false;
    }
    *out = str_sub(*rest, 0, at);
    *rest = str_sub(*rest, at + 1, rest->len);
    return true;
}

static bool extensions_valid(struct str lines)
{
    struct str line = STR_EMPTY;

    while (lines.len > 0) {
        if (!take_line(&lines, &line)) {
            return false;
        }
    }
    return true;
}

enum code checkpoint_parse(struct str text, struct checkpoint *out, struct err *err)
{
    struct str rest = text;
    struct str size = STR_EMPTY;
    struct str root = STR_EMPTY;
    size_t len = 0;

    assert(out != NULL);
    if (!note_text_valid(text)) {
        return err_set(err, ERR_INVALID, "the checkpoint is too long, not UTF-8 or not plain");
    }
    if (!take_line(&rest, &out->origin) || !take_line(&rest, &size) || !take_line(&rest, &root)) {
        return err_set(err, ERR_INVALID, "the checkpoint has fewer than three lines");
    }
    if (!str_to_uint64(size, &out->size)) {
        return err_set(err, ERR_INVALID, "the checkpoint's second line is no tree size");
    }
    if (root.len != ROOT_DIGITS || !base64_decode(root, out->root, sizeof out->root, &len) ||
        len != NOTE_ROOT_BYTES) {
        return err_set(err, ERR_INVALID, "the checkpoint's third line is no root hash");
    }
    if (!extensions_valid(rest)) {
        return err_set(err, ERR_INVALID, "the checkpoint has an empty line");
    }
    out->extensions = rest;
    return OK;
}

enum code checkpoint_write(const struct checkpoint *checkpoint, struct buf *out, struct err *err)
{
    size_t from = out->len;
    struct checkpoint back = {.size = 0};

    assert(checkpoint->origin.ptr != NULL);
    assert(checkpoint->extensions.ptr != NULL);
    buf_str(out, checkpoint->origin);
    buf_char(out, '\n');
    buf_uint64(out, checkpoint->size);
    buf_char(out, '\n');
    write_base64(checkpoint->root, sizeof checkpoint->root, out);
    buf_char(out, '\n');
    buf_str(out, checkpoint->extensions);
    if (out->overflow) {
        return err_set(err, ERR_TOO_LARGE, "no room for the checkpoint");
    }
    /* An origin with a newline would make other lines of ours: what is written is read as meant. */
    if (checkpoint_parse(str_sub(buf_view(out), from, out->len), &back, err) != OK ||
        !str_eq(back.origin, checkpoint->origin) ||
        !str_eq(back.extensions, checkpoint->extensions)) {
        return err_set(err, ERR_INVALID, "the origin or the extension lines are malformed");
    }
    return OK;
}
