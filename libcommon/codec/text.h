#pragma once
/*
 * Internal to codec: text from outside made fit to store. It is stored as given: only white space
 * at both ends goes, and the form is NFC. Pure; any thread; results are NUL-ended and live in the
 * arena.
 */

#include "libcommon/base/arena.h"

enum text_result {
    TEXT_OK,
    TEXT_UTF8,     /* not UTF-8 */
    TEXT_CONTROL,  /* a control character (NUL included), or one that turns the direction of text */
    TEXT_MARKS,    /* more combining marks in a row than any writing uses */
    TEXT_NO_MEMORY /* the arena is full */
};

/* `flags` of enum rule_flag that count: EXACT (no trimming, no NFC, any direction), MULTILINE (tab,
 * CR and LF allowed), UPPER, LOWER. */
enum text_result
text_clean(struct str text, uint32_t flags, struct arena *arena, struct str *out) MUST_CHECK;
