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
	uint64_t told; /* in which answer last */
	int32_t epoll_fd, fd;
	uint32_t events;
	uint32_t generation; /* a token of an earlier use of this entry is not one of this */
	uint32_t next;	     /* in its bucket or the free list; index + 1, 0 at the end */
	uint16_t used;
	uint16_t armed; /* EPOLLONESHOT: how often it may be told of before it is armed again */
};

/* Numbers that dup made share one open file: by any of them a set is the same set, and what is registered by one
 * stays until the last is closed. It is then kept under the file's name, which is no number: -file. Numbers that
 * do not fit here are taken for files of their own. */
#define ALIASES_MAX 1024
struct alias {
	int32_t fd;
	int32_t file;
};

#define PER_PAGE (PAGE_SIZE / sizeof(struct interest))
#define PAGES 1300
#define BUCKETS 1024

static struct spin
    lock; /* protects everything below; neither host nor application memory is touched under it */
static struct interest *page[PAGES];
static uint32_t entries; /* in pages that exist */
static uint32_t unborn;  /* generation of entries in pages that do not: later than any an entry there has had */
static uint32_t free_list, bucket[BUCKETS];
static uint64_t answers;
static struct alias alias[ALIASES_MAX];
static uint32_t alias_count, last_file;

static struct interest *entry(uint32_t index)
{
	return &page[index / PER_PAGE][index % PER_PAGE];
}

/* The file of a number that shares one, 0 for any other. */
static int32_t file_of(int32_t fd)
{
	for (uint32_t i = 0; i < alias_count; i++)
		if (alias[i].fd == fd)
			return alias[i].file;
	return 0;
}

/* Whatever number, or name after the number was closed, it was registered by. */
static bool same_set(int32_t a, int32_t b)
{
	if (a == b || !alias_count)
		return a == b;
	int32_t x = a < 0 ? -a : file_of(a), y = b < 0 ? -b : file_of(b);
	return x && x == y;
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
		p[i].generation = unborn;
		p[i].next = free_list;
		free_list = entries + i + 1;
	}
	entries += PER_PAGE;
	return 0;
}

static void use(uint32_t index, int32_t epoll_fd, int32_t fd, uint32_t events, uint16_t armed, uint64_t data)
{
	struct interest *e = entry(index);
	uint32_t *head = bucket_of(fd);
	*e = (struct interest){data, 0, epoll_fd, fd, events, e->generation, *head, 1, armed};
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
		if (entry(*l - 1)->fd == fd && same_set(entry(*l - 1)->epoll_fd, epoll_fd))
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
		use(index, epoll_fd, fd, event->events, 1, event->data.u64);
		token = token_of(index);
	}
	spin_unlock(&lock);
	if (rc < 0)
		return rc;
	rc = ask_host(t, arg, event->events, token);
	spin_lock(&lock);
	for (uint32_t *l = bucket_of(fd); *l;) {
		struct interest *e = entry(*l - 1);
		bool same = e->fd == fd && same_set(e->epoll_fd, epoll_fd);
		if (same && (rc < 0) == (*l - 1 == index))
			drop(l);
		else
			l = &e->next;
	}
	spin_unlock(&lock);
	return rc;
}

/* The mask is about to change. Each other thread may be on its way back with an event of before: if there was no bound on
 * those, as many are let through, and the one that is armed now. */
