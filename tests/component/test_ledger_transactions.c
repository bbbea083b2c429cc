/* Booking transactions on the real service. */
#include "tests/support/ledger_client.h"

#include "libcommon/base/clock.h"

#include <string.h>

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
    cash = ledger_make_account(&ana, "Caja EFECTIVO chica", 0, NULL);
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

static const Avanta__Ledger__TransactionReply *reply(void)
{
    return ana.call.out;
}

/* --- create --- */

static void what_is_left_out_has_its_default(void **state)
{
    Avanta__Ledger__CreateTransactionRequest in = ledger_draft();

    (void)state;
    const Avanta__Ledger__Transaction *t = ledger_book(&ana, &in);
    assert_string_equal(t->user_id, LEDGER_ANA);
    assert_string_equal(t->date, "2024-03-10");
    assert_int_equal(t->amount, 10000);
    assert_null(t->account);
    assert_false(t->has_account_id);
    assert_string_equal(t->transaction_type, "personal");
    assert_string_equal(t->expense_type, "national");
    assert_string_equal(t->client_type, "nacional");
    assert_string_equal(t->currency, "MXN");
    assert_int_equal(t->exchange_rate, 1000000);
    assert_null(t->iva_rate);
    assert_true(t->has_isr_retention && t->isr_retention == 0);
    assert_true(t->has_is_deleted && !t->is_deleted);
    assert_true(t->has_has_cfdi && !t->has_cfdi);
    assert_true(t->has_is_reconciled && !t->is_reconciled);
    assert_null(t->deleted_at);
    assert_string_equal(t->created_at, t->updated_at);
    assert_true(reply()->success);
    assert_string_equal(reply()->compliance_note,
                        "Gasto sin CFDI: verificar requisitos de deducibilidad");
}

static void everything_given_is_kept(void **state)
{
    Avanta__Ledger__CreateTransactionRequest in = ledger_draft();

    (void)state;
    in.description = lit("D'Angelo <b>& \"hijos\"</b> 100% ñandú");
    in.amount = 123456;
    in.account = lit("Caja EFECTIVO chica");
    in.has_account_id = true;
    in.account_id = bank; /* goes before the name */
    in.has_category_id = true;
    in.category_id = rent;
    in.has_is_deductible = in.is_deductible = true;
    in.has_is_iva_deductible = in.is_iva_deductible = true;
    in.has_is_isr_deductible = in.is_isr_deductible = true;
    in.economic_activity = lit("Servicios");
    in.economic_activity_code = lit("541");
    in.notes = lit("dos\nlíneas");
    in.receipt_url = lit("/recibos/1.pdf");
    in.transaction_type = lit("business");
    in.expense_type = lit("international_with_invoice");
    in.client_type = lit("extranjero");
    in.client_rfc = lit("XEXX010101000");
    in.client_name = lit("ACME");
    in.currency = lit("USD");
    in.has_exchange_rate = true;
    in.exchange_rate = 17123456;
    in.payment_method = lit("PUE");
    in.iva_rate = lit("exento");
    in.has_isr_retention = true;
    in.isr_retention = 1050;
    in.has_iva_retention = true;
    in.iva_retention = 7;
    in.cfdi_uuid = lit("6F9619FF-8B86-D011-B42D-00C04FC964FF");
    in.issue_date = lit("2024-03-09");
    in.payment_date = lit("2024-03-11");
    int64_t before = ledger_balance(&ana, bank);
    int64_t id = ledger_book(&ana, &in)->id;
    assert_null(reply()->compliance_note);
    const Avanta__Ledger__Transaction *t = ledger_read(&ana, id);
    assert_string_equal(t->description, "D'Angelo <b>& \"hijos\"</b> 100% ñandú");
    assert_string_equal(t->account, "Banco");
    assert_int_equal(t->account_id, bank);
    assert_int_equal(t->category_id, rent);
    assert_true(t->is_deductible && t->is_iva_deductible && t->is_isr_deductible && t->has_cfdi);
    assert_string_equal(t->notes, "dos\nlíneas");
    assert_string_equal(t->client_rfc, "XEXX010101000");
    assert_string_equal(t->client_name, "ACME");
    assert_int_equal(t->exchange_rate, 17123456);
    assert_string_equal(t->iva_rate, "exento");
    assert_int_equal(t->isr_retention, 1050);
    assert_int_equal(t->iva_retention, 7);
    assert_string_equal(t->issue_date, "2024-03-09");
    assert_string_equal(t->payment_date, "2024-03-11");
    assert_string_equal(t->economic_activity_code, "541");
    /* 1234.56 at 17.123456 is 21,139.93 pesos. */
    assert_int_equal(ledger_balance(&ana, bank), before - 2113993);
}

static void cash_over_two_thousand_is_noted(void **state)
{
    Avanta__Ledger__CreateTransactionRequest in = ledger_draft();

    (void)state;
    in.account = lit("Caja EFECTIVO chica");
    in.cfdi_uuid = lit("6F9619FF-8B86-D011-B42D-00C04FC964FF");
    in.amount = 200000;
    (void)ledger_book(&ana, &in);
    assert_null(reply()->compliance_note);
    in.amount = 200001;
    (void)ledger_book(&ana, &in);
    assert_non_null(strstr(reply()->compliance_note, "art. 27 fr. III"));
    in.type = lit("ingreso");
    (void)ledger_book(&ana, &in);
    assert_null(reply()->compliance_note);
}

