/* The list of transactions, its totals and running balances, on the real service. */
#include "tests/support/ledger_client.h"

#include <string.h>

static struct service_rig rig;
static struct ledger_client ana = {.rig = &rig, .user = LEDGER_ANA};
static struct ledger_client beto = {.rig = &rig, .user = LEDGER_BETO};

static int64_t bank;
static int64_t shop;
static int64_t food;

/* The rows the list tests look for, oldest id first; `letter` names them. */
struct seed {
    const char *date;
    const char *description;
    int64_t amount;
    const char *type;
    const char *category;
    const char *transaction_type;
    int account; /* 0 none, 1 bank, 2 shop */
    char letter;
    bool food;
    bool deductible;
    bool deleted;
};

/* clang-format off */
static const struct seed seeds[] = {
    {"2024-01-10", "Café 100%",     5000,   "gasto",   "personal", "personal", 1, 'a', true,  false, false},
    {"2024-01-10", "Cafe 100x",     1000,   "gasto",   "avanta",   "business", 1, 'b', false, true,  false},
    {"2024-02-01", "Renta_oficina", 900000, "gasto",   "avanta",   "business", 2, 'c', false, true,  false},
    {"2024-02-01", "RentaXoficina", 900000, "ingreso", "avanta",   "business", 2, 'd', false, false, false},
    {"2024-03-05", "árbol",         70,     "ingreso", "personal", "transfer", 0, 'e', false, false, false},
    {"2024-03-05", "Zapatos",       4000,   "gasto",   "personal", "personal", 1, 'f', false, false, true },
    {"2023-12-31", "a\\b",          5000,   "ingreso", "personal", "personal", 1, 'g', true,  false, false},
};
/* clang-format on */

static int64_t ids[ARRAY_LEN(seeds)];

static void seed_all(void)
{
    for (size_t i = 0; i < ARRAY_LEN(seeds); i++) {
        const struct seed *s = &seeds[i];
        Avanta__Ledger__CreateTransactionRequest in = ledger_draft();
        in.date = lit(s->date);
        in.description = lit(s->description);
        in.amount = s->amount;
        in.type = lit(s->type);
        in.category = lit(s->category);
        in.transaction_type = lit(s->transaction_type);
        in.has_account_id = s->account != 0;
        in.account_id = s->account == 1 ? bank : shop;
        in.has_category_id = s->food;
        in.category_id = food;
        in.has_is_deductible = true;
        in.is_deductible = s->deductible;
        ids[i] = ledger_book(&ana, &in)->id;
        if (s->deleted) {
            Avanta__Ledger__DeleteTransactionRequest gone =
                AVANTA__LEDGER__DELETE_TRANSACTION_REQUEST__INIT;
            gone.has_id = gone.has_confirm = gone.confirm = true;
            gone.id = ids[i];
            assert_int_equal(ASK(&ana, "DeleteTransaction", gone), OK);
        }
    }
}

