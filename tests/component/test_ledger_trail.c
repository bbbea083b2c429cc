/* What the ledger's writes leave in the audit trail: one record for each thing that changed, with
 * what it was before, in the transaction of the change. */
#include "tests/support/ledger_client.h"
#include "tests/support/trail.h"

#include <stdio.h>
#include <string.h>

static struct service_rig rig;
static struct ledger_client ana = {.rig = &rig, .user = LEDGER_ANA};
static struct trail trail;

static int setup_all(void **state)
{
    (void)state;
    service_rig_open(&rig, "ledger", 1);
    trail_open(&trail, rig.dsn);
    return 0;
}

static int teardown_all(void **state)
{
    (void)state;
    ledger_client_end(&ana);
    trail_close(&trail);
    service_rig_close(&rig);
    return 0;
}

static const char *id_text(int64_t id)
{
    static char text[24];

    (void)snprintf(text, sizeof text, "%lld", (long long)id);
    return text;
}

/* The one record of the last request, and who and what it says of it. */
static const Avanta__AuditRecord *
only(const char *method, const char *action, const char *entity, int64_t id)
{
    const Avanta__AuditRecord *record = NULL;

    assert_int_equal(trail_read(&trail), 1);
    record = trail_one(&trail, action, entity, id == 0 ? NULL : id_text(id));
    assert_string_equal(record->method, method);
    assert_string_equal(record->user_id, LEDGER_ANA);
    assert_string_equal(record->actor_id, LEDGER_ANA);
    assert_string_equal(record->service, "ledger");
    assert_string_equal(record->status, "success");
    assert_non_null(record->request_id);
    return record;
}

static Avanta__Ledger__AccountIdRequest account_id(int64_t id)
{
    Avanta__Ledger__AccountIdRequest in = AVANTA__LEDGER__ACCOUNT_ID_REQUEST__INIT;

    in.has_id = true;
    in.id = id;
    return in;
}

static void an_account_says_what_it_was(void **state)
{
    Avanta__Ledger__UpdateAccountRequest in = AVANTA__LEDGER__UPDATE_ACCOUNT_REQUEST__INIT;
    const Avanta__AuditRecord *record = NULL;
    int64_t id = 0;

    (void)state;
    id = ledger_make_account(&ana, "Banco", 10000, "2024-01-01");
    record = only("ledger.CreateAccount", "create", "account", id);
    assert_null(record->before);
    assert_string_equal(trail_value(record->details, "account.name"), "Banco");
    in.has_id = true;
    in.id = id;
    in.name = lit("Banco dos");
    in.has_balance = true;
    in.balance = 25000;
    assert_int_equal(ASK(&ana, "UpdateAccount", in), OK);
    record = only("ledger.UpdateAccount", "update", "account", id);
    assert_string_equal(trail_value(record->before, "name"), "Banco");
    assert_string_equal(trail_value(record->before, "balance"), "100.0");
    assert_string_equal(trail_value(record->details, "account.name"), "Banco dos");
    assert_string_equal(trail_value(record->details, "account.balance"), "250.0");
    assert_string_equal(trail_value(record->details, "before"), "");
}

/* A new opening date, behind a stated balance, changes the books before the account itself is
 * looked at. */
static void a_moved_opening_does_not_hide_the_balance(void **state)
{
    Avanta__Ledger__UpdateAccountRequest in = AVANTA__LEDGER__UPDATE_ACCOUNT_REQUEST__INIT;
    Avanta__Ledger__CreateInitialBalanceRequest stated =
        AVANTA__LEDGER__CREATE_INITIAL_BALANCE_REQUEST__INIT;
    int64_t id = ledger_make_account(&ana, "Con apertura", 5000, "2024-01-01");
    const Avanta__AuditRecord *record = NULL;

    (void)state;
    stated.has_id = true;
    stated.id = id;
    stated.balance_date = lit("2024-01-15");
    stated.has_initial_balance = true;
    stated.initial_balance = 8000;
    assert_int_equal(ASK(&ana, "CreateInitialBalance", stated), OK);
    (void)trail_read(&trail);
    in.has_id = true;
    in.id = id;
    in.opening_date = lit("2024-02-01");
    assert_int_equal(ASK(&ana, "UpdateAccount", in), OK);
    record = only("ledger.UpdateAccount", "update", "account", id);
    assert_string_equal(trail_value(record->before, "opening_date"), "2024-01-01");
    assert_string_equal(trail_value(record->before, "balance"), "80.0");
    assert_string_equal(trail_value(record->details, "account.opening_date"), "2024-02-01");
    assert_string_equal(trail_value(record->details, "account.balance"), "50.0");
}

