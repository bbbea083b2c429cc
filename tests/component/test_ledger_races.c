/* Many at once: two replicas of the ledger, requests in flight on the same rows and accounts.
 * Whatever the order they take effect in, the books hold and every answer is one that some order
 * gives. */
#include "tests/support/ledger_client.h"

#include "libcommon/base/clock.h"

#include <stdlib.h>
#include <string.h>

#define AT_ONCE     16
#define STORM_CALLS 1600
#define STORM_WIDTH 24
#define STORM_IDS   64

static struct service_rig rig;
static struct ledger_client ana = {.rig = &rig, .user = LEDGER_ANA};
static int64_t accounts[3];
static uint64_t seed;

static uint64_t draw(uint64_t below)
{
    seed += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t z = seed;
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (z ^ (z >> 31)) % below;
}

static int setup_all(void **state)
{
    const char *given = getenv("AVANTA_SEED");

    (void)state;
    seed = given == NULL ? clock_wall_ms() : strtoull(given, NULL, 10);
    print_message("AVANTA_SEED=%llu\n", (unsigned long long)seed);
    service_rig_open(&rig, "ledger", 2);
    accounts[0] = ledger_make_account(&ana, "Uno", 100000, "2024-01-01");
    accounts[1] = ledger_make_account(&ana, "Dos", 0, NULL);
    accounts[2] = ledger_make_account(&ana, "Tres", -5, NULL);
    return 0;
}

static int teardown_all(void **state)
{
    (void)state;
    ledger_client_end(&ana);
    service_rig_close(&rig);
    return 0;
}

static int books_hold(void **state)
{
    (void)state;
    ledger_books_hold(rig.dsn);
    return 0;
}

/* Sends all of them before it reads one answer; counts the answers by code. */
static void all_at_once(const char *method,
                        const ProtobufCMessage *const *in,
                        size_t count,
                        size_t out_codes[CODE_COUNT])
{
    struct service_call calls[AT_ONCE] = {0};

    assert_true(count <= AT_ONCE);
    memset(out_codes, 0, CODE_COUNT * sizeof *out_codes);
    for (size_t i = 0; i < count; i++) {
        calls[i] = (struct service_call){
            .method = service_method(method), .in = in[i], .user = LEDGER_ANA};
        service_call_start(&rig, &calls[i]);
    }
    for (size_t i = 0; i < count; i++) {
        service_call_wait(&calls[i]);
        assert_int_equal(calls[i].bus, OK);
        out_codes[calls[i].code]++;
        service_call_end(&calls[i]);
    }
}

static int64_t booked(int64_t account_id)
{
    Avanta__Ledger__CreateTransactionRequest in = ledger_draft();

    in.has_account_id = true;
    in.account_id = account_id;
    return ledger_book(&ana, &in)->id;
}

/* --- one row --- */

static void updates_of_one_row_follow_one_another(void **state)
{
    Avanta__Ledger__UpdateTransactionRequest in[AT_ONCE];
    const ProtobufCMessage *messages[AT_ONCE];
    size_t codes[CODE_COUNT];
    int64_t id = booked(accounts[0]);
    int64_t before = ledger_count(rig.dsn, "SELECT count(*) FROM journal_entry");

    (void)state;
    for (size_t i = 0; i < AT_ONCE; i++) {
        avanta__ledger__update_transaction_request__init(&in[i]);
        in[i].has_id = in[i].has_amount = in[i].has_account_id = true;
        in[i].id = id;
        in[i].amount = 20000 + (int64_t)i;
        in[i].account_id = accounts[i % 3];
        messages[i] = &in[i].base;
    }
    all_at_once("ledger.UpdateTransaction", messages, AT_ONCE, codes);
    assert_int_equal(codes[OK], AT_ONCE);
    assert_int_equal(ledger_count(rig.dsn, "SELECT count(*) FROM journal_entry"),
                     before + (int64_t)2 * AT_ONCE);
    int64_t amount = ledger_read(&ana, id)->amount;
    assert_true(amount >= 20000 && amount < 20000 + AT_ONCE);
}

