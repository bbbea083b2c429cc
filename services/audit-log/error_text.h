#pragma once
/*
 * What strangers report, made fit to be kept and shown: bounded, of valid characters, without
 * secrets and personal data. Beside what logs mask (libcommon/base/log_mask.h) these are the
 * numbers of cards however they are grouped, the query of an address, and in JSON the values of
 * members with such names. Text that is too long is cut and says so. Pure; memory is the arena's; a
 * view with a NULL pointer means that it is full.
 */

#include "libcommon/base/arena.h"

#define ERROR_CUT " [cut]"

/* Lines stay lines. */
struct str error_text(struct str text, size_t bytes_max, struct arena *arena);
/* Without query and fragment. */
struct str error_url(struct str url, size_t bytes_max, struct arena *arena);
/* One JSON value to one: what finds no room is left out. The empty view when it is no JSON. */
struct str error_json(struct str json, size_t bytes_max, struct arena *arena);
/* The text of a JSON string; of any other value its JSON. The empty view for null and no JSON. */
struct str error_json_text(struct str json, struct arena *arena);
