/* SPDX-License-Identifier: Apache-2.0
 *
 * <sys/queue.h>: random operations on each kind of list, against an array that
 * does the same. After each the list is walked, in both directions where it can be.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define ITEMS 40
#define OPERATIONS 20000

struct item {
	int number;
	SLIST_ENTRY(item) slist;
	LIST_ENTRY(item) list;
	STAILQ_ENTRY(item) stailq;
	TAILQ_ENTRY(item) tailq;
};
SLIST_HEAD(slist, item);
LIST_HEAD(list, item);
STAILQ_HEAD(stailq, item);
TAILQ_HEAD(tailq, item);

static struct item items[ITEMS];
static struct slist slist = SLIST_HEAD_INITIALIZER(slist);
static struct list list = LIST_HEAD_INITIALIZER(list);
static struct stailq stailq = STAILQ_HEAD_INITIALIZER(stailq);
static struct tailq tailq = TAILQ_HEAD_INITIALIZER(tailq);
static struct item *model[ITEMS]; /* what all four hold, in order */
static int count;

static void check(int condition, const char *what, int operation)
{
	if (condition)
		return;
	printf("%s is wrong after operation %d\n", what, operation);
	exit(1);
}

static void insert(int at, struct item *i)
{
	memmove(model + at + 1, model + at, (size_t)(count++ - at) * sizeof(*model));
	model[at] = i;
}

static struct item *take(int at)
{
	struct item *i = model[at];

	memmove(model + at, model + at + 1, (size_t)(--count - at) * sizeof(*model));
	return i;
}

static void walk(int operation)
{
	struct item *i, *after;
	int n = 0;

	SLIST_FOREACH_SAFE(i, &slist, slist, after)
		check(n < count && model[n++] == i, "SLIST", operation);
	check(n == count && SLIST_EMPTY(&slist) == !count, "SLIST's end", operation);
	n = 0;
	LIST_FOREACH(i, &list, list)
		check(n < count && model[n++] == i, "LIST", operation);
	check(n == count && LIST_EMPTY(&list) == !count, "LIST's end", operation);
	n = 0;
	STAILQ_FOREACH(i, &stailq, stailq)
		check(n < count && model[n++] == i, "STAILQ", operation);
	check(n == count && STAILQ_LAST(&stailq, item, stailq) == (count ? model[count - 1] : NULL), "STAILQ's end",
	      operation);
	n = 0;
	TAILQ_FOREACH(i, &tailq, tailq)
		check(n < count && model[n++] == i, "TAILQ", operation);
	check(n == count, "TAILQ's end", operation);
	TAILQ_FOREACH_REVERSE_SAFE(i, &tailq, tailq, tailq, after)
		check(n > 0 && model[--n] == i, "TAILQ backwards", operation);
	check(n == 0, "TAILQ's beginning", operation);
}

static void add_one(struct item *new, unsigned how)
{
	int at = count ? (int)(how >> 4) % count : 0;
	struct item *place = model[at];

	if (!count || how % 4 == 0) {
		SLIST_INSERT_HEAD(&slist, new, slist);
		LIST_INSERT_HEAD(&list, new, list);
		STAILQ_INSERT_HEAD(&stailq, new, stailq);
		TAILQ_INSERT_HEAD(&tailq, new, tailq);
		insert(0, new);
	} else if (how % 4 == 1) {
		SLIST_INSERT_AFTER(model[count - 1], new, slist);
		LIST_INSERT_AFTER(model[count - 1], new, list);
		STAILQ_INSERT_TAIL(&stailq, new, stailq);
		TAILQ_INSERT_TAIL(&tailq, new, tailq);
		insert(count, new);
	} else if (how % 4 == 2) {
		SLIST_INSERT_AFTER(place, new, slist);
		LIST_INSERT_AFTER(place, new, list);
		STAILQ_INSERT_AFTER(&stailq, place, new, stailq);
		TAILQ_INSERT_AFTER(&tailq, place, new, tailq);
		insert(at + 1, new);
	} else if (at) {
		SLIST_INSERT_AFTER(model[at - 1], new, slist);
		LIST_INSERT_BEFORE(place, new, list);
		STAILQ_INSERT_AFTER(&stailq, model[at - 1], new, stailq);
		TAILQ_INSERT_BEFORE(place, new, tailq);
		insert(at, new);
	} else {
		SLIST_INSERT_HEAD(&slist, new, slist);
		LIST_INSERT_BEFORE(place, new, list);
		STAILQ_INSERT_HEAD(&stailq, new, stailq);
		TAILQ_INSERT_BEFORE(place, new, tailq);
		insert(at, new);
	}
}

static struct item *remove_one(unsigned how)
{
	int at = how % 2 ? 0 : (int)(how >> 4) % count;
	struct item *old = model[at];

	if (at == 0) {
		SLIST_REMOVE_HEAD(&slist, slist);
		STAILQ_REMOVE_HEAD(&stailq, stailq);
	} else if (how & 4) {
		SLIST_REMOVE_AFTER(model[at - 1], slist);
		STAILQ_REMOVE_AFTER(&stailq, model[at - 1], stailq);
	} else {
		SLIST_REMOVE(&slist, old, item, slist);
		STAILQ_REMOVE(&stailq, old, item, stailq);
	}
	LIST_REMOVE(old, list);
	TAILQ_REMOVE(&tailq, old, tailq);
	return take(at);
}

static void concatenate(void)
{
	struct stailq other_stailq;
	struct tailq other_tailq;

	STAILQ_INIT(&other_stailq);
	TAILQ_INIT(&other_tailq);
	STAILQ_CONCAT(&other_stailq, &stailq);
	TAILQ_CONCAT(&other_tailq, &tailq, tailq);
	check(STAILQ_EMPTY(&stailq) && TAILQ_EMPTY(&tailq), "what was given away", -1);
	STAILQ_CONCAT(&stailq, &other_stailq);
	TAILQ_CONCAT(&tailq, &other_tailq, tailq);
}

int main(void)
{
	struct item *free_items[ITEMS];
	int free_count = ITEMS;

	for (int i = 0; i < ITEMS; i++)
		free_items[i] = &items[i];
	srand(1);
	for (int operation = 0; operation < OPERATIONS; operation++) {
		unsigned how = (unsigned)rand();
		/* now more, now fewer: it must become empty and full */
		int is_growing = rand() % 8 < (operation / 200 % 2 ? 5 : 3);

		if (is_growing && free_count)
			add_one(free_items[--free_count], how);
		else if (count)
			free_items[free_count++] = remove_one(how);
		walk(operation);
		if (operation % 1000 == 0)
			concatenate();
	}
	return 0;
}
