/* The audit log over HTTP: search and its pages, files, proofs that a client verifies by itself,
 * and what nobody can do to it. */
#include "tests/support/people.h"
#include "tests/support/shell.h"
#include "tests/support/stack.h"

#include "libcommon/base/clock.h"
#include "libcommon/codec/csv.h"
#include "libcommon/io/merkle.h"
#include "libcommon/io/note_key.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ACCOUNTS       23
#define SOON_MS        15000
#define FILE_BYTES_MAX ((size_t)4 * 1024 * 1024)

static struct api admin;
static struct api ana;
static struct api eva;

/* Records arrive over the bus. */
static void until_total(struct api *api, const char *path, int64_t wanted)
{
    const uint64_t end = clock_mono_ms() + SOON_MS;

    while (api_get(api, path) != 200 || api_int(api, "total") < wanted) {
        if (clock_mono_ms() > end) {
            fail_msg("%s: %lld records", path, (long long)api_int(api, "total"));
        }
        (void)usleep(20000);
    }
}

static int setup(void **state)
{
    if (stack_setup(state) != 0) {
        return 1;
    }
    people_log_in_admin(&admin);
    api_open(&ana, stack_url());
    api_register(&ana, "ana");
    api_open(&eva, stack_url());
    api_register(&eva, "eva");
    for (int i = 0; i < ACCOUNTS; i++) {
        char name[32];

        (void)snprintf(name, sizeof name, i == 3 ? "=1+%d" : "Cuenta %d", i);
        assert_int_equal(api_send(&ana,
                                  "POST",
                                  "/api/accounts",
                                  json_pack("{s:s,s:s}", "name", name, "type", "checking")),
                         201);
    }
    until_total(&ana, "/api/audit-log?entity_type=account", ACCOUNTS);
    return 0;
}

static int teardown(void **state)
{
    api_close(&admin);
    api_close(&ana);
    api_close(&eva);
    return stack_teardown(state);
}

static size_t count_of(struct api *api, const char *path)
{
    return json_array_size(api_at(api, path));
}

/* --- search --- */

static void pages_by_cursor_show_each_record_once(void **state)
{
    static const char *const orders[] = {"desc", "asc"};
    char path[256];

    (void)state;
    for (size_t o = 0; o < 2; o++) {
        char seen[ACCOUNTS][64];
        size_t count = 0;
        char cursor[64] = "";

        do {
            (void)snprintf(path,
                           sizeof path,
                           "/api/audit-log?entity_type=account&limit=5&sort_order=%s%s%s",
                           orders[o],
                           cursor[0] == '\0' ? "" : "&cursor=",
                           cursor);
            assert_int_equal(api_get(&ana, path), 200);
            for (size_t i = 0; i < count_of(&ana, "logs"); i++) {
                assert_true(count < ACCOUNTS);
                (void)snprintf(path, sizeof path, "logs.%zu.id", i);
                (void)snprintf(seen[count], sizeof seen[count], "%s", api_text(&ana, path));
                for (size_t k = 0; k < count; k++) {
                    assert_string_not_equal(seen[k], seen[count]);
                }
                count++;
            }
            json_t *next = api_at(&ana, "next_cursor");

            (void)snprintf(
                cursor, sizeof cursor, "%s", json_is_string(next) ? json_string_value(next) : "");
        } while (cursor[0] != '\0');
        assert_int_equal(count, ACCOUNTS);
    }
    assert_int_equal(api_get(&ana, "/api/audit-log?cursor=nonsense"), 400);
    assert_int_equal(api_get(&ana, "/api/audit-log?cursor=1_1&sort_by=severity"), 400);
}

