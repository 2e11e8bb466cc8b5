/* SPDX-License-Identifier: Apache-2.0
 *
 * Linked lists made of macros, with the names and meanings that BSD gave them (queue(3)).
 * musl has no such header, and many programs expect it of a C library.
 *
 *   SLIST   one link, no tail             LIST    removal knowing the element alone
 *   STAILQ  one link, tail (SIMPLEQ too)  TAILQ   two links, tail, both directions
 *
 * `prev` points at whatever points at the element: the head, or the element before.
 */
#ifndef _SYS_QUEUE_H
#define _SYS_QUEUE_H

#include <stddef.h>

#define SLIST_HEAD(name, type)          \
	struct name {                   \
		struct type *slh_first; \
	}
#define SLIST_HEAD_INITIALIZER(head) {NULL}
#define SLIST_ENTRY(type)              \
	struct {                       \
		struct type *sle_next; \
	}
#define SLIST_INIT(head) ((void)((head)->slh_first = NULL))
#define SLIST_EMPTY(head) ((head)->slh_first == NULL)
#define SLIST_FIRST(head) ((head)->slh_first)
#define SLIST_NEXT(element, field) ((element)->field.sle_next)
#define SLIST_FOREACH(var, head, field) \
	for ((var) = SLIST_FIRST(head); (var) != NULL; (var) = SLIST_NEXT(var, field))
#define SLIST_FOREACH_SAFE(var, head, field, after) \
	for ((var) = SLIST_FIRST(head); (var) != NULL && ((after) = SLIST_NEXT(var, field), 1); (var) = (after))
#define SLIST_INSERT_HEAD(head, element, field)                \
	do {                                                   \
		(element)->field.sle_next = (head)->slh_first; \
		(head)->slh_first = (element);                 \
	} while (0)
#define SLIST_INSERT_AFTER(place, element, field)                    \
	do {                                                         \
		(element)->field.sle_next = (place)->field.sle_next; \
		(place)->field.sle_next = (element);                 \
	} while (0)
#define SLIST_REMOVE_HEAD(head, field) ((void)((head)->slh_first = (head)->slh_first->field.sle_next))
#define SLIST_REMOVE_AFTER(place, field) ((void)((place)->field.sle_next = (place)->field.sle_next->field.sle_next))
#define SLIST_REMOVE(head, element, type, field)                     \
	do {                                                         \
		struct type **queue_link = &(head)->slh_first;       \
		while (*queue_link != (element))                     \
			queue_link = &(*queue_link)->field.sle_next; \
		*queue_link = (element)->field.sle_next;             \
	} while (0)

#define LIST_HEAD(name, type)          \
	struct name {                  \
		struct type *lh_first; \
	}
#define LIST_HEAD_INITIALIZER(head) {NULL}
#define LIST_ENTRY(type)               \
	struct {                       \
		struct type *le_next;  \
		struct type **le_prev; \
	}
#define LIST_INIT(head) ((void)((head)->lh_first = NULL))
#define LIST_EMPTY(head) ((head)->lh_first == NULL)
#define LIST_FIRST(head) ((head)->lh_first)
#define LIST_NEXT(element, field) ((element)->field.le_next)
#define LIST_FOREACH(var, head, field) \
	for ((var) = LIST_FIRST(head); (var) != NULL; (var) = LIST_NEXT(var, field))
#define LIST_FOREACH_SAFE(var, head, field, after) \
	for ((var) = LIST_FIRST(head); (var) != NULL && ((after) = LIST_NEXT(var, field), 1); (var) = (after))
/* element goes where *place points */
#define _QUEUE_LIST_LINK(place, element, field)                                \
	do {                                                                   \
		(element)->field.le_next = *(place);                           \
		(element)->field.le_prev = (place);                            \
		if (*(place) != NULL)                                          \
			(*(place))->field.le_prev = &(element)->field.le_next; \
		*(element)->field.le_prev = (element);                         \
	} while (0)
#define LIST_INSERT_HEAD(head, element, field) _QUEUE_LIST_LINK(&(head)->lh_first, element, field)
#define LIST_INSERT_AFTER(place, element, field) _QUEUE_LIST_LINK(&(place)->field.le_next, element, field)
#define LIST_INSERT_BEFORE(place, element, field)                   \
	do {                                                        \
		(element)->field.le_next = (place);                 \
		(element)->field.le_prev = (place)->field.le_prev;  \
		*(place)->field.le_prev = (element);                \
		(place)->field.le_prev = &(element)->field.le_next; \
	} while (0)
#define LIST_REMOVE(element, field)                                                         \
	do {                                                                                \
		if ((element)->field.le_next != NULL)                                       \
			(element)->field.le_next->field.le_prev = (element)->field.le_prev; \
		*(element)->field.le_prev = (element)->field.le_next;                       \
	} while (0)

