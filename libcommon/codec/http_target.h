#pragma once
/* Request targets and Host values (RFC 9112 section 3.2, RFC 3986). Pure; views into the input. */

#include "libcommon/base/err.h"
#include "libcommon/base/str.h"

/* uri-host [":" port], not empty. */
bool http_host_valid(struct str host);

/* Splits a target of the origin form, the absolute form (its authority must equal `host`) or, for
 * OPTIONS, "*". `out_query` is empty when there is none. ERR_HTTP for everything else. */
enum code http_target_split(struct str target,
                            struct str method,
                            struct str host,
                            struct str *out_path,
                            struct str *out_query,
                            struct err *err) MUST_CHECK;
