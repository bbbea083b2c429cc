#include "tests/support/ledger_client.h"

#include "tests/support/scratch_pg.h"

#include <string.h>

char *lit(const char *text)
{
    union {
        const char *given;
        char *taken;
    } same = {text};

    return same.taken;
}

void ledger_client_end(struct ledger_client *client)
{
    if (client->call.arena != NULL) {
        service_call_end(&client->call);
    }
}

enum code ledger_ask(struct ledger_client *client, const char *method, const ProtobufCMessage *in)
{
    ledger_client_end(client);
    client->call =
        (struct service_call){.method = service_method(method), .in = in, .user = client->user};
    return service_call(client->rig, &client->call);
}

bool ledger_violates(const struct ledger_client *client, const char *field, const char *rule)
{
    for (size_t i = 0; i < client->call.field_count; i++) {
        if (strcmp(client->call.fields[i], field) == 0 &&
            strcmp(client->call.rules[i], rule) == 0) {
            return true;
        }
    }
    return false;
}

int64_t ledger_make_account(struct ledger_client *client,
                            const char *name,
                            int64_t balance,
                            const char *opening_date)
{
    Avanta__Ledger__CreateAccountRequest in = AVANTA__LEDGER__CREATE_ACCOUNT_REQUEST__INIT;

    in.name = lit(name);
    in.type = lit("checking");
    in.has_balance = true;
    in.balance = balance;
    in.opening_date = lit(opening_date);
    assert_int_equal(ASK(client, "CreateAccount", in), OK);
    assert_int_equal(REPLY(client, Avanta__Ledger__AccountReply)->balance, balance);
    return REPLY(client, Avanta__Ledger__AccountReply)->id;
}

int64_t ledger_make_category(struct ledger_client *client, const char *name)
{
    Avanta__Ledger__CreateCategoryRequest in = AVANTA__LEDGER__CREATE_CATEGORY_REQUEST__INIT;

    in.name = lit(name);
    assert_int_equal(ASK(client, "CreateCategory", in), OK);
    return REPLY(client, Avanta__Ledger__CategoryReply)->id;
}

Avanta__Ledger__CreateTransactionRequest ledger_draft(void)
{
    Avanta__Ledger__CreateTransactionRequest in = AVANTA__LEDGER__CREATE_TRANSACTION_REQUEST__INIT;

    in.date = lit("2024-03-10");
    in.description = lit("Prueba");
    in.has_amount = true;
    in.amount = 10000;
    in.type = lit("gasto");
    in.category = lit("personal");
    return in;
}

const Avanta__Ledger__Transaction *ledger_book(struct ledger_client *client,
                                               const Avanta__Ledger__CreateTransactionRequest *in)
{
    assert_int_equal(ledger_ask(client, "ledger.CreateTransaction", &in->base), OK);
    return REPLY(client, Avanta__Ledger__TransactionReply)->data;
}

int64_t ledger_balance(struct ledger_client *client, int64_t account_id)
{
    Avanta__Ledger__ListAccountsRequest in = AVANTA__LEDGER__LIST_ACCOUNTS_REQUEST__INIT;

    assert_int_equal(ASK(client, "ListAccounts", in), OK);
    const Avanta__Ledger__ListAccountsReply *reply = client->call.out;
    for (size_t i = 0; i < reply->n_accounts; i++) {
        if (reply->accounts[i]->id == account_id) {
            return reply->accounts[i]->balance;
        }
    }
    fail_msg("account %lld is not listed", (long long)account_id);
    return 0;
}

const Avanta__Ledger__Transaction *ledger_read(struct ledger_client *client, int64_t id)
{
    Avanta__Ledger__GetTransactionRequest in = AVANTA__LEDGER__GET_TRANSACTION_REQUEST__INIT;

    in.has_id = true;
    in.id = id;
    assert_int_equal(ASK(client, "GetTransaction", in), OK);
    return client->call.out;
}

int64_t ledger_count(const char *dsn, const char *sql)
{
    int64_t value = 0;

    assert_true(str_to_int64(str_from(scratch_pg_ask(dsn, sql)), &value));
    return value;
}

/* --- the books --- */

