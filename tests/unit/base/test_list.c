#include "tests/support/check.h"

#include "libcommon/base/list.h"

#include <string.h>

struct item {
    char name;
    struct list link;
};

static struct list head;
static struct item items[4];

static int setup(void **state)
{
    (void)state;
    list_init(&head);
    for (size_t i = 0; i < ARRAY_LEN(items); i++) {
        items[i].name = (char)('a' + (char)i);
        list_init(&items[i].link);
    }
    return 0;
}

/* The names in order, read forwards; the links are checked backwards too. */
static const char *names(void)
{
    static char text[ARRAY_LEN(items) + 1];
    size_t len = 0;
    struct list *back = head.prev;

    LIST_EACH(&head, node)
    {
        text[len++] = LIST_ENTRY(node, struct item, link)->name;
    }
    text[len] = '\0';
    while (back != &head) {
        const struct item *item = LIST_ENTRY(back, struct item, link);

        assert_int_equal(item->name, text[--len]);
        back = back->prev;
    }
    assert_int_equal(len, 0);
    return text;
}

static void starts_empty(void **state)
{
    (void)state;
    assert_true(list_empty(&head));
    assert_null(list_pop_front(&head));
    assert_string_equal(names(), "");
}

static void pushes_at_both_ends(void **state)
{
    (void)state;
    list_push_back(&head, &items[1].link);
    list_push_back(&head, &items[2].link);
    list_push_front(&head, &items[0].link);
    assert_false(list_empty(&head));
    assert_string_equal(names(), "abc");
}

static void removes_anywhere_and_twice(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(items); i++) {
        list_push_back(&head, &items[i].link);
    }
    list_remove(&items[1].link);
    assert_string_equal(names(), "acd");
    list_remove(&items[1].link);
    assert_string_equal(names(), "acd");
    list_remove(&items[3].link);
    list_remove(&items[0].link);
    assert_string_equal(names(), "c");
    list_remove(&items[2].link);
    assert_true(list_empty(&head));
}

static void pops_in_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        list_push_back(&head, &items[i].link);
    }
    assert_ptr_equal(list_pop_front(&head), &items[0].link);
    assert_true(list_empty(&items[0].link));
    assert_ptr_equal(list_pop_front(&head), &items[1].link);
    assert_ptr_equal(list_pop_front(&head), &items[2].link);
    assert_null(list_pop_front(&head));
}

static void safe_walk_survives_removal(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(items); i++) {
        list_push_back(&head, &items[i].link);
    }
    LIST_EACH_SAFE(&head, node, following)
    {
        struct item *item = LIST_ENTRY(node, struct item, link);

        list_remove(node);
        if (item->name == 'b' || item->name == 'd') {
            item->link.next = NULL; /* as if freed */
            item->link.prev = NULL;
        }
    }
    assert_true(list_empty(&head));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(starts_empty, setup),
        cmocka_unit_test_setup(pushes_at_both_ends, setup),
        cmocka_unit_test_setup(removes_anywhere_and_twice, setup),
        cmocka_unit_test_setup(pops_in_order, setup),
        cmocka_unit_test_setup(safe_walk_survives_removal, setup),
    };

    return cmocka_run_group_tests_name("list", tests, NULL, NULL);
}
