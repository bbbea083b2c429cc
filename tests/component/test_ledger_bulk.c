/* Bulk changes and events of the real service. */
#include "tests/support/ledger_client.h"
#include "tests/support/scratch_pg.h"

#include <stdio.h>
#include <string.h>

static struct service_rig rig;
static struct ledger_client ana = {.rig = &rig, .user = LEDGER_ANA};
static struct ledger_client beto = {.rig = &rig, .user = LEDGER_BETO};

static int64_t bank;
static int64_t shop;

static int setup_all(void **state)
{
    (void)state;
    service_rig_open(&rig, "ledger", 1);
    bank = ledger_make_account(&ana, "Banco", 100000, "2024-01-10");
    shop = ledger_make_account(&ana, "Tienda", 0, NULL);
    return 0;
}

static int teardown_all(void **state)
{
    (void)state;
    ledger_client_end(&ana);
    ledger_client_end(&beto);
    service_rig_close(&rig);
    return 0;
}

static int books_hold(void **state)
{
    (void)state;
    ledger_books_hold(rig.dsn);
    return 0;
}

/* --- bulk --- */

static void bulk_does_what_it_can(void **state)
{
    Avanta__Ledger__BulkUpdateTransactionsRequest in =
        AVANTA__LEDGER__BULK_UPDATE_TRANSACTIONS_REQUEST__INIT;
    Avanta__Ledger__BulkTransactionUpdate updates[9];
    Avanta__Ledger__BulkTransactionUpdate *pointers[ARRAY_LEN(updates)];
    char *cleared[] = {lit("account")};
    int64_t made[ARRAY_LEN(updates)];
    int64_t held = ledger_balance(&ana, bank);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(updates); i++) {
        Avanta__Ledger__CreateTransactionRequest draft = ledger_draft();
        draft.has_account_id = true;
        draft.account_id = bank;
        made[i] = ledger_book(&ana, &draft)->id;
        avanta__ledger__bulk_transaction_update__init(&updates[i]);
        updates[i].has_id = true;
        updates[i].id = made[i];
        pointers[i] = &updates[i];
    }
    updates[0].has_amount = true;
    updates[0].amount = 1;
    updates[0].description = lit("\"comillas\" y \\ barra");
    updates[1].notes = lit("sólo nota");
    updates[2].description = lit("Prueba"); /* as it is */
    updates[3].account = lit("Ajena");
    updates[4].id = 999999999;
    updates[5].id = made[0]; /* again */
    updates[5].notes = lit("ganadora");
    updates[6].n_cleared = 1;
    updates[6].cleared = cleared;
    updates[7].has_category_id = true;
    updates[7].category_id = 999999;
    updates[8].account = lit("Tienda");
    updates[8].type = lit("ingreso");
    in.n_updates = ARRAY_LEN(updates);
    in.updates = pointers;
    assert_int_equal(ASK(&ana, "BulkUpdateTransactions", in), OK);
    const Avanta__Ledger__BulkUpdateTransactionsReply *out = ana.call.out;
    assert_int_equal(out->total, 9);
    assert_int_equal(out->successful, 4);
    assert_int_equal(out->n_skipped, 1);
    assert_int_equal(out->skipped[0]->id, made[2]);
    assert_int_equal(out->n_failed, 4);
    assert_int_equal(out->failed[0]->id, made[3]);
    assert_string_equal(out->failed[0]->error, "The account does not exist");
    assert_string_equal(out->failed[1]->error, "The transaction was not found");
    assert_int_equal(out->failed[2]->id, made[0]);
    assert_int_equal(out->failed[3]->id, made[7]);
    assert_string_equal(ledger_read(&ana, made[0])->description, "\"comillas\" y \\ barra");
    assert_int_equal(ledger_read(&ana, made[0])->amount, 1);
    assert_null(ledger_read(&ana, made[0])->notes);
    assert_false(ledger_read(&ana, made[6])->has_account_id);
    assert_int_equal(ledger_read(&ana, made[8])->account_id, shop);
    /* Nine of 100.00 in the bank; one became 0.01, two left. */
    assert_int_equal(ledger_balance(&ana, bank), held - 60001);
    assert_int_equal(ledger_ask(&beto, "ledger.BulkUpdateTransactions", &in.base), OK);
    const Avanta__Ledger__BulkUpdateTransactionsReply *none = beto.call.out;
    assert_int_equal(none->successful, 0);
    assert_int_equal(none->n_failed, 9);
    in.n_updates = 0;
    assert_int_equal(ASK(&ana, "BulkUpdateTransactions", in), ERR_INVALID);
}

