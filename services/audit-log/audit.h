#pragma once
/* Operations of audit-log that no rpc names. */

#include "libcommon/service/op.h"

/* Stores one record of the AUDIT stream. */
extern const struct op op_audit_log_append;
