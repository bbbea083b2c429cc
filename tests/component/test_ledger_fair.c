/* One user who changes his own rows from many connections at once, and another who goes on working:
 * nobody waits for a stranger's locks, and PostgreSQL never has to break a dead-lock, whether one
 * ledger runs or three. What is promised is in libcommon/service/turns.h. */
#include "tests/support/ledger_client.h"
#include "tests/support/scratch_pg.h"

#include "libcommon/base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STORM_WIDTH   32
#define STORM_ROWS    400
#define BULK_ROWS     120
#define IMPORT_ROWS   200
#define BUSINESS      160 /* calls of the other user in one measurement */
#define RATIO_MAX     25  /* of medians: two busy cores are shared with the storm's own work */
#define SETTLE_MS_MAX 10000

static struct service_rig rig;
static struct ledger_client ana = {.rig = &rig, .user = LEDGER_ANA};
static struct ledger_client beto = {.rig = &rig, .user = LEDGER_BETO};
static int64_t first_id;
static uint64_t seed;

static uint64_t draw(uint64_t below)
{
    seed += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t z = seed;
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (z ^ (z >> 31)) % below;
}

/* --- setup --- */

/* Rows of a statement: `rows` of `kinds`, from a random one on. */
struct import_draft {
    Avanta__Ledger__ConfirmImportRequest in;
    Avanta__Ledger__ImportRow items[STORM_ROWS];
    Avanta__Ledger__ImportRow *pointers[STORM_ROWS];
    char texts[STORM_ROWS][32];
};

static void import_fill(struct import_draft *draft, size_t rows, size_t kinds)
{
    size_t from = (size_t)draw(kinds);
    bool backwards = draw(2) == 0;

    assert_true(rows <= STORM_ROWS && rows <= kinds);
    avanta__ledger__confirm_import_request__init(&draft->in);
    for (size_t i = 0; i < rows; i++) {
        Avanta__Ledger__ImportRow *row = &draft->items[i];
        (void)snprintf(draft->texts[i], sizeof draft->texts[i], "Renglon %zu", (from + i) % kinds);
        avanta__ledger__import_row__init(row);
        row->date = lit("2024-05-02");
        row->description = draft->texts[i];
        row->has_amount = true;
        row->amount = 100;
        row->type = lit("gasto");
        draft->pointers[backwards ? rows - 1 - i : i] = row;
    }
    draft->in.n_transactions = rows;
    draft->in.transactions = draft->pointers;
    draft->in.account = lit("Uno");
}

static int setup(unsigned replicas)
{
    const char *given = getenv("AVANTA_SEED");

    seed = given == NULL ? clock_wall_ms() : strtoull(given, NULL, 10);
    print_message("AVANTA_SEED=%llu\n", (unsigned long long)seed);
    service_rig_open(&rig, "ledger", replicas);
    (void)ledger_make_account(&ana, "Uno", 100000, "2024-01-01");
    (void)ledger_make_account(&beto, "Suya", 0, NULL);
    static struct import_draft draft;
    import_fill(&draft, STORM_ROWS, STORM_ROWS);
    assert_int_equal(ASK(&ana, "ConfirmImport", draft.in), OK);
    first_id = ledger_count(rig.dsn, "SELECT min(id) FROM transaction");
    assert_int_equal(ledger_count(rig.dsn, "SELECT max(id) FROM transaction"),
                     first_id + STORM_ROWS - 1);
    return 0;
}

static int setup_one(void **state)
{
    (void)state;
    return setup(1);
}

static int setup_three(void **state)
{
    (void)state;
    return setup(3);
}

static int teardown(void **state)
{
    (void)state;
    ledger_client_end(&ana);
    ledger_client_end(&beto);
    service_rig_close(&rig);
    return 0;
}

/* --- what PostgreSQL counts --- */

/* A session's counts are seen at the latest when it ends, so those of the service are ended. */
static int64_t deadlocks(void)
{
    const uint64_t end = clock_mono_ms() + SETTLE_MS_MAX;

    scratch_pg_run(rig.dsn,
                   "CREATE TEMP TABLE ended AS SELECT pid FROM pg_stat_activity"
                   " WHERE usename = 'ledger';"
                   "DO $$ BEGIN PERFORM pg_terminate_backend(pid, 5000) FROM ended; END $$");
    while (ledger_count(rig.dsn,
                        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'ledger'"
                        " AND state = 'idle'") < 4) {
        assert_true(clock_mono_ms() < end);
        bus_rig_run(&rig.loop, 10);
    }
    return ledger_count(rig.dsn,
                        "SELECT deadlocks FROM pg_stat_database"
                        " WHERE datname = current_database()");
}

