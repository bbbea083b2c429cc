#include "libcommon/codec/http_target.h"

#include "libcommon/codec/http_chars.h"
#include "libcommon/codec/http_parse.h"

#include <assert.h>
#include <string.h>

#define PORT_MAX 65535

static bool port_valid(struct str port)
{
    uint64_t number = 0;

    for (size_t i = 0; i < port.len; i++) {
        if (port.ptr[i] < '0' || port.ptr[i] > '9') {
            return false;
        }
        number = number * 10 + (uint64_t)(port.ptr[i] - '0');
        if (number > PORT_MAX) {
            return false;
        }
    }
    return true;
}

/* The characters of an address between brackets; whether it is a real one matters to nobody here.
 */
static bool literal_valid(struct str literal)
{
    for (size_t i = 0; i < literal.len; i++) {
        char c = literal.ptr[i];
        bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');

        if (!hex && c != ':' && c != '.') {
            return false;
        }
    }
    return literal.len >= 2;
}

bool http_host_valid(struct str host)
{
    size_t end = 0;
    struct str rest;

    assert(host.ptr != NULL);
    if (host.len == 0 || !http_all_of(HTTP_CLASS_HOST, host)) {
        return false;
    }
    if (host.ptr[0] == '[') {
        if (!str_find_char(host, ']', &end) || !literal_valid(str_sub(host, 1, end))) {
            return false;
        }
        rest = str_sub(host, end + 1, host.len);
        return rest.len == 0 || (rest.ptr[0] == ':' && port_valid(str_sub(rest, 1, rest.len)));
    }
    if (memchr(host.ptr, '[', host.len) != NULL || memchr(host.ptr, ']', host.len) != NULL) {
        return false;
    }
    if (str_find_char(host, ':', &end)) {
        return end > 0 && port_valid(str_sub(host, end + 1, host.len));
    }
    return true;
}

/* Takes "http://" or "https://" and the authority off the front; false when it is another form. */
static bool absolute_split(struct str target, struct str *out_authority, struct str *out_rest)
{
    static const struct str schemes[] = {
        {"http://",  7},
        {"https://", 8}
    };

    assert(out_authority != NULL);
    assert(out_rest != NULL);
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        size_t from = schemes[i].len;
        size_t to = from;

        if (!str_eq_nocase(str_sub(target, 0, from), schemes[i])) {
            continue;
        }
        while (to < target.len && target.ptr[to] != '/' && target.ptr[to] != '?') {
            to++;
        }
        *out_authority = str_sub(target, from, to);
        *out_rest = str_sub(target, to, target.len);
        return true;
    }
    return false;
}

enum code http_target_split(struct str target,
                            struct str method,
                            struct str host,
                            struct str *out_path,
                            struct str *out_query,
                            struct err *err)
{
    struct str authority = STR_EMPTY;
    struct str rest = target;
    size_t mark = 0;

    assert(target.ptr != NULL);
    assert(host.ptr != NULL);
    assert(out_path != NULL);
    assert(out_query != NULL);
    *out_query = STR_EMPTY;
    if (!http_all_of(HTTP_CLASS_TARGET, target)) {
        return err_set(err, ERR_HTTP, "the target holds a character that must be percent-encoded");
    }
    if (str_eq(target, STR("*")) && str_eq(method, STR("OPTIONS"))) {
        *out_path = target;
        return OK;
    }
    if (absolute_split(target, &authority, &rest) && !str_eq_nocase(authority, host)) {
        return err_set(err, ERR_HTTP, "the target names another host than the Host field");
    }
    if (str_find_char(rest, '?', &mark)) {
        *out_query = str_sub(rest, mark + 1, rest.len);
        rest = str_sub(rest, 0, mark);
    }
    if (rest.len == 0 && authority.len > 0) {
        rest = STR("/");
    }
    if (rest.len == 0 || rest.ptr[0] != '/') {
        return err_set(err, ERR_HTTP, "the target must start with a slash");
    }
    *out_path = rest;
    return OK;
}

/* The character of an escape at the front of `s`; false when there is none. */
static bool escape_read(struct str s, char *out)
{
    int high = s.len > 1 ? http_hex_value(s.ptr[1]) : -1;
    int low = s.len > 2 ? http_hex_value(s.ptr[2]) : -1;

    assert(s.ptr[0] == '%');
    assert(out != NULL);
    if (high < 0 || low < 0) {
        return false;
    }
    *out = (char)(high * 16 + low);
    return *out != '\0';
}

bool percent_decode(struct str s, bool plus_is_space, struct arena *arena, struct str *out)
{
    char *text = NULL;
    size_t len = 0;

    assert(s.ptr != NULL);
    assert(arena != NULL);
    assert(out != NULL);
    text = arena_alloc(arena, s.len);
    if (text == NULL) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];

        if (c == '\0' || (c == '%' && !escape_read(str_sub(s, i, s.len), &c))) {
            return false;
        }
        i += s.ptr[i] == '%' ? 2 : 0;
        text[len++] = (char)(c == '+' && s.ptr[i] == '+' && plus_is_space ? ' ' : c);
    }
    assert(len <= s.len);
    *out = (struct str){text, len};
    return utf8_valid(*out);
}