static void a_deleted_account_says_what_it_was(void **state)
{
    int64_t id = ledger_make_account(&ana, "Pasajera", 700, NULL);
    Avanta__Ledger__AccountIdRequest in = account_id(id);
    const Avanta__AuditRecord *record = NULL;

    (void)state;
    (void)trail_read(&trail);
    assert_int_equal(ASK(&ana, "DeleteAccount", in), OK);
    record = only("ledger.DeleteAccount", "delete", "account", id);
    assert_string_equal(trail_value(record->before, "is_active"), "1");
    assert_string_equal(trail_value(record->before, "balance"), "7.0");
    assert_string_equal(trail_value(record->details, "account.is_active"), "0");
    /* Again: nothing changes, and that it was asked for is recorded all the same. */
    assert_int_equal(ASK(&ana, "DeleteAccount", in), OK);
    record = only("ledger.DeleteAccount", "delete", "ledger", 0);
    assert_string_equal(record->details, "{}");
    assert_null(record->before);
    in = account_id(999999);
    assert_int_equal(ASK(&ana, "DeleteAccount", in), ERR_NOT_FOUND);
    assert_int_equal(trail_read(&trail), 0);
}

static void a_category_says_what_it_was(void **state)
{
    Avanta__Ledger__UpdateCategoryRequest in = AVANTA__LEDGER__UPDATE_CATEGORY_REQUEST__INIT;
    Avanta__Ledger__CategoryIdRequest gone = AVANTA__LEDGER__CATEGORY_ID_REQUEST__INIT;
    const int64_t id = ledger_make_category(&ana, "Renta");
    const Avanta__AuditRecord *record = NULL;

    (void)state;
    (void)only("ledger.CreateCategory", "create", "category", id);
    in.has_id = true;
    in.id = id;
    in.name = lit("Alquiler");
    assert_int_equal(ASK(&ana, "UpdateCategory", in), OK);
    record = only("ledger.UpdateCategory", "update", "category", id);
    assert_string_equal(trail_value(record->before, "name"), "Renta");
    assert_string_equal(trail_value(record->details, "category.name"), "Alquiler");
    in.id = 999999;
    assert_int_equal(ASK(&ana, "UpdateCategory", in), ERR_NOT_FOUND);
    assert_int_equal(trail_read(&trail), 0);
    gone.has_id = true;
    gone.id = id;
    assert_int_equal(ASK(&ana, "DeleteCategory", gone), OK);
    record = only("ledger.DeleteCategory", "delete", "category", id);
    assert_string_equal(trail_value(record->before, "is_active"), "1");
    assert_string_equal(trail_value(record->details, "category.is_active"), "0");
    assert_int_equal(ASK(&ana, "DeleteCategory", gone), OK);
    (void)only("ledger.DeleteCategory", "delete", "ledger", 0);
}

