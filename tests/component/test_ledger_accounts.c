/* Accounts, stated balances and categories of the real service. */
#include "tests/support/ledger_client.h"
#include "tests/support/scratch_pg.h"

#include "libcommon/base/clock.h"

#include <string.h>

static struct service_rig rig;
static struct ledger_client ana = {.rig = &rig, .user = LEDGER_ANA};
static struct ledger_client beto = {.rig = &rig, .user = LEDGER_BETO};

static int setup_all(void **state)
{
    (void)state;
    service_rig_open(&rig, "ledger", 1);
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

/* --- accounts --- */

static void an_account_opens_with_its_balance(void **state)
{
    Avanta__Ledger__CreateAccountRequest in = AVANTA__LEDGER__CREATE_ACCOUNT_REQUEST__INIT;
    char today[DATE_TEXT_BYTES];

    (void)state;
    in.name = lit("Nómina O'Neil");
    in.type = lit("savings");
    in.has_balance = true;
    in.balance = -12345;
    in.metadata = lit("{\"b\": [1, 2],  \"a\":null}");
    assert_int_equal(ASK(&ana, "CreateAccount", in), OK);
    const Avanta__Ledger__AccountReply *made = ana.call.out;
    date_format(date_in_mexico_city(clock_wall_ms()), today);
    assert_true(made->success);
    assert_string_equal(made->user_id, LEDGER_ANA);
    assert_string_equal(made->name, "Nómina O'Neil");
    assert_string_equal(made->type, "savings");
    assert_string_equal(made->account_type, "personal");
    assert_string_equal(made->opening_date, today);
    assert_string_equal(made->metadata, "{\"b\": [1, 2],  \"a\":null}");
    assert_int_equal(strlen(made->created_at), strlen("2026-01-01 00:00:00"));
    assert_null(made->description);
    assert_true(made->is_active);
    assert_false(made->is_deleted);
    assert_int_equal(made->balance, -12345);
    assert_int_equal(ledger_balance(&ana, made->id), -12345);
}

static void what_an_account_needs(void **state)
{
    Avanta__Ledger__CreateAccountRequest in = AVANTA__LEDGER__CREATE_ACCOUNT_REQUEST__INIT;

    (void)state;
    in.type = lit("banco");
    assert_int_equal(ASK(&ana, "CreateAccount", in), ERR_INVALID);
    assert_true(ledger_violates(&ana, "name", "required"));
    assert_true(ledger_violates(&ana, "type", "value"));
}

static void accounts_are_listed_by_type_and_name_and_only_to_their_owner(void **state)
{
    Avanta__Ledger__CreateAccountRequest in = AVANTA__LEDGER__CREATE_ACCOUNT_REQUEST__INIT;
    Avanta__Ledger__ListAccountsRequest list = AVANTA__LEDGER__LIST_ACCOUNTS_REQUEST__INIT;
    static const char *const names[][3] = {
        {"zeta",    "checking", "business"},
        {"Árbol",  "checking", "personal"},
        {"banco",   "checking", "business"},
        {"billete", "cash",     "personal"},
    };
    static const char *const order[] = {"billete", "Árbol", "banco", "zeta"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        in.name = lit(names[i][0]);
        in.type = lit(names[i][1]);
        in.account_type = lit(names[i][2]);
        assert_int_equal(ASK(&beto, "CreateAccount", in), OK);
    }
    assert_int_equal(ASK(&beto, "ListAccounts", list), OK);
    const Avanta__Ledger__ListAccountsReply *all = beto.call.out;
    assert_int_equal(all->n_accounts, ARRAY_LEN(order));
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        assert_string_equal(all->accounts[i]->name, order[i]);
    }
    list.account_type = lit("business");
    list.has_limit = true;
    list.limit = 1;
    list.has_page = true;
    list.page = 2;
    assert_int_equal(ASK(&beto, "ListAccounts", list), OK);
    assert_int_equal(REPLY(&beto, Avanta__Ledger__ListAccountsReply)->n_accounts, 1);
    assert_string_equal(REPLY(&beto, Avanta__Ledger__ListAccountsReply)->accounts[0]->name, "zeta");
}

