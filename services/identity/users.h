#pragma once
/* Operations of identity that no rpc names. */

#include "libcommon/service/op.h"

/* Creates the administrator of the settings when there is none; harmless to repeat. */
extern const struct op op_identity_bootstrap;
