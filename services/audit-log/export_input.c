#include "services/audit-log/export_input.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#define CHUNK_BYTES     65536
#define GZIP_ONLY       16
#define GZIP_MAGIC_SIZE 2

enum input_kind {
    INPUT_UNKNOWN,
    INPUT_PLAIN,
    INPUT_GZIP
};

struct export_input {
    int file;
    enum input_kind kind;
    bool at_end;    /* of the stored bytes */
    bool in_member; /* of gzip: begun and not ended */
    struct sha256_run *digest;
    z_stream zlib; /* next_in, avail_in: what was read and not yet taken, whatever the kind */
    unsigned char chunk[CHUNK_BYTES];
};

void export_input_close(struct export_input **input)
{
    assert(input != NULL);
    if (*input != NULL) {
        sha256_close(&(*input)->digest, NULL);
        if ((*input)->kind == INPUT_GZIP) {
            (void)inflateEnd(&(*input)->zlib);
        }
        if ((*input)->file >= 0) {
            (void)close((*input)->file);
        }
        free(*input);
        *input = NULL;
    }
}

enum code export_input_open(const char *path, struct export_input **out, struct err *err)
{
    struct export_input *input = calloc(1, sizeof *input);

    assert(path != NULL);
    assert(out != NULL);
    if (input == NULL) {
        return err_set(err, ERR_INTERNAL, "no memory to read with");
    }
    input->file = strcmp(path, "-") == 0 ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)
                                         : open(path, O_RDONLY | O_CLOEXEC);
    if (input->file < 0) {
        export_input_close(&input);
        return err_set(err, ERR_NOT_FOUND, "the file cannot be opened");
    }
    input->digest = sha256_open();
    *out = input;
    return OK;
}

/* More stored bytes behind those that were not taken yet. */
static enum code chunk_read(struct export_input *input, struct err *err)
{
    const size_t had = input->zlib.avail_in;
    ssize_t len = 0;

    assert(had < sizeof input->chunk);
    assert(!input->at_end);
    if (had > 0) {
        memmove(input->chunk, input->zlib.next_in, had);
    }
    do {
        len = read(input->file, input->chunk + had, sizeof input->chunk - had);
    } while (len < 0 && errno == EINTR);
    if (len < 0) {
        return err_set(err, ERR_UNAVAILABLE, "the file cannot be read to its end");
    }
    if (len > 0) {
        sha256_add(input->digest, (struct str){(const char *)input->chunk + had, (size_t)len});
    }
    input->at_end = len == 0;
    input->zlib.next_in = input->chunk;
    input->zlib.avail_in = (uInt)(had + (size_t)len);
    return OK;
}

static enum code kind_tell(struct export_input *input, struct err *err)
{
    enum code code = OK;

    assert(input->kind == INPUT_UNKNOWN);
    while (code == OK && !input->at_end && input->zlib.avail_in < GZIP_MAGIC_SIZE) {
        code = chunk_read(input, err);
    }
    if (code != OK) {
        return code;
    }
    if (input->zlib.avail_in < GZIP_MAGIC_SIZE || input->chunk[0] != 0x1F ||
        input->chunk[1] != 0x8B) {
        input->kind = INPUT_PLAIN;
        return OK;
    }
    if (inflateInit2(&input->zlib, GZIP_ONLY + MAX_WBITS) != Z_OK) {
        return err_set(err, ERR_INTERNAL, "no memory to read with");
    }
    input->kind = INPUT_GZIP;
    input->in_member = true;
    return OK;
}

/* What the stored bytes at hand give; *out_len 0 when there is nothing more. */
static enum code
plain_take(struct export_input *input, char *memory, size_t cap, size_t *out_len, struct err *err)
{
    enum code code = input->zlib.avail_in > 0 || input->at_end ? OK : chunk_read(input, err);

    assert(cap > 0);
    assert(input->kind == INPUT_PLAIN);
    if (code != OK) {
        return code;
    }
    *out_len = input->zlib.avail_in < cap ? input->zlib.avail_in : cap;
    memcpy(memory, input->zlib.next_in, *out_len);
    input->zlib.next_in += *out_len;
    input->zlib.avail_in -= (uInt)*out_len;
    return OK;
}

/* A file may be several members, one behind the other. */
static enum code member_begin(struct export_input *input, struct err *err)
{
    assert(!input->in_member);
    if (inflateReset(&input->zlib) != Z_OK) {
        return err_set(err, ERR_INTERNAL, "the file cannot be uncompressed");
    }
    input->in_member = true;
    return OK;
}

static enum code
gzip_take(struct export_input *input, char *memory, size_t cap, size_t *out_len, struct err *err)
{
    enum code code = OK;
    int status = Z_OK;

    assert(cap > 0);
    assert(input->kind == INPUT_GZIP);
    input->zlib.next_out = (unsigned char *)memory;
    input->zlib.avail_out = (uInt)cap;
    while (input->zlib.avail_out == cap) {
        if (input->zlib.avail_in == 0 && !input->at_end) {
            code = chunk_read(input, err);
        }
        if (code != OK || (input->zlib.avail_in == 0 && input->at_end)) {
            break;
        }
        code = input->in_member ? OK : member_begin(input, err);
        if (code != OK) {
            break;
        }
        status = inflate(&input->zlib, Z_NO_FLUSH);
        if (status != Z_OK && status != Z_STREAM_END) {
            code = err_set(err, ERR_INVALID, "the compressed file is damaged");
            break;
        }
        input->in_member = status != Z_STREAM_END;
    }
    *out_len = cap - input->zlib.avail_out;
    if (code == OK && *out_len == 0 && input->in_member) {
        return err_set(err, ERR_INVALID, "the compressed file was cut");
    }
    return code;
}

enum code export_input_read(
    struct export_input *input, char *memory, size_t cap, size_t *out_len, struct err *err)
{
    enum code code = input->kind == INPUT_UNKNOWN ? kind_tell(input, err) : OK;
    size_t took = 1;

    assert(out_len != NULL);
    *out_len = 0;
    while (code == OK && took > 0 && *out_len < cap) {
        took = 0;
        code = input->kind == INPUT_GZIP
                   ? gzip_take(input, memory + *out_len, cap - *out_len, &took, err)
                   : plain_take(input, memory + *out_len, cap - *out_len, &took, err);
        *out_len += took;
    }
    return code;
}

void export_input_sha256(struct export_input *input, uint8_t out[SHA256_BYTES])
{
    assert(input->at_end);
    assert(input->digest != NULL);
    sha256_close(&input->digest, out);
}