static void references_must_be_the_callers(void **state)
{
    Avanta__Ledger__CreateTransactionRequest in = ledger_draft();
    int64_t before = ledger_count(rig.dsn, "SELECT count(*) FROM transaction");

    (void)state;
    in.has_account_id = true;
    in.account_id = foreign_account;
    in.has_category_id = true;
    in.category_id = foreign_category;
    assert_int_equal(ASK(&ana, "CreateTransaction", in), ERR_REFERENCE);
    assert_int_equal(ana.call.reason, AVANTA__REASON__ACCOUNT_NOT_FOUND);
    assert_true(ledger_violates(&ana, "account_id", "reference"));
    assert_true(ledger_violates(&ana, "category_id", "reference"));
    in.has_account_id = false;
    in.account = lit("Ajena");
    in.category_id = rent;
    assert_int_equal(ASK(&ana, "CreateTransaction", in), ERR_REFERENCE);
    assert_true(ledger_violates(&ana, "account", "reference"));
    assert_int_equal(ana.call.field_count, 1);
    in.account = NULL;
    in.has_linked_invoice_id = true;
    in.linked_invoice_id = 4;
    assert_int_equal(ASK(&ana, "CreateTransaction", in), ERR_REFERENCE);
    assert_int_equal(ana.call.reason, AVANTA__REASON__INVOICE_NOT_FOUND);
    assert_true(ledger_violates(&ana, "linked_invoice_id", "reference"));
    assert_int_equal(ledger_count(rig.dsn, "SELECT count(*) FROM transaction"), before);
}

struct price_case {
    const char *currency;
    int64_t amount;
    int64_t rate; /* 0: not given */
    const char *field;
    const char *rule;
};

static void price_is_judged(const struct price_case *c)
{
    Avanta__Ledger__CreateTransactionRequest in = ledger_draft();

    in.currency = lit(c->currency);
    in.amount = c->amount;
    in.has_exchange_rate = c->rate != 0;
    in.exchange_rate = c->rate;
    assert_int_equal(ASK(&ana, "CreateTransaction", in), c->field == NULL ? OK : ERR_INVALID);
    assert_true(c->field == NULL || ledger_violates(&ana, c->field, c->rule));
}

static void an_amount_and_its_rate_must_fit(void **state)
{
    static const struct price_case cases[] = {
        {"MXN", 100,         2000000, "exchange_rate", "value"   },
        {"USD", 100,         0,       "exchange_rate", "required"},
        {"USD", 99999999999, 1000001, "amount",        "max"     },
        {"JPY", 1,           499999,  "amount",        "min"     },
        {"JPY", 1,           500000,  NULL,            NULL      },
        {"USD", 99999999999, 1000000, NULL,            NULL      },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        price_is_judged(&cases[i]);
    }
}

static void the_rules_hold_behind_the_gateway(void **state)
{
    Avanta__Ledger__CreateTransactionRequest in = AVANTA__LEDGER__CREATE_TRANSACTION_REQUEST__INIT;
    char tomorrow[DATE_TEXT_BYTES];

    (void)state;
    assert_int_equal(ASK(&ana, "CreateTransaction", in), ERR_INVALID);
    assert_int_equal(ana.call.field_count, 5);
    in = ledger_draft();
    struct date day = date_in_mexico_city(clock_wall_ms());
    date_format(date_from_days(date_to_days(day) + 1), tomorrow);
    in.date = tomorrow;
    in.amount = 0;
    in.type = lit("egreso");
    assert_int_equal(ASK(&ana, "CreateTransaction", in), ERR_INVALID);
    assert_true(ledger_violates(&ana, "date", "future"));
    assert_true(ledger_violates(&ana, "amount", "min"));
    assert_true(ledger_violates(&ana, "type", "value"));
    in.date = lit("2024-02-30");
    assert_int_equal(ASK(&ana, "CreateTransaction", in), ERR_INVALID);
    assert_true(ledger_violates(&ana, "date", "date"));
}

static void a_key_books_once(void **state)
{
    Avanta__Ledger__CreateTransactionRequest in = ledger_draft();
    int64_t ids[2];

    (void)state;
    in.description = lit("con llave");
    for (int i = 0; i < 2; i++) {
        ledger_client_end(&ana);
        ana.call = (struct service_call){.method = service_method("ledger.CreateTransaction"),
                                         .in = &in.base,
                                         .user = ana.user,
                                         .key = "llave-1"};
        assert_int_equal(service_call(&rig, &ana.call), OK);
        assert_int_equal(ana.call.replayed, i == 1);
        ids[i] = reply()->data->id;
    }
    assert_int_equal(ids[0], ids[1]);
    assert_int_equal(
        ledger_count(rig.dsn, "SELECT count(*) FROM transaction WHERE description = 'con llave'"),
        1);
}

#define BOOKS(test) cmocka_unit_test_teardown(test, books_hold)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOOKS(what_is_left_out_has_its_default),
        BOOKS(everything_given_is_kept),
        BOOKS(cash_over_two_thousand_is_noted),
        BOOKS(references_must_be_the_callers),
        BOOKS(an_amount_and_its_rate_must_fit),
        BOOKS(the_rules_hold_behind_the_gateway),
        BOOKS(a_key_books_once),
    };

    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
