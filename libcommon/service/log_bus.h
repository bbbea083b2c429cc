#pragma once
/*
 * The log and the bus. Lines of the levels that are shipped go out as avanta.LogLine on
 * log.<service>.<level>, best effort: what waits is bounded, nothing blocks, what is lost is
 * counted, and no line about the shipping is shipped. On ctl.log a program hears
 * "<service, or *> <level> <seconds>" and changes its level for that time. One per program, on the
 * loop thread that has the bus.
 */

#include "libcommon/io/bus.h"

struct log_bus;

/* `service` must stay. */
enum code log_bus_open(struct bus *bus, const char *service, struct log_bus **out, struct err *err)
    MUST_CHECK;
/* Several times a second: sends some of what waits. */
void log_bus_tick(struct log_bus *log);
/* Sends all that waits; before bus_close(). Accepts NULL. */
void log_bus_close(struct log_bus **log);
