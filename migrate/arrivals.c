/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/arrivals.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "migrate/trusted.h"
#include "migrate/urgent.h"
#include "migrate/wire.h"

int arrivals_init(struct arrivals *a, struct enclave *e, int wake_fd)
{
	const struct image_config *config = enclave_config(e);
	memset(a, 0, sizeof(*a));
	a->enclave = e;
	a->wake_fd = wake_fd;
	a->urgent_fd = -1;
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->changed, NULL);
	a->pages_end = (config->heap_base + config->heap_size) / PAGE_SIZE;
	/* Touched only where pages come: a large enclave that uses little costs little. */
	a->come = calloc(a->pages_end / 64 + 1, sizeof(*a->come));
	return a->come ? 0 : -ENOMEM;
}

/* ---- records ---- */

/* What the host can read of a record, as little as it needs to be believed. */
static int each_run(struct arrivals *a, const void *data, size_t size, uint32_t kinds,
		    int (*act)(struct arrivals *a, const struct record_run *run))
{
	struct record_header header;
	struct record_run run;
	int rc = 0;
	if (size < sizeof(header))
		return -EPROTO;
	memcpy(&header, data, sizeof(header));
	if (header.run_count > (size - sizeof(header)) / sizeof(run))
		return -EPROTO;
	for (uint32_t i = 0; i < header.run_count && rc == 0; i++) {
		memcpy(&run, (const char *)data + sizeof(header) + i * sizeof(run), sizeof(run));
		if (run.kind < 32 && kinds >> run.kind & 1 && run.count <= RECORD_BLOCK_PAGES)
			rc = act(a, &run);
	}
	return rc;
}

static int trim(struct arrivals *a, const struct record_run *run)
{
	return enclave_trim(a->enclave, run->page, run->count);
}

static int removed(struct arrivals *a, const struct record_run *run)
{
	return enclave_remove(a->enclave, run->page, run->count);
}

static int note(struct arrivals *a, const struct record_run *run)
{
	for (uint64_t page = run->page; page < run->page + run->count && page < a->pages_end; page++)
		atomic_fetch_or(&a->come[page / 64], 1ull << (page % 64));
	return 0;
}

int arrivals_record(struct arrivals *a, unsigned stream, const void *record, size_t size)
{
	struct trusted_call c = {.in = record, .in_size = size};
	/* Once the program runs here nothing leaves, whatever comes over the network. */
	uint32_t leaving = atomic_load(&a->begun) ? 0 : 1u << RUN_ABSENT;
	int rc = each_run(a, record, size, leaving, trim);
	if (rc == 0)
		rc = trusted(a->enclave, MIGRATE_RECEIVE, stream, &c);
	if (rc == 0)
		rc = each_run(a, record, size, leaving, removed);
	if (rc)
		return rc;
	if (!atomic_load(&a->begun))
		return 0;
	each_run(a, record, size, 1u << RUN_DATA | 1u << RUN_ZERO, note);
	pthread_mutex_lock(&a->lock);
	pthread_cond_broadcast(&a->changed);
	pthread_mutex_unlock(&a->lock);
	return 0;
}

/* ---- waiting ---- */

static bool has_come(struct arrivals *a, uint64_t page)
{
	return page >= a->pages_end || atomic_load(&a->come[page / 64]) >> (page % 64) & 1;
}

/* In a thread of the program, outside its enclave. */
static void page_wait(void *context, uint64_t page)
{
	struct arrivals *a = context;
	struct frame_want want = {page};
	unsigned asked = 0;
	atomic_fetch_add(&a->waits, 1);
	pthread_mutex_lock(&a->lock);
	while (!has_come(a, page)) {
		if (a->urgent_fd >= 0 && asked != a->connection) {
			asked = a->connection;
			/* If it does not get through, the connection is made anew, and it is asked again. */
			if (wire_send(a->urgent_fd, FRAME_WANT, &want, sizeof(want), NULL, 0,
				      (struct wait){now_us() + 1000 * 1000, -1}))
				shutdown(a->urgent_fd, SHUT_RDWR);
			continue; /* it may have come meanwhile */
		}
		pthread_cond_wait(&a->changed, &a->lock);
	}
	pthread_mutex_unlock(&a->lock);
}

void arrivals_begin(struct arrivals *a)
{
	atomic_store(&a->begun, true);
	enclave_set_pager(a->enclave, page_wait, a);
}

/* ---- the urgent connection ---- */

static void *reader_main(void *context)
{
	struct arrivals *a = context;
	struct wire w;
	struct wait forever = {WIRE_FOREVER, -1};
	uint64_t one = 1;
	int rc;
	thread_urgent_begin(); /* a thread of the program stands still for each */
	wire_init(&w, a->urgent_fd);
	while ((rc = wire_recv(&w, forever)) == 0) {
		rc = w.type == FRAME_RECORD ? arrivals_record(a, MIGRATE_URGENT, w.data, w.size) : -EPROTO;
		if (rc)
			break;
	}
	w.fd = -1; /* arrivals_disconnect()'s */
	wire_close(&w);
	atomic_store(&a->lost, true);
	if (write(a->wake_fd, &one, sizeof(one)) < 0)
		return NULL; /* full: it is awake */
	return NULL;
}

int arrivals_connect(struct arrivals *a, int fd)
{
	pthread_mutex_lock(&a->lock);
	a->urgent_fd = fd;
	a->connection++;
	int rc = -pthread_create(&a->reader, NULL, reader_main, a);
	a->reading = rc == 0;
	pthread_cond_broadcast(&a->changed);
	pthread_mutex_unlock(&a->lock);
	return rc;
}

void arrivals_disconnect(struct arrivals *a)
{
	pthread_mutex_lock(&a->lock);
	int fd = a->urgent_fd;
	a->urgent_fd = -1;
	pthread_mutex_unlock(&a->lock);
	if (fd < 0)
		return;
	shutdown(fd, SHUT_RDWR);
	if (a->reading)
		pthread_join(a->reader, NULL);
	a->reading = false;
	close(fd);
	atomic_store(&a->lost, false);
}

bool arrivals_lost(struct arrivals *a)
{
	return atomic_load(&a->lost);
}

void arrivals_end(struct arrivals *a)
{
	arrivals_disconnect(a);
	/* Nobody waits for a page that has come; one that is on its way here asks for none again. */
	pthread_mutex_lock(&a->lock);
	a->pages_end = 0;
	pthread_cond_broadcast(&a->changed);
	pthread_mutex_unlock(&a->lock);
}