#define STAILQ_HEAD(name, type)          \
	struct name {                    \
		struct type *stqh_first; \
		struct type **stqh_last; \
	}
#define STAILQ_HEAD_INITIALIZER(head) {NULL, &(head).stqh_first}
#define STAILQ_ENTRY(type)              \
	struct {                        \
		struct type *stqe_next; \
	}
#define STAILQ_INIT(head)                                \
	do {                                             \
		(head)->stqh_first = NULL;               \
		(head)->stqh_last = &(head)->stqh_first; \
	} while (0)
#define STAILQ_EMPTY(head) ((head)->stqh_first == NULL)
#define STAILQ_FIRST(head) ((head)->stqh_first)
#define STAILQ_NEXT(element, field) ((element)->field.stqe_next)
#define STAILQ_LAST(head, type, field) \
	(STAILQ_EMPTY(head) ? NULL     \
			    : (struct type *)((char *)(head)->stqh_last - offsetof(struct type, field.stqe_next)))
#define STAILQ_FOREACH(var, head, field) \
	for ((var) = STAILQ_FIRST(head); (var) != NULL; (var) = STAILQ_NEXT(var, field))
#define STAILQ_FOREACH_SAFE(var, head, field, after) \
	for ((var) = STAILQ_FIRST(head); (var) != NULL && ((after) = STAILQ_NEXT(var, field), 1); (var) = (after))
#define STAILQ_INSERT_HEAD(head, element, field)                               \
	do {                                                                   \
		if (((element)->field.stqe_next = (head)->stqh_first) == NULL) \
			(head)->stqh_last = &(element)->field.stqe_next;       \
		(head)->stqh_first = (element);                                \
	} while (0)
#define STAILQ_INSERT_TAIL(head, element, field)                 \
	do {                                                     \
		(element)->field.stqe_next = NULL;               \
		*(head)->stqh_last = (element);                  \
		(head)->stqh_last = &(element)->field.stqe_next; \
	} while (0)
#define STAILQ_INSERT_AFTER(head, place, element, field)                             \
	do {                                                                         \
		if (((element)->field.stqe_next = (place)->field.stqe_next) == NULL) \
			(head)->stqh_last = &(element)->field.stqe_next;             \
		(place)->field.stqe_next = (element);                                \
	} while (0)
#define STAILQ_REMOVE_HEAD(head, field)                                                 \
	do {                                                                            \
		if (((head)->stqh_first = (head)->stqh_first->field.stqe_next) == NULL) \
			(head)->stqh_last = &(head)->stqh_first;                        \
	} while (0)
#define STAILQ_REMOVE_AFTER(head, place, field)                                                     \
	do {                                                                                        \
		if (((place)->field.stqe_next = (place)->field.stqe_next->field.stqe_next) == NULL) \
			(head)->stqh_last = &(place)->field.stqe_next;                              \
	} while (0)
#define STAILQ_REMOVE(head, element, type, field)                       \
	do {                                                            \
		struct type **queue_link = &(head)->stqh_first;         \
		while (*queue_link != (element))                        \
			queue_link = &(*queue_link)->field.stqe_next;   \
		if ((*queue_link = (element)->field.stqe_next) == NULL) \
			(head)->stqh_last = queue_link;                 \
	} while (0)
#define STAILQ_CONCAT(head, other)                                \
	do {                                                      \
		if (!STAILQ_EMPTY(other)) {                       \
			*(head)->stqh_last = (other)->stqh_first; \
			(head)->stqh_last = (other)->stqh_last;   \
			STAILQ_INIT(other);                       \
		}                                                 \
	} while (0)

/* The other BSDs' name for it. */
#define SIMPLEQ_HEAD(name, type) STAILQ_HEAD(name, type)
#define SIMPLEQ_HEAD_INITIALIZER(head) STAILQ_HEAD_INITIALIZER(head)
#define SIMPLEQ_ENTRY(type) STAILQ_ENTRY(type)
#define SIMPLEQ_INIT(head) STAILQ_INIT(head)
#define SIMPLEQ_EMPTY(head) STAILQ_EMPTY(head)
#define SIMPLEQ_FIRST(head) STAILQ_FIRST(head)
#define SIMPLEQ_NEXT(element, field) STAILQ_NEXT(element, field)
#define SIMPLEQ_FOREACH(var, head, field) STAILQ_FOREACH(var, head, field)
#define SIMPLEQ_INSERT_HEAD(head, element, field) STAILQ_INSERT_HEAD(head, element, field)
#define SIMPLEQ_INSERT_TAIL(head, element, field) STAILQ_INSERT_TAIL(head, element, field)
#define SIMPLEQ_INSERT_AFTER(head, place, element, field) STAILQ_INSERT_AFTER(head, place, element, field)
#define SIMPLEQ_REMOVE_HEAD(head, field) STAILQ_REMOVE_HEAD(head, field)
#define SIMPLEQ_CONCAT(head, other) STAILQ_CONCAT(head, other)