static void only_one_soft_delete_posts(void **state)
{
    Avanta__Ledger__DeleteTransactionRequest in = AVANTA__LEDGER__DELETE_TRANSACTION_REQUEST__INIT;
    Avanta__Ledger__RestoreTransactionRequest back =
        AVANTA__LEDGER__RESTORE_TRANSACTION_REQUEST__INIT;
    const ProtobufCMessage *messages[AT_ONCE];
    size_t codes[CODE_COUNT];

    (void)state;
    in.has_id = in.has_confirm = in.confirm = true;
    in.id = booked(accounts[1]);
    int64_t before = ledger_count(rig.dsn, "SELECT count(*) FROM journal_entry");
    for (size_t i = 0; i < AT_ONCE; i++) {
        messages[i] = &in.base;
    }
    all_at_once("ledger.DeleteTransaction", messages, AT_ONCE, codes);
    assert_int_equal(codes[OK], AT_ONCE);
    assert_int_equal(ledger_count(rig.dsn, "SELECT count(*) FROM journal_entry"), before + 1);
    back.has_id = true;
    back.id = in.id;
    for (size_t i = 0; i < AT_ONCE; i++) {
        messages[i] = &back.base;
    }
    all_at_once("ledger.RestoreTransaction", messages, AT_ONCE, codes);
    assert_int_equal(codes[OK], 1);
    assert_int_equal(codes[ERR_INVALID], AT_ONCE - 1);
    assert_int_equal(ledger_count(rig.dsn, "SELECT count(*) FROM journal_entry"), before + 2);
    in.has_permanent = in.permanent = true;
    for (size_t i = 0; i < AT_ONCE; i++) {
        messages[i] = &in.base;
    }
    all_at_once("ledger.DeleteTransaction", messages, AT_ONCE, codes);
    assert_int_equal(codes[OK], 1);
    assert_int_equal(codes[ERR_NOT_FOUND], AT_ONCE - 1);
    assert_int_equal(ledger_count(rig.dsn, "SELECT count(*) FROM journal_entry"), before + 3);
}

/* --- one name, one day, one balance --- */

static void one_category_gets_the_name(void **state)
{
    Avanta__Ledger__CreateCategoryRequest in = AVANTA__LEDGER__CREATE_CATEGORY_REQUEST__INIT;
    const ProtobufCMessage *messages[AT_ONCE];
    size_t codes[CODE_COUNT];

    (void)state;
    in.name = lit("Única");
    for (size_t i = 0; i < AT_ONCE; i++) {
        messages[i] = &in.base;
    }
    all_at_once("ledger.CreateCategory", messages, AT_ONCE, codes);
    assert_int_equal(codes[OK], 1);
    assert_int_equal(codes[ERR_CONFLICT], AT_ONCE - 1);
}

static void adjustments_do_not_add_up(void **state)
{
    Avanta__Ledger__UpdateAccountRequest in[AT_ONCE];
    const ProtobufCMessage *messages[AT_ONCE];
    size_t codes[CODE_COUNT];

    (void)state;
    for (size_t i = 0; i < AT_ONCE; i++) {
        avanta__ledger__update_account_request__init(&in[i]);
        in[i].has_id = in[i].has_balance = true;
        in[i].id = accounts[2];
        in[i].balance = 700000 + (int64_t)i;
        messages[i] = &in[i].base;
    }
    all_at_once("ledger.UpdateAccount", messages, AT_ONCE, codes);
    assert_int_equal(codes[OK], AT_ONCE);
    int64_t balance = ledger_balance(&ana, accounts[2]);
    assert_true(balance >= 700000 && balance < 700000 + AT_ONCE);
}

static void stated_balances_hold_whatever_their_order(void **state)
{
    Avanta__Ledger__CreateInitialBalanceRequest in[AT_ONCE];
    const ProtobufCMessage *messages[AT_ONCE];
    char dates[AT_ONCE][DATE_TEXT_BYTES];
    size_t codes[CODE_COUNT];
    int64_t account = ledger_make_account(&ana, "Fechada", 900, "2024-12-31");

    (void)state;
    for (size_t i = 0; i < AT_ONCE; i++) {
        /* Two of each day. */
        date_format((struct date){2024, 5, (uint8_t)(1 + i / 2)}, dates[i]);
        avanta__ledger__create_initial_balance_request__init(&in[i]);
        in[i].has_id = in[i].has_initial_balance = true;
        in[i].id = account;
        in[i].balance_date = dates[i];
        in[i].initial_balance = (int64_t)(i * i) * 100 - 3000;
        messages[i] = &in[i].base;
    }
    all_at_once("ledger.CreateInitialBalance", messages, AT_ONCE, codes);
    assert_int_equal(codes[OK], AT_ONCE / 2);
    assert_int_equal(codes[ERR_CONFLICT], AT_ONCE / 2);
    assert_int_equal(ledger_balance(&ana, account), 900);
    assert_int_equal(
        ledger_count(rig.dsn,
                     "SELECT count(*) FROM account_initial_balance b WHERE b.initial_balance <> ("
                     "SELECT sum(p.amount) FROM posting p WHERE p.user_id = b.user_id"
                     " AND p.account_id = b.account_id AND p.booked_on <= b.balance_date)"
                     " AND b.account_id = (SELECT id FROM account WHERE name = 'Fechada')"),
        0);
}

/* --- a storm --- */

union storm_input {
    Avanta__Ledger__CreateTransactionRequest create;
    Avanta__Ledger__UpdateTransactionRequest update;
    Avanta__Ledger__DeleteTransactionRequest gone;
    Avanta__Ledger__RestoreTransactionRequest back;
};

struct storm_slot {
    struct service_call call;
    union storm_input in;
    bool busy;
};

static int64_t storm_ids[STORM_IDS];
static size_t storm_id_count;

