#pragma once
/* Calls of the ledger in few words, and the proof that its books hold. Built on service_rig; what
 * should not fail ends the test. Single-threaded. */

#include "avanta/ledger.pb-c.h"
#include "tests/support/check.h"
#include "tests/support/service_rig.h"

struct ledger_client {
    struct service_rig *rig;
    const char *user;
    struct service_call call; /* the last one */
};

#define LEDGER_ANA  "11111111-1111-4111-8111-111111111111"
#define LEDGER_BETO "22222222-2222-4222-8222-222222222222"

/* Texts of messages are `char *`, though nothing writes them. */
char *lit(const char *text);
/* The reply is in client->call.out until the next call. */
enum code ledger_ask(struct ledger_client *client, const char *method, const ProtobufCMessage *in);
void ledger_client_end(struct ledger_client *client);

#define ASK(client, method, message) ledger_ask((client), "ledger." method, &(message).base)
/* The answer is OK; its message. */
#define REPLY(client, type) ((const type *)(client)->call.out)

/* True when the last answer has a violation of the field by the rule. */
bool ledger_violates(const struct ledger_client *client, const char *field, const char *rule);

int64_t ledger_make_account(struct ledger_client *client,
                            const char *name,
                            int64_t balance,
                            const char *opening_date);
int64_t ledger_make_category(struct ledger_client *client, const char *name);
/* The reply's row, alive until the next call. */
const Avanta__Ledger__Transaction *ledger_book(struct ledger_client *client,
                                               const Avanta__Ledger__CreateTransactionRequest *in);
/* A request with what is required: 2024-03-10, "Prueba", 100.00, gasto, personal. */
Avanta__Ledger__CreateTransactionRequest ledger_draft(void);
/* Of an active account, as the list shows it. */
int64_t ledger_balance(struct ledger_client *client, int64_t account_id);
const Avanta__Ledger__Transaction *ledger_read(struct ledger_client *client, int64_t id);

/* The one number a query gives. */
int64_t ledger_count(const char *dsn, const char *sql);

/* Every entry balances, every live transaction is posted as it stands and exactly once, deleted
 * ones are not, and no entry is reversed that should not be. */
void ledger_books_hold(const char *dsn);
