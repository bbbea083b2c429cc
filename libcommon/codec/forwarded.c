#include "libcommon/codec/forwarded.h"

#include "libcommon/codec/http_parse.h"

#include <assert.h>
#include <string.h>

enum code proxies_parse(struct str text, struct proxies *out, struct err *err)
{
    struct str rest = text;
    struct str part = STR_EMPTY;

    assert(out != NULL);
    out->count = 0;
    if (str_trim(text).len == 0) {
        return OK;
    }
    while (str_split(&rest, ',', &part)) {
        part = str_trim(part);
        if (out->count == HTTP_PROXIES_MAX) {
            return err_set(err, ERR_INVALID, "more than %d networks", HTTP_PROXIES_MAX);
        }
        if (!network_parse(part, &out->networks[out->count])) {
            return err_set(err, ERR_INVALID, "\"%.*s\" is no address or network", STR_FMT(part));
        }
        out->count++;
    }
    return OK;
}

static bool is_proxy(const struct proxies *proxies, struct str address)
{
    assert(proxies->count <= HTTP_PROXIES_MAX);
    for (uint32_t i = 0; i < proxies->count; i++) {
        if (network_contains(&proxies->networks[i], address)) {
            return true;
        }
    }
    return false;
}

/* The last element of a list, which is cut off. */
static struct str split_last(struct str *rest)
{
    size_t begin = rest->len;
    struct str element;

    while (begin > 0 && rest->ptr[begin - 1] != ',') {
        begin--;
    }
    element = str_trim(str_sub(*rest, begin, rest->len));
    *rest = begin == 0 ? STR_EMPTY : str_sub(*rest, 0, begin - 1);
    return element;
}

/* Goes through one header line from the right, as far as it can be believed. False: no further. */
static bool line_read(const struct proxies *proxies,
                      struct str rest,
                      uint32_t *elements,
                      char client[ADDRESS_TEXT_BYTES])
{
    assert(*elements <= HTTP_FORWARDED_MAX);
    while (rest.len > 0) {
        struct str element = split_last(&rest);
        char address[ADDRESS_TEXT_BYTES];

        if (element.len == 0) {
            continue; /* RFC 9110, 5.6.1.2: none; the header's bytes bound how many */
        }
        if (*elements == HTTP_FORWARDED_MAX) {
            return false;
        }
        ++*elements;
        if (!address_rewrite(element, address)) {
            return false;
        }
        memcpy(client, address, ADDRESS_TEXT_BYTES);
        if (!is_proxy(proxies, element)) {
            return false;
        }
    }
    return true;
}

void forwarded_read(const struct proxies *proxies,
                    const struct http_request *r,
                    struct str peer,
                    struct forwarded *out)
{
    uint32_t elements = 0;
    bool further = true;
    bool fits = str_copy(peer, out->client, sizeof out->client);

    assert(fits);
    assert(r->header_count <= HTTP_HEADERS_MAX);
    out->secure = false;
    if (!is_proxy(proxies, peer)) {
        return;
    }
    /* RFC 9110, 5.3: several lines are one list, in their order. */
    for (uint32_t i = r->header_count; i > 0 && further; i--) {
        if (str_eq_nocase(r->headers[i - 1].name, STR("X-Forwarded-For"))) {
            further = line_read(proxies, r->headers[i - 1].value, &elements, out->client);
        }
    }
    out->secure = http_header_count_of(r, "X-Forwarded-Proto") == 1 &&
                  str_eq_nocase(http_header_get(r, "X-Forwarded-Proto"), STR("https"));
}
