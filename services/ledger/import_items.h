#pragma once
/* Statement rows as the JSON array that the import's statements read. Memory is the request's
 * arena. */

#include "services/ledger/ledger.h"

/* NULL when the arena is full. */
char *import_items_json(struct req *r, Avanta__Ledger__ImportRow *const *rows, size_t count);
