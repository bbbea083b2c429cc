#pragma once
/*
 * Which passwords may be used. Refused are: fewer than 8 or more than 128 characters; the 10,000
 * most common passwords; the product's name, the user's name and its parts, the user's e-mail and
 * its parts; the same with up to three digits or other signs before and behind, whatever the case
 * and the accents, or said several times; sequences and repetitions. Whoever sets a password asks
 * here first: registering, changing it, the first administrator. Pure; any thread; allocates
 * nothing.
 */

#include "libcommon/base/str.h"

#define PASSWORD_CHARACTERS_MIN 8
#define PASSWORD_CHARACTERS_MAX 128

/* NULL: it may be used. Otherwise what is wrong with it, a sentence for its user, to be given with
 * the refusal WEAK_PASSWORD by req_refuse_saying(). E-mail and name may be empty. */
const char *password_check(struct str password, struct str email, struct str name);
