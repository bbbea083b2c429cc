#pragma once
/*
 * The ledger in memory, as plainly as it can be said: no journal, only what balances and totals
 * must be. One user. What the real service answers is compared with it
 * (tests/model/model_ledger.c). Days are numbers since 1970; amounts are centavos. Indices name
 * rows; -1 is none.
 */

#include "libcommon/base/err.h"

#include <stdint.h>

#define MODEL_ROWS_MAX 4096

struct model_account {
    int64_t id;
    char name;
    bool active;
    int64_t adjusted; /* sum of adjustments */
};

/* A balance stated for the start of a day, and what it adds to the account. */
struct model_stated {
    int64_t id; /* 0 of an opening balance */
    int account;
    int64_t day;
    int64_t amount;
    int64_t posted;
    bool opening;
    bool gone;
};

struct model_category {
    int64_t id;
    char name;
    bool active;
};

struct model_transaction {
    int64_t id;
    int64_t day;
    int64_t amount;
    int64_t rate; /* millionths */
    bool dollars;
    bool income;
    bool transfer;
    int account;
    int category;
    bool deleted;
    bool gone;
};

struct model {
    struct model_account accounts[MODEL_ROWS_MAX];
    struct model_stated stated[MODEL_ROWS_MAX];
    struct model_category categories[MODEL_ROWS_MAX];
    struct model_transaction transactions[MODEL_ROWS_MAX];
    int account_count;
    int stated_count;
    int category_count;
    int transaction_count;
};

struct model_totals {
    int64_t count;
    int64_t income;
    int64_t expenses;
};

/* In pesos, half away from zero; 0 when it is out of range. */
int64_t model_mxn(int64_t amount, int64_t rate);
int64_t model_balance(const struct model *m, int account);
struct model_totals model_totals(const struct model *m, bool with_deleted);
/* The oldest active account of that name, or -1. */
int model_account_named(const struct model *m, char name);
bool model_category_taken(const struct model *m, char name, int except);
/* The balance stated for that day, opening balances aside; -1: none. */
int model_stated_on(const struct model *m, int account, int64_t day);
int model_opening_of(const struct model *m, int account);

/* The row has its account, day, amount; its entry is made, and the next one's corrected. */
void model_settle(struct model *m, int stated);
/* Its entry is taken back. */
void model_withdraw(struct model *m, int stated);
