#include "libcommon/codec/network.h"

#include <arpa/inet.h>
#include <assert.h>
#include <string.h>

#define BITS_V6     128
#define BITS_MAPPED 96 /* of the prefix ::ffff:0:0 */

static const uint8_t mapped[BITS_MAPPED / 8] = {[10] = 0xff, [11] = 0xff};

static bool address_parse(struct str text, uint8_t out[16], uint32_t *out_first_bit)
{
    char zero_ended[NETWORK_TEXT_BYTES];

    assert(out_first_bit != NULL);
    if (text.len == 0 || text.len >= sizeof zero_ended ||
        memchr(text.ptr, '\0', text.len) != NULL) {
        return false;
    }
    memcpy(zero_ended, text.ptr, text.len);
    zero_ended[text.len] = '\0';
    *out_first_bit = 0;
    if (inet_pton(AF_INET6, zero_ended, out) == 1) {
        return true;
    }
    memcpy(out, mapped, sizeof mapped);
    *out_first_bit = BITS_MAPPED;
    return inet_pton(AF_INET, zero_ended, out + sizeof mapped) == 1;
}

static bool bit(const uint8_t address[16], uint32_t at)
{
    assert(at < BITS_V6);
    return (address[at / 8] >> (7 - at % 8) & 1) != 0;
}

bool network_parse(struct str text, struct network *out)
{
    struct str address = text;
    uint64_t bits = 0;
    uint32_t first = 0;
    size_t slash = 0;
    bool has_bits = str_find_char(text, '/', &slash);

    assert(out != NULL);
    if (has_bits) {
        address = str_sub(text, 0, slash);
        if (!str_to_uint64(str_sub(text, slash + 1, text.len), &bits)) {
            return false;
        }
    }
    if (!address_parse(address, out->address, &first)) {
        return false;
    }
    bits = has_bits ? bits + first : BITS_V6;
    if (bits > BITS_V6) {
        return false;
    }
    for (uint32_t i = (uint32_t)bits; i < BITS_V6; i++) {
        if (bit(out->address, i)) {
            return false;
        }
    }
    out->bits = (uint8_t)bits;
    return true;
}

bool network_contains(const struct network *network, struct str address)
{
    uint8_t bytes[16];
    uint32_t first = 0;

    assert(network->bits <= BITS_V6);
    if (!address_parse(address, bytes, &first)) {
        return false;
    }
    for (uint32_t i = 0; i < network->bits; i++) {
        if (bit(bytes, i) != bit(network->address, i)) {
            return false;
        }
    }
    return true;
}

bool address_rewrite(struct str text, char out[ADDRESS_TEXT_BYTES])
{
    uint8_t bytes[16];
    uint32_t first = 0;
    const char *written = NULL;

    assert(out != NULL);
    out[0] = '\0';
    if (!address_parse(text, bytes, &first)) {
        return false;
    }
    written = memcmp(bytes, mapped, sizeof mapped) == 0
                  ? inet_ntop(AF_INET, bytes + sizeof mapped, out, ADDRESS_TEXT_BYTES)
                  : inet_ntop(AF_INET6, bytes, out, ADDRESS_TEXT_BYTES);
    assert(written == out);
    return true;
}
