#pragma once
/*
 * Who may do what: roles, permissions and which role has which. An rpc declares one permission
 * (option http); the gateway and, from the signed principal, the service decide by this one table.
 * What is not granted here is refused. Pure; any thread.
 *
 * A permission's columns: the roles that have it; what it takes to have it over the books of
 * another user who granted access (nothing helps where it says NEVER); whether an API key may carry
 * it as a scope. The order of the rows is of no meaning but for the bit in a set of scopes.
 */

#include "libcommon/base/err.h"
#include "libcommon/base/str.h"

#include <stdint.h>

/* clang-format off */
/*  role        name          description */
#define ROLE_MAP(X)                                                                                                          \
    X(ADMIN,      "admin",      "administers users and the system, and keeps books of its own")                              \
    X(ACCOUNTANT, "accountant", "keeps books of its own and those of users who granted it access")                           \
    X(USER,       "user",       "keeps books of its own")                                                                    \
    X(VIEWER,     "viewer",     "reads books of its own and changes nothing in them")                                        \
    X(SERVICE,    "service",    "a program: no login, API keys only")                                                        \
    X(ENROLLING,  "enrolling",  "a session that has to set up its second factor first; no role a user can be given")
/* clang-format on */

enum role {
#define X(role, name, description) ROLE_##role,
    ROLE_MAP(X)
#undef X
    ROLE_COUNT
};

#define ROLE_BIT(role) (1U << ROLE_##role)
#define ROLES_PEOPLE   (ROLE_BIT(ADMIN) | ROLE_BIT(ACCOUNTANT) | ROLE_BIT(USER) | ROLE_BIT(VIEWER))
#define ROLES_KEEPERS  (ROLE_BIT(ADMIN) | ROLE_BIT(ACCOUNTANT) | ROLE_BIT(USER))

/* What one user granted another over its own books. */
enum access_grant {
    GRANT_NONE,
    GRANT_READ,
    GRANT_WRITE,
    GRANT_NEVER /* for permissions: no grant is enough */
};

/* clang-format off */
/*  permission   name            roles                                   on behalf     key    what it allows */
#define PERMISSION_MAP(X)                                                                                                    \
    X(PUBLIC,      "public",       ROLES_PEOPLE | ROLE_BIT(SERVICE) | ROLE_BIT(ENROLLING), GRANT_NEVER, false, "what anybody may do, logged in or not") \
    X(SELF_READ,   "self:read",    ROLES_PEOPLE | ROLE_BIT(SERVICE) | ROLE_BIT(ENROLLING), GRANT_NEVER, true,  "read one's own profile and settings") \
    X(SELF_WRITE,  "self:write",   ROLES_PEOPLE,                           GRANT_NEVER, false, "change one's own profile and settings") \
    X(CREDENTIALS, "credentials",  ROLES_PEOPLE | ROLE_BIT(ENROLLING),     GRANT_NEVER, false, "one's own password, second factor and sessions") \
    X(ACCESS,      "access",       ROLES_PEOPLE,                           GRANT_NEVER, false, "one's own API keys, and who has access to one's books") \
    X(BOOKS_READ,  "books:read",   ROLES_PEOPLE | ROLE_BIT(SERVICE),       GRANT_READ,  true,  "read accounts, transactions, imports and what is computed of them") \
    X(BOOKS_WRITE, "books:write",  ROLES_KEEPERS | ROLE_BIT(SERVICE),      GRANT_WRITE, true,  "book, change and delete in them") \
    X(AUDIT_READ,  "audit:read",   ROLES_PEOPLE | ROLE_BIT(SERVICE),       GRANT_READ,  true,  "read the audit records of the books") \
    X(AUDIT_ADMIN, "audit:admin",  ROLE_BIT(ADMIN),                        GRANT_NEVER, false, "read the audit records of everybody, and the errors") \
    X(USERS_ADMIN, "users:admin",  ROLE_BIT(ADMIN),                        GRANT_NEVER, false, "see and change users, end their sessions") \
    X(SYSTEM_ADMIN, "system:admin", ROLE_BIT(ADMIN),                       GRANT_NEVER, false, "signing keys and the system itself")
/* clang-format on */

enum api_permission {
#define X(permission, name, roles, grant, key, description) API_##permission,
    PERMISSION_MAP(X)
#undef X
    API_PERMISSION_COUNT
};

/* Who asks, as the credential says. */
struct access_caller {
    struct str role;         /* as text: an unknown one has no permission */
    bool by_key;             /* an API key: its scopes bound what the role allows */
    uint32_t scopes;         /* set of 1 << permission, of an API key */
    bool on_behalf;          /* asks for the books of another user */
    enum access_grant grant; /* which that user granted; only an accountant has one */
};

/* ERR_FORBIDDEN with a text for people. Whoever is not logged in is not asked about here. */
enum code access_check(enum api_permission permission,
                       const struct access_caller *caller,
                       struct err *err) MUST_CHECK;

const char *permission_name(enum api_permission permission);
const char *permission_text(enum api_permission permission);
/* Set of 1 << role. */
uint32_t permission_roles(enum api_permission permission);
enum access_grant permission_grant(enum api_permission permission);
bool permission_keyed(enum api_permission permission); /* may be a scope of an API key */
bool permission_find(struct str name, enum api_permission *out);
const char *role_name(enum role role);
const char *role_text(enum role role);
bool role_find(struct str name, enum role *out);
/* "read" and "write"; GRANT_NONE for anything else. */
enum access_grant grant_find(struct str name);
const char *grant_name(enum access_grant grant);
