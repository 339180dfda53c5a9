/* list.h: doubly linked lists whose links lie in the elements. A list is a head, or a first and a last;
 * `next` and `prev` are the names of the links. Macros, because each kind of element has names and a type of
 * its own.
 */
#ifndef GORT_LIST_H
#define GORT_LIST_H

/* x becomes the first. */
#define list_push(head, x, next, prev)                                                                       \
    do {                                                                                                     \
        (x)->prev = NULL;                                                                                    \
        (x)->next = (head);                                                                                  \
        if (head)                                                                                            \
            (head)->prev = (x);                                                                              \
        (head) = (x);                                                                                        \
    } while (0)

/* x is in the list, and then no longer; its links stay as they were. */
#define list_remove(head, x, next, prev)                                                                     \
    do {                                                                                                     \
        if ((x)->prev)                                                                                       \
            (x)->prev->next = (x)->next;                                                                     \
        else                                                                                                 \
            (head) = (x)->next;                                                                              \
        if ((x)->next)                                                                                       \
            (x)->next->prev = (x)->prev;                                                                     \
    } while (0)

/* The same for lists with two ends: x becomes the last. */
#define list_append(first, last, x, next, prev)                                                              \
    do {                                                                                                     \
        (x)->next = NULL;                                                                                    \
        (x)->prev = (last);                                                                                  \
        if (last)                                                                                            \
            (last)->next = (x);                                                                              \
        else                                                                                                 \
            (first) = (x);                                                                                   \
        (last) = (x);                                                                                        \
    } while (0)

#define list_take_out(first, last, x, next, prev)                                                            \
    do {                                                                                                     \
        if (!(x)->next)                                                                                      \
            (last) = (x)->prev;                                                                              \
        list_remove(first, x, next, prev);                                                                   \
    } while (0)

#endif
