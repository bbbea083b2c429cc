#include "tests/support/ledger_walk.h"

#include "libcommon/base/clock.h"

#include <stdlib.h>

/* tidy: allow global: the one walk of the test program */
struct walk walk;

void walk_open(void)
{
    const char *given = getenv("AVANTA_SEED");

    walk.seed = given == NULL ? clock_wall_ms() : strtoull(given, NULL, 10);
    print_message("AVANTA_SEED=%llu\n", (unsigned long long)walk.seed);
    walk.first_day = date_to_days((struct date){2024, 2, 10});
    service_rig_open(&walk.rig, "ledger", 1);
    walk.client = (struct ledger_client){.rig = &walk.rig, .user = LEDGER_ANA};
}

void walk_close(void)
{
    ledger_client_end(&walk.client);
    service_rig_close(&walk.rig);
}

uint64_t walk_draw(uint64_t below)
{
    walk.seed += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t z = walk.seed;
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (z ^ (z >> 31)) % below;
}

bool walk_chance(uint64_t percent)
{
    return walk_draw(100) < percent;
}

static char *text_of(const char *text)
{
    static char ring[32][32];
    static size_t next;
    char *out = ring[next++ % ARRAY_LEN(ring)];
    struct buf b = buf_over(out, sizeof ring[0]);

    buf_text(&b, text);
    assert_true(buf_terminate(&b));
    return out;
}

char *walk_name_text(char letter)
{
    const char text[] = {letter, '\0'};

    return text_of(text);
}

char *walk_day_text(int64_t day)
{
    char text[DATE_TEXT_BYTES];

    date_format(date_from_days(day), text);
    return text_of(text);
}

int64_t walk_day(void)
{
    return walk.first_day + (int64_t)walk_draw(40); /* few, so that they meet */
}

int64_t walk_amount(void)
{
    return walk_chance(10) ? 99999999999 - (int64_t)walk_draw(3) : 1 + (int64_t)walk_draw(100000);
}

char walk_name(void)
{
    return (char)('A' + walk_draw(6));
}

int walk_row(int count)
{
    return count == 0 || walk_chance(4) ? -1 : (int)walk_draw((uint64_t)count);
}

void walk_expect(const char *what, enum code got, enum code wanted)
{
    if (got != wanted) {
        fail_msg("%s answers %s, the model says %s", what, code_wire(got), code_wire(wanted));
    }
}

/* --- accounts, categories --- */

void walk_account_create(void)
{
    Avanta__Ledger__CreateAccountRequest in = AVANTA__LEDGER__CREATE_ACCOUNT_REQUEST__INIT;
    struct model_account *a = &walk.model.accounts[walk.model.account_count];
    int64_t day = walk_day();

    *a = (struct model_account){.name = walk_name(), .active = true};
    in.name = walk_name_text(a->name);
    in.type = lit("cash");
    in.has_balance = true;
    in.balance = walk_chance(30) ? 0 : (int64_t)walk_draw(2000000) - 1000000;
    in.opening_date = walk_day_text(day);
    walk_expect("CreateAccount", ASK(&walk.client, "CreateAccount", in), OK);
    a->id = REPLY(&walk.client, Avanta__Ledger__AccountReply)->id;
    walk.model.account_count++;
    if (in.balance != 0) {
        walk.model.stated[walk.model.stated_count++] =
            (struct model_stated){.account = walk.model.account_count - 1,
                                  .day = day,
                                  .amount = in.balance,
                                  .posted = in.balance,
                                  .opening = true};
    }
}

