#pragma once
/*
 * Which names of a statement stand for rows of its callers. In a set statement :user_id is an
 * array; its unnest gives one row per caller, and sub-selects and WITH hand these rows on under
 * other names. Such a name carries the caller: where a.user_id = name.user_id, the rows of `a` are
 * those of a caller. A name carries when every SELECT behind it takes user_id from a name that
 * does, by `name.*` or `name.user_id`; after an INSERT INTO x AS t ... RETURNING t, `(t).user_id`
 * carries as well. When in doubt it does not.
 */

#include "libcommon/tools/sqlgen_tokens.h"

struct sqlgen_carry;

/* `user` is "$2". Both must outlive the result. */
const struct sqlgen_carry *sqlgen_carry_find(const struct sqlgen_tokens *tokens, const char *user);
/* Behind the user_id of a caller at `at`, written name.user_id or (name).user_id; 0: there is none.
 */
size_t sqlgen_carry_end(const struct sqlgen_carry *carry, size_t at);
