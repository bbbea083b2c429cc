#pragma once
/* Intrusive doubly linked ring. A node is embedded in its owner; a list is a node that points to
 * itself. */

#include "libcommon/base/attr.h"

#include <assert.h>
#include <stdbool.h>

struct list {
    struct list *next;
    struct list *prev;
};

static inline void list_init(struct list *head)
{
    assert(head != NULL);
    head->next = head;
    head->prev = head;
}

static inline bool list_empty(const struct list *head)
{
    assert(head->next != NULL);
    return head->next == head;
}

static inline void list_push_back(struct list *head, struct list *node)
{
    assert(head->prev != NULL);
    assert(node != head);
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

static inline void list_push_front(struct list *head, struct list *node)
{
    assert(head->next != NULL);
    assert(node != head);
    node->next = head->next;
    node->prev = head;
    head->next->prev = node;
    head->next = node;
}

/* Unlinks and leaves the node as an empty list, so that removing twice is harmless. */
static inline void list_remove(struct list *node)
{
    assert(node->next != NULL);
    assert(node->prev != NULL);
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

static inline struct list *list_pop_front(struct list *head)
{
    struct list *node = list_empty(head) ? NULL : head->next;

    if (node != NULL) {
        list_remove(node);
    }
    return node;
}

#define LIST_ENTRY(node, type, member) CONTAINER_OF(node, type, member)
#define LIST_EACH(head, node) \
    for (struct list *node = (head)->next; node != (head); node = node->next)
/* Safe against removal of `node` inside the body. */
#define LIST_EACH_SAFE(head, node, following)                                       \
    for (struct list *node = (head)->next, *following = node->next; node != (head); \
         node = following, following = node->next)