static void records_say_who_did_what(void **state)
{
    char id[64];

    (void)state;
    assert_int_equal(api_get(&ana, "/api/audit-log?entity_type=account&limit=1"), 200);
    assert_string_equal(api_text(&ana, "logs.0.action_type"), "create");
    assert_string_equal(api_text(&ana, "logs.0.method"), "ledger.CreateAccount");
    assert_string_equal(api_text(&ana, "logs.0.credential"), "session");
    assert_string_equal(api_text(&ana, "logs.0.service"), "ledger");
    assert_string_equal(api_text(&ana, "logs.0.ip_address"), "127.0.0.1");
    assert_int_equal(strlen(api_text(&ana, "logs.0.trace_id")), 32);
    (void)snprintf(id, sizeof id, "%s", api_text(&ana, "logs.0.request_id"));

    char path[160];

    (void)snprintf(path, sizeof path, "/api/audit-log?request_id=%s", id);
    assert_int_equal(api_get(&ana, path), 200);
    assert_int_equal(api_int(&ana, "total"), 1);
    (void)snprintf(path, sizeof path, "/api/audit-log/%s", api_text(&ana, "logs.0.id"));
    assert_int_equal(api_get(&ana, path), 200);
    assert_int_equal(api_get(&eva, path), 404);
    assert_int_equal(api_get(&ana, "/api/audit-log/audit_99999999"), 404);
    assert_int_equal(api_get(&ana, "/api/audit-log/nonsense"), 404);
    assert_int_equal(api_get(&ana, "/api/audit-log/stats"), 200);
    assert_true(api_int(&ana, "total") >= ACCOUNTS);
    assert_true(api_int(&ana, "by_severity.low") >= ACCOUNTS);
    assert_true(api_int(&ana, "recent_24h") >= ACCOUNTS);
    assert_true(count_of(&ana, "top_actions") >= 1);
}

static void administrators_find_everybodys(void **state)
{
    char id[PEOPLE_ID_BYTES];
    char path[160];

    (void)state;
    people_id(&ana, id);
    (void)snprintf(path, sizeof path, "/api/admin/audit-log?user_id=%s&entity_type=account", id);
    assert_int_equal(api_get(&admin, path), 200);
    assert_int_equal(count_of(&admin, "logs"), ACCOUNTS);
    assert_int_equal(api_get(&ana, path), 403);
    /* Nobody reads others' records without leaving one. */
    until_total(&admin, "/api/audit-log?action_type=read&entity_id=audit-log.SearchAuditLog", 1);
    until_total(&ana, "/api/audit-log?action_type=refuse&entity_id=audit-log.SearchAuditLog", 1);
}

/* --- what nobody can do --- */

static void a_note_cannot_pass_for_a_record(void **state)
{
    char id[PEOPLE_ID_BYTES];

    (void)state;
    people_id(&ana, id);
    assert_int_equal(api_send(&eva,
                              "POST",
                              "/api/audit-log",
                              json_pack("{s:s,s:s,s:s,s:s,s:s}",
                                        "action_type",
                                        "login",
                                        "user_id",
                                        id,
                                        "id",
                                        "audit_0",
                                        "timestamp",
                                        "2001-01-01 00:00:00",
                                        "severity",
                                        "critical")),
                     201);
    assert_string_equal(api_text(&eva, "service"), "client");
    assert_string_not_equal(api_text(&eva, "id"), "audit_0");
    assert_string_not_equal(api_text(&eva, "user_id"), id);
    assert_null(strstr(api_text(&eva, "timestamp"), "2001"));
    assert_int_equal(api_send(&eva,
                              "POST",
                              "/api/audit-trail",
                              json_pack("{s:s,s:s,s:{s:i}}",
                                        "action_type",
                                        "approve",
                                        "entity_type",
                                        "declaration",
                                        "new_values",
                                        "year",
                                        2026)),
                     201);
    char path[64];

    (void)snprintf(path, sizeof path, "/api/audit-trail/%lld", (long long)api_int(&eva, "id"));
    assert_int_equal(api_get(&eva, path), 200);
    assert_int_equal(api_int(&eva, "compliance_relevant"), 1);
    eva.unknown = true;
    assert_int_equal(api_call(&eva, "DELETE", path, NULL, 0), 405);
    assert_int_equal(api_get(&ana, path), 404);
}

static void the_trail_shows_the_same(void **state)
{
    (void)state;
    assert_int_equal(api_get(&ana, "/api/audit-trail?entity_type=account&limit=10&page=3"), 200);
    assert_int_equal(count_of(&ana, "entries"), ACCOUNTS - 20);
    assert_int_equal(api_int(&ana, "pagination.pages"), 3);
    assert_true(json_is_object(api_at(&ana, "entries.0.action_details")));
    assert_int_equal(api_get(&ana, "/api/audit-trail/summary"), 200);
    assert_true(api_int(&ana, "summary.compliance_relevant") >= ACCOUNTS);
    assert_true(count_of(&ana, "by_entity_type") >= 1);
    assert_int_equal(count_of(&ana, "activity_timeline"), 1);
    assert_true(count_of(&ana, "top_entities") >= 1);
    assert_int_equal(
        api_get(&ana, "/api/audit-trail/summary?start_date=2026-02-02&end_date=2026-01-01"), 400);
}

