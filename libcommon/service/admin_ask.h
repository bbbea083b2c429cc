#pragma once
/*
 * Asks the admin port of a process on this machine whether it is ready: what `--ready` does, so
 * that a container's health check needs no other program. Blocks for a bounded time; no loop.
 */

#include "libcommon/base/err.h"

#include <stdint.h>

/* OK when /readyz answers 200; ERR_UNAVAILABLE with the reason otherwise. */
enum code admin_ask_ready(const char *address, uint16_t port, struct err *err) MUST_CHECK;
