/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include "enclave/interest.h"
#include "enclave/marshal.h"
#include "enclave/ocall.h"
#include "enclave/spin.h"
#include "enclave/thread.h"

struct interest {
	uint64_t data;
	int32_t epoll_fd, fd;
	uint32_t events;
	uint32_t generation; /* a token of an earlier use of this entry is not one of this */
	uint32_t next;	     /* in its bucket or the free list; index + 1, 0 at the end */
	uint32_t used;
};

#define PER_PAGE (PAGE_SIZE / sizeof(struct interest))
#define PAGES 1024
#define BUCKETS 1024

static struct spin
    lock; /* protects everything below; neither host nor application memory is touched under it */
static struct interest *page[PAGES];
static uint32_t entries; /* in pages that exist */
static uint32_t free_list, bucket[BUCKETS];

static struct interest *entry(uint32_t index)
{
	return &page[index / PER_PAGE][index % PER_PAGE];
}

static uint32_t *bucket_of(int32_t fd)
{
	return &bucket[(uint32_t)fd % BUCKETS];
}

static int grow(void)
{
	if (entries / PER_PAGE >= PAGES)
		return -ENOSPC;
	struct interest *p = rt_pages_alloc(PAGE_SIZE);
	if (!p)
		return -ENOMEM;
	memset(p, 0, PAGE_SIZE);
	page[entries / PER_PAGE] = p;
	for (uint32_t i = 0; i < PER_PAGE; i++) {
		p[i].next = free_list;
		free_list = entries + i + 1;
	}
	entries += PER_PAGE;
	return 0;
}

static void use(uint32_t index, int32_t epoll_fd, int32_t fd, uint32_t events, uint64_t data)
{
	struct interest *e = entry(index);
	uint32_t *head = bucket_of(fd);
	*e = (struct interest){data, epoll_fd, fd, events, e->generation, *head, 1};
	*head = index + 1;
}

static void drop(uint32_t *link)
{
	uint32_t index = *link - 1;
	struct interest *e = entry(index);
	*link = e->next;
	e->generation++;
	e->used = 0;
	e->next = free_list;
	free_list = index + 1;
}

static uint32_t *find(int32_t epoll_fd, int32_t fd)
{
	for (uint32_t *l = bucket_of(fd); *l; l = &entry(*l - 1)->next)
		if (entry(*l - 1)->fd == fd && entry(*l - 1)->epoll_fd == epoll_fd)
			return l;
	return NULL;
}

static uint64_t token_of(uint32_t index)
{
	return (uint64_t)entry(index)->generation << 32 | index;
}

static int64_t ask_host(struct thread *t, const uint64_t arg[6], uint32_t events, uint64_t token)
{
	struct marshal m = marshal_begin(t);
	struct epoll_event event = {.events = events, .data.u64 = token};
	uint64_t at = marshal_room(&m, sizeof event);
	host_copy_out(at, &event, sizeof event);
	int64_t rc =
	    ocall(t, OCALL_SYSCALL, SYS_epoll_ctl, (const uint64_t[6]){arg[0], arg[1], arg[2], at}, NULL);
	return rc > 0 || rc < -4095 ? -EIO : rc;
}

/* The new entry is there before the host knows its token: an event may come before the call returns. */
static int64_t add(struct thread *t, const uint64_t arg[6], const struct epoll_event *event)
{
	int32_t epoll_fd = (int32_t)arg[0], fd = (int32_t)arg[2];
	spin_lock(&lock);
	int64_t rc = free_list ? 0 : grow();
	uint32_t index = 0;
	uint64_t token = 0;
	if (rc == 0) {
		index = free_list - 1;
		free_list = entry(index)->next;
		/* One of the same name is found after this one: what it stood for is gone if the host takes
		 * another. */
		use(index, epoll_fd, fd, event->events, event->data.u64);
		token = token_of(index);
	}
	spin_unlock(&lock);
	if (rc < 0)
		return rc;
	rc = ask_host(t, arg, event->events, token);
	spin_lock(&lock);
	for (uint32_t *l = bucket_of(fd); *l;) {
		struct interest *e = entry(*l - 1);
		bool same = e->fd == fd && e->epoll_fd == epoll_fd;
		if (same && (rc < 0) == (*l - 1 == index))
			drop(l);
		else
			l = &e->next;
	}
	spin_unlock(&lock);
	return rc;
}