/* --- files --- */

static char *text_read(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = calloc(1, FILE_BYTES_MAX);

    assert_non_null(file);
    assert_non_null(text);
    text[fread(text, 1, FILE_BYTES_MAX - 1, file)] = '\0';
    (void)fclose(file);
    (void)unlink(path);
    return text;
}

/* What a browser saves; the header lines beside it. */
static char *file_of(const struct api *api, const char *path, char **headers)
{
    char command[8192];
    char saved[64];
    char heads[80];

    (void)snprintf(saved, sizeof saved, "/tmp/avanta-export-%ld", (long)getpid());
    (void)snprintf(heads, sizeof heads, "%s.headers", saved);
    (void)snprintf(command,
                   sizeof command,
                   "curl -sS -D %s -o %s -H 'Authorization: Bearer %s' '%s%s'",
                   heads,
                   saved,
                   api->token,
                   stack_url(),
                   path);
    assert_int_equal(shell_run(command), 0);
    *headers = text_read(heads);
    return text_read(saved);
}

static void records_are_exported(void **state)
{
    char *headers = NULL;
    char *text = file_of(&ana, "/api/audit-log/export?entity_type=account", &headers);
    struct arena_pool *pool = arena_pool_open(16384, 64);
    struct arena *arena = arena_open(pool, 512 * 1024);
    struct csv_reader reader;
    struct csv_record record;
    struct err err = {.code = OK};
    size_t rows = 0;

    (void)state;
    assert_non_null(strstr(headers, "text/csv"));
    assert_non_null(strstr(headers, "attachment; filename=\"audit_log.csv\""));
    csv_open(&reader, str_from(text));
    while (csv_next(&reader, arena, &record, &err)) {
        assert_int_equal(record.count, 15);
        rows++;
    }
    assert_int_equal(rows, ACCOUNTS + 1);
    free(text);
    free(headers);
    arena_dispose(&arena);
    arena_pool_close(&pool);

    text =
        file_of(&ana, "/api/audit-log/export?format=ndjson&entity_type=account&limit=20", &headers);
    assert_non_null(strstr(headers, "X-Next-Cursor: "));
    rows = 0;
    struct str rest = str_from(text);
    struct str line = STR_EMPTY;

    while (rest.len > 0 && str_split(&rest, '\n', &line)) {
        json_t *json = json_loadb(line.ptr, line.len, 0, NULL);

        assert_non_null(json);
        assert_true(json_is_object(json_object_get(json, "record")));
        json_decref(json);
        rows++;
    }
    assert_int_equal(rows, 20);
    free(text);
    free(headers);

    text = file_of(&ana, "/api/audit-trail/export?compliance_only=true", &headers);
    json_t *json = json_loads(text, 0, NULL);

    assert_non_null(json);
    assert_true(json_integer_value(json_object_get(json, "count")) >= ACCOUNTS);
    json_decref(json);
    free(text);
    free(headers);
    /* Exports leave a record of their own. */
    until_total(&ana, "/api/audit-log?action_type=read&entity_id=audit-log.ExportAuditLog", 2);
}

/* --- proofs --- */

static struct merkle_hash hash_of(const char *text)
{
    struct merkle_hash hash;
    size_t len = 0;

    assert_true(base64_decode(str_from(text), hash.bytes, sizeof hash.bytes, &len));
    assert_int_equal(len, sizeof hash.bytes);
    return hash;
}

static struct merkle_proof proof_of(struct api *api)
{
    struct merkle_proof proof = {.count = count_of(api, "hashes")};

    assert_true(proof.count <= MERKLE_PROOF_MAX);
    for (size_t i = 0; i < proof.count; i++) {
        char path[32];

        (void)snprintf(path, sizeof path, "hashes.%zu", i);
        proof.hashes[i] = hash_of(api_text(api, path));
    }
    return proof;
}

