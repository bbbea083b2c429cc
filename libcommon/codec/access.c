#include "libcommon/codec/access.h"

#include <assert.h>

_Static_assert(API_PERMISSION_COUNT <= 32, "scopes are a set of 32");
_Static_assert(ROLE_COUNT <= 32, "roles are a set of 32");

static const struct {
    const char *name;
    const char *text;
} roles[ROLE_COUNT] = {
#define X(role, name, description) {name, description},
    ROLE_MAP(X)
#undef X
};

static const struct {
    const char *name;
    const char *text;
    uint32_t roles;
    enum access_grant grant;
    bool keyed;
} permissions[API_PERMISSION_COUNT] = {
#define X(permission, name, roles, grant, key, description) {name, description, roles, grant, key},
    PERMISSION_MAP(X)
#undef X
};

const char *permission_name(enum api_permission permission)
{
    assert(permission < API_PERMISSION_COUNT);
    return permissions[permission].name;
}

const char *permission_text(enum api_permission permission)
{
    assert(permission < API_PERMISSION_COUNT);
    return permissions[permission].text;
}

uint32_t permission_roles(enum api_permission permission)
{
    assert(permission < API_PERMISSION_COUNT);
    return permissions[permission].roles;
}

enum access_grant permission_grant(enum api_permission permission)
{
    assert(permission < API_PERMISSION_COUNT);
    return permissions[permission].grant;
}

bool permission_keyed(enum api_permission permission)
{
    assert(permission < API_PERMISSION_COUNT);
    return permissions[permission].keyed;
}

bool permission_find(struct str name, enum api_permission *out)
{
    assert(out != NULL);
    for (int i = 0; i < API_PERMISSION_COUNT; i++) {
        if (str_eq(name, str_from(permissions[i].name))) {
            *out = (enum api_permission)i;
            return true;
        }
    }
    return false;
}

const char *role_name(enum role role)
{
    assert(role < ROLE_COUNT);
    return roles[role].name;
}

const char *role_text(enum role role)
{
    assert(role < ROLE_COUNT);
    return roles[role].text;
}

bool role_find(struct str name, enum role *out)
{
    assert(out != NULL);
    for (int i = 0; i < ROLE_COUNT; i++) {
        if (str_eq(name, str_from(roles[i].name))) {
            *out = (enum role)i;
            return true;
        }
    }
    return false;
}

const char *grant_name(enum access_grant grant)
{
    assert(grant == GRANT_READ || grant == GRANT_WRITE);
    return grant == GRANT_READ ? "read" : "write";
}

enum access_grant grant_find(struct str name)
{
    if (str_eq(name, STR("read"))) {
        return GRANT_READ;
    }
    return str_eq(name, STR("write")) ? GRANT_WRITE : GRANT_NONE;
}

/* The grant stands in for the role's own permission: an accountant who may read only cannot book.
 */
static enum code
grant_check(enum api_permission permission, const struct access_caller *caller, struct err *err)
{
    enum access_grant needed = permissions[permission].grant;

    assert(caller->on_behalf);
    if (needed == GRANT_NEVER) {
        return err_set(err, ERR_FORBIDDEN, "This cannot be done on behalf of another user");
    }
    if (!str_eq(caller->role, str_from(roles[ROLE_ACCOUNTANT].name)) || caller->by_key ||
        caller->grant == GRANT_NONE || caller->grant == GRANT_NEVER) {
        return err_set(err, ERR_FORBIDDEN, "This user has granted you no access");
    }
    if (caller->grant < needed) {
        return err_set(err, ERR_FORBIDDEN, "This user has granted you access for reading only");
    }
    return OK;
}

enum code
access_check(enum api_permission permission, const struct access_caller *caller, struct err *err)
{
    enum role role = ROLE_COUNT;

    assert(permission < API_PERMISSION_COUNT);
    assert(caller != NULL);
    if (!role_find(caller->role, &role) ||
        (permissions[permission].roles & (1U << (unsigned)role)) == 0) {
        return err_set(err,
                       ERR_FORBIDDEN,
                       role == ROLE_ENROLLING ? "Set up the second factor first"
                                              : "Your role does not allow this action");
    }
    if (caller->by_key &&
        (!permissions[permission].keyed || (caller->scopes & (1U << (unsigned)permission)) == 0)) {
        return err_set(err,
                       ERR_FORBIDDEN,
                       permissions[permission].keyed ? "The API key lacks the scope %s"
                                                     : "No API key can be used for this action: %s",
                       permissions[permission].name);
    }
    return caller->on_behalf ? grant_check(permission, caller, err) : OK;
}