static void another_balance_posts_the_difference(void **state)
{
    Avanta__Ledger__UpdateAccountRequest in = AVANTA__LEDGER__UPDATE_ACCOUNT_REQUEST__INIT;
    Avanta__Ledger__CreateTransactionRequest draft = ledger_draft();
    char *cleared[] = {lit("opening_date"), lit("metadata")};

    (void)state;
    in.has_id = true;
    in.id = ledger_make_account(&ana, "Ajustes", 50000, "2024-01-01");
    draft.has_account_id = true;
    draft.account_id = in.id;
    (void)ledger_book(&ana, &draft);
    in.has_balance = true;
    in.balance = 45050;
    in.name = lit("Ajustada");
    assert_int_equal(ASK(&ana, "UpdateAccount", in), OK);
    assert_int_equal(REPLY(&ana, Avanta__Ledger__AccountReply)->balance, 45050);
    assert_string_equal(REPLY(&ana, Avanta__Ledger__AccountReply)->name, "Ajustada");
    assert_int_equal(ledger_balance(&ana, in.id), 45050);
    assert_string_equal(
        scratch_pg_ask(rig.dsn,
                       "SELECT string_agg(p.amount::text, ',') FROM posting p JOIN journal_entry e"
                       " ON e.id = p.entry_id WHERE e.kind = 'adjustment' AND p.line_no = 1"),
        "5050");
    in.n_cleared = ARRAY_LEN(cleared);
    in.cleared = cleared;
    assert_int_equal(ASK(&ana, "UpdateAccount", in), OK);
    assert_null(REPLY(&ana, Avanta__Ledger__AccountReply)->opening_date);
    assert_int_equal(REPLY(&ana, Avanta__Ledger__AccountReply)->balance, 45050);
}

static void what_an_update_refuses(void **state)
{
    Avanta__Ledger__UpdateAccountRequest in = AVANTA__LEDGER__UPDATE_ACCOUNT_REQUEST__INIT;

    (void)state;
    in.has_id = true;
    in.id = ledger_make_account(&ana, "Intocable", 0, NULL);
    assert_int_equal(ASK(&ana, "UpdateAccount", in), ERR_INVALID);
    assert_int_equal(ana.call.reason, AVANTA__REASON__NO_UPDATE_FIELDS);
    in.name = lit("Mía");
    assert_int_equal(ASK(&beto, "UpdateAccount", in), ERR_NOT_FOUND);
    in.id = 999999;
    assert_int_equal(ASK(&ana, "UpdateAccount", in), ERR_NOT_FOUND);
}

static void a_deleted_account_stays_out_of_sight(void **state)
{
    Avanta__Ledger__AccountIdRequest in = AVANTA__LEDGER__ACCOUNT_ID_REQUEST__INIT;
    Avanta__Ledger__CreateTransactionRequest draft = ledger_draft();
    Avanta__Ledger__ListAccountsRequest list = AVANTA__LEDGER__LIST_ACCOUNTS_REQUEST__INIT;

    (void)state;
    in.has_id = true;
    in.id = ledger_make_account(&ana, "Cerrada", 100, NULL);
    assert_int_equal(ASK(&beto, "DeleteAccount", in), ERR_NOT_FOUND);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ASK(&ana, "DeleteAccount", in), OK);
        assert_int_equal(REPLY(&ana, Avanta__Ledger__DoneReply)->id, in.id);
    }
    assert_int_equal(ASK(&ana, "ListAccounts", list), OK);
    const Avanta__Ledger__ListAccountsReply *all = ana.call.out;
    for (size_t i = 0; i < all->n_accounts; i++) {
        assert_true(all->accounts[i]->id != in.id);
    }
    draft.account = lit("Cerrada");
    assert_int_equal(ASK(&ana, "CreateTransaction", draft), ERR_REFERENCE);
    assert_int_equal(ASK(&ana, "ListInitialBalances", in), ERR_NOT_FOUND);
    in.id = 999999;
    assert_int_equal(ASK(&ana, "DeleteAccount", in), ERR_NOT_FOUND);
}

/* --- stated balances --- */

static enum code state_balance(struct ledger_client *client,
                               int64_t account_id,
                               const char *date,
                               int64_t amount,
                               int64_t *out_id)
{
    Avanta__Ledger__CreateInitialBalanceRequest in =
        AVANTA__LEDGER__CREATE_INITIAL_BALANCE_REQUEST__INIT;
    enum code code = OK;

    in.has_id = true;
    in.id = account_id;
    in.balance_date = lit(date);
    in.has_initial_balance = true;
    in.initial_balance = amount;
    code = ASK(client, "CreateInitialBalance", in);
    if (code == OK && out_id != NULL) {
        *out_id = REPLY(client, Avanta__Ledger__DoneReply)->id;
    }
    return code;
}

