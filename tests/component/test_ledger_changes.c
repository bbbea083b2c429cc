/* Changing, deleting and restoring transactions on the real service. */
#include "tests/support/ledger_client.h"

static struct service_rig rig;
static struct ledger_client ana = {.rig = &rig, .user = LEDGER_ANA};
static struct ledger_client beto = {.rig = &rig, .user = LEDGER_BETO};

static int64_t bank;
static int64_t cash;
static int64_t rent;
static int64_t foreign_account;
static int64_t foreign_category;

static int setup_all(void **state)
{
    (void)state;
    service_rig_open(&rig, "ledger", 1);
    bank = ledger_make_account(&ana, "Banco", 0, NULL);
    cash = ledger_make_account(&ana, "Caja", 0, NULL);
    rent = ledger_make_category(&ana, "Renta");
    foreign_account = ledger_make_account(&beto, "Ajena", 0, NULL);
    foreign_category = ledger_make_category(&beto, "Ajena");
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

static int64_t entries(void)
{
    return ledger_count(rig.dsn, "SELECT count(*) FROM journal_entry");
}

static const Avanta__Ledger__TransactionReply *reply(void)
{
    return ana.call.out;
}

/* --- update --- */

static Avanta__Ledger__UpdateTransactionRequest change_of(int64_t id)
{
    Avanta__Ledger__UpdateTransactionRequest in = AVANTA__LEDGER__UPDATE_TRANSACTION_REQUEST__INIT;

    in.has_id = true;
    in.id = id;
    return in;
}

static int64_t booked_in(int64_t account_id)
{
    Avanta__Ledger__CreateTransactionRequest in = ledger_draft();

    in.has_account_id = true;
    in.account_id = account_id;
    in.has_category_id = true;
    in.category_id = rent;
    in.notes = lit("nota");
    return ledger_book(&ana, &in)->id;
}

static void what_counts_posts_anew_and_the_rest_does_not(void **state)
{
    int64_t id = booked_in(bank);
    Avanta__Ledger__UpdateTransactionRequest in = change_of(id);
    int64_t before = entries();
    int64_t held = ledger_balance(&ana, bank);

    (void)state;
    in.description = lit("otra");
    in.has_is_deductible = in.is_deductible = true;
    in.has_amount = true;
    in.amount = 10000; /* the same */
    in.account = lit("Banco");
    assert_int_equal(ASK(&ana, "UpdateTransaction", in), OK);
    assert_string_equal(reply()->data->description, "otra");
    assert_string_equal(reply()->data->notes, "nota");
    assert_int_equal(entries(), before);
    in = change_of(id);
    in.has_amount = true;
    in.amount = 2500;
    in.type = lit("ingreso");
    in.date = lit("2024-01-31");
    assert_int_equal(ASK(&ana, "UpdateTransaction", in), OK);
    assert_int_equal(entries(), before + 2);
    assert_int_equal(ledger_balance(&ana, bank), held + 10000 + 2500);
    in = change_of(id);
    in.transaction_type = lit("transfer");
    assert_int_equal(ASK(&ana, "UpdateTransaction", in), OK);
    assert_int_equal(entries(), before + 4);
}

static void null_clears(void **state)
{
    int64_t id = booked_in(bank);
    Avanta__Ledger__UpdateTransactionRequest in = change_of(id);
    char *cleared[] = {lit("notes"), lit("category_id"), lit("account")};
    int64_t held = ledger_balance(&ana, bank);

    (void)state;
    in.n_cleared = ARRAY_LEN(cleared);
    in.cleared = cleared;
    assert_int_equal(ASK(&ana, "UpdateTransaction", in), OK);
    assert_null(reply()->data->notes);
    assert_false(reply()->data->has_category_id);
    assert_false(reply()->data->has_account_id);
    assert_null(reply()->data->account);
    assert_int_equal(ledger_balance(&ana, bank), held + 10000);
}

/* Clients send whole rows back: what differs from the row counts. */
struct account_case {
    const char *account; /* "" : null */
    int account_id;      /* 0 absent, 1 the bank's, 2 the cash box's, -1 null */
    int expected;        /* 0 none, 1 bank, 2 cash */
};

static int64_t account_of(int which)
{
    return which == 0 ? 0 : which == 1 ? bank : cash;
}

/* On a row of the bank's. */
static void account_comes_out(const struct account_case *c)
{
    Avanta__Ledger__UpdateTransactionRequest in = change_of(booked_in(bank));
    char *cleared[2];
    bool account_null = c->account != NULL && c->account[0] == '\0';

    in.account = account_null ? NULL : lit(c->account);
    in.has_account_id = c->account_id > 0;
    in.account_id = c->account_id > 0 ? account_of(c->account_id) : 0;
    in.cleared = cleared;
    if (account_null) {
        cleared[in.n_cleared++] = lit("account");
    }
    if (c->account_id < 0) {
        cleared[in.n_cleared++] = lit("account_id");
    }
    assert_int_equal(ASK(&ana, "UpdateTransaction", in), OK);
    const Avanta__Ledger__Transaction *t = reply()->data;
    assert_int_equal(t->has_account_id, c->expected != 0);
    assert_int_equal(t->account_id, account_of(c->expected));
}

static void the_account_that_differs_is_meant(void **state)
{
    static const struct account_case cases[] = {
        {NULL,    2,  2},
        {"Banco", 2,  2},
        {"Caja",  0,  2},
        {"Caja",  1,  2},
        {"Caja",  -1, 2},
        {"Banco", 1,  1},
        {"Banco", -1, 0},
        {"",      1,  0},
        {"",      2,  2},
        {"",      -1, 0},
        {NULL,    -1, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        account_comes_out(&cases[i]);
    }
}

static void an_update_refuses_what_does_not_fit(void **state)
{
    int64_t id = booked_in(bank);
    Avanta__Ledger__UpdateTransactionRequest in = change_of(id);
    int64_t before = entries();

    (void)state;
    assert_int_equal(ASK(&ana, "UpdateTransaction", in), ERR_INVALID);
    assert_int_equal(ana.call.reason, AVANTA__REASON__NO_UPDATE_FIELDS);
    in.has_account_id = true;
    in.account_id = foreign_account;
    in.has_category_id = true;
    in.category_id = foreign_category;
    in.has_linked_invoice_id = true;
    in.linked_invoice_id = 1;
    in.currency = lit("EUR");
    assert_int_equal(ASK(&ana, "UpdateTransaction", in), ERR_INVALID);
    assert_true(ledger_violates(&ana, "exchange_rate", "required"));
    assert_true(ledger_violates(&ana, "account_id", "reference"));
    assert_true(ledger_violates(&ana, "category_id", "reference"));
    assert_true(ledger_violates(&ana, "linked_invoice_id", "reference"));
    in = change_of(id);
    in.account = lit("Ajena");
    assert_int_equal(ASK(&ana, "UpdateTransaction", in), ERR_REFERENCE);
    assert_true(ledger_violates(&ana, "account", "reference"));
    in.account = NULL;
    in.description = lit("robada");
    assert_int_equal(ASK(&beto, "UpdateTransaction", in), ERR_NOT_FOUND);
    in.id = 999999999;
    assert_int_equal(ASK(&ana, "UpdateTransaction", in), ERR_NOT_FOUND);
    assert_string_equal(ledger_read(&ana, id)->description, "Prueba");
    assert_int_equal(entries(), before);
}

static void the_rate_follows_the_currency(void **state)
{
    Avanta__Ledger__UpdateTransactionRequest in = change_of(booked_in(bank));
    int64_t held = ledger_balance(&ana, bank) + 10000;

    (void)state;
    in.currency = lit("USD");
    in.has_exchange_rate = true;
    in.exchange_rate = 18500000;
    assert_int_equal(ASK(&ana, "UpdateTransaction", in), OK);
    assert_int_equal(ledger_balance(&ana, bank), held - 185000);
    in.has_exchange_rate = false;
    in.has_amount = true;
    in.amount = 200;
    assert_int_equal(ASK(&ana, "UpdateTransaction", in), OK);
    assert_int_equal(ledger_balance(&ana, bank), held - 3700);
    in.currency = lit("EUR");
    assert_int_equal(ASK(&ana, "UpdateTransaction", in), ERR_INVALID);
    assert_true(ledger_violates(&ana, "exchange_rate", "required"));
    in.currency = lit("MXN");
    assert_int_equal(ASK(&ana, "UpdateTransaction", in), OK);
    assert_int_equal(reply()->data->exchange_rate, 1000000);
    assert_int_equal(ledger_balance(&ana, bank), held - 200);
}

/* --- delete and restore --- */

static void a_delete_needs_confirmation_and_can_be_undone(void **state)
{
    int64_t held = ledger_balance(&ana, bank);
    int64_t id = booked_in(bank);
    Avanta__Ledger__DeleteTransactionRequest in = AVANTA__LEDGER__DELETE_TRANSACTION_REQUEST__INIT;
    Avanta__Ledger__RestoreTransactionRequest back =
        AVANTA__LEDGER__RESTORE_TRANSACTION_REQUEST__INIT;
    Avanta__Ledger__UpdateTransactionRequest change = change_of(id);

    (void)state;
    in.has_id = back.has_id = true;
    in.id = 999999999;
    assert_int_equal(ASK(&ana, "DeleteTransaction", in), ERR_INVALID);
    assert_int_equal(ana.call.reason, AVANTA__REASON__CONFIRMATION_REQUIRED);
    in.has_confirm = in.confirm = true;
    assert_int_equal(ASK(&ana, "DeleteTransaction", in), ERR_NOT_FOUND);
    in.id = back.id = id;
    assert_int_equal(ASK(&beto, "DeleteTransaction", in), ERR_NOT_FOUND);
    assert_int_equal(ASK(&ana, "RestoreTransaction", back), ERR_INVALID);
    assert_int_equal(ana.call.reason, AVANTA__REASON__NOT_DELETED);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ASK(&ana, "DeleteTransaction", in), OK);
        const Avanta__Ledger__DeleteTransactionReply *out = ana.call.out;
        assert_true(out->data->is_deleted);
        assert_non_null(out->data->deleted_at);
        assert_int_equal(out->data->amount, 10000);
        assert_null(out->deleted);
    }
    assert_int_equal(ledger_balance(&ana, bank), held);
    /* It can be changed while deleted; nothing is posted until it is back. */
    change.has_amount = true;
    change.amount = 777;
    assert_int_equal(ASK(&ana, "UpdateTransaction", change), OK);
    assert_int_equal(ledger_balance(&ana, bank), held);
    assert_int_equal(ASK(&beto, "RestoreTransaction", back), ERR_NOT_FOUND);
    assert_int_equal(ASK(&ana, "RestoreTransaction", back), OK);
    assert_false(reply()->data->is_deleted);
    assert_int_equal(ledger_balance(&ana, bank), held - 777);
    in.has_permanent = in.permanent = true;
    assert_int_equal(ASK(&ana, "DeleteTransaction", in), OK);
    const Avanta__Ledger__DeleteTransactionReply *out = ana.call.out;
    assert_int_equal(out->deleted->id, id);
    assert_null(out->data);
    assert_int_equal(ledger_balance(&ana, bank), held);
    assert_int_equal(ASK(&ana, "DeleteTransaction", in), ERR_NOT_FOUND);
    assert_int_equal(ASK(&ana, "RestoreTransaction", back), ERR_NOT_FOUND);
}

#define BOOKS(test) cmocka_unit_test_teardown(test, books_hold)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOOKS(what_counts_posts_anew_and_the_rest_does_not),
        BOOKS(null_clears),
        BOOKS(the_account_that_differs_is_meant),
        BOOKS(an_update_refuses_what_does_not_fit),
        BOOKS(the_rate_follows_the_currency),
        BOOKS(a_delete_needs_confirmation_and_can_be_undone),
    };

    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
