/*
 * Random operations, valid and not, against the real service and the model side by side: after
 * each, the same answer, the same balances, the same totals. AVANTA_SEED repeats a run,
 * AVANTA_STEPS sets its length.
 */
#include "tests/support/ledger_walk.h"

#include <stdlib.h>

#define STEPS_DEFAULT 400
#define BULK_MAX      5
#define WALK_FUTURE   2900000 /* a day long after all tests */

/* --- transactions --- */

/* A new transaction as asked for and as it must become. */
struct draft {
    Avanta__Ledger__CreateTransactionRequest in;
    struct model_transaction t;
    bool references; /* exist */
};

static void draft_references(struct draft *d)
{
    char name = walk_name();
    bool by_name = walk_chance(40);

    if (walk_chance(80)) {
        d->t.account =
            by_name ? model_account_named(&walk.model, name) : walk_row(walk.model.account_count);
        d->references = walk_account_usable(d->t.account);
        d->in.account = by_name ? walk_name_text(name) : NULL;
        d->in.has_account_id = !by_name;
        d->in.account_id = d->t.account < 0 ? WALK_ABSENT_ID : walk.model.accounts[d->t.account].id;
    }
    if (walk_chance(50)) {
        int category = walk_row(walk.model.category_count);
        d->t.category = category;
        d->references = d->references && category >= 0 && walk.model.categories[category].active;
        d->in.has_category_id = true;
        d->in.category_id = category < 0 ? WALK_ABSENT_ID : walk.model.categories[category].id;
    }
}

static void transaction_create(void)
{
    struct draft d = {
        .in = ledger_draft(),
        .t = {.day = walk_chance(3) ? WALK_FUTURE : walk_day(),
              .amount = walk_chance(3) ? 0 : walk_amount(),
              .rate = 1000000,
              .dollars = walk_chance(20),
              .income = walk_chance(50),
              .transfer = walk_chance(20),
              .account = -1,
              .category = -1},
        .references = true
    };

    d.in.date = walk_day_text(d.t.day);
    d.in.amount = d.t.amount;
    d.in.type = lit(d.t.income ? "ingreso" : "gasto");
    d.in.transaction_type = lit(d.t.transfer ? "transfer" : "business");
    draft_references(&d);
    if (d.t.dollars) {
        d.t.rate = 1 + (int64_t)walk_draw(40000000);
        d.in.currency = lit("USD");
        d.in.has_exchange_rate = walk_chance(90);
        d.in.exchange_rate = d.t.rate;
    }
    bool priced = !d.t.dollars || d.in.has_exchange_rate;
    bool fits = priced && d.t.day != WALK_FUTURE && model_mxn(d.t.amount, d.t.rate) > 0;
    enum code wanted = !fits ? ERR_INVALID : d.references ? OK : ERR_REFERENCE;
    walk_expect("CreateTransaction", ASK(&walk.client, "CreateTransaction", d.in), wanted);
    if (wanted == OK) {
        d.t.id = REPLY(&walk.client, Avanta__Ledger__TransactionReply)->data->id;
        walk.model.transactions[walk.model.transaction_count++] = d.t;
    }
}

/* The parts of an update. Each draws whether it is there, and takes it into `t`; `fields` counts.
 */
struct update {
    Avanta__Ledger__UpdateTransactionRequest in;
    struct model_transaction t;
    char *cleared[2];
    int fields;
    bool references; /* exist */
    bool priced;     /* the rate is known */
};

static void draw_values(struct update *u)
{
    if (walk_chance(40)) {
        u->fields++;
        u->t.amount = walk_amount();
        u->in.has_amount = true;
        u->in.amount = u->t.amount;
    }
    if (walk_chance(30)) {
        u->fields++;
        u->t.income = walk_chance(50);
        u->in.type = lit(u->t.income ? "ingreso" : "gasto");
    }
    if (walk_chance(30)) {
        u->fields++;
        u->t.day = walk_day();
        u->in.date = walk_day_text(u->t.day);
    }
    if (walk_chance(20)) {
        u->fields++;
        u->t.transfer = walk_chance(50);
        u->in.transaction_type = lit(u->t.transfer ? "transfer" : "personal");
    }
}

static void draw_references(struct update *u)
{
    if (walk_chance(20)) {
        u->fields++;
        u->cleared[u->in.n_cleared++] = lit("account");
        u->t.account = -1;
    } else if (walk_chance(40)) {
        int account = walk_row(walk.model.account_count);
        u->fields++;
        u->in.has_account_id = true;
        u->in.account_id = account < 0 ? WALK_ABSENT_ID : walk.model.accounts[account].id;
        u->references = account >= 0 && (account == u->t.account || walk_account_usable(account));
        u->t.account = account;
    }
    if (walk_chance(20)) {
        u->fields++;
        u->cleared[u->in.n_cleared++] = lit("category_id");
        u->t.category = -1;
    } else if (walk_chance(30)) {
        int category = walk_row(walk.model.category_count);
        u->fields++;
        u->in.has_category_id = true;
        u->in.category_id = category < 0 ? WALK_ABSENT_ID : walk.model.categories[category].id;
        u->references = u->references && category >= 0 &&
                        (category == u->t.category || walk.model.categories[category].active);
        u->t.category = category;
    }
}