static const struct {
    const char *wrong;
    const char *sql; /* counts what is wrong */
} laws[] = {
    {"entries that do not balance",
     "SELECT count(*) FROM (SELECT FROM posting GROUP BY user_id, entry_id HAVING sum(amount) <> 0) x" },
    {"entries without lines",
     "SELECT count(*) FROM journal_entry e WHERE NOT EXISTS (SELECT FROM posting p"
     " WHERE p.user_id = e.user_id AND p.entry_id = e.id)"                                             },
    {"live transactions whose entry is missing or reversed",
     "SELECT count(*) FROM transaction t WHERE t.deleted_at IS NULL AND NOT EXISTS ("
     " SELECT FROM journal_entry e WHERE e.user_id = t.user_id AND e.id = t.entry_id"
     "  AND e.transaction_id = t.id AND e.kind = 'transaction' AND e.booked_on = t.date"
     "  AND NOT EXISTS (SELECT FROM journal_entry r WHERE r.user_id = t.user_id"
     "   AND r.reverses_id = e.id))"                                                                   },
    {"entries in force that are of no live transaction",
     "SELECT count(*) FROM journal_entry e WHERE e.kind = 'transaction' AND NOT EXISTS ("
     " SELECT FROM journal_entry r WHERE r.user_id = e.user_id AND r.reverses_id = e.id)"
     " AND NOT EXISTS (SELECT FROM transaction t WHERE t.user_id = e.user_id AND t.entry_id = e.id)"   },
    {"transactions posted otherwise than they stand",
     "SELECT count(*) FROM (SELECT t.user_id, t.entry_id, l.line_no, l.book, l.account_id,"
     "  l.category_id, l.amount FROM transaction t CROSS JOIN LATERAL transaction_lines(t) l"
     "  WHERE t.deleted_at IS NULL"
     " EXCEPT SELECT user_id, entry_id, line_no, book, account_id, category_id, amount FROM posting) x"},
    {"reversals that do not mirror their entry",
     "SELECT count(*) FROM (SELECT r.user_id, r.id, p.line_no, p.book, p.account_id, p.category_id,"
     "  -p.amount AS amount, p.booked_on FROM journal_entry r"
     "  JOIN posting p ON p.user_id = r.user_id AND p.entry_id = r.reverses_id"
     " EXCEPT SELECT user_id, entry_id, line_no, book, account_id, category_id, amount, booked_on"
     "  FROM posting) x"                                                                               },
    {"stated balances that posted something else than they say",
     "SELECT count(*) FROM account_initial_balance b WHERE b.posted <> coalesce((SELECT p.amount"
     " FROM posting p WHERE p.user_id = b.user_id AND p.entry_id = b.entry_id AND p.line_no = 1"
     " AND p.account_id = b.account_id AND p.booked_on = b.balance_date), 0)"                          },
    {"accounts whose balance is not live transactions, openings and adjustments",
     "SELECT count(*) FROM account a WHERE"
     " (SELECT coalesce(sum(p.amount), 0) FROM posting p"
     "  WHERE p.user_id = a.user_id AND p.account_id = a.id) <>"
     " (SELECT coalesce(sum(CASE t.type WHEN 'ingreso' THEN t.amount_mxn ELSE -t.amount_mxn END), 0)"
     "  FROM transaction t"
     "  WHERE t.user_id = a.user_id AND t.account_id = a.id AND t.deleted_at IS NULL) +"
     " (SELECT coalesce(sum(b.posted), 0) FROM account_initial_balance b"
     "  WHERE b.user_id = a.user_id AND b.account_id = a.id) +"
     " (SELECT coalesce(sum(p.amount), 0) FROM posting p"
     "  JOIN journal_entry e ON e.user_id = p.user_id AND e.id = p.entry_id"
     "  WHERE p.user_id = a.user_id AND p.account_id = a.id AND e.kind = 'adjustment')"                },
};

static void law_holds(const char *dsn, const char *wrong, const char *sql)
{
    int64_t count = ledger_count(dsn, sql);

    if (count != 0) {
        fail_msg("%s: %lld", wrong, (long long)count);
    }
}

void ledger_books_hold(const char *dsn)
{
    for (size_t i = 0; i < ARRAY_LEN(laws); i++) {
        law_holds(dsn, laws[i].wrong, laws[i].sql);
    }
}
