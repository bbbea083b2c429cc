#include "tests/support/ledger_model.h"

#include "libcommon/base/money.h"

#include <assert.h>

int64_t model_mxn(int64_t amount, int64_t rate)
{
    int64_t mxn = 0;

    if (!money_mul_ratio(amount, rate, 1000000, &mxn) || mxn > MONEY_MAX_CENTAVOS) {
        return 0;
    }
    return mxn;
}

static int64_t effect(const struct model_transaction *t)
{
    int64_t mxn = model_mxn(t->amount, t->rate);

    return t->income ? mxn : -mxn;
}

static bool counts(const struct model_transaction *t, bool with_deleted)
{
    return !t->gone && (with_deleted || !t->deleted);
}

int64_t model_balance(const struct model *m, int account)
{
    int64_t sum = m->accounts[account].adjusted;

    assert(account < m->account_count);
    for (int i = 0; i < m->transaction_count; i++) {
        const struct model_transaction *t = &m->transactions[i];
        if (t->account == account && counts(t, false)) {
            sum += effect(t);
        }
    }
    for (int i = 0; i < m->stated_count; i++) {
        if (m->stated[i].account == account && !m->stated[i].gone) {
            sum += m->stated[i].posted;
        }
    }
    return sum;
}

struct model_totals model_totals(const struct model *m, bool with_deleted)
{
    struct model_totals out = {0};

    for (int i = 0; i < m->transaction_count; i++) {
        const struct model_transaction *t = &m->transactions[i];
        if (counts(t, with_deleted)) {
            out.count++;
            *(t->income ? &out.income : &out.expenses) += model_mxn(t->amount, t->rate);
        }
    }
    return out;
}

int model_account_named(const struct model *m, char name)
{
    for (int i = 0; i < m->account_count; i++) {
        if (m->accounts[i].active && m->accounts[i].name == name) {
            return i;
        }
    }
    return -1;
}

bool model_category_taken(const struct model *m, char name, int except)
{
    for (int i = 0; i < m->category_count; i++) {
        if (i != except && m->categories[i].active && m->categories[i].name == name) {
            return true;
        }
    }
    return false;
}

int model_stated_on(const struct model *m, int account, int64_t day)
{
    for (int i = 0; i < m->stated_count; i++) {
        const struct model_stated *s = &m->stated[i];
        if (!s->gone && !s->opening && s->account == account && s->day == day) {
            return i;
        }
    }
    return -1;
}

int model_opening_of(const struct model *m, int account)
{
    for (int i = 0; i < m->stated_count; i++) {
        if (m->stated[i].opening && m->stated[i].account == account) {
            return i;
        }
    }
    return -1;
}

/* --- stated balances --- */

/* Of one account: by day, an opening balance before the others of its day. */
static bool comes_before(const struct model_stated *a, const struct model_stated *b)
{
    return a->day != b->day ? a->day < b->day : a->opening && !b->opening;
}

static int64_t books_before(const struct model *m, const struct model_stated *s)
{
    int64_t sum = 0;

    for (int i = 0; i < m->transaction_count; i++) {
        const struct model_transaction *t = &m->transactions[i];
        if (t->account == s->account && counts(t, false) && t->day < s->day) {
            sum += effect(t);
        }
    }
    for (int i = 0; i < m->stated_count; i++) {
        const struct model_stated *other = &m->stated[i];
        if (!other->gone && other->account == s->account && comes_before(other, s)) {
            sum += other->posted;
        }
    }
    return sum;
}

static void shift(struct model *m, int stated, int64_t wanted)
{
    struct model_stated *s = &m->stated[stated];
    struct model_stated *next = NULL;

    for (int i = 0; i < m->stated_count; i++) {
        struct model_stated *other = &m->stated[i];
        if (!other->gone && other->account == s->account && comes_before(s, other) &&
            (next == NULL || comes_before(other, next))) {
            next = other;
        }
    }
    if (next != NULL) {
        next->posted -= wanted - s->posted;
    }
    s->posted = wanted;
}

void model_settle(struct model *m, int stated)
{
    shift(m, stated, m->stated[stated].amount - books_before(m, &m->stated[stated]));
}

void model_withdraw(struct model *m, int stated)
{
    shift(m, stated, 0);
}