static int setup_all(void **state)
{
    (void)state;
    service_rig_open(&rig, "ledger", 1);
    bank = ledger_make_account(&ana, "Banco", 100000, "2024-01-10");
    shop = ledger_make_account(&ana, "Tienda", 0, NULL);
    food = ledger_make_category(&ana, "Comida");
    seed_all();
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

/* --- the list --- */

typedef Avanta__Ledger__ListTransactionsRequest list_request;

static list_request everything(void)
{
    list_request in = AVANTA__LEDGER__LIST_TRANSACTIONS_REQUEST__INIT;

    return in;
}

static const Avanta__Ledger__ListTransactionsReply *list(const list_request *in)
{
    assert_int_equal(ledger_ask(&ana, "ledger.ListTransactions", &in->base), OK);
    return ana.call.out;
}

/* The letters of the page in its order. */
static const char *letters(const list_request *in)
{
    static char out[ARRAY_LEN(seeds) + 1];
    const Avanta__Ledger__ListTransactionsReply *reply = list(in);

    assert_true(reply->n_data <= ARRAY_LEN(seeds));
    for (size_t i = 0; i < reply->n_data; i++) {
        size_t at = 0;
        while (at < ARRAY_LEN(seeds) && ids[at] != reply->data[i]->id) {
            at++;
        }
        assert_true(at < ARRAY_LEN(seeds));
        out[i] = seeds[at].letter;
    }
    out[reply->n_data] = '\0';
    return out;
}

static void filters_select(void **state)
{
    list_request in = everything();

    (void)state;
    assert_string_equal(letters(&in), "edcbag");
    in.category = lit("personal");
    assert_string_equal(letters(&in), "eag");
    in.type = lit("ingreso");
    assert_string_equal(letters(&in), "eg");
    in = everything();
    in.transaction_type = lit("business");
    assert_string_equal(letters(&in), "dcb");
    in.has_is_deductible = true;
    assert_string_equal(letters(&in), "d");
    in.is_deductible = true;
    assert_string_equal(letters(&in), "cb");
    in = everything();
    in.has_category_id = true;
    in.category_id = food;
    assert_string_equal(letters(&in), "ag");
    in = everything();
    in.date_from = lit("2024-01-10");
    in.date_to = lit("2024-02-01");
    assert_string_equal(letters(&in), "dcba");
    in.has_amount_min = in.has_amount_max = true;
    in.amount_min = 1000;
    in.amount_max = 5000;
    assert_string_equal(letters(&in), "ba");
    in = everything();
    in.has_linked_invoice_id = true;
    in.linked_invoice_id = 1;
    assert_string_equal(letters(&in), "");
    in = everything();
    in.import_id = lit("imp_1");
    assert_string_equal(letters(&in), "");
}

static void accounts_are_named_or_numbered(void **state)
{
    list_request in = everything();

    (void)state;
    in.account = lit("Banco");
    assert_string_equal(letters(&in), "bag");
    in.account = lit("banco");
    assert_string_equal(letters(&in), "");
    in.has_account_id = true;
    in.account_id = shop;
    assert_string_equal(letters(&in), "dc");
    in.type = lit("gasto");
    assert_string_equal(letters(&in), "c");
}

static void search_gives(const char *search, const char *expected)
{
    list_request in = everything();

    in.search = lit(search);
    assert_string_equal(letters(&in), expected);
}

static void a_search_takes_every_character_as_itself(void **state)
{
    static const char *const cases[][2] = {
        {"100%",   "a"},
        {"CAFÉ",  "a"},
        {"cafe",   "b"},
        {"a_o",    "c"},
        {"rentax", "d"},
        {"\\",     "g"},
        {"%",      "a"},
        {"'",      "" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        search_gives(cases[i][0], cases[i][1]);
    }
}

static void order_gives(const char *sort_by, const char *sort_order, const char *expected)
{
    list_request in = everything();

    in.sort_by = lit(sort_by);
    in.sort_order = lit(sort_order);
    assert_string_equal(letters(&in), expected);
}

static void orders_are_total(void **state)
{
    static const char *const cases[][3] = {
        {"date",        "desc", "edcbag"},
        {"date",        "asc",  "gbadce"},
        {"amount",      "desc", "dcgabe"},
        {"amount",      "asc",  "ebgadc"},
        {"description", "asc",  "geabcd"},
        {"description", "desc", "dcbaeg"},
        {"created_at",  "desc", "gedcba"},
        {"created_at",  "asc",  "abcdeg"},
    };
    list_request in = everything();

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        order_gives(cases[i][0], cases[i][1], cases[i][2]);
    }
    in.account = lit("Banco");
    in.sort_by = lit("amount");
    in.sort_order = lit("asc");
    assert_string_equal(letters(&in), "bga");
    in.sort_by = lit("price");
    assert_int_equal(ledger_ask(&ana, "ledger.ListTransactions", &in.base), ERR_INVALID);
}

static void pages_know_whether_there_is_more(void **state)
{
    list_request in = everything();

    (void)state;
    in.has_limit = true;
    in.limit = 4;
    assert_string_equal(letters(&in), "edcb");
    const Avanta__Ledger__Pagination *p = list(&in)->pagination;
    assert_true(p->has_more);
    assert_int_equal(p->count, 4);
    assert_false(p->has_total);
    assert_null(list(&in)->statistics);
    in.has_page = true;
    in.page = 2;
    in.has_offset = true;
    in.offset = 1; /* the page goes before it */
    in.has_include_stats = in.include_stats = true;
    assert_string_equal(letters(&in), "ag");
    p = list(&in)->pagination;
    assert_false(p->has_more);
    assert_int_equal(p->offset, 4);
    assert_int_equal(p->total, 6);
    assert_int_equal(p->total_pages, 2);
    assert_int_equal(p->current_page, 2);
    in.has_page = false;
    in.limit = 3;
    in.offset = 3;
    assert_string_equal(letters(&in), "bag");
    assert_false(list(&in)->pagination->has_more);
    in.offset = 1000;
    assert_string_equal(letters(&in), "");
    in.limit = 0;
    assert_int_equal(ledger_ask(&ana, "ledger.ListTransactions", &in.base), ERR_INVALID);
}

static void totals_are_of_all_that_match(void **state)
{
    list_request in = everything();

    (void)state;
    in.has_include_stats = in.include_stats = true;
    in.has_limit = true;
    in.limit = 1;
    const Avanta__Ledger__TransactionStatistics *s = list(&in)->statistics;
    assert_int_equal(s->total_transactions, 6);
    assert_int_equal(s->total_income, 905070);
    assert_int_equal(s->total_expenses, 906000);
    assert_int_equal(s->net, -930);
    in.has_include_deleted = in.include_deleted = true;
    s = list(&in)->statistics;
    assert_int_equal(s->total_transactions, 7);
    assert_int_equal(s->total_expenses, 910000);
    in.account = lit("Banco");
    in.search = lit("zap");
    s = list(&in)->statistics;
    assert_int_equal(s->total_transactions, 1);
    assert_int_equal(s->net, -4000);
    assert_string_equal(list(&in)->filters->search, "zap");
    assert_string_equal(list(&in)->filters->account, "Banco");
    in.search = lit("nada");
    s = list(&in)->statistics;
    assert_int_equal(s->total_transactions, 0);
    assert_int_equal(s->net, 0);
    assert_int_equal(list(&in)->pagination->total_pages, 0);
}

static void deleted_rows_are_shown_on_request(void **state)
{
    list_request in = everything();

    (void)state;
    in.has_include_deleted = in.include_deleted = true;
    assert_string_equal(letters(&in), "fedcbag");
    assert_true(list(&in)->data[0]->is_deleted);
}

static void everyone_sees_their_own(void **state)
{
    list_request in = everything();
    Avanta__Ledger__GetTransactionRequest get = AVANTA__LEDGER__GET_TRANSACTION_REQUEST__INIT;

    (void)state;
    assert_int_equal(ledger_ask(&beto, "ledger.ListTransactions", &in.base), OK);
    assert_int_equal(REPLY(&beto, Avanta__Ledger__ListTransactionsReply)->n_data, 0);
    in.account = lit("Banco");
    assert_int_equal(ledger_ask(&beto, "ledger.ListTransactions", &in.base), OK);
    assert_int_equal(REPLY(&beto, Avanta__Ledger__ListTransactionsReply)->n_data, 0);
    get.has_id = true;
    get.id = ids[0];
    assert_int_equal(ASK(&beto, "GetTransaction", get), ERR_NOT_FOUND);
}

static void running_balances_follow_the_account(void **state)
{
    /* Newest first: b, a, g. The opening balance of 2024-01-10 comes before that day's rows. */
    static const int64_t after[] = {99000, 100000, 5000};
    list_request in = everything();

    (void)state;
    in.has_include_running_balance = in.include_running_balance = true;
    assert_int_equal(ledger_ask(&ana, "ledger.ListTransactions", &in.base), ERR_INVALID);
    assert_true(ledger_violates(&ana, "include_running_balance", "required"));
    in.account = lit("Banco");
    const Avanta__Ledger__ListTransactionsReply *reply = list(&in);
    assert_int_equal(reply->n_data, ARRAY_LEN(after));
    for (size_t i = 0; i < ARRAY_LEN(after); i++) {
        assert_true(reply->data[i]->has_running_balance);
        assert_int_equal(reply->data[i]->running_balance, after[i]);
    }
    assert_int_equal(ledger_balance(&ana, bank), after[0]);
}

#define BOOKS(test) cmocka_unit_test_teardown(test, books_hold)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOOKS(filters_select),
        BOOKS(accounts_are_named_or_numbered),
        BOOKS(a_search_takes_every_character_as_itself),
        BOOKS(orders_are_total),
        BOOKS(pages_know_whether_there_is_more),
        BOOKS(totals_are_of_all_that_match),
        BOOKS(deleted_rows_are_shown_on_request),
        BOOKS(everyone_sees_their_own),
        BOOKS(running_balances_follow_the_account),
    };

    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