static void bulk_takes_a_thousand(void **state)
{
    static Avanta__Ledger__BulkTransactionUpdate updates[1001];
    static Avanta__Ledger__BulkTransactionUpdate *pointers[ARRAY_LEN(updates)];
    Avanta__Ledger__BulkUpdateTransactionsRequest in =
        AVANTA__LEDGER__BULK_UPDATE_TRANSACTIONS_REQUEST__INIT;

    (void)state;
    scratch_pg_run(
        rig.dsn,
        "WITH t AS (INSERT INTO transaction AS t (user_id, entry_id, date, amount, exchange_rate,"
        " isr_retention, iva_retention, created_at, updated_at, is_deductible, is_iva_deductible,"
        " is_isr_deductible, type, category, transaction_type, expense_type, client_type, currency,"
        " description) SELECT '" LEDGER_BETO "', nextval('journal_entry_id_seq'), '2024-05-01', n,"
        " 1000000, 0, 0, now(), now(), false, false, false, 'gasto', 'personal', 'personal',"
        " 'national', 'nacional', 'MXN', 'masa' FROM generate_series(1, 1000) n RETURNING t),"
        " e AS (INSERT INTO journal_entry (user_id, id, transaction_id, kind, booked_on,"
        " created_at)"
        " OVERRIDING SYSTEM VALUE SELECT (t).user_id, (t).entry_id, (t).id, 'transaction',"
        " (t).date,"
        " (t).created_at FROM t)"
        " INSERT INTO posting (user_id, entry_id, line_no, booked_on, book, account_id,"
        " category_id,"
        " amount) SELECT (t).user_id, (t).entry_id, l.line_no, (t).date, l.book, l.account_id,"
        " l.category_id, l.amount FROM t CROSS JOIN LATERAL transaction_lines(t) l");
    int64_t first =
        ledger_count(rig.dsn, "SELECT min(id) FROM transaction WHERE description = 'masa'");
    for (size_t i = 0; i < ARRAY_LEN(updates); i++) {
        avanta__ledger__bulk_transaction_update__init(&updates[i]);
        updates[i].has_id = true;
        updates[i].id = first + (int64_t)i;
        updates[i].type = lit("ingreso");
        updates[i].description = lit("masa cambiada, con texto");
        pointers[i] = &updates[i];
    }
    in.updates = pointers;
    in.n_updates = 1001;
    assert_int_equal(ledger_ask(&beto, "ledger.BulkUpdateTransactions", &in.base), ERR_INVALID);
    in.n_updates = 1000;
    assert_int_equal(ledger_ask(&beto, "ledger.BulkUpdateTransactions", &in.base), OK);
    assert_int_equal(REPLY(&beto, Avanta__Ledger__BulkUpdateTransactionsReply)->successful, 1000);
    Avanta__Ledger__ListTransactionsRequest all = AVANTA__LEDGER__LIST_TRANSACTIONS_REQUEST__INIT;
    all.has_limit = true;
    all.limit = 1000;
    assert_int_equal(ledger_ask(&beto, "ledger.ListTransactions", &all.base), OK);
    assert_int_equal(REPLY(&beto, Avanta__Ledger__ListTransactionsReply)->n_data, 1000);
}

/* --- events --- */

struct heard {
    int count;
    char subjects[1024];
};

static void hear(void *ctx, struct bus_message *m)
{
    struct heard *heard = ctx;
    struct str subject = bus_message_subject(m);
    size_t len = strlen(heard->subjects);

    (void)snprintf(heard->subjects + len,
                   sizeof heard->subjects - len,
                   "%.*s\n",
                   STR_FMT(str_sub(subject, strlen("evt.ledger."), subject.len)));
    bus_message_destroy(m);
    heard->count++;
}

static void what_happened_is_told(void **state)
{
    struct heard heard = {0};
    struct bus_subscription *subscription = NULL;
    Avanta__Ledger__CreateTransactionRequest draft = ledger_draft();
    Avanta__Ledger__UpdateTransactionRequest change =
        AVANTA__LEDGER__UPDATE_TRANSACTION_REQUEST__INIT;
    Avanta__Ledger__DeleteTransactionRequest gone =
        AVANTA__LEDGER__DELETE_TRANSACTION_REQUEST__INIT;
    Avanta__Ledger__RestoreTransactionRequest back =
        AVANTA__LEDGER__RESTORE_TRANSACTION_REQUEST__INIT;
    struct err err = {0};

    (void)state;
    bus_rig_run(&rig.loop, 500); /* what earlier tests told */
    assert_int_equal(
        bus_subscribe(rig.bus, "evt.ledger.>", NULL, hear, &heard, &subscription, &err), OK);
    bus_rig_run(&rig.loop, 100);
    int64_t id = ledger_book(&ana, &draft)->id;
    change.has_id = gone.has_id = back.has_id = true;
    change.id = gone.id = back.id = id;
    change.notes = lit("x");
    gone.has_confirm = gone.confirm = true;
    draft.account = lit("no hay");
    assert_int_equal(ASK(&ana, "CreateTransaction", draft), ERR_REFERENCE);
    assert_int_equal(ASK(&ana, "UpdateTransaction", change), OK);
    assert_int_equal(ASK(&ana, "DeleteTransaction", gone), OK);
    assert_int_equal(ASK(&ana, "DeleteTransaction", gone), OK); /* tells nothing */
    assert_int_equal(ASK(&ana, "RestoreTransaction", back), OK);
    (void)ledger_make_account(&ana, "Avisada", 0, NULL);
    assert_true(bus_rig_until(&rig.loop, &heard.count, 5, 10000));
    bus_rig_run(&rig.loop, 300);
    assert_string_equal(heard.subjects,
                        "transaction.created\ntransaction.updated\ntransaction.deleted\n"
                        "transaction.restored\naccount.created\n");
    bus_unsubscribe(&subscription);
}

#define BOOKS(test) cmocka_unit_test_teardown(test, books_hold)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOOKS(bulk_does_what_it_can),
        BOOKS(bulk_takes_a_thousand),
        BOOKS(what_happened_is_told),
    };

    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
