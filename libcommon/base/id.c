#include "libcommon/base/id.h"

#include "libcommon/base/clock.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define UUID_BYTES       16
#define UUID_RANDOM_FROM 6 /* bytes before it hold the time */
#define BATCH_BYTES      1000
#define BATCH_STEP_BYTES (UUID_BYTES - UUID_RANDOM_FROM)

_Static_assert(BATCH_BYTES % BATCH_STEP_BYTES == 0, "a batch is whole identifiers");

static void (*replaced)(void *out, size_t len);

/* Random bytes for identifiers, fetched for a hundred at a time: a system call per id would show on
 * the request path. Never used for secrets, which go to the kernel each time. */
static _Thread_local uint8_t batch[BATCH_BYTES];
static _Thread_local size_t batch_left;
static pthread_once_t fork_guard = PTHREAD_ONCE_INIT;

/* The kernel gives up to 256 bytes in one piece; larger requests may be cut by a signal. */
static void kernel_bytes(void *out, size_t len)
{
    uint8_t *at = out;

    while (len > 0) {
        ssize_t got = getrandom(at, len, 0);

        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            abort(); /* guessable identifiers and keys would be worse than no service */
        }
        at += got;
        len -= (size_t)got;
    }
}

void random_bytes(void *out, size_t len)
{
    assert(out != NULL || len == 0);
    if (replaced != NULL) {
        replaced(out, len);
        return;
    }
    kernel_bytes(out, len);
}

void random_replace(void (*source)(void *out, size_t len))
{
    replaced = source;
}

/* A child must not repeat the identifiers of its parent. */
static void forget_batch(void)
{
    batch_left = 0;
}

static void guard_fork(void)
{
    int failed = pthread_atfork(NULL, NULL, forget_batch);

    assert(failed == 0);
}

/* Bytes are used from the end of the batch, each once. */
static void id_bytes(uint8_t out[BATCH_STEP_BYTES])
{
    assert(batch_left % BATCH_STEP_BYTES == 0);
    assert(out != NULL);
    if (replaced != NULL) {
        replaced(out, BATCH_STEP_BYTES);
        return;
    }
    if (batch_left == 0) {
        (void)pthread_once(&fork_guard, guard_fork);
        kernel_bytes(batch, sizeof(batch));
        batch_left = sizeof(batch);
    }
    assert(batch_left >= BATCH_STEP_BYTES);
    batch_left -= BATCH_STEP_BYTES;
    memcpy(out, batch + batch_left, BATCH_STEP_BYTES);
}

static bool is_dash_place(size_t at)
{
    return at == 8 || at == 13 || at == 18 || at == 23;
}

/* Big-endian time first, so that the text sorts by time and fresh rows of an index lie together. */
void uuid_v7(char out[UUID_TEXT_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t bytes[UUID_BYTES];
    uint64_t wall_ms = clock_wall_ms();
    size_t at = 0;

    assert(out != NULL);
    assert(wall_ms < UINT64_C(1) << 48);
    for (size_t i = 0; i < UUID_RANDOM_FROM; i++) {
        bytes[i] = (uint8_t)(wall_ms >> (8 * (UUID_RANDOM_FROM - 1 - i)) & 0xFFu);
    }
    id_bytes(bytes + UUID_RANDOM_FROM);
    bytes[6] = (uint8_t)((bytes[6] & 0x0Fu) | 0x70u);
    bytes[8] = (uint8_t)((bytes[8] & 0x3Fu) | 0x80u);
    for (size_t i = 0; i < UUID_BYTES; i++) {
        if (is_dash_place(at)) {
            out[at++] = '-';
        }
        out[at++] = digits[bytes[i] >> 4];
        out[at++] = digits[bytes[i] & 0x0Fu];
    }
    assert(at == UUID_TEXT_BYTES - 1);
    out[at] = '\0';
}

bool uuid_valid(struct str s)
{
    if (s.len != UUID_TEXT_BYTES - 1) {
        return false;
    }
    assert(s.ptr != NULL);
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool is_hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');

        if (is_dash_place(i) ? c != '-' : !is_hex) {
            return false;
        }
    }
    return true;
}

static char instance[UUID_TEXT_BYTES];

static void instance_make(void)
{
    uuid_v7(instance);
}

const char *instance_id(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, instance_make);
    return instance;
}