static void storm_create(struct storm_slot *slot)
{
    slot->in.create = ledger_draft();
    slot->in.create.amount = 1 + (int64_t)draw(100000);
    slot->in.create.type = lit(draw(2) == 0 ? "ingreso" : "gasto");
    slot->in.create.has_account_id = true;
    slot->in.create.account_id = accounts[draw(3)];
    slot->call = (struct service_call){.method = service_method("ledger.CreateTransaction"),
                                       .in = &slot->in.create.base};
}

static void storm_update(struct storm_slot *slot, int64_t id)
{
    Avanta__Ledger__UpdateTransactionRequest *in = &slot->in.update;

    avanta__ledger__update_transaction_request__init(in);
    in->has_id = in->has_amount = true;
    in->id = id;
    in->amount = 1 + (int64_t)draw(100000);
    in->has_account_id = draw(2) == 0;
    in->account_id = accounts[draw(3)];
    in->type = draw(3) == 0 ? lit("ingreso") : NULL;
    slot->call = (struct service_call){.method = service_method("ledger.UpdateTransaction"),
                                       .in = &in->base};
}

static void storm_delete(struct storm_slot *slot, int64_t id)
{
    avanta__ledger__delete_transaction_request__init(&slot->in.gone);
    slot->in.gone.has_id = slot->in.gone.has_confirm = slot->in.gone.confirm = true;
    slot->in.gone.id = id;
    slot->in.gone.has_permanent = true;
    slot->in.gone.permanent = draw(4) == 0;
    slot->call = (struct service_call){.method = service_method("ledger.DeleteTransaction"),
                                       .in = &slot->in.gone.base};
}

static void storm_restore(struct storm_slot *slot, int64_t id)
{
    avanta__ledger__restore_transaction_request__init(&slot->in.back);
    slot->in.back.has_id = true;
    slot->in.back.id = id;
    slot->call = (struct service_call){.method = service_method("ledger.RestoreTransaction"),
                                       .in = &slot->in.back.base};
}

static void storm_send(struct storm_slot *slot)
{
    uint64_t kind = draw(10);

    if (storm_id_count == 0 || kind < 3) {
        storm_create(slot);
    } else {
        int64_t id = storm_ids[draw(storm_id_count)];
        if (kind < 7) {
            storm_update(slot, id);
        } else if (kind < 9) {
            storm_delete(slot, id);
        } else {
            storm_restore(slot, id);
        }
    }
    slot->call.user = LEDGER_ANA;
    slot->busy = true;
    service_call_start(&rig, &slot->call);
}

/* Restoring what is live and touching what is gone for good are answers, not failures. */
static void storm_judge(struct storm_slot *slot)
{
    const struct service_call *call = &slot->call;

    if (call->bus != OK || (call->code != OK && call->code != ERR_NOT_FOUND &&
                            call->reason != AVANTA__REASON__NOT_DELETED)) {
        fail_msg("%s answers %s %s",
                 call->method->name,
                 code_wire(call->bus != OK ? call->bus : call->code),
                 call->detail == NULL ? "" : call->detail);
    }
    if (call->code == OK && strcmp(call->method->name, "CreateTransaction") == 0) {
        const Avanta__Ledger__TransactionReply *out = call->out;
        size_t at = storm_id_count < STORM_IDS ? storm_id_count++ : draw(STORM_IDS);
        storm_ids[at] = out->data->id;
    }
    service_call_end(&slot->call);
    slot->busy = false;
}

/* Takes what has been answered and sends anew in its place. */
static size_t storm_turn(struct storm_slot *slot, bool more)
{
    if (slot->busy && slot->call.count > 0) {
        storm_judge(slot);
    }
    if (slot->busy || !more) {
        return 0;
    }
    storm_send(slot);
    return 1;
}

static void a_storm_leaves_the_books_in_order(void **state)
{
    static struct storm_slot slots[STORM_WIDTH];
    size_t sent = 0;

    (void)state;
    for (size_t round = 1; sent < STORM_CALLS; round++) {
        for (size_t i = 0; i < STORM_WIDTH; i++) {
            sent += storm_turn(&slots[i], sent < STORM_CALLS);
        }
        bus_rig_run(&rig.loop, 1);
        if (round % 400 == 0) {
            ledger_books_hold(rig.dsn); /* between any two transactions */
        }
    }
    for (size_t i = 0; i < STORM_WIDTH; i++) {
        if (slots[i].busy) {
            service_call_wait(&slots[i].call);
            storm_judge(&slots[i]);
        }
    }
    int64_t deleted =
        ledger_count(rig.dsn, "SELECT count(*) FROM transaction WHERE deleted_at IS NOT NULL");
    assert_true(deleted > 0);
}

#define BOOKS(test) cmocka_unit_test_teardown(test, books_hold)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOOKS(updates_of_one_row_follow_one_another),
        BOOKS(only_one_soft_delete_posts),
        BOOKS(one_category_gets_the_name),
        BOOKS(adjustments_do_not_add_up),
        BOOKS(stated_balances_hold_whatever_their_order),
        BOOKS(a_storm_leaves_the_books_in_order),
    };

    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
