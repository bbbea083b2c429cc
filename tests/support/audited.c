#include "tests/support/audited.h"

#include "api.gen.h"
#include "tests/support/scratch_pg.h"
#include "tests/support/stack.h"

#include "libcommon/base/clock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define REQUESTS_MAX 256
#define SOON_MS      30000
#define POLL_US      50000

struct request {
    const struct api_method *method;
    char id[64];
    bool refused;
};

static struct request requests[REQUESTS_MAX];
static size_t request_count;
static char dsn[256];

void audited_open(void)
{
    char port[16];

    (void)snprintf(port, sizeof port, "%s", stack_value("PG_PORT"));
    (void)snprintf(dsn,
                   sizeof dsn,
                   "host=127.0.0.1 dbname=avanta_audit_log user=avanta_super port=%s password=%s",
                   port,
                   stack_value("PG_SUPER_PASSWORD"));
    request_count = 0;
}

const char *audited_ask(const char *sql)
{
    assert_true(dsn[0] != '\0');
    return scratch_pg_ask(dsn, sql);
}

const struct api_method *audited_method(const char *full_name)
{
    for (size_t i = 0; i < API_METHOD_COUNT; i++) {
        if (strcmp(api_methods[i].full_name, full_name) == 0) {
            return &api_methods[i];
        }
    }
    fail_msg("no %s", full_name);
    return NULL;
}

void audited_keep(const struct api *api, const struct api_method *method, bool refused)
{
    static const char name[] = "\nx-request-id: ";
    const char *at = strcasestr(api->headers, name);
    struct request *request = &requests[request_count++];

    assert_true(request_count <= REQUESTS_MAX);
    assert_non_null(at);
    at += strlen(name);
    *request = (struct request){.method = method, .refused = refused};
    (void)snprintf(request->id, sizeof request->id, "%.*s", (int)strcspn(at, "\r\n"), at);
    assert_true(request->id[0] != '\0');
}

/* Who: the user and the credential, unless anybody may ask. */
static const char *who_is_told(const struct api_method *method)
{
    return method->permission == API_PUBLIC
               ? "true"
               : "user_id <> '00000000-0000-0000-0000-000000000000' AND session_id IS NOT NULL"
                 " AND credential IN ('session', 'api-key')";
}

struct found {
    uint64_t records;
    uint64_t complete;
    uint64_t twice; /* things with more than one record */
};

static struct found records_of(const struct request *request)
{
    char sql[2048];
    struct found found = {0};
    uint64_t *const numbers[] = {&found.records, &found.complete, &found.twice};
    struct str rest = STR_EMPTY;
    struct str part = STR_EMPTY;

    (void)snprintf(
        sql,
        sizeof sql,
        "WITH r AS (SELECT * FROM audit_record WHERE request_id = '%s') SELECT count(*) || ' ' ||"
        " count(*) FILTER (WHERE method = '%s' AND status = '%s' AND action_type <> '' AND"
        " entity_type <> '' AND ip_address = '127.0.0.1' AND length(trace_id) = 32 AND"
        " occurred_at > now() - interval '10 minutes' AND %s) || ' ' || (SELECT count(*) FROM"
        " (SELECT FROM r GROUP BY method, action_type, entity_type, entity_id HAVING count(*) > 1)"
        " AS twice) FROM r",
        request->id,
        request->method->full_name,
        request->refused ? "failed" : "success",
        who_is_told(request->method));
    rest = str_from(audited_ask(sql));
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        assert_true(str_split(&rest, ' ', &part));
        assert_true(str_to_uint64(part, numbers[i]));
    }
    return found;
}

static void records_show(const struct request *request)
{
    char sql[256];

    (void)snprintf(sql,
                   sizeof sql,
                   "SELECT string_agg(row_to_json(r)::text, E'\\n') FROM audit_record AS r"
                   " WHERE request_id = '%s'",
                   request->id);
    print_error("%s\n", audited_ask(sql));
}

void audited_check(void)
{
    const uint64_t end = clock_mono_ms() + SOON_MS;
    size_t wrong = 0;

    assert_true(request_count > 0);
    for (size_t i = 0; i < request_count; i++) {
        while (records_of(&requests[i]).records == 0 && clock_mono_ms() < end) {
            (void)usleep(POLL_US);
        }
    }
    for (size_t i = 0; i < request_count; i++) {
        const struct found found = records_of(&requests[i]);

        if (found.records == 0 || found.complete != found.records || found.twice != 0) {
            wrong++;
            print_error("%s, request %s: %u records, %u of them complete, %u things twice\n",
                        requests[i].method->full_name,
                        requests[i].id,
                        (unsigned)found.records,
                        (unsigned)found.complete,
                        (unsigned)found.twice);
            records_show(&requests[i]);
        }
    }
    request_count = 0;
    assert_int_equal(wrong, 0);
}
