#include "libcommon/io/digest.h"

#include <assert.h>
#include <openssl/sha.h>

void sha256(struct str bytes, uint8_t out[SHA256_BYTES])
{
    assert(bytes.ptr != NULL);
    assert(out != NULL);
    (void)SHA256((const unsigned char *)bytes.ptr, bytes.len, out);
}