static void rearm(struct interest *e, uint32_t events)
{
	uint16_t most = (uint16_t)(CONFIG->thread_count + 1);
	if (!(e->events & EPOLLONESHOT))
		e->armed = most;
	else if (events & EPOLLONESHOT && e->armed < most)
		e->armed++;
	e->events |= events; /* an event of either mask may be on its way */
	if (!(events & EPOLLONESHOT))
		e->events &= ~(uint32_t)EPOLLONESHOT;
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
		rearm(entry(index), event->events);
	}
	spin_unlock(&lock);
	if (!link)
		return -ENOENT;
	int64_t rc = ask_host(t, arg, event->events, token);
	spin_lock(&lock);
	if (token_of(index) == token) {
		struct interest *e = entry(index);
		e->events = rc < 0 ? before : event->events;
		if (rc == 0)
			e->data = event->data.u64;
		else if (before & event->events & EPOLLONESHOT && e->armed)
			e->armed--;
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

uint64_t interest_answer(void)
{
	spin_lock(&lock);
	uint64_t answer = ++answers;
	spin_unlock(&lock);
	return answer;
}

bool interest_event(int epoll_fd, uint64_t answer, uint32_t *events, uint64_t *data)
{
	uint32_t index = (uint32_t)*data;
	bool ok = false;
	spin_lock(&lock);
	struct interest *e = index < entries ? entry(index) : NULL;
	if (e && e->used && token_of(index) == *data && same_set(e->epoll_fd, epoll_fd) && e->told != answer &&
	    (e->armed || !(e->events & EPOLLONESHOT))) {
		*events &= e->events | EPOLLERR | EPOLLHUP;
		*data = e->data;
		ok = *events != 0;
	}
	if (ok) {
		e->told = answer;
		e->armed -= e->events & EPOLLONESHOT ? 1 : 0;
	}
	spin_unlock(&lock);
	return ok;
}

static bool in_range(int32_t fd, uint64_t first, uint64_t last)
{
	return fd >= 0 && (uint64_t)fd >= first && (uint64_t)fd <= last;
}

/* What a number becomes when these are closed: the number, its file's name, or nothing. */
enum fate { STAYS, RENAMED, GONE };
static enum fate fate_of(int32_t fd, uint64_t first, uint64_t last, int32_t *name)
{
	bool closed = in_range(fd, first, last), shared = false;
	int32_t file = fd < 0 ? -fd : closed ? file_of(fd) : 0;
	if (fd >= 0 && !closed)
		return STAYS;
	for (uint32_t i = 0; file && i < alias_count; i++)
		shared |= alias[i].file == file && !in_range(alias[i].fd, first, last);
	*name = -file;
	return !shared ? GONE : fd < 0 ? STAYS : RENAMED;
}

static void forget_aliases(uint64_t first, uint64_t last)
{
	for (uint32_t i = 0; i < alias_count;)
		if (in_range(alias[i].fd, first, last))
			alias[i] = alias[--alias_count];
		else
			i++;
}

static bool any_alias(uint64_t first, uint64_t last)
{
	for (uint32_t i = 0; i < alias_count; i++)
		if (in_range(alias[i].fd, first, last))
			return true;
	return false;
}

static void closed(uint64_t first, uint64_t last, bool sets)
{
	bool all = sets || first != last || any_alias(first, last);
	for (uint32_t b = all ? 0 : (uint32_t)first % BUCKETS;
	     b < (all ? BUCKETS : (uint32_t)first % BUCKETS + 1); b++)
		for (uint32_t *l = &bucket[b]; *l;) {
			uint32_t index = *l - 1;
			struct interest *e = entry(index);
			int32_t fd_name, epoll_name;
			enum fate fd = fate_of(e->fd, first, last, &fd_name),
				  epoll = fate_of(e->epoll_fd, first, last, &epoll_name);
			if (fd == GONE || epoll == GONE) {
				drop(l);
				continue;
			}
			if (epoll == RENAMED)
				e->epoll_fd = epoll_name;
			if (fd == RENAMED) {
				*l = e->next;
				e->fd = fd_name;
				e->next = *bucket_of(fd_name);
				*bucket_of(fd_name) = index + 1;
				continue;
			}
			l = &e->next;
		}
	forget_aliases(first, last);
}

void interest_closed(uint64_t first, uint64_t last, bool sets)
{
	spin_lock(&lock);
	closed(first, last, sets);
	spin_unlock(&lock);
}

void interest_duped(int from, int to)
{
	spin_lock(&lock);
	/* The number was free: if something is known by it, the host has closed it behind the program's back. */
	closed((uint32_t)to, (uint32_t)to, true);
	int32_t file = file_of(from);
	if (alias_count + 2 <= ALIASES_MAX && from != to) {
		if (!file) {
			file = (int32_t)(last_file = last_file % INT32_MAX + 1);
			alias[alias_count++] = (struct alias){from, file};
		}
		alias[alias_count++] = (struct alias){to, file};
	}
	spin_unlock(&lock);
}

/* ---- hand-over: entries keep their places, for the host's tokens name them ---- */

void interest_export(struct writer *w)
{
	put_u64(w, (uint64_t)last_file << 32 | alias_count);
	for (uint32_t i = 0; i < alias_count; i++)
		put_u64(w, (uint64_t)(uint32_t)alias[i].fd << 32 | (uint32_t)alias[i].file);
	/* Pages at the end that are free now do not come along: there they would be made while all stand still. A writer
	 * that only counts wants the most. */
	uint32_t count = entries, later = unborn;
	for (; w->capacity && count && !entry(count - 1)->used; count--)
		if (later < entry(count - 1)->generation)
			later = entry(count - 1)->generation;
	count = (count + PER_PAGE - 1) / PER_PAGE * PER_PAGE;
	put_u64(w, (uint64_t)later << 32 | count);
	for (uint32_t i = 0; i < count; i++) {
		const struct interest *e = entry(i);
		put_u64(w, (uint64_t)e->generation << 32 | e->used);
		if (!e->used)
			continue;
		put_u64(w, e->data);
		put_u64(w, (uint64_t)(uint32_t)e->epoll_fd << 32 | (uint32_t)e->fd);
		put_u64(w, (uint64_t)e->armed << 32 | e->events);
	}
}

void interest_import(struct reader *r)
{
	uint64_t aliases = get_u64(r);
	last_file = (uint32_t)(aliases >> 32);
	if ((uint32_t)aliases > ALIASES_MAX) {
		r->bad = true;
		return;
	}
	for (alias_count = 0; alias_count < (uint32_t)aliases;) {
		uint64_t one = get_u64(r);
		alias[alias_count++] = (struct alias){(int32_t)(one >> 32), (int32_t)one};
	}
	uint64_t head = get_u64(r), count = (uint32_t)head;
	unborn = (uint32_t)(head >> 32);
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
		uint64_t is = get_u64(r);
		struct interest *e = entry(i);
		e->generation = (uint32_t)(is >> 32);
		if (!(is & 1)) {
			e->next = free_list;
			free_list = i + 1;
			continue;
		}
		uint64_t data = get_u64(r), fds = get_u64(r), events = get_u64(r);
		use(i, (int32_t)(fds >> 32), (int32_t)fds, (uint32_t)events, (uint16_t)(events >> 32), data);
	}
}