/* With nothing but the key: the signature, and what it says. */
static void note_holds(const char *text, const char *key, struct checkpoint *out)
{
    static struct note note;
    struct note_verifier verifier;
    struct err err = {.code = OK};
    uint64_t time_s = 0;

    assert_int_equal(note_verifier_parse(str_from(key), &verifier, &err), OK);
    assert_int_equal(note_parse(str_from(text), &note, &err), OK);
    assert_int_equal(note_verify(&note, &verifier, &time_s, &err), OK);
    assert_int_equal(checkpoint_parse(note.text, out, &err), OK);
}

static void a_record_is_provable_soon(void **state)
{
    char key[NOTE_KEY_TEXT_BYTES_MAX];
    char path[128];
    uint64_t begun = 0;
    struct checkpoint checkpoint;
    struct merkle_hash leaf;

    (void)state;
    assert_int_equal(api_get(&ana, "/api/audit-log/checkpoint"), 200);
    (void)snprintf(key, sizeof key, "%s", api_text(&ana, "verifier_key"));
    assert_int_equal(api_send(&ana,
                              "POST",
                              "/api/accounts",
                              json_pack("{s:s,s:s}", "name", "Prueba", "type", "cash")),
                     201);
    begun = clock_mono_ms();
    until_total(&ana, "/api/audit-log?entity_type=account", ACCOUNTS + 1);
    assert_int_equal(api_get(&ana, "/api/audit-log?entity_type=account&limit=1"), 200);
    (void)snprintf(path, sizeof path, "/api/audit-log/%s/proof", api_text(&ana, "logs.0.id"));
    while (api_get(&ana, path) != 200) {
        assert_int_equal(ana.status, 503); /* its checkpoint is due */
        assert_true(clock_mono_ms() - begun < SOON_MS);
        (void)usleep(20000);
    }
    print_message("  provable after %llu ms\n", (unsigned long long)(clock_mono_ms() - begun));
    note_holds(api_text(&ana, "checkpoint"), key, &checkpoint);
    assert_int_equal(checkpoint.size, api_int(&ana, "tree_size"));

    struct merkle_hash root = hash_of(api_text(&ana, "root_hash"));
    struct merkle_proof proof = proof_of(&ana);

    assert_memory_equal(checkpoint.root, root.bytes, sizeof root.bytes);
    merkle_leaf_hash(str_from(api_text(&ana, "record")), &leaf);
    assert_true(merkle_inclusion_verify((uint64_t)api_int(&ana, "leaf_index"),
                                        (uint64_t)api_int(&ana, "tree_size"),
                                        &leaf,
                                        &proof,
                                        &root));
    assert_int_equal(api_get(&eva, path), 404);
}

static void an_earlier_tree_is_the_beginning(void **state)
{
    int64_t size = 0;
    struct merkle_hash from;
    struct merkle_hash to;
    char path[128];

    (void)state;
    assert_int_equal(api_get(&ana, "/api/audit-log/checkpoint"), 200);
    size = api_int(&ana, "size");
    to = hash_of(api_text(&ana, "root_hash"));
    (void)snprintf(path,
                   sizeof path,
                   "/api/audit-log/consistency?from=%lld&to=%lld",
                   (long long)(size / 2),
                   (long long)size);
    assert_int_equal(api_get(&ana, path), 200);
    from = hash_of(api_text(&ana, "from_root_hash"));

    struct merkle_hash shown = hash_of(api_text(&ana, "to_root_hash"));
    struct merkle_proof proof = proof_of(&ana);

    assert_memory_equal(shown.bytes, to.bytes, sizeof to.bytes);
    assert_true(
        merkle_consistency_verify((uint64_t)(size / 2), (uint64_t)size, &from, &proof, &to));
    assert_int_equal(api_get(&ana, "/api/audit-log/consistency?from=5&to=3"), 400);
    assert_int_equal(api_get(&ana, "/api/audit-log/consistency?from=1&to=99999999"), 400);
    assert_int_equal(api_get(&ana, "/api/audit-log/consistency"), 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_by_cursor_show_each_record_once),
        cmocka_unit_test(records_say_who_did_what),
        cmocka_unit_test(administrators_find_everybodys),
        cmocka_unit_test(a_note_cannot_pass_for_a_record),
        cmocka_unit_test(the_trail_shows_the_same),
        cmocka_unit_test(records_are_exported),
        cmocka_unit_test(a_record_is_provable_soon),
        cmocka_unit_test(an_earlier_tree_is_the_beginning),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