/* What the books show at the start of a day: everything before it and its openings. */
static int64_t books_at(int64_t account_id, const char *date)
{
    char sql[512];
    int64_t value = 0;
    struct buf b = buf_over(sql, sizeof sql);

    buf_printf(&b,
               "SELECT coalesce(sum(p.amount), 0) FROM posting p JOIN journal_entry e"
               " ON e.user_id = p.user_id AND e.id = p.entry_id WHERE p.account_id = %lld AND"
               " (p.booked_on < '%s' OR (p.booked_on = '%s' AND e.transaction_id IS NULL"
               "  AND e.kind <> 'adjustment'))",
               (long long)account_id,
               date,
               date);
    assert_true(buf_terminate(&b));
    assert_true(str_to_int64(str_from(scratch_pg_ask(rig.dsn, sql)), &value));
    return value;
}

static void book(int64_t account_id, const char *date, const char *type, int64_t amount)
{
    Avanta__Ledger__CreateTransactionRequest draft = ledger_draft();

    draft.has_account_id = true;
    draft.account_id = account_id;
    draft.date = lit(date);
    draft.type = lit(type);
    draft.amount = amount;
    (void)ledger_book(&ana, &draft);
}

static void a_stated_balance_holds_up_to_the_next(void **state)
{
    int64_t account = ledger_make_account(&ana, "Histórica", 100000, "2024-06-01");
    int64_t january = 0;
    int64_t march = 0;

    (void)state;
    book(account, "2024-02-15", "gasto", 3000);
    book(account, "2024-07-01", "ingreso", 700);
    assert_int_equal(ledger_balance(&ana, account), 97700);
    assert_int_equal(state_balance(&ana, account, "2024-03-01", 40000, &march), OK);
    assert_int_equal(state_balance(&ana, account, "2024-01-01", 50000, &january), OK);
    assert_int_equal(books_at(account, "2024-01-01"), 50000);
    assert_int_equal(books_at(account, "2024-03-01"), 40000);
    /* What came later did not move: the next stated balance took up the difference. */
    assert_int_equal(ledger_balance(&ana, account), 97700);
    assert_int_equal(state_balance(&ana, account, "2024-03-01", 1, NULL), ERR_CONFLICT);
    assert_int_equal(ana.call.reason, AVANTA__REASON__DUPLICATE_ERROR);

    Avanta__Ledger__UpdateInitialBalanceRequest move =
        AVANTA__LEDGER__UPDATE_INITIAL_BALANCE_REQUEST__INIT;
    move.has_id = true;
    move.id = account;
    move.has_balance_id = true;
    move.balance_id = january;
    move.balance_date = lit("2024-04-01");
    move.has_initial_balance = true;
    move.initial_balance = -500;
    assert_int_equal(ASK(&ana, "UpdateInitialBalance", move), OK);
    assert_int_equal(books_at(account, "2024-01-01"), 0);
    assert_int_equal(books_at(account, "2024-03-01"), 40000);
    assert_int_equal(books_at(account, "2024-04-01"), -500);
    assert_int_equal(ledger_balance(&ana, account), 97700);
    move.balance_date = lit("2024-03-01");
    assert_int_equal(ASK(&ana, "UpdateInitialBalance", move), ERR_CONFLICT);
    assert_int_equal(ana.call.reason, AVANTA__REASON__DUPLICATE_ERROR);
    assert_int_equal(books_at(account, "2024-04-01"), -500);

    Avanta__Ledger__InitialBalanceIdRequest gone = AVANTA__LEDGER__INITIAL_BALANCE_ID_REQUEST__INIT;
    gone.has_id = true;
    gone.id = account;
    gone.has_balance_id = true;
    gone.balance_id = march;
    assert_int_equal(ASK(&beto, "DeleteInitialBalance", gone), ERR_NOT_FOUND);
    assert_int_equal(ASK(&ana, "DeleteInitialBalance", gone), OK);
    assert_int_equal(ASK(&ana, "DeleteInitialBalance", gone), ERR_NOT_FOUND);
    assert_int_equal(books_at(account, "2024-04-01"), -500);
    assert_int_equal(ledger_balance(&ana, account), 97700);
}

static void the_last_stated_balance_moves_today(void **state)
{
    int64_t account = ledger_make_account(&ana, "Sin apertura", 0, NULL);

    (void)state;
    book(account, "2024-05-05", "ingreso", 1000);
    assert_int_equal(state_balance(&ana, account, "2024-05-05", 7000, NULL), OK);
    assert_int_equal(ledger_balance(&ana, account), 8000);
    assert_int_equal(state_balance(&ana, account, "2024-05-06", 8000, NULL), OK);
    assert_int_equal(ledger_balance(&ana, account), 8000);
}