static void draw_price(struct update *u)
{
    bool dollars = walk_chance(50);

    if (walk_chance(80)) {
        return;
    }
    u->fields++;
    u->in.currency = lit(dollars ? "USD" : "MXN");
    u->in.has_exchange_rate = walk_chance(50);
    u->in.exchange_rate = dollars ? 1 + (int64_t)walk_draw(40000000) : 1000000;
    u->priced = !dollars || u->in.has_exchange_rate || u->t.dollars;
    if (!dollars) {
        u->t.rate = 1000000;
    } else if (u->in.has_exchange_rate) {
        u->t.rate = u->in.exchange_rate;
    }
    u->t.dollars = dollars;
}

static void transaction_update(void)
{
    int row = walk_row(walk.model.transaction_count);
    struct update u = {.in = AVANTA__LEDGER__UPDATE_TRANSACTION_REQUEST__INIT,
                       .t = {.gone = true},
                       .references = true,
                       .priced = true};

    if (row >= 0) {
        u.t = walk.model.transactions[row];
    }
    u.in.has_id = true;
    u.in.id = row < 0 ? WALK_ABSENT_ID : u.t.id;
    u.in.cleared = u.cleared;
    draw_values(&u);
    draw_references(&u);
    draw_price(&u);
    bool fits = u.priced && model_mxn(u.t.amount, u.t.rate) > 0;
    enum code wanted = u.fields == 0   ? ERR_INVALID
                       : u.t.gone      ? ERR_NOT_FOUND
                       : !fits         ? ERR_INVALID
                       : !u.references ? ERR_REFERENCE
                                       : OK;
    walk_expect("UpdateTransaction", ASK(&walk.client, "UpdateTransaction", u.in), wanted);
    if (wanted == OK) {
        walk.model.transactions[row] = u.t;
    }
}

static void transaction_delete(void)
{
    Avanta__Ledger__DeleteTransactionRequest in = AVANTA__LEDGER__DELETE_TRANSACTION_REQUEST__INIT;
    int row = walk_row(walk.model.transaction_count);
    bool there = row >= 0 && !walk.model.transactions[row].gone;

    in.has_id = in.has_confirm = in.has_permanent = true;
    in.id = row < 0 ? WALK_ABSENT_ID : walk.model.transactions[row].id;
    in.confirm = walk_chance(90);
    in.permanent = walk_chance(20);
    enum code wanted = !in.confirm ? ERR_INVALID : there ? OK : ERR_NOT_FOUND;
    walk_expect("DeleteTransaction", ASK(&walk.client, "DeleteTransaction", in), wanted);
    if (wanted == OK) {
        walk.model.transactions[row].deleted = true;
        walk.model.transactions[row].gone = in.permanent;
    }
}

static void transaction_restore(void)
{
    Avanta__Ledger__RestoreTransactionRequest in =
        AVANTA__LEDGER__RESTORE_TRANSACTION_REQUEST__INIT;
    int row = walk_row(walk.model.transaction_count);

    in.has_id = true;
    in.id = row < 0 ? WALK_ABSENT_ID : walk.model.transactions[row].id;
    enum code wanted = row < 0 || walk.model.transactions[row].gone ? ERR_NOT_FOUND
                       : walk.model.transactions[row].deleted       ? OK
                                                                    : ERR_INVALID;
    walk_expect("RestoreTransaction", ASK(&walk.client, "RestoreTransaction", in), wanted);
    if (wanted == OK) {
        walk.model.transactions[row].deleted = false;
    }
}

/* What one entry of a bulk change comes to: -1 failed, 0 skipped, 1 done. */
static int bulk_entry(Avanta__Ledger__BulkTransactionUpdate *u, const int *earlier, int row)
{
    struct model_transaction t =
        row < 0 ? (struct model_transaction){.gone = true} : walk.model.transactions[row];
    bool references = true;
    bool changes = false;

    u->has_id = true;
    u->id = row < 0 ? WALK_ABSENT_ID : t.id;
    if (walk_chance(60)) {
        u->has_amount = true;
        u->amount = walk_chance(20) && row >= 0 ? t.amount : walk_amount();
        changes = u->amount != t.amount;
        t.amount = u->amount;
    }
    if (walk_chance(40)) {
        char name = walk_name();
        int account = model_account_named(&walk.model, name);
        bool same = t.account >= 0 && walk.model.accounts[t.account].name == name;
        u->account = walk_name_text(name);
        references = same || account >= 0;
        changes = changes || (!same && account != t.account);
        t.account = same ? t.account : account;
    }
    for (; *earlier != -2; earlier++) {
        if (*earlier == row) {
            return -1;
        }
    }
    if (t.gone || !references || model_mxn(t.amount, t.rate) == 0) {
        return -1;
    }
    walk.model.transactions[row] = t;
    return changes ? 1 : 0;
}

