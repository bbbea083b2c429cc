#pragma once
/* The JetStream streams all services share, made at start by whoever comes first. */

#include "libcommon/io/bus.h"

#define STREAM_EVENTS "EVENTS" /* evt.> */
#define STREAM_AUDIT  "AUDIT"  /* audit.> */
#define STREAM_ALERTS "ALERTS" /* alert.> */

#define STREAM_COUNT 3

/* What each stream is made with; `mib` bounds each of them, and the server sets that much aside. */
void streams_make(uint64_t mib, struct bus_stream_spec out[STREAM_COUNT]);
