#pragma once
/*
 * Whose rows a statement touches. A user's table is one with a column user_id; wherever a statement
 * names one, the rows must be those of the caller: `NAME.user_id = :user_id` in the same SELECT,
 * UPDATE or DELETE after WHERE, ON or AND (NAME is the table's alias; it may be left out where no
 * other table is beside it), or :user_id in the place of user_id in what an INSERT stores. ON
 * CONFLICT DO UPDATE needs user_id in its target, and no SET changes user_id. In a set statement
 * the user_id of a row that carries the caller counts as :user_id (sqlgen_carry.h). The text is
 * looked at, not the plan: an equality that goes through another table does not count, and
 * functions are not looked into.
 */

#include "libcommon/tools/sqlgen_blocks.h"

/* The text with parameters as `$n` and without comments; `user` is the number of :user_id, 0 where
 * the statement has no such parameter. NULL when every use of the tables is scoped; else what is
 * wrong. */
const char *
sqlgen_scope_fault(const char *text, size_t user, char *const *tables, size_t table_count);
