/*
 * Forwarding headers of arbitrary bytes. The first line of the input is the list of proxies, the
 * second the peer, the others are header lines. Checked besides memory: who is no proxy is not
 * believed, the client is an address in its one form, and lines say what they say as one list.
 */
#include "libcommon/codec/forwarded.h"
#include "libcommon/codec/http_parse.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_MAX ((size_t)4096)

/* NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_in(const struct proxies *proxies, struct str address)
{
    for (uint32_t i = 0; i < proxies->count; i++) {
        if (network_contains(&proxies->networks[i], address)) {
            return true;
        }
    }
    return false;
}

/* The lines apart; with commas in place of their ends, as one. */
static void
lines_split(char *text, size_t len, struct http_request *apart, struct http_request *one)
{
    struct str rest = {text, len};
    struct str line = STR_EMPTY;

    while (apart->header_count < HTTP_HEADERS_MAX && str_split(&rest, '\n', &line)) {
        apart->headers[apart->header_count++] =
            (struct http_header){STR("X-Forwarded-For"), str_trim(line)};
        if (line.ptr + line.len < text + len) {
            text[line.ptr + line.len - text] = ',';
        }
    }
    len = rest.ptr == NULL ? len : (size_t)(rest.ptr - text);
    one->header_count = 1;
    one->headers[0] =
        (struct http_header){STR("X-Forwarded-For"), str_trim((struct str){text, len})};
}

static void check(const struct proxies *proxies,
                  const struct http_request *r,
                  struct str peer,
                  struct forwarded *out)
{
    char again[ADDRESS_TEXT_BYTES];

    forwarded_read(proxies, r, peer, out);
    assert(!out->secure);
    if (!is_in(proxies, peer)) {
        assert(str_eq(str_from(out->client), peer));
    } else if (!str_eq(str_from(out->client), peer)) {
        assert(address_rewrite(str_from(out->client), again));
        assert(strcmp(again, out->client) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http_request apart;
    static struct http_request one;
    struct str rest = {(const char *)data, size};
    struct str text = STR_EMPTY;
    struct str peer = STR_EMPTY;
    struct proxies proxies;
    struct forwarded out[2];
    struct err err = {.code = OK};
    char *copy = NULL;

    if (size > INPUT_MAX || !str_split(&rest, '\n', &text) || !str_split(&rest, '\n', &peer) ||
        rest.ptr == NULL || memchr(peer.ptr, '\0', peer.len) != NULL ||
        peer.len >= ADDRESS_TEXT_BYTES || proxies_parse(text, &proxies, &err) != OK) {
        return 0;
    }
    copy = malloc(rest.len + 1); /* of exactly its length, so that a read past the end is found */
    assert(copy != NULL);
    memcpy(copy, rest.ptr, rest.len);
    apart.header_count = 0;
    lines_split(copy, rest.len, &apart, &one);
    check(&proxies, &apart, peer, &out[0]);
    check(&proxies, &one, peer, &out[1]);
    assert(strcmp(out[0].client, out[1].client) == 0);
    free(copy);
    return 0;
}
