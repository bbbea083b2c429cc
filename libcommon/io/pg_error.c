#include "libcommon/io/pg_error.h"

#include "libcommon/base/log.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *prefix; /* whole SQLSTATE or its class */
    enum code code;
} states[] = {
    {"23505", ERR_CONFLICT     },
    {"23503", ERR_REFERENCE    },
    {"23514", ERR_INVALID      },
    {"22",    ERR_INVALID      },
    {"40001", ERR_SERIALIZATION},
    {"40P01", ERR_SERIALIZATION},
    {"55P03", ERR_SERIALIZATION}, /* a lock was waited for as long as lock_timeout says */
    {"57014", ERR_TIMEOUT      },
    {"08",    ERR_UNAVAILABLE  },
    {"57P",   ERR_UNAVAILABLE  },
};

static enum code pg_error_code(const char *sqlstate)
{
    assert(sqlstate != NULL);
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        if (strncmp(sqlstate, states[i].prefix, strlen(states[i].prefix)) == 0) {
            return states[i].code;
        }
    }
    return ERR_INTERNAL;
}

static const char *neutral_text(enum code code)
{
    if (code == ERR_CONFLICT) {
        return "A record with these values exists";
    }
    if (code == ERR_INVALID) {
        return "A value is not allowed here";
    }
    return code_title(code);
}

bool pg_error_ends_session(const PGresult *result)
{
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);

    assert(PQresultStatus(result) == PGRES_FATAL_ERROR);
    /* An error that libpq made up has no SQLSTATE: the protocol or the socket failed. */
    if (PQresultErrorField(result, PG_DIAG_SQLSTATE) == NULL) {
        return true;
    }
    return severity != NULL && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0);
}

void pg_error_answer(const PGresult *result, struct pg_answer *out)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *constraint = PQresultErrorField(result, PG_DIAG_CONSTRAINT_NAME);
    enum code code = ERR_INTERNAL;

    assert(out != NULL);
    assert(sqlstate != NULL);
    out->outcome = PG_OUTCOME_FAILED;
    (void)snprintf(out->sqlstate, sizeof(out->sqlstate), "%s", sqlstate);
    (void)snprintf(
        out->constraint, sizeof(out->constraint), "%s", constraint == NULL ? "" : constraint);
    code = pg_error_code(out->sqlstate);
    (void)err_set(&out->err, code, "%s", neutral_text(code));
}

void pg_error_log(const PGresult *result,
                  const struct pg_answer *answer,
                  const char *statement,
                  uint64_t *last_ms)
{
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    assert(statement != NULL);
    if (!log_rate_allows(last_ms)) {
        return;
    }
    /* Messages of class 22 quote the value they refuse. */
    if (message == NULL || strncmp(answer->sqlstate, "22", 2) == 0) {
        message = "";
    }
    log_event(LOG_WARN,
              "pg_statement_failed",
              LOG_S("sqlstate", answer->sqlstate),
              LOG_S("statement", statement),
              LOG_S("constraint", answer->constraint),
              LOG_S("message", message));
}
