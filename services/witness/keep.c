#include "services/witness/keep.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define LAST     "last-checkpoint"
#define LAST_NEW "last-checkpoint.new"
#define EVIDENCE "evidence-"
#define SETTING  "AVANTA_WITNESS_DIR"

enum code keep_open(struct keep *keep, const char *path, struct err *err)
{
    assert(path != NULL);
    keep->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (keep->dir < 0) {
        return err_set_field(
            err, ERR_INVALID, SETTING, SETTING " is no directory that can be read");
    }
    if (flock(keep->dir, LOCK_EX | LOCK_NB) != 0) {
        keep_close(keep);
        return err_set_field(
            err, ERR_INVALID, SETTING, SETTING " is the directory of a witness that runs");
    }
    return OK;
}

void keep_close(struct keep *keep)
{
    assert(keep != NULL);
    if (keep->dir >= 0) {
        (void)close(keep->dir);
        keep->dir = -1;
    }
}

static bool all_read(int fd, struct buf *out)
{
    assert(fd >= 0);
    assert(out->len == 0);
    for (;;) {
        size_t room = out->cap - out->len;
        ssize_t got = room == 0 ? -1 : read(fd, out->ptr + out->len, room);

        if (got <= 0) {
            return got == 0;
        }
        out->len += (size_t)got;
    }
}

enum code keep_load(const struct keep *keep, struct buf *out, struct err *err)
{
    int fd = openat(keep->dir, LAST, O_RDONLY | O_CLOEXEC);
    bool good = false;

    assert(keep->dir >= 0);
    if (fd < 0 && errno == ENOENT) {
        return OK;
    }
    good = fd >= 0 && all_read(fd, out);
    if (fd >= 0) {
        (void)close(fd);
    }
    return good ? OK
                : err_set_field(
                      err, ERR_INVALID, SETTING, LAST " in " SETTING " cannot be read as a note");
}

static bool file_put(const struct keep *keep, const char *name, int flags, struct str text)
{
    int fd = openat(keep->dir, name, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0600);
    bool good = false;

    assert(keep->dir >= 0);
    if (fd < 0) {
        return false;
    }
    good = write(fd, text.ptr, text.len) == (ssize_t)text.len && fsync(fd) == 0;
    return close(fd) == 0 && good;
}

bool keep_last(const struct keep *keep, struct str text)
{
    assert(text.len > 0);
    assert(keep->dir >= 0);
    return file_put(keep, LAST_NEW, O_TRUNC, text) &&
           renameat(keep->dir, LAST_NEW, keep->dir, LAST) == 0 && fsync(keep->dir) == 0;
}

static size_t evidence_count(const struct keep *keep)
{
    int fd = openat(keep->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd < 0 ? NULL : fdopendir(fd);
    size_t count = 0;

    assert(keep->dir >= 0);
    if (list == NULL) {
        if (fd >= 0) {
            (void)close(fd);
        }
        return KEEP_EVIDENCE_MAX;
    }
    for (const struct dirent *row = NULL; (row = readdir(list)) != NULL;) {
        count += strncmp(row->d_name, EVIDENCE, strlen(EVIDENCE)) == 0 ? 1 : 0;
    }
    (void)closedir(list);
    return count;
}

bool keep_evidence(const struct keep *keep, const char *name, struct str text)
{
    assert(strncmp(name, EVIDENCE, strlen(EVIDENCE)) == 0);
    if (faccessat(keep->dir, name, F_OK, 0) == 0) {
        return true;
    }
    return evidence_count(keep) < KEEP_EVIDENCE_MAX && file_put(keep, name, O_EXCL, text) &&
           fsync(keep->dir) == 0;
}
