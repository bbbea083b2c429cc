#include "services/audit-log/export_file.h"

#include "libcommon/base/buf.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#define ZLIB_CONST /* what is read is const */
#include <zlib.h>

#define CHUNK_BYTES 65536
#define GZIP_ONLY   16
#define ZLIB_MEMORY 8 /* zlib's own default */
#define FILE_MODE   0600
#define PART        ".part"

struct export_file {
    char path[EXPORT_PATH_BYTES_MAX];
    char part[EXPORT_PATH_BYTES_MAX + sizeof PART];
    int file;
    bool compressed;
    bool finished;
    z_stream zlib;
    unsigned char chunk[CHUNK_BYTES]; /* to be written */
    size_t used;                      /* of it, where nothing is compressed */
};

static enum code failed(const struct export_file *file, const char *doing, struct err *err)
{
    assert(doing != NULL);
    return err_set(err, ERR_UNAVAILABLE, "%s %s: %s", doing, file->part, strerrordesc_np(errno));
}

void export_file_close(struct export_file **file)
{
    assert(file != NULL);
    if (*file == NULL) {
        return;
    }
    if ((*file)->compressed) {
        (void)deflateEnd(&(*file)->zlib);
    }
    if ((*file)->file >= 0) {
        if (!(*file)->finished) {
            (void)unlink((*file)->part);
        }
        (void)close((*file)->file);
    }
    free(*file);
    *file = NULL;
}

/* Whether it is still the file of that name, and not one that took its place meanwhile. */
static bool is_still_part(const struct export_file *file)
{
    struct stat ours;
    struct stat named;

    assert(file->file >= 0);
    return fstat(file->file, &ours) == 0 && stat(file->part, &named) == 0 &&
           ours.st_dev == named.st_dev && ours.st_ino == named.st_ino;
}

/* Who holds the lock writes; a file that was left is emptied. */
static enum code part_open(struct export_file *file, struct err *err)
{
    assert(file->file < 0);
    assert(file->part[0] != '\0');
    file->file = open(file->part, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
    if (file->file < 0) {
        return failed(file, "making", err);
    }
    if (flock(file->file, LOCK_EX | LOCK_NB) != 0 || !is_still_part(file)) {
        (void)close(file->file); /* so that it is not removed */
        file->file = -1;
        return err_set(err, ERR_CONFLICT, "%s is being written by somebody else", file->part);
    }
    return ftruncate(file->file, 0) == 0 ? OK : failed(file, "emptying", err);
}

enum code export_file_open(const char *path, struct export_file **out, struct err *err)
{
    struct export_file *file = calloc(1, sizeof *file);
    enum code code = OK;

    assert(path != NULL);
    assert(out != NULL);
    if (file == NULL) {
        return err_set(err, ERR_INTERNAL, "no memory to write with");
    }
    file->file = -1;
    if (!str_copy(str_from(path), file->path, sizeof file->path)) {
        export_file_close(&file);
        return err_set(err, ERR_INVALID, "the name of the file is too long");
    }
    (void)snprintf(file->part, sizeof file->part, "%s" PART, path);
    code = part_open(file, err);
    if (code == OK && str_ends(str_from(path), STR(".gz"))) {
        file->compressed = deflateInit2(&file->zlib,
                                        Z_DEFAULT_COMPRESSION,
                                        Z_DEFLATED,
                                        GZIP_ONLY + MAX_WBITS,
                                        ZLIB_MEMORY,
                                        Z_DEFAULT_STRATEGY) == Z_OK;
        code = file->compressed ? OK : err_set(err, ERR_INTERNAL, "no memory to compress with");
    }
    if (code != OK) {
        export_file_close(&file);
    }
    *out = file;
    return code;
}

static enum code
bytes_write(struct export_file *file, const unsigned char *bytes, size_t len, struct err *err)
{
    size_t written = 0;

    assert(bytes != NULL);
    assert(file->file >= 0);
    while (written < len) {
        ssize_t some = write(file->file, bytes + written, len - written);

        if (some < 0 && errno != EINTR) {
            return failed(file, "writing", err);
        }
        written += some > 0 ? (size_t)some : 0;
    }
    return OK;
}

static enum code plain_put(struct export_file *file, struct str bytes, struct err *err)
{
    enum code code = OK;

    assert(file->used <= sizeof file->chunk);
    if (file->used + bytes.len > sizeof file->chunk) {
        code = bytes_write(file, file->chunk, file->used, err);
        file->used = 0;
    }
    if (bytes.len > sizeof file->chunk) {
        return code == OK ? bytes_write(file, (const unsigned char *)bytes.ptr, bytes.len, err)
                          : code;
    }
    memcpy(file->chunk + file->used, bytes.ptr, bytes.len);
    file->used += bytes.len;
    return code;
}

/* `flush` is Z_FINISH at the end. */
static enum code
compressed_put(struct export_file *file, struct str bytes, int flush, struct err *err)
{
    enum code code = OK;
    int status = Z_OK;

    assert(file->compressed);
    assert(bytes.len <= UINT32_MAX);
    file->zlib.next_in = (const unsigned char *)bytes.ptr;
    file->zlib.avail_in = (uInt)bytes.len;
    do {
        file->zlib.next_out = file->chunk;
        file->zlib.avail_out = sizeof file->chunk;
        status = deflate(&file->zlib, flush);
        assert(status != Z_STREAM_ERROR);
        code = bytes_write(file, file->chunk, sizeof file->chunk - file->zlib.avail_out, err);
    } while (code == OK && file->zlib.avail_out == 0);
    return code;
}

static enum code put(struct export_file *file, struct str bytes, struct err *err)
{
    assert(!file->finished);
    return file->compressed ? compressed_put(file, bytes, Z_NO_FLUSH, err)
                            : plain_put(file, bytes, err);
}

enum code export_file_line(struct export_file *file, struct str line, struct err *err)
{
    enum code code = put(file, line, err);

    assert(memchr(line.ptr, '\n', line.len) == NULL);
    return code == OK ? put(file, STR("\n"), err) : code;
}

/* So that the new name is on the disk too. */
static enum code directory_sync(const struct export_file *file, struct err *err)
{
    char path[EXPORT_PATH_BYTES_MAX];
    char *slash = NULL;
    int directory = -1;
    bool good = false;

    assert(file->finished);
    (void)snprintf(path, sizeof path, "%s", file->path);
    slash = strrchr(path, '/');
    if (slash != NULL) {
        slash[slash == path ? 1 : 0] = '\0';
    }
    directory = open(slash == NULL ? "." : path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    good = directory >= 0 && fsync(directory) == 0;
    if (directory >= 0) {
        (void)close(directory);
    }
    return good ? OK : failed(file, "putting in its place", err);
}

enum code export_file_finish(struct export_file *file, struct err *err)
{
    enum code code = file->compressed ? compressed_put(file, STR_EMPTY, Z_FINISH, err)
                                      : bytes_write(file, file->chunk, file->used, err);

    assert(!file->finished);
    assert(file->file >= 0);
    if (code == OK && fsync(file->file) != 0) {
        code = failed(file, "writing", err);
    }
    if (code == OK && rename(file->part, file->path) != 0) {
        code = failed(file, "putting in its place", err);
    }
    if (code != OK) {
        return code;
    }
    file->finished = true;
    return directory_sync(file, err);
}
