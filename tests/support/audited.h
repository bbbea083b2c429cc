#pragma once
/* Requests of a stack and the audit records they leave, looked up behind the audit log. Failures
 * fail the test. */

#include "tests/support/api.h"

#include "libcommon/codec/api.h"

/* After stack_setup(). */
void audited_open(void);
/* "audit-log.SearchAuditLog"; fails the test when there is none. */
const struct api_method *audited_method(const char *full_name);
/* Remembers the request whose answer `api` has. */
void audited_keep(const struct api *api, const struct api_method *method, bool refused);
/* Waits until each request remembered has a record; all of them say who, what, when and from where,
 * and no two of a request tell of the same thing. Forgets the requests. */
void audited_check(void);
/* The one value that SQL gives in the audit log's database. */
const char *audited_ask(const char *sql);
