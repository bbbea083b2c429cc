/*
 * Packs of arbitrary bytes. The first byte says how long a subject comes first; the rest is read as
 * a pack. Checked besides memory: members lie inside the pack, one behind the other, and a subject
 * that is taken for an inbox or a pack is one that the bus prints the same way.
 */
#include "libcommon/io/bus_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_subject(struct str subject)
{
    struct str inbox = STR_EMPTY;
    struct pool_handle handle = {0, 0};
    uint32_t number = 0;

    if (bus_pack_inbox(subject, &inbox, &handle)) {
        assert(inbox.ptr == subject.ptr);
        assert(inbox.len > 0);
        assert(inbox.len < BUS_INBOX_BYTES_MAX);
        assert(inbox.ptr[inbox.len - 1] == '.');
        assert(str_starts(inbox, STR("_INBOX.")));
    }
    if (bus_pack_subject(subject, &inbox, &number)) {
        assert(inbox.ptr == subject.ptr);
        assert(inbox.len < BUS_INBOX_BYTES_MAX);
        assert(str_starts(str_sub(subject, inbox.len, subject.len), STR("pack.")));
    }
}

static void check_pack(struct str pack)
{
    const char *begin = pack.ptr;
    const size_t whole = pack.len;
    struct pack_member member;

    while (bus_pack_next(&pack, &member)) {
        assert(pack.len < whole);
        assert(member.body.ptr + member.body.len == begin + (whole - pack.len));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *bytes = NULL;
    size_t subject_len = 0;

    if (size < 1) {
        return 0;
    }
    /* In memory of exactly its length, so that a read past the end is found. */
    bytes = malloc(size);
    assert(bytes != NULL);
    memcpy(bytes, data + 1, size - 1);
    subject_len = data[0] < size - 1 ? data[0] : size - 1;
    check_subject((struct str){bytes, subject_len});
    check_pack((struct str){bytes + subject_len, size - 1 - subject_len});
    free(bytes);
    return 0;
}