/* --- the storm --- */

struct storm_slot {
    struct service_call call;
    Avanta__Ledger__UpdateTransactionRequest update;
    Avanta__Ledger__BulkUpdateTransactionsRequest bulk;
    Avanta__Ledger__BulkTransactionUpdate items[BULK_ROWS];
    Avanta__Ledger__BulkTransactionUpdate *pointers[BULK_ROWS];
    Avanta__Ledger__ImportIdRequest undo;
    char undo_id[64];
    struct import_draft import;
    bool busy;
};

static struct storm_slot slots[STORM_WIDTH];
static void (*const *storm_kinds)(struct storm_slot *slot); /* two of them */
static char import_ids[8][64];
static size_t storm_done;
static size_t storm_refused;

static void storm_update(struct storm_slot *slot)
{
    avanta__ledger__update_transaction_request__init(&slot->update);
    slot->update.has_id = slot->update.has_amount = true;
    slot->update.id = first_id + (int64_t)draw(STORM_ROWS);
    slot->update.amount = 1 + (int64_t)draw(100000);
    slot->call = (struct service_call){.method = service_method("ledger.UpdateTransaction"),
                                       .in = &slot->update.base};
}

static void storm_bulk(struct storm_slot *slot)
{
    avanta__ledger__bulk_update_transactions_request__init(&slot->bulk);
    for (size_t i = 0; i < BULK_ROWS; i++) {
        avanta__ledger__bulk_transaction_update__init(&slot->items[i]);
        slot->items[i].has_id = slot->items[i].has_amount = true;
        slot->items[i].id = first_id + (int64_t)draw(STORM_ROWS);
        slot->items[i].amount = 1 + (int64_t)draw(100000);
        slot->pointers[i] = &slot->items[i];
    }
    slot->bulk.n_updates = BULK_ROWS;
    slot->bulk.updates = slot->pointers;
    slot->call = (struct service_call){.method = service_method("ledger.BulkUpdateTransactions"),
                                       .in = &slot->bulk.base};
}

static void storm_import(struct storm_slot *slot)
{
    import_fill(&slot->import, IMPORT_ROWS, STORM_ROWS + IMPORT_ROWS);
    slot->call = (struct service_call){.method = service_method("ledger.ConfirmImport"),
                                       .in = &slot->import.in.base};
}

static void storm_undo(struct storm_slot *slot)
{
    avanta__ledger__import_id_request__init(&slot->undo);
    memcpy(slot->undo_id, import_ids[draw(ARRAY_LEN(import_ids))], sizeof slot->undo_id);
    slot->undo.id = slot->undo_id[0] == '\0' ? lit("none") : slot->undo_id;
    slot->call = (struct service_call){.method = service_method("ledger.DeleteImport"),
                                       .in = &slot->undo.base};
}

static void storm_import_or_undo(struct storm_slot *slot)
{
    (draw(2) == 0 ? storm_import : storm_undo)(slot);
}

/* Being told to wait is an answer; failing is not. */
static void storm_judge(struct storm_slot *slot)
{
    const struct service_call *call = &slot->call;
    bool undone = call->code == ERR_NOT_FOUND && call->in == &slot->undo.base;

    if (call->bus != OK || (call->code != OK && call->code != ERR_RATE_LIMITED && !undone)) {
        fail_msg("%s answers %s %s",
                 call->method->name,
                 code_wire(call->bus != OK ? call->bus : call->code),
                 call->detail == NULL ? "" : call->detail);
    }
    if (call->code == OK && call->in == &slot->import.in.base) {
        const Avanta__Ledger__ConfirmImportReply *out = call->out;
        (void)snprintf(import_ids[draw(ARRAY_LEN(import_ids))], 64, "%s", out->import_id);
    }
    storm_done += call->code == OK ? 1 : 0;
    storm_refused += call->code == ERR_RATE_LIMITED ? 1 : 0;
    service_call_end(&slot->call);
    slot->busy = false;
}

