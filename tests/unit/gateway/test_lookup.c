/* What the gateway remembers of API keys and grants: guesses push out nothing, and a change makes
 * only the answers about its user doubtful. */
#include "avanta/identity_access.pb-c.h"
#include "gateway/lookup.h"
#include "tests/support/check.h"

#include <stdio.h>
#include <string.h>

#define ANA "00000000-0000-4000-8000-00000000000a"
#define BEA "00000000-0000-4000-8000-00000000000b"
#define EVA "00000000-0000-4000-8000-00000000000e"
#define NOW 1000000

static struct lookup *lookup;

static int setup(void **state)
{
    (void)state;
    lookup = lookup_open();
    return lookup == NULL;
}

static int teardown(void **state)
{
    (void)state;
    lookup_close(&lookup);
    assert_null(lookup);
    return 0;
}

/* The messages' texts are not written. */
static char *text(const char *given)
{
    return (char *)(uintptr_t)given;
}

static struct lookup_ask key_asked(unsigned number)
{
    struct lookup_ask ask = {.asks = 0};
    char key[32];

    (void)snprintf(key, sizeof key, "key %u", number);
    lookup_key_digest(str_from(key), ask.digest);
    lookup_ask_begin(lookup, &ask);
    return ask;
}

static struct lookup_ask grant_asked(const char *accountant, const char *owner)
{
    struct lookup_ask ask = {.asks = 0};

    assert_true(str_copy(str_from(accountant), ask.accountant_id, sizeof ask.accountant_id));
    assert_true(str_copy(str_from(owner), ask.owner_id, sizeof ask.owner_id));
    lookup_grant_digest(accountant, owner, ask.digest);
    lookup_ask_begin(lookup, &ask);
    return ask;
}

/* `user` NULL: nobody. */
static void answered(const struct lookup_ask *ask, const char *user)
{
    Avanta__Identity__AccessReply reply = AVANTA__IDENTITY__ACCESS_REPLY__INIT;

    if (user != NULL) {
        reply.id = text("id");
        reply.user_id = text(user);
        reply.email = text("a@example.com");
        reply.role = text("user");
    }
    lookup_remember(lookup, ask, &reply, NOW);
}

/* Whether it is still known so much later; what is not is gone afterwards. */
static bool is_known(const struct lookup_ask *ask, uint64_t ms)
{
    return lookup_get(lookup, ask->digest, NOW + ms) != NULL;
}

static void is_known_for(const struct lookup_ask *ask, uint64_t ms)
{
    assert_true(is_known(ask, ms - 1));
    assert_false(is_known(ask, ms));
}

static void guesses_push_out_nothing_good(void **state)
{
    struct lookup_ask good[8];
    struct lookup_ask first = key_asked(100);
    unsigned left = 0;

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(good); i++) {
        good[i] = key_asked(i);
        answered(&good[i], ANA);
    }
    answered(&first, NULL);
    for (unsigned i = 1; i < LOOKUP_MAX + LOOKUP_BAD_MAX; i++) {
        struct lookup_ask guess = key_asked(100 + i);

        answered(&guess, NULL);
    }
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_true(is_known(&good[i], 0));
        assert_true(lookup_get(lookup, good[i].digest, NOW)->good);
    }
    assert_false(is_known(&first, 0));
    for (unsigned i = 0; i < LOOKUP_MAX + LOOKUP_BAD_MAX; i++) {
        struct lookup_ask guess = key_asked(100 + i);

        left += is_known(&guess, 0);
    }
    assert_int_equal(left, LOOKUP_BAD_MAX);
}

static void good_ones_push_out_the_one_used_longest_ago(void **state)
{
    struct lookup_ask first = key_asked(0);
    struct lookup_ask second = key_asked(1);

    (void)state;
    answered(&first, ANA);
    answered(&second, ANA);
    assert_true(is_known(&first, 0));
    for (unsigned i = 2; i <= LOOKUP_MAX; i++) {
        struct lookup_ask other = key_asked(i);

        answered(&other, ANA);
    }
    assert_true(is_known(&first, 0));
    assert_false(is_known(&second, 0));
}

static void each_kind_has_its_time(void **state)
{
    struct lookup_ask good = key_asked(1);
    struct lookup_ask bad = key_asked(2);

    (void)state;
    answered(&good, ANA);
    answered(&bad, NULL);
    is_known_for(&good, LOOKUP_GOOD_MS);
    is_known_for(&bad, LOOKUP_BAD_MS);
}

/* Two requests asked at once, and the key ended between. */
static void the_last_answer_is_the_only_one(void **state)
{
    struct lookup_ask ask = key_asked(1);
    struct lookup_answer answer;

    (void)state;
    answered(&ask, ANA);
    answered(&ask, NULL);
    assert_false(lookup_get(lookup, ask.digest, NOW)->good);
    answered(&ask, ANA);
    assert_true(lookup_take(lookup, ask.digest, &answer));
    assert_true(answer.good);
    assert_false(is_known(&ask, 0));
}

