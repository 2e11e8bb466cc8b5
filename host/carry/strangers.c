/* SPDX-License-Identifier: Apache-2.0 */
#include "host/carry/strangers.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/carry/inventory.h"
#include "host/net/tcp_diag.h"

#define CONNECTED (1u << TCP_ESTABLISHED | 1u << TCP_CLOSE_WAIT | 1u << TCP_FIN_WAIT1 | 1u << TCP_FIN_WAIT2)

/* Of sockets, sorted when they are all there. */
struct inodes {
	uint32_t *inode;
	unsigned count, capacity;
	bool failed;
};

static void add(struct inodes *s, uint32_t inode)
{
	if (s->count == s->capacity) {
		unsigned capacity = s->capacity ? s->capacity * 2 : 256;
		uint32_t *all = realloc(s->inode, capacity * sizeof(*all));
		s->failed = s->failed || !all;
		if (!all)
			return;
		s->inode = all;
		s->capacity = capacity;
	}
	s->inode[s->count++] = inode;
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

static bool has(const struct inodes *s, uint32_t inode)
{
	return s->count && bsearch(&inode, s->inode, s->count, sizeof(inode), compare);
}

struct look {
	const struct network *network;
	struct inodes found;
};

static void note(void *context, const struct tcp_seen *seen)
{
	struct look *l = context;
	if (seen->inode && network_has(l->network, &seen->own))
		add(&l->found, seen->inode);
}

static int look(int diag, struct look *l)
{
	int r = tcp_diag_each(diag, CONNECTED, note, l);
	qsort(l->found.inode, l->found.count, sizeof(uint32_t), compare);
	return r ? r : l->found.failed ? -ENOMEM : 0;
}

static int own_sockets(struct fdtable *fds, struct inodes *own)
{
	struct inventory v;
	int r = inventory_take(fds, &v);
	if (r)
		return r;
	for (unsigned i = 0; i < v.file_count; i++) {
		struct stat st;
		if (v.file[i].file->kind == FILE_SOCKET && fstat(v.file[i].host_fd, &st) == 0)
			add(own, (uint32_t)st.st_ino);
	}
	inventory_free(&v);
	qsort(own->inode, own->count, sizeof(uint32_t), compare);
	return own->failed ? -ENOMEM : 0;
}

/* One that is there before and after the program's own are looked at, and is none of them, is another's: the program
 * makes and closes its own all the time. */
static int count_strangers(int diag, struct fdtable *fds, const struct network *network)
{
	struct look before = {.network = network}, after = {.network = network};
	struct inodes own = {0};
	int count = 0, r = look(diag, &before);
	if (!r)
		r = own_sockets(fds, &own);
	if (!r)
		r = look(diag, &after);
	for (unsigned i = 0; !r && i < before.found.count; i++)
		count += has(&after.found, before.found.inode[i]) && !has(&own, before.found.inode[i]);
	free(before.found.inode);
	free(after.found.inode);
	free(own.inode);
	return r ? r : count;
}

int strangers_check(struct fdtable *fds, const struct network *network, struct failure *why)
{
	/* Some that came with the program, and that it has not accepted yet, would be taken for others'. */
	int diag = network->service_count && !fdtable_pending_any(fds) ? tcp_diag_open() : -1;
	if (diag < 0)
		return 0;
	int count = count_strangers(diag, fds, network);
	close(diag);
	return count > 0 ? fail(why, -EADDRINUSE,
				"%d connections of other programs of this host are on an address that would move, and would break: "
				"give the program an address of its own",
				count)
			 : 0;
}
