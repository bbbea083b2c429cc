#include "libcommon/codec/jws.h"

#include "libcommon/codec/rules.h"
#include "libcommon/codec/transcode.h"

#include <assert.h>

bool jws_split(struct str token, struct jws *out)
{
    struct str rest = token;

    assert(out != NULL);
    if (!str_split(&rest, '.', &out->header) || !str_split(&rest, '.', &out->claims)) {
        return false;
    }
    out->signature = rest;
    out->signed_part = str_sub(token, 0, out->header.len + 1 + out->claims.len);
    return out->header.len > 0 && out->claims.len > 0 && rest.len > 0;
}

bool jws_part_read(struct str part,
                   const struct message_rules *rules,
                   struct arena *arena,
                   ProtobufCMessage **out)
{
    struct violations *violations = arena_alloc(arena, sizeof *violations);
    uint8_t *json = arena_alloc(arena, part.len);
    size_t len = 0;

    assert(out != NULL);
    assert(part.len > 0);
    *out = transcode_new(rules->descriptor, arena);
    if (violations == NULL || json == NULL || *out == NULL ||
        !base64url_decode(part, json, part.len, &len)) {
        return false;
    }
    assert(len < part.len);
    violations_init(violations, arena);
    if (transcode_from_json(
            (struct str){(const char *)json, len}, rules, arena, *out, violations, NULL) != OK) {
        return false;
    }
    rules_check(*out, rules, date_in_mexico_city(clock_wall_ms()), violations);
    return violations->count == 0;
}
