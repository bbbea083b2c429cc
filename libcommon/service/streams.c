#include "libcommon/service/streams.h"

#define MINUTE_MS UINT64_C(60000)
#define DAY_MS    (24 * 60 * MINUTE_MS)
#define MIB       (UINT64_C(1024) * 1024)

static const char *const events[] = {"evt.>", NULL};
static const char *const audit[] = {"audit.>", NULL};
static const char *const alerts[] = {"alert.>", NULL};

/* Events stay so that projections can be rebuilt; audit records until the hash chain has them for
 * sure. */
const struct bus_stream_spec stream_specs[STREAM_COUNT] = {
    {STREAM_EVENTS, events, 10 * MINUTE_MS, 0,           2048 * MIB},
    {STREAM_AUDIT,  audit,  10 * MINUTE_MS, 90 * DAY_MS, 2048 * MIB},
    {STREAM_ALERTS, alerts, 10 * MINUTE_MS, 30 * DAY_MS, 256 * MIB },
};
