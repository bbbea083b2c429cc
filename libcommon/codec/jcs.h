#pragma once
/*
 * Canonical JSON (RFC 8785): one text for one value, so that it can be hashed and signed. A text is
 * brought into that form, or a flat object is written in it from the start. Names stand in the
 * order of their UTF-16 code units, strings carry the fewest escapes, numbers are IEEE 754 doubles
 * written as ECMAScript does. Pure; any thread; the text is untrusted.
 */

#include "libcommon/base/arena.h"
#include "libcommon/base/buf.h"

#define JCS_BYTES_MAX   (1024UL * 1024) /* of a text that is read */
#define JCS_MEMBERS_MAX 64              /* of an object that is written */
/* Integers beyond are no exact doubles; RFC 7493 2.2 keeps them in strings. */
#define JCS_INTEGER_MAX INT64_C(9007199254740991)

/*
 * The canonical form in `*out_text`, alive as long as the arena.
 * ERR_JSON: not one JSON value, not UTF-8, half a surrogate pair, a name twice in one object, a
 * number beyond a double, or one of our bounds (JSON_DEPTH_MAX, JSON_KEY_BYTES_MAX, JCS_BYTES_MAX).
 * ERR_TOO_LARGE: the arena is full; it takes about three times the text.
 */
/* tidy: allow unused: tests and tools that bring a text into the form */
enum code jcs_canonical(struct str json, struct arena *arena, struct str *out_text, struct err *err)
    MUST_CHECK;

enum jcs_kind {
    JCS_NULL,
    JCS_STRING,
    JCS_INTEGER
};

struct jcs_member {
    struct str name;
    enum jcs_kind kind;
    struct str text;
    int64_t integer;
};

/*
 * Appends one flat object; members may come in any order, nothing is allocated.
 * ERR_INVALID: more than JCS_MEMBERS_MAX members, a name twice, a name or text that is not UTF-8,
 * an integer beyond JCS_INTEGER_MAX either way. ERR_TOO_LARGE: no room. What `out` holds after an
 * error is no object.
 */
enum code jcs_object(const struct jcs_member *members,
                     size_t count,
                     struct buf *out,
                     struct err *err) MUST_CHECK;