void walk_account_update(void)
{
    Avanta__Ledger__UpdateAccountRequest in = AVANTA__LEDGER__UPDATE_ACCOUNT_REQUEST__INIT;
    int row = walk_row(walk.model.account_count);
    bool adjusts = walk_chance(60);
    bool moves = walk_chance(40);
    int64_t day = walk_day();

    in.has_id = true;
    in.id = row < 0 ? WALK_ABSENT_ID : walk.model.accounts[row].id;
    in.has_balance = adjusts;
    in.balance = (int64_t)walk_draw(2000000) - 1000000;
    in.opening_date = moves ? walk_day_text(day) : NULL;
    enum code wanted = !adjusts && !moves ? ERR_INVALID : row < 0 ? ERR_NOT_FOUND : OK;
    walk_expect("UpdateAccount", ASK(&walk.client, "UpdateAccount", in), wanted);
    if (wanted != OK) {
        return;
    }
    int opening = model_opening_of(&walk.model, row);
    if (moves && opening >= 0 && walk.model.stated[opening].day != day) {
        model_withdraw(&walk.model, opening);
        walk.model.stated[opening].day = day;
        model_settle(&walk.model, opening);
    }
    if (adjusts) {
        walk.model.accounts[row].adjusted += in.balance - model_balance(&walk.model, row);
    }
}

void walk_account_delete(void)
{
    Avanta__Ledger__AccountIdRequest in = AVANTA__LEDGER__ACCOUNT_ID_REQUEST__INIT;
    int row = walk_row(walk.model.account_count);

    in.has_id = true;
    in.id = row < 0 ? WALK_ABSENT_ID : walk.model.accounts[row].id;
    walk_expect(
        "DeleteAccount", ASK(&walk.client, "DeleteAccount", in), row < 0 ? ERR_NOT_FOUND : OK);
    if (row >= 0) {
        walk.model.accounts[row].active = false;
    }
}

void walk_category_create(void)
{
    Avanta__Ledger__CreateCategoryRequest in = AVANTA__LEDGER__CREATE_CATEGORY_REQUEST__INIT;
    char name = walk_name();
    bool taken = model_category_taken(&walk.model, name, -1);

    in.name = walk_name_text(name);
    walk_expect(
        "CreateCategory", ASK(&walk.client, "CreateCategory", in), taken ? ERR_CONFLICT : OK);
    if (!taken) {
        walk.model.categories[walk.model.category_count++] =
            (struct model_category){.id = REPLY(&walk.client, Avanta__Ledger__CategoryReply)->id,
                                    .name = name,
                                    .active = true};
    }
}

void walk_category_change(void)
{
    Avanta__Ledger__CategoryIdRequest gone = AVANTA__LEDGER__CATEGORY_ID_REQUEST__INIT;
    Avanta__Ledger__UpdateCategoryRequest in = AVANTA__LEDGER__UPDATE_CATEGORY_REQUEST__INIT;
    int row = walk_row(walk.model.category_count);
    char name = walk_name();

    gone.has_id = in.has_id = true;
    gone.id = in.id = row < 0 ? WALK_ABSENT_ID : walk.model.categories[row].id;
    if (walk_chance(50)) {
        walk_expect("DeleteCategory",
                    ASK(&walk.client, "DeleteCategory", gone),
                    row < 0 ? ERR_NOT_FOUND : OK);
        if (row >= 0) {
            walk.model.categories[row].active = false;
        }
        return;
    }
    in.name = walk_name_text(name);
    enum code wanted = row < 0 || !walk.model.categories[row].active  ? ERR_NOT_FOUND
                       : model_category_taken(&walk.model, name, row) ? ERR_CONFLICT
                                                                      : OK;
    walk_expect("UpdateCategory", ASK(&walk.client, "UpdateCategory", in), wanted);
    if (wanted == OK) {
        walk.model.categories[row].name = name;
    }
}

/* --- stated balances --- */

bool walk_account_usable(int account)
{
    return account >= 0 && walk.model.accounts[account].active;
}