static void a_change_makes_the_answers_about_its_user_doubtful(void **state)
{
    struct lookup_ask of_ana = key_asked(1);
    struct lookup_ask of_bea = key_asked(2);
    struct lookup_ask of_nobody = key_asked(3);
    struct lookup_ask granted_by_ana = grant_asked(EVA, ANA);
    struct lookup_ask granted_to_ana = grant_asked(ANA, EVA);
    struct lookup_ask granted_by_bea = grant_asked(EVA, BEA);

    (void)state;
    lookup_forget(lookup, STR(ANA));
    answered(&of_ana, ANA);
    answered(&of_bea, BEA);
    answered(&of_nobody, NULL);
    answered(&granted_by_ana, ANA);
    answered(&granted_to_ana, NULL);
    answered(&granted_by_bea, NULL);
    is_known_for(&of_ana, LOOKUP_DOUBTFUL_MS);
    is_known_for(&of_bea, LOOKUP_GOOD_MS);
    is_known_for(&of_nobody, LOOKUP_DOUBTFUL_MS); /* it may be Ana's new one */
    is_known_for(&granted_by_ana, LOOKUP_DOUBTFUL_MS);
    is_known_for(&granted_to_ana, LOOKUP_DOUBTFUL_MS);
    is_known_for(&granted_by_bea, LOOKUP_BAD_MS);
}

static void what_was_asked_after_a_change_knows_of_it(void **state)
{
    struct lookup_ask ask;

    (void)state;
    lookup_forget(lookup, STR(ANA));
    ask = key_asked(1);
    answered(&ask, ANA);
    is_known_for(&ask, LOOKUP_GOOD_MS);
}

static void changes_are_remembered_up_to_their_bound(void **state)
{
    struct lookup_ask within = key_asked(1);
    struct lookup_ask of_ana = key_asked(2);
    struct lookup_ask beyond = {.asks = 0};
    char user[64];

    (void)state;
    lookup_forget(lookup, STR(ANA));
    for (int i = 1; i < LOOKUP_CHANGES_MAX; i++) {
        (void)snprintf(user, sizeof user, "user %d", i);
        lookup_forget(lookup, str_from(user));
    }
    answered(&within, BEA);
    answered(&of_ana, ANA);
    is_known_for(&within, LOOKUP_GOOD_MS);
    is_known_for(&of_ana, LOOKUP_DOUBTFUL_MS);
    beyond = key_asked(3);
    for (int i = 0; i <= LOOKUP_CHANGES_MAX; i++) {
        lookup_forget(lookup, STR(ANA));
    }
    answered(&beyond, BEA);
    is_known_for(&beyond, LOOKUP_DOUBTFUL_MS);
}

static void a_change_forgets_what_is_known_of_its_user(void **state)
{
    struct lookup_ask of_ana = key_asked(1);
    struct lookup_ask of_bea = key_asked(2);
    struct lookup_ask refused_to_ana = grant_asked(ANA, EVA);

    (void)state;
    answered(&of_ana, ANA);
    answered(&of_bea, BEA);
    answered(&refused_to_ana, NULL);
    lookup_forget(lookup, STR(ANA));
    assert_false(is_known(&of_ana, 0));
    assert_true(is_known(&of_bea, 0));
    assert_false(is_known(&refused_to_ana, 0));
}

/* Also after a message that names no user of ours. */
static void forgetting_all_doubts_all(void **state)
{
    char long_id[128];

    (void)state;
    memset(long_id, 'x', sizeof long_id);
    for (int i = 0; i < 2; i++) {
        struct lookup_ask before = key_asked(1);
        struct lookup_ask under_way = key_asked(2);

        answered(&before, BEA);
        if (i == 0) {
            lookup_forget_all(lookup);
        } else {
            lookup_forget(lookup, (struct str){long_id, sizeof long_id});
        }
        assert_false(is_known(&before, 0));
        answered(&under_way, BEA);
        is_known_for(&under_way, LOOKUP_DOUBTFUL_MS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(guesses_push_out_nothing_good, setup, teardown),
        cmocka_unit_test_setup_teardown(
            good_ones_push_out_the_one_used_longest_ago, setup, teardown),
        cmocka_unit_test_setup_teardown(each_kind_has_its_time, setup, teardown),
        cmocka_unit_test_setup_teardown(the_last_answer_is_the_only_one, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_change_makes_the_answers_about_its_user_doubtful, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_asked_after_a_change_knows_of_it, setup, teardown),
        cmocka_unit_test_setup_teardown(changes_are_remembered_up_to_their_bound, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_change_forgets_what_is_known_of_its_user, setup, teardown),
        cmocka_unit_test_setup_teardown(forgetting_all_doubts_all, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
