#pragma once
/*
 * The one place that decides what must not stand in a log: secrets and personal data. A field with
 * a key of the list is masked whatever it holds. In any other text these are: words with an '@'
 * (e-mail addresses, passwords in URLs), tokens, API keys, digests of passwords, long random words,
 * tax ids (RFC, CURP), numbers of cards and bank accounts, and what follows "Bearer", "password="
 * and the like. Pure, bounded, no allocation.
 */

#include "libcommon/base/buf.h"

#define LOG_MASK          "[masked]"
#define LOG_MASK_BYTES    1024 /* of the memory for a masked text; longer ones are cut */
#define LOG_MASK_SCAN_MAX 4096 /* bytes of a text that are looked at; what follows is cut off */
#define LOG_ADDRESS_BYTES 48

/* A field of this name holds a secret or personal data: "password", "new_password", "email". */
bool log_mask_key(const char *key);
/* The text itself when nothing is to be masked, else a copy in `memory`. `*out_cut` becomes true
 * when a part is missing. */
struct str log_mask_text(struct str text, char memory[LOG_MASK_BYTES], bool *out_cut);
/* The same for a whole text that is bounded otherwise; `out` overflows when it has no room. */
void log_mask_into(struct str text, struct buf *out);
/* The network of a client: without the last 8 bits of IPv4, the last 80 of IPv6; "-" for anything
 * else. NUL-ended. */
void log_mask_address(struct str address, char out[LOG_ADDRESS_BYTES]);
