#pragma once
/*
 * The generated rules applied to a message: required, ranges, lengths, patterns, allowed values,
 * dates. Run in the gateway on what came from outside and again in the service on what came from
 * the bus. Pure; any thread. `today` is the calendar date in the user's time zone.
 */

#include "libcommon/base/clock.h"
#include "libcommon/codec/api.h"
#include "libcommon/codec/violations.h"

/* Adds a row for every rule the message breaks, nested messages included ("lines[2].amount"). */
void rules_check(const ProtobufCMessage *message,
                 const struct message_rules *rules,
                 struct date today,
                 struct violations *violations);

bool pattern_matches(enum api_pattern pattern, struct str text);