/* A head begins like an entry, so that going backwards can take either for the other. */
#define TAILQ_HEAD(name, type)          \
	struct name {                   \
		struct type *tqh_first; \
		struct type **tqh_last; \
	}
#define TAILQ_HEAD_INITIALIZER(head) {NULL, &(head).tqh_first}
#define TAILQ_ENTRY(type)               \
	struct {                        \
		struct type *tqe_next;  \
		struct type **tqe_prev; \
	}
#define TAILQ_INIT(head)                               \
	do {                                           \
		(head)->tqh_first = NULL;              \
		(head)->tqh_last = &(head)->tqh_first; \
	} while (0)
#define TAILQ_EMPTY(head) ((head)->tqh_first == NULL)
#define TAILQ_FIRST(head) ((head)->tqh_first)
#define TAILQ_NEXT(element, field) ((element)->field.tqe_next)
#define TAILQ_LAST(head, name) (*((struct name *)(head)->tqh_last)->tqh_last)
#define TAILQ_PREV(element, name, field) (*((struct name *)(element)->field.tqe_prev)->tqh_last)
#define TAILQ_FOREACH(var, head, field) \
	for ((var) = TAILQ_FIRST(head); (var) != NULL; (var) = TAILQ_NEXT(var, field))
#define TAILQ_FOREACH_SAFE(var, head, field, after) \
	for ((var) = TAILQ_FIRST(head); (var) != NULL && ((after) = TAILQ_NEXT(var, field), 1); (var) = (after))
#define TAILQ_FOREACH_REVERSE(var, head, name, field) \
	for ((var) = TAILQ_LAST(head, name); (var) != NULL; (var) = TAILQ_PREV(var, name, field))
#define TAILQ_FOREACH_REVERSE_SAFE(var, head, name, field, after)                                          \
	for ((var) = TAILQ_LAST(head, name); (var) != NULL && ((after) = TAILQ_PREV(var, name, field), 1); \
	     (var) = (after))
#define TAILQ_INSERT_HEAD(head, element, field)                                         \
	do {                                                                            \
		if (((element)->field.tqe_next = (head)->tqh_first) != NULL)            \
			(head)->tqh_first->field.tqe_prev = &(element)->field.tqe_next; \
		else                                                                    \
			(head)->tqh_last = &(element)->field.tqe_next;                  \
		(head)->tqh_first = (element);                                          \
		(element)->field.tqe_prev = &(head)->tqh_first;                         \
	} while (0)
#define TAILQ_INSERT_TAIL(head, element, field)                \
	do {                                                   \
		(element)->field.tqe_next = NULL;              \
		(element)->field.tqe_prev = (head)->tqh_last;  \
		*(head)->tqh_last = (element);                 \
		(head)->tqh_last = &(element)->field.tqe_next; \
	} while (0)
#define TAILQ_INSERT_AFTER(head, place, element, field)                                         \
	do {                                                                                    \
		if (((element)->field.tqe_next = (place)->field.tqe_next) != NULL)              \
			(element)->field.tqe_next->field.tqe_prev = &(element)->field.tqe_next; \
		else                                                                            \
			(head)->tqh_last = &(element)->field.tqe_next;                          \
		(place)->field.tqe_next = (element);                                            \
		(element)->field.tqe_prev = &(place)->field.tqe_next;                           \
	} while (0)
#define TAILQ_INSERT_BEFORE(place, element, field)                    \
	do {                                                          \
		(element)->field.tqe_next = (place);                  \
		(element)->field.tqe_prev = (place)->field.tqe_prev;  \
		*(place)->field.tqe_prev = (element);                 \
		(place)->field.tqe_prev = &(element)->field.tqe_next; \
	} while (0)
#define TAILQ_REMOVE(head, element, field)                                                     \
	do {                                                                                   \
		if ((element)->field.tqe_next != NULL)                                         \
			(element)->field.tqe_next->field.tqe_prev = (element)->field.tqe_prev; \
		else                                                                           \
			(head)->tqh_last = (element)->field.tqe_prev;                          \
		*(element)->field.tqe_prev = (element)->field.tqe_next;                        \
	} while (0)
#define TAILQ_CONCAT(head, other, field)                                       \
	do {                                                                   \
		if (!TAILQ_EMPTY(other)) {                                     \
			*(head)->tqh_last = (other)->tqh_first;                \
			(other)->tqh_first->field.tqe_prev = (head)->tqh_last; \
			(head)->tqh_last = (other)->tqh_last;                  \
			TAILQ_INIT(other);                                     \
		}                                                              \
	} while (0)

#endif