static void a_stated_balance_says_what_it_was(void **state)
{
    Avanta__Ledger__CreateInitialBalanceRequest in =
        AVANTA__LEDGER__CREATE_INITIAL_BALANCE_REQUEST__INIT;
    Avanta__Ledger__UpdateInitialBalanceRequest change =
        AVANTA__LEDGER__UPDATE_INITIAL_BALANCE_REQUEST__INIT;
    Avanta__Ledger__InitialBalanceIdRequest gone = AVANTA__LEDGER__INITIAL_BALANCE_ID_REQUEST__INIT;
    const int64_t account = ledger_make_account(&ana, "Declarada", 0, NULL);
    const Avanta__AuditRecord *record = NULL;
    int64_t id = 0;

    (void)state;
    (void)trail_read(&trail);
    in.has_id = true;
    in.id = account;
    in.balance_date = lit("2024-03-01");
    in.has_initial_balance = true;
    in.initial_balance = 1000;
    assert_int_equal(ASK(&ana, "CreateInitialBalance", in), OK);
    id = REPLY(&ana, Avanta__Ledger__DoneReply)->id;
    record = only("ledger.CreateInitialBalance", "update", "initial_balance", id);
    assert_null(record->before);
    change.has_id = change.has_balance_id = change.has_initial_balance = true;
    change.id = account;
    change.balance_id = id;
    change.balance_date = lit("2024-04-01");
    change.initial_balance = 2000;
    assert_int_equal(ASK(&ana, "UpdateInitialBalance", change), OK);
    record = only("ledger.UpdateInitialBalance", "update", "initial_balance", id);
    assert_string_equal(trail_value(record->before, "balance_date"), "2024-03-01");
    assert_string_equal(trail_value(record->before, "initial_balance"), "10.0");
    assert_string_equal(trail_value(record->details, "initial_balance.balance_date"), "2024-04-01");
    gone.has_id = gone.has_balance_id = true;
    gone.id = account;
    gone.balance_id = id;
    assert_int_equal(ASK(&ana, "DeleteInitialBalance", gone), OK);
    record = only("ledger.DeleteInitialBalance", "update", "initial_balance", id);
    assert_string_equal(trail_value(record->before, "initial_balance"), "20.0");
    assert_string_equal(trail_value(record->details, "deleted"), "true");
}

static void a_transaction_says_what_it_was(void **state)
{
    Avanta__Ledger__CreateTransactionRequest draft = ledger_draft();
    Avanta__Ledger__UpdateTransactionRequest in = AVANTA__LEDGER__UPDATE_TRANSACTION_REQUEST__INIT;
    Avanta__Ledger__DeleteTransactionRequest gone =
        AVANTA__LEDGER__DELETE_TRANSACTION_REQUEST__INIT;
    Avanta__Ledger__RestoreTransactionRequest back =
        AVANTA__LEDGER__RESTORE_TRANSACTION_REQUEST__INIT;
    const int64_t id = ledger_book(&ana, &draft)->id;
    const Avanta__AuditRecord *record = NULL;

    (void)state;
    (void)only("ledger.CreateTransaction", "create", "transaction", id);
    in.has_id = gone.has_id = back.has_id = true;
    in.id = gone.id = back.id = id;
    in.notes = lit("nueva");
    assert_int_equal(ASK(&ana, "UpdateTransaction", in), OK);
    record = only("ledger.UpdateTransaction", "update", "transaction", id);
    assert_string_equal(trail_value(record->before, "notes"), "");
    assert_string_equal(trail_value(record->before, "amount"), "100.0");
    assert_string_equal(trail_value(record->details, "after.notes"), "nueva");
    assert_string_equal(trail_value(record->details, "before"), "");
    gone.has_confirm = gone.confirm = true;
    assert_int_equal(ASK(&ana, "DeleteTransaction", gone), OK);
    record = only("ledger.DeleteTransaction", "delete", "transaction", id);
    assert_string_equal(trail_value(record->before, "is_deleted"), "0");
    assert_string_equal(trail_value(record->details, "transaction.is_deleted"), "1");
    assert_int_equal(ASK(&ana, "DeleteTransaction", gone), OK);
    (void)only("ledger.DeleteTransaction", "delete", "ledger", 0);
    assert_int_equal(ASK(&ana, "RestoreTransaction", back), OK);
    record = only("ledger.RestoreTransaction", "restore", "transaction", id);
    assert_string_equal(trail_value(record->before, "is_deleted"), "1");
    gone.has_permanent = gone.permanent = true;
    assert_int_equal(ASK(&ana, "DeleteTransaction", gone), OK);
    record = only("ledger.DeleteTransaction", "delete", "transaction", id);
    assert_string_equal(trail_value(record->before, "notes"), "nueva");
}

