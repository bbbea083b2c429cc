#pragma once
/* Internal to codec: runs of bytes that JSON strings carry as they are, found eight at a time. */

#include "libcommon/base/str.h"

#include <string.h>

#define JSON_EACH_BYTE(byte) (UINT64_C(0x0101010101010101) * (byte))
#define JSON_HIGH_BITS       JSON_EACH_BYTE(0x80u)

/* A high bit is set where a byte is below `limit` (at most 0x80); above a true hit the borrow may
 * raise false ones, so only "none" and "some" can be read from it. */
static inline uint64_t json_word_below(uint64_t word, uint64_t limit)
{
    return (word - JSON_EACH_BYTE(limit)) & ~word & JSON_HIGH_BITS;
}

static inline bool json_word_special(uint64_t word, unsigned char also)
{
    uint64_t quote = json_word_below(word ^ JSON_EACH_BYTE((uint64_t)'"'), 1);
    uint64_t backslash = json_word_below(word ^ JSON_EACH_BYTE((uint64_t)'\\'), 1);
    uint64_t lead = json_word_below(word ^ JSON_EACH_BYTE((uint64_t)also), 1);

    return (quote | backslash | lead | json_word_below(word, 0x20)) != 0;
}

static inline bool json_char_special(unsigned char c, unsigned char also)
{
    return c < 0x20 || c == '"' || c == '\\' || c == also;
}

/* The last bytes of a run shorter than a word, in words that may overlap what is known to be plain.
 */
static inline bool json_tail_plain(const char *at, size_t len, size_t done, unsigned char also)
{
    uint64_t word = 0;

    if (len >= sizeof(word)) {
        memcpy(&word, at + len - sizeof(word), sizeof(word));
        return !json_word_special(word, also);
    }
    if (len >= sizeof(word) / 2) {
        memcpy(&word, at, sizeof(word) / 2);
        memcpy((char *)&word + sizeof(word) / 2, at + len - sizeof(word) / 2, sizeof(word) / 2);
        return !json_word_special(word, also);
    }
    return done == len;
}

/* Bytes before the first quote, backslash, control character or `also`. */
static inline size_t json_plain_run(const char *at, size_t len, unsigned char also)
{
    size_t done = 0;
    uint64_t word = 0;

    while (len - done >= sizeof(word)) {
        memcpy(&word, at + done, sizeof(word));
        if (json_word_special(word, also)) {
            break;
        }
        done += sizeof(word);
    }
    if (len - done < sizeof(word) && json_tail_plain(at, len, done, also)) {
        return len;
    }
    while (done < len && !json_char_special((unsigned char)at[done], also)) {
        done++;
    }
    return done;
}
