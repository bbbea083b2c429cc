#pragma once
/* W3C trace context, version 00: the caller's trace goes on, else one begins here. Pure but for the
 * random numbers; any thread. */

#include "libcommon/base/str.h"

#define TRACEPARENT_BYTES 56 /* with its NUL */

/* The traceparent of our own span. `given` is the caller's header, which counts when it is
 * version-traceid-spanid-flags with ids that are not all zero. */
void trace_continue(struct str given, char out[TRACEPARENT_BYTES]);