static void transaction_bulk(void)
{
    Avanta__Ledger__BulkUpdateTransactionsRequest in =
        AVANTA__LEDGER__BULK_UPDATE_TRANSACTIONS_REQUEST__INIT;
    Avanta__Ledger__BulkTransactionUpdate updates[BULK_MAX];
    Avanta__Ledger__BulkTransactionUpdate *pointers[BULK_MAX];
    int rows[BULK_MAX + 1] = {-2, -2, -2, -2, -2, -2};
    size_t counts[3] = {0};

    in.updates = pointers;
    in.n_updates = 1 + walk_draw(BULK_MAX);
    for (size_t i = 0; i < in.n_updates; i++) {
        int row = walk_row(walk.model.transaction_count);
        avanta__ledger__bulk_transaction_update__init(&updates[i]);
        pointers[i] = &updates[i];
        counts[1 + bulk_entry(&updates[i], rows, row)]++;
        rows[i] = row;
    }
    walk_expect("BulkUpdateTransactions", ASK(&walk.client, "BulkUpdateTransactions", in), OK);
    const Avanta__Ledger__BulkUpdateTransactionsReply *out = walk.client.call.out;
    assert_int_equal(out->n_failed, counts[0]);
    assert_int_equal(out->n_skipped, counts[1]);
    assert_int_equal(out->successful, counts[2]);
}

/* --- comparison --- */

static void compare_balance(const Avanta__Ledger__ListAccountsReply *shown, int account)
{
    int64_t balance = model_balance(&walk.model, account);
    size_t at = 0;

    while (at < shown->n_accounts && shown->accounts[at]->id != walk.model.accounts[account].id) {
        at++;
    }
    assert_true(at < shown->n_accounts);
    if (shown->accounts[at]->balance != balance) {
        fail_msg("account %lld shows %lld, the model %lld",
                 (long long)walk.model.accounts[account].id,
                 (long long)shown->accounts[at]->balance,
                 (long long)balance);
    }
}

static void compare_balances(void)
{
    Avanta__Ledger__ListAccountsRequest in = AVANTA__LEDGER__LIST_ACCOUNTS_REQUEST__INIT;
    size_t active = 0;

    assert_int_equal(ASK(&walk.client, "ListAccounts", in), OK);
    for (int i = 0; i < walk.model.account_count; i++) {
        if (walk.model.accounts[i].active) {
            compare_balance(walk.client.call.out, i);
            active++;
        }
    }
    assert_int_equal(REPLY(&walk.client, Avanta__Ledger__ListAccountsReply)->n_accounts, active);
}

static void compare_totals(bool with_deleted)
{
    Avanta__Ledger__ListTransactionsRequest in = AVANTA__LEDGER__LIST_TRANSACTIONS_REQUEST__INIT;
    struct model_totals totals = model_totals(&walk.model, with_deleted);

    in.has_include_stats = in.include_stats = true;
    in.has_include_deleted = true;
    in.include_deleted = with_deleted;
    in.has_limit = true;
    in.limit = 1;
    assert_int_equal(ASK(&walk.client, "ListTransactions", in), OK);
    const Avanta__Ledger__TransactionStatistics *s =
        REPLY(&walk.client, Avanta__Ledger__ListTransactionsReply)->statistics;
    assert_int_equal(s->total_transactions, totals.count);
    assert_int_equal(s->total_income, totals.income);
    assert_int_equal(s->total_expenses, totals.expenses);
    assert_int_equal(s->net, totals.income - totals.expenses);
}

static void step(void)
{
    static const struct {
        void (*run)(void);
        uint64_t weight;
    } operations[] = {
        {walk_account_create,  4 },
        {walk_account_update,  6 },
        {walk_account_delete,  2 },
        {walk_category_create, 3 },
        {walk_category_change, 3 },
        {walk_stated_create,   6 },
        {walk_stated_update,   4 },
        {walk_stated_delete,   2 },
        {transaction_create,   30},
        {transaction_update,   20},
        {transaction_delete,   8 },
        {transaction_restore,  5 },
        {transaction_bulk,     7 },
    };
    uint64_t at = walk_draw(100);
    size_t i = 0;

    while (i + 1 < ARRAY_LEN(operations) && at >= operations[i].weight) {
        at -= operations[i].weight;
        i++;
    }
    operations[i].run();
}

static void service_and_model_agree(void **state)
{
    const char *given = getenv("AVANTA_STEPS");
    uint64_t steps = given == NULL ? STEPS_DEFAULT : strtoull(given, NULL, 10);

    (void)state;
    assert_true(steps <= MODEL_ROWS_MAX);
    for (uint64_t i = 0; i < steps; i++) {
        step();
        compare_balances();
        compare_totals(i % 2 == 0);
        if (i % 50 == 49) {
            ledger_books_hold(walk.rig.dsn);
        }
    }
    ledger_books_hold(walk.rig.dsn);
}

static int setup_all(void **state)
{
    (void)state;
    walk_open();
    return 0;
}

static int teardown_all(void **state)
{
    (void)state;
    walk_close();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(service_and_model_agree),
    };

    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