/* One record for each row and none twice; a bulk update of nothing is one record. */
static void many_at_once_leave_one_each(void **state)
{
    Avanta__Ledger__CreateTransactionRequest draft = ledger_draft();
    const int64_t ids[] = {ledger_book(&ana, &draft)->id, ledger_book(&ana, &draft)->id};
    Avanta__Ledger__BulkTransactionUpdate items[3];
    Avanta__Ledger__BulkTransactionUpdate *list[] = {&items[0], &items[1], &items[2]};
    Avanta__Ledger__BulkUpdateTransactionsRequest in =
        AVANTA__LEDGER__BULK_UPDATE_TRANSACTIONS_REQUEST__INIT;

    (void)state;
    (void)trail_read(&trail);
    for (size_t i = 0; i < ARRAY_LEN(items); i++) {
        avanta__ledger__bulk_transaction_update__init(&items[i]);
        items[i].has_id = true;
        items[i].id = ids[i % 2];
        items[i].notes = lit(i < 2 ? "lote" : "lote otra vez");
    }
    in.n_updates = 3;
    in.updates = list;
    assert_int_equal(ASK(&ana, "BulkUpdateTransactions", in), OK);
    assert_int_equal(trail_read(&trail), 2);
    for (size_t i = 0; i < 2; i++) {
        const Avanta__AuditRecord *record =
            trail_one(&trail, "update", "transaction", id_text(ids[i]));

        assert_string_equal(trail_value(record->before, "notes"), "");
    }
    items[0].id = 999999;
    in.n_updates = 1;
    assert_int_equal(ASK(&ana, "BulkUpdateTransactions", in), OK);
    (void)only("ledger.BulkUpdateTransactions", "bulk", "ledger", 0);
}

static void an_import_leaves_itself_and_its_rows(void **state)
{
    Avanta__Ledger__ImportRow row = AVANTA__LEDGER__IMPORT_ROW__INIT;
    Avanta__Ledger__ImportRow *rows[] = {&row};
    Avanta__Ledger__ConfirmImportRequest in = AVANTA__LEDGER__CONFIRM_IMPORT_REQUEST__INIT;
    Avanta__Ledger__ImportIdRequest undo = AVANTA__LEDGER__IMPORT_ID_REQUEST__INIT;
    const Avanta__AuditRecord *record = NULL;
    char id[64];

    (void)state;
    row.date = lit("2024-05-01");
    row.description = lit("Del banco");
    row.has_amount = true;
    row.amount = 300;
    row.type = lit("gasto");
    in.n_transactions = 1;
    in.transactions = rows;
    assert_int_equal(ASK(&ana, "ConfirmImport", in), OK);
    (void)snprintf(id, sizeof id, "%s", REPLY(&ana, Avanta__Ledger__ConfirmImportReply)->import_id);
    assert_int_equal(trail_read(&trail), 2);
    record = trail_one(&trail, "import", "import", id);
    assert_null(record->before);
    undo.id = id;
    assert_int_equal(ASK(&ana, "DeleteImport", undo), OK);
    assert_int_equal(trail_read(&trail), 2);
    record = trail_one(&trail, "delete", "import", id);
    assert_string_equal(trail_value(record->before, "id"), id);
    assert_string_equal(trail_value(record->before, "records_imported"), "1");
}

static void a_repeated_key_leaves_no_second_record(void **state)
{
    Avanta__Ledger__CreateTransactionRequest in = ledger_draft();

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct service_call call = {.method = service_method("ledger.CreateTransaction"),
                                    .in = &in.base,
                                    .user = LEDGER_ANA,
                                    .key = "trail-1"};

        assert_int_equal(service_call(&rig, &call), OK);
        assert_int_equal(call.replayed, i > 0);
        service_call_end(&call);
    }
    assert_int_equal(trail_read(&trail), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_account_says_what_it_was),
        cmocka_unit_test(a_moved_opening_does_not_hide_the_balance),
        cmocka_unit_test(a_deleted_account_says_what_it_was),
        cmocka_unit_test(a_category_says_what_it_was),
        cmocka_unit_test(a_stated_balance_says_what_it_was),
        cmocka_unit_test(a_transaction_says_what_it_was),
        cmocka_unit_test(many_at_once_leave_one_each),
        cmocka_unit_test(an_import_leaves_itself_and_its_rows),
        cmocka_unit_test(a_repeated_key_leaves_no_second_record),
    };

    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
