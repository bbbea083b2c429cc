#include "libcommon/service/streams.h"

#include <assert.h>

#define MINUTE_MS UINT64_C(60000)
#define DAY_MS    (UINT64_C(24) * 60 * MINUTE_MS)
#define MIB       (UINT64_C(1024) * 1024)

static const char *const events[] = {"evt.>", NULL};
static const char *const audit[] = {"audit.>", NULL};
static const char *const alerts[] = {"alert.>", NULL};

/* Events stay so that projections can be rebuilt; audit records until the hash chain has them for
 * sure. */
static const struct bus_stream_spec specs[STREAM_COUNT] = {
    {STREAM_EVENTS, events, 10 * MINUTE_MS, 0,           0},
    {STREAM_AUDIT,  audit,  10 * MINUTE_MS, 90 * DAY_MS, 0},
    {STREAM_ALERTS, alerts, 10 * MINUTE_MS, 30 * DAY_MS, 0},
};

void streams_make(uint64_t mib, struct bus_stream_spec out[STREAM_COUNT])
{
    assert(mib > 0);
    for (size_t i = 0; i < STREAM_COUNT; i++) {
        out[i] = specs[i];
        out[i].max_bytes = mib * MIB;
    }
}
