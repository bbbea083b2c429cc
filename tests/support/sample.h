#pragma once
/* Rules for the messages of tests/proto/sample.proto, as apigen would write them from options. */

#include "tests/sample.pb-c.h"

#include "libcommon/codec/api.h"

extern const struct message_rules sample_line_rules;
extern const struct message_rules sample_order_rules;
extern const struct message_rules sample_strict_rules;
extern const struct message_rules sample_empty_rules;