static int64_t modify(struct thread *t, const uint64_t arg[6], const struct epoll_event *event)
{
	spin_lock(&lock);
	uint32_t *link = find((int32_t)arg[0], (int32_t)arg[2]);
	uint32_t index = link ? *link - 1 : 0, before = 0;
	uint64_t token = 0;
	if (link) {
		token = token_of(index);
		before = entry(index)->events;
		entry(index)->events |= event->events; /* an event of either mask may be on its way */
	}
	spin_unlock(&lock);
	if (!link)
		return -ENOENT;
	int64_t rc = ask_host(t, arg, event->events, token);
	spin_lock(&lock);
	if (token_of(index) == token) {
		entry(index)->events = rc < 0 ? before : event->events;
		if (rc == 0)
			entry(index)->data = event->data.u64;
	}
	spin_unlock(&lock);
	return rc;
}

int64_t interest_control(struct thread *t, const uint64_t arg[6])
{
	struct epoll_event event = {0};
	if ((int)arg[1] != EPOLL_CTL_DEL) {
		if (!mm_app_range(arg[3], sizeof event))
			return -EFAULT;
		memcpy(&event, (const void *)arg[3], sizeof event);
	}
	switch ((int)arg[1]) {
	case EPOLL_CTL_ADD:
		return add(t, arg, &event);
	case EPOLL_CTL_MOD:
		return modify(t, arg, &event);
	case EPOLL_CTL_DEL: {
		int64_t rc = ask_host(t, arg, 0, 0);
		spin_lock(&lock);
		uint32_t *link = rc == 0 ? find((int32_t)arg[0], (int32_t)arg[2]) : NULL;
		if (link)
			drop(link);
		spin_unlock(&lock);
		return rc;
	}
	default:
		return -EINVAL;
	}
}

bool interest_event(int epoll_fd, uint32_t *events, uint64_t *data)
{
	uint32_t index = (uint32_t)*data;
	bool ok = false;
	spin_lock(&lock);
	if (index < entries && entry(index)->used && token_of(index) == *data &&
	    entry(index)->epoll_fd == epoll_fd) {
		*events &= entry(index)->events | EPOLLERR | EPOLLHUP;
		*data = entry(index)->data;
		ok = *events != 0;
	}
	spin_unlock(&lock);
	return ok;
}

void interest_closed(uint64_t first, uint64_t last, bool sets)
{
	bool all = sets || first != last;
	spin_lock(&lock);
	for (uint32_t b = all ? 0 : (uint32_t)first % BUCKETS;
	     b < (all ? BUCKETS : (uint32_t)first % BUCKETS + 1); b++)
		for (uint32_t *l = &bucket[b]; *l;) {
			struct interest *e = entry(*l - 1);
			bool gone = ((uint64_t)e->fd >= first && (uint64_t)e->fd <= last) ||
				    ((uint64_t)e->epoll_fd >= first && (uint64_t)e->epoll_fd <= last);
			if (gone)
				drop(l);
			else
				l = &e->next;
		}
	spin_unlock(&lock);
}

/* ---- hand-over: entries keep their places, for the host's tokens name them ---- */

void interest_export(struct writer *w)
{
	put_u64(w, entries);
	for (uint32_t i = 0; i < entries; i++) {
		const struct interest *e = entry(i);
		put_u64(w, (uint64_t)e->generation << 32 | e->used);
		if (!e->used)
			continue;
		put_u64(w, e->data);
		put_u64(w, (uint64_t)(uint32_t)e->epoll_fd << 32 | (uint32_t)e->fd);
		put_u64(w, e->events);
	}
}

void interest_import(struct reader *r)
{
	uint64_t count = get_u64(r);
	if (entries || count % PER_PAGE || count > PAGES * PER_PAGE || count > (r->size - r->used) / 8) {
		r->bad = true;
		return;
	}
	while (entries < count)
		if (grow() < 0) {
			r->bad = true;
			return;
		}
	free_list = 0;
	for (uint32_t i = 0; i < count; i++) {
		uint64_t head = get_u64(r);
		struct interest *e = entry(i);
		e->generation = (uint32_t)(head >> 32);
		if (!(head & 1)) {
			e->next = free_list;
			free_list = i + 1;
			continue;
		}
		uint64_t data = get_u64(r), fds = get_u64(r);
		use(i, (int32_t)(fds >> 32), (int32_t)fds, (uint32_t)get_u64(r), data);
	}
}
