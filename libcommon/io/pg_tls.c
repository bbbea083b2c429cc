#include "libcommon/io/pg_tls.h"

#include <libpq-fe.h>

#include <assert.h>
#include <string.h>

static const char *value_of(const PQconninfoOption *options, const char *keyword)
{
    assert(options != NULL);
    assert(keyword[0] != '\0');
    for (const PQconninfoOption *o = options; o->keyword != NULL; o++) {
        if (strcmp(o->keyword, keyword) == 0) {
            return o->val == NULL ? "" : o->val;
        }
    }
    return "";
}

/* Each of them, where there are several. */
static bool hosts_are_named(const char *hosts)
{
    assert(hosts != NULL);
    for (const char *at = hosts;; at++) {
        if (*at == '\0' || *at == ',' || *at == '/' || *at == '@') {
            return false;
        }
        at += strcspn(at, ",");
        if (*at == '\0') {
            return true;
        }
    }
}

enum code pg_tls_check(const char *dsn, const char *setting, struct err *err)
{
    PQconninfoOption *parsed = NULL;
    const char *missing = NULL;

    assert(dsn != NULL);
    assert(setting != NULL);
    parsed = PQconninfoParse(dsn, NULL); /* its own message may quote the password */
    if (parsed == NULL) {
        return err_set_field(err, ERR_INVALID, setting, "%s is not a connection string", setting);
    }
    if (strcmp(value_of(parsed, "sslmode"), "verify-full") != 0) {
        missing = "sslmode=verify-full";
    } else if (value_of(parsed, "sslrootcert")[0] == '\0') {
        missing = "sslrootcert=FILE, the certificate that vouches for the server";
    } else if (!hosts_are_named(value_of(parsed, "host"))) {
        missing = "host=NAME, the name in the server's certificate";
    }
    PQconninfoFree(parsed);
    if (missing == NULL) {
        return OK;
    }
    return err_set_field(
        err, ERR_INVALID, setting, "AVANTA_PG_TLS is set: %s needs %s", setting, missing);
}