static void storm_turn(bool more)
{
    for (size_t i = 0; i < STORM_WIDTH; i++) {
        struct storm_slot *slot = &slots[i];
        if (slot->busy && slot->call.count > 0) {
            storm_judge(slot);
        }
        if (!slot->busy && more) {
            storm_kinds[i % 2](slot);
            slot->call.user = LEDGER_ANA;
            slot->busy = true;
            service_call_start(&rig, &slot->call);
        }
    }
}

static void storm_end(void)
{
    for (size_t i = 0; i < STORM_WIDTH; i++) {
        if (slots[i].busy) {
            service_call_wait(&slots[i].call);
            storm_judge(&slots[i]);
        }
    }
}

/* --- the other user --- */

static int by_value(const void *a, const void *b)
{
    const uint64_t *left = a;
    const uint64_t *right = b;

    return (*left > *right) - (*left < *right);
}

/* How long one call takes while the storm goes on, if it does. */
static uint64_t business_us(bool post, bool storm)
{
    Avanta__Ledger__CreateTransactionRequest create = ledger_draft();
    Avanta__Ledger__ListTransactionsRequest list = AVANTA__LEDGER__LIST_TRANSACTIONS_REQUEST__INIT;
    struct service_call call = {
        .method = service_method(post ? "ledger.CreateTransaction" : "ledger.ListTransactions"),
        .in = post ? &create.base : &list.base,
        .user = LEDGER_BETO,
    };
    const uint64_t start = clock_mono_us();

    create.account = lit("Suya");
    service_call_start(&rig, &call);
    while (call.count == 0) {
        storm_turn(storm);
        bus_rig_run(&rig.loop, 1);
    }
    assert_int_equal(call.bus, OK);
    assert_int_equal(call.code, OK);
    service_call_end(&call);
    return clock_mono_us() - start;
}

struct figures {
    uint64_t post_us; /* medians */
    uint64_t list_us;
    uint64_t longest_us;
};

static struct figures measure(bool storm)
{
    uint64_t times[2][BUSINESS / 2];
    struct figures out = {0};

    for (size_t i = 0; i < BUSINESS; i++) {
        uint64_t us = business_us(i % 2 == 0, storm);
        times[i % 2][i / 2] = us;
        out.longest_us = us > out.longest_us ? us : out.longest_us;
    }
    for (size_t i = 0; i < 2; i++) {
        qsort(times[i], BUSINESS / 2, sizeof times[i][0], by_value);
    }
    out.post_us = times[0][BUSINESS / 4];
    out.list_us = times[1][BUSINESS / 4];
    return out;
}

static void print_figures(const char *when, const struct figures *f)
{
    print_message("%s: post %llu us, list %llu us, longest %llu us\n",
                  when,
                  (unsigned long long)f->post_us,
                  (unsigned long long)f->list_us,
                  (unsigned long long)f->longest_us);
}

static void storm(void (*const kinds[2])(struct storm_slot *slot))
{
    const int64_t before = deadlocks();
    const struct figures idle = measure(false);

    storm_kinds = kinds;
    storm_done = 0;
    storm_refused = 0;
    const struct figures busy = measure(true);
    storm_end();
    print_figures("idle", &idle);
    print_figures("busy", &busy);
    print_message("%zu changes done, %zu told to wait\n", storm_done, storm_refused);
    assert_true(storm_done > 0);
    assert_int_equal(deadlocks(), before);
    assert_true(busy.post_us < idle.post_us * RATIO_MAX);
    assert_true(busy.list_us < idle.list_us * RATIO_MAX);
    ledger_books_hold(rig.dsn);
}

static void changes_stall_nobody_else(void **state)
{
    static void (*const kinds[2])(struct storm_slot * slot) = {storm_bulk, storm_update};

    (void)state;
    storm(kinds);
}

/* The same rows in any order, booked, given up and booked again. */
static void imports_stall_nobody_else(void **state)
{
    static void (*const kinds[2])(struct storm_slot * slot) = {storm_import_or_undo, storm_update};

    (void)state;
    storm(kinds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changes_stall_nobody_else),
        cmocka_unit_test(imports_stall_nobody_else),
    };
    int failed = cmocka_run_group_tests_name("one ledger", tests, setup_one, teardown);

    return failed + cmocka_run_group_tests_name("three ledgers", tests, setup_three, teardown);
}
