#pragma once
/* The JetStream streams all services share, made at start by whoever comes first. */

#include "libcommon/io/bus.h"

#define STREAM_EVENTS "EVENTS" /* evt.> */
#define STREAM_AUDIT  "AUDIT"  /* audit.> */
#define STREAM_ALERTS "ALERTS" /* alert.> */

#define STREAM_COUNT 3

extern const struct bus_stream_spec stream_specs[STREAM_COUNT];