static void an_opening_moves_with_its_date(void **state)
{
    Avanta__Ledger__UpdateAccountRequest in = AVANTA__LEDGER__UPDATE_ACCOUNT_REQUEST__INIT;

    (void)state;
    in.has_id = true;
    in.id = ledger_make_account(&ana, "Mudanza", 30000, "2024-06-01");
    assert_int_equal(state_balance(&ana, in.id, "2024-05-01", 10000, NULL), OK);
    in.opening_date = lit("2024-04-01");
    assert_int_equal(ASK(&ana, "UpdateAccount", in), OK);
    assert_int_equal(books_at(in.id, "2024-04-01"), 30000);
    assert_int_equal(books_at(in.id, "2024-05-01"), 10000);
    assert_int_equal(ledger_balance(&ana, in.id), 10000);
    int64_t entries = 0;
    assert_true(str_to_int64(
        str_from(scratch_pg_ask(rig.dsn, "SELECT count(*) FROM journal_entry")), &entries));
    assert_int_equal(ASK(&ana, "UpdateAccount", in), OK);
    int64_t after = 0;
    assert_true(str_to_int64(
        str_from(scratch_pg_ask(rig.dsn, "SELECT count(*) FROM journal_entry")), &after));
    assert_int_equal(after, entries); /* the same date again posts nothing */
}

static void stated_balances_are_listed_newest_first(void **state)
{
    Avanta__Ledger__AccountIdRequest in = AVANTA__LEDGER__ACCOUNT_ID_REQUEST__INIT;
    Avanta__Ledger__UpdateInitialBalanceRequest note =
        AVANTA__LEDGER__UPDATE_INITIAL_BALANCE_REQUEST__INIT;

    (void)state;
    in.has_id = true;
    in.id = ledger_make_account(&ana, "Listada", 500, "2024-01-01");
    assert_int_equal(state_balance(&ana, in.id, "2024-02-01", 1, NULL), OK);
    assert_int_equal(state_balance(&ana, in.id, "2024-03-01", 2, &note.balance_id), OK);
    note.has_id = true;
    note.id = in.id;
    note.has_balance_id = true;
    assert_int_equal(ASK(&ana, "UpdateInitialBalance", note), ERR_INVALID);
    assert_int_equal(ana.call.reason, AVANTA__REASON__NO_UPDATE_FIELDS);
    note.notes = lit("según estado\nde cuenta");
    assert_int_equal(ASK(&ana, "UpdateInitialBalance", note), OK);
    assert_int_equal(ASK(&ana, "ListInitialBalances", in), OK);
    const Avanta__Ledger__ListInitialBalancesReply *list = ana.call.out;
    assert_int_equal(list->n_initial_balances, 2);
    assert_string_equal(list->initial_balances[0]->balance_date, "2024-03-01");
    assert_string_equal(list->initial_balances[0]->notes, "según estado\nde cuenta");
    assert_int_equal(list->initial_balances[1]->initial_balance, 1);
    assert_int_equal(ASK(&beto, "ListInitialBalances", in), ERR_NOT_FOUND);
    assert_int_equal(state_balance(&beto, in.id, "2024-04-01", 1, NULL), ERR_NOT_FOUND);
}

/* --- categories --- */

static void category_names_are_unique_among_active_ones(void **state)
{
    Avanta__Ledger__CreateCategoryRequest in = AVANTA__LEDGER__CREATE_CATEGORY_REQUEST__INIT;
    Avanta__Ledger__UpdateCategoryRequest change = AVANTA__LEDGER__UPDATE_CATEGORY_REQUEST__INIT;
    Avanta__Ledger__CategoryIdRequest gone = AVANTA__LEDGER__CATEGORY_ID_REQUEST__INIT;
    Avanta__Ledger__ListCategoriesRequest list = AVANTA__LEDGER__LIST_CATEGORIES_REQUEST__INIT;

    (void)state;
    in.name = lit("Renta");
    assert_int_equal(ASK(&ana, "CreateCategory", in), OK);
    const Avanta__Ledger__CategoryReply *made = ana.call.out;
    assert_string_equal(made->color, "#3B82F6");
    assert_string_equal(made->category_type, "business");
    assert_false(made->is_deductible);
    gone.has_id = true;
    gone.id = made->id;
    assert_int_equal(ASK(&ana, "CreateCategory", in), ERR_CONFLICT);
    assert_int_equal(ana.call.reason, AVANTA__REASON__DUPLICATE_ERROR);
    assert_int_equal(ASK(&beto, "CreateCategory", in), OK);

    change.has_id = true;
    change.id = ledger_make_category(&ana, "Luz");
    assert_int_equal(ASK(&ana, "UpdateCategory", change), ERR_INVALID);
    assert_int_equal(ana.call.reason, AVANTA__REASON__NO_UPDATE_FIELDS);
    change.name = lit("Renta");
    assert_int_equal(ASK(&ana, "UpdateCategory", change), ERR_CONFLICT);
    assert_int_equal(ana.call.reason, AVANTA__REASON__DUPLICATE_ERROR);
    change.name = NULL;
    change.has_is_deductible = true;
    change.is_deductible = true;
    assert_int_equal(ASK(&ana, "UpdateCategory", change), OK);
    assert_true(REPLY(&ana, Avanta__Ledger__CategoryReply)->is_deductible);
    assert_string_equal(REPLY(&ana, Avanta__Ledger__CategoryReply)->name, "Luz");
    assert_int_equal(ASK(&beto, "UpdateCategory", change), ERR_NOT_FOUND);

    assert_int_equal(ASK(&beto, "DeleteCategory", gone), ERR_NOT_FOUND);
    assert_int_equal(ASK(&ana, "DeleteCategory", gone), OK);
    assert_int_equal(ASK(&ana, "DeleteCategory", gone), OK);
    change.id = gone.id;
    assert_int_equal(ASK(&ana, "UpdateCategory", change), ERR_NOT_FOUND);
    assert_int_equal(ASK(&ana, "CreateCategory", in), OK);
    assert_int_equal(ASK(&ana, "ListCategories", list), OK);
    const Avanta__Ledger__ListCategoriesReply *all = ana.call.out;
    assert_int_equal(all->n_categories, 2);
    assert_string_equal(all->categories[0]->name, "Luz");
    assert_string_equal(all->categories[1]->name, "Renta");
}