void walk_stated_create(void)
{
    Avanta__Ledger__CreateInitialBalanceRequest in =
        AVANTA__LEDGER__CREATE_INITIAL_BALANCE_REQUEST__INIT;
    int account = walk_row(walk.model.account_count);
    int64_t day = walk_day();

    in.has_id = in.has_initial_balance = true;
    in.id = account < 0 ? WALK_ABSENT_ID : walk.model.accounts[account].id;
    in.balance_date = walk_day_text(day);
    in.initial_balance = (int64_t)walk_draw(2000000) - 1000000;
    enum code wanted = !walk_account_usable(account)                     ? ERR_NOT_FOUND
                       : model_stated_on(&walk.model, account, day) >= 0 ? ERR_CONFLICT
                                                                         : OK;
    walk_expect("CreateInitialBalance", ASK(&walk.client, "CreateInitialBalance", in), wanted);
    if (wanted == OK) {
        walk.model.stated[walk.model.stated_count] =
            (struct model_stated){.id = REPLY(&walk.client, Avanta__Ledger__DoneReply)->id,
                                  .account = account,
                                  .day = day,
                                  .amount = in.initial_balance};
        model_settle(&walk.model, walk.model.stated_count++);
    }
}

/* One that can be changed: its id, its account's and its row; -1 when it is drawn to be none. */
static int draw_stated(Avanta__Ledger__InitialBalanceIdRequest *out)
{
    int row = walk_row(walk.model.stated_count);

    avanta__ledger__initial_balance_id_request__init(out);
    out->has_id = out->has_balance_id = true;
    out->id = out->balance_id = WALK_ABSENT_ID;
    if (row < 0 || walk.model.stated[row].opening ||
        !walk_account_usable(walk.model.stated[row].account)) {
        return -1;
    }
    out->id = walk.model.accounts[walk.model.stated[row].account].id;
    out->balance_id = walk.model.stated[row].id;
    return row;
}

void walk_stated_delete(void)
{
    Avanta__Ledger__InitialBalanceIdRequest in;
    int row = draw_stated(&in);
    bool found = row >= 0 && !walk.model.stated[row].gone;

    walk_expect("DeleteInitialBalance",
                ASK(&walk.client, "DeleteInitialBalance", in),
                found ? OK : ERR_NOT_FOUND);
    if (found) {
        model_withdraw(&walk.model, row);
        walk.model.stated[row].gone = true;
    }
}

static void restate(int row, int64_t day, int64_t amount)
{
    struct model_stated *s = &walk.model.stated[row];
    bool changes = s->day != day || s->amount != amount;

    if (s->day != day) {
        model_withdraw(&walk.model, row);
        s->day = day;
    }
    s->amount = amount;
    if (changes) {
        model_settle(&walk.model, row);
    }
}

void walk_stated_update(void)
{
    Avanta__Ledger__UpdateInitialBalanceRequest in =
        AVANTA__LEDGER__UPDATE_INITIAL_BALANCE_REQUEST__INIT;
    Avanta__Ledger__InitialBalanceIdRequest which;
    int row = draw_stated(&which);
    struct model_stated old =
        row < 0 ? (struct model_stated){.gone = true} : walk.model.stated[row];
    int64_t day = walk_chance(60) ? walk_day() : old.day;
    int there = old.gone ? -1 : model_stated_on(&walk.model, old.account, day);

    in.has_id = in.has_balance_id = true;
    in.id = which.id;
    in.balance_id = which.balance_id;
    in.balance_date = day == 0 ? NULL : walk_day_text(day);
    in.has_initial_balance = walk_chance(60);
    in.initial_balance = (int64_t)walk_draw(2000000) - 1000000;
    in.notes = lit("nota");
    enum code wanted = old.gone ? ERR_NOT_FOUND : there >= 0 && there != row ? ERR_CONFLICT : OK;
    walk_expect("UpdateInitialBalance", ASK(&walk.client, "UpdateInitialBalance", in), wanted);
    if (wanted == OK) {
        restate(row, day, in.has_initial_balance ? in.initial_balance : old.amount);
    }
}
