#pragma once
/*
 * A random walk over the ledger's operations, valid and not, on the real service and the model side
 * by side. Each operation draws its request, asks, and fails the test when the answer's code is not
 * the model's. AVANTA_SEED repeats a walk. Single-threaded; one walk per process.
 */

#include "tests/support/ledger_client.h"
#include "tests/support/ledger_model.h"

struct walk {
    struct service_rig rig;
    struct ledger_client client;
    struct model model;
    uint64_t seed;
    int64_t first_day; /* dates are drawn from the days after it, all of them past */
};

extern struct walk walk;

#define WALK_ABSENT_ID 999999999 /* of no row */

void walk_open(void);
void walk_close(void);
uint64_t walk_draw(uint64_t below);
bool walk_chance(uint64_t percent);
int64_t walk_day(void);
int64_t walk_amount(void);
char walk_name(void);
/* Index of a row, or -1 for one that never was. */
int walk_row(int count);
/* Texts that live until the next but some. */
char *walk_name_text(char letter);
char *walk_day_text(int64_t day);
void walk_expect(const char *what, enum code got, enum code wanted);
bool walk_account_usable(int account);

void walk_account_create(void);
void walk_account_update(void);
void walk_account_delete(void);
void walk_category_create(void);
void walk_category_change(void);
void walk_stated_create(void);
void walk_stated_update(void);
void walk_stated_delete(void);