/* --- the database's own laws --- */

static void the_journal_cannot_be_changed(void **state)
{
    (void)state;
    static const char *const attempts[] = {
        "UPDATE posting SET amount = 1",
        "DELETE FROM posting",
        "TRUNCATE posting",
        "UPDATE journal_entry SET booked_on = '2020-01-01'",
        "DELETE FROM journal_entry",
        "INSERT INTO journal_entry (user_id, kind, booked_on, created_at)"
        " VALUES ('" LEDGER_ANA "', 'opening', '2024-01-01', now())",
        "WITH e AS (INSERT INTO journal_entry (user_id, kind, booked_on, created_at)"
        " VALUES ('" LEDGER_ANA "', 'opening', '2024-01-01', now()) RETURNING *)"
        " INSERT INTO posting (user_id, entry_id, line_no, booked_on, book, amount)"
        " SELECT user_id, id, n, booked_on, 'opening', 5 * n FROM e, generate_series(1, 2) n",
        "INSERT INTO posting (user_id, entry_id, line_no, booked_on, book, amount)"
        " SELECT user_id, id, n, booked_on, 'opening', CASE n WHEN 3 THEN 1 ELSE -1 END"
        " FROM (SELECT * FROM journal_entry LIMIT 1) e, generate_series(3, 4) n",
    };
    for (size_t i = 0; i < ARRAY_LEN(attempts); i++) {
        char sql[1024];
        struct buf b = buf_over(sql, sizeof sql);
        buf_printf(&b,
                   "DO $$ BEGIN BEGIN %s; EXCEPTION WHEN check_violation OR insufficient_privilege"
                   " THEN RETURN; END; RAISE 'attempt %zu was let through'; END $$",
                   attempts[i],
                   i);
        assert_true(buf_terminate(&b));
        scratch_pg_run(rig.dsn, sql);
    }
    assert_string_equal(
        scratch_pg_ask(rig.dsn,
                       "SELECT has_table_privilege('ledger', 'posting', 'UPDATE')"
                       " OR has_table_privilege('ledger', 'posting', 'DELETE')"
                       " OR has_table_privilege('ledger', 'journal_entry', 'UPDATE')"
                       " OR has_table_privilege('ledger', 'journal_entry', 'TRUNCATE')"),
        "f");
}

#define BOOKS(test) cmocka_unit_test_teardown(test, books_hold)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOOKS(an_account_opens_with_its_balance),
        BOOKS(what_an_account_needs),
        BOOKS(accounts_are_listed_by_type_and_name_and_only_to_their_owner),
        BOOKS(another_balance_posts_the_difference),
        BOOKS(what_an_update_refuses),
        BOOKS(a_deleted_account_stays_out_of_sight),
        BOOKS(a_stated_balance_holds_up_to_the_next),
        BOOKS(the_last_stated_balance_moves_today),
        BOOKS(an_opening_moves_with_its_date),
        BOOKS(stated_balances_are_listed_newest_first),
        BOOKS(category_names_are_unique_among_active_ones),
        BOOKS(the_journal_cannot_be_changed),
    };

    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
