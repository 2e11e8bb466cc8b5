/* SPDX-License-Identifier: Apache-2.0 */
#include "host/carry/strangers.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/carry/inventory.h"
#include "host/net/tcp_diag.h"

#define CONNECTED (1u << TCP_ESTABLISHED | 1u << TCP_CLOSE_WAIT | 1u << TCP_FIN_WAIT1 | 1u << TCP_FIN_WAIT2)

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

static void sort(struct bytes *inodes)
{
	if (inodes->size)
		qsort(inodes->data, inodes->size / sizeof(uint32_t), sizeof(uint32_t), compare);
}

static bool has(const struct bytes *inodes, uint32_t inode)
{
	return inodes->size && bsearch(&inode, inodes->data, inodes->size / sizeof(inode), sizeof(inode), compare);
}

struct look {
	const struct network *network;
	struct bytes found; /* inodes, sorted in the end */
};

static void note(void *context, const struct tcp_seen *seen)
{
	struct look *l = context;
	if (seen->inode && network_has(l->network, &seen->own))
		bytes_put_u32(&l->found, seen->inode);
}

static int look(int diag, struct look *l)
{
	int r = tcp_diag_each(diag, CONNECTED, note, l);
	sort(&l->found);
	return r ? r : l->found.error;
}

static int own_sockets(struct fdtable *fds, struct bytes *own)
{
	struct inventory v;
	int r = inventory_take(fds, &v);
	if (r)
		return r;
	for (unsigned i = 0; i < v.file_count; i++) {
		struct stat st;
		if (v.file[i].file->kind == FILE_SOCKET && fstat(v.file[i].host_fd, &st) == 0)
			bytes_put_u32(own, (uint32_t)st.st_ino);
	}
	inventory_free(&v);
	sort(own);
	return own->error;
}

/* One that is there before and after the program's own are looked at, and is none of them, is another's: the program
 * makes and closes its own all the time. */
static int count_strangers(int diag, struct fdtable *fds, const struct network *network)
{
	struct look before = {.network = network}, after = {.network = network};
	struct bytes own = {0};
	int count = 0, r = look(diag, &before);
	if (!r)
		r = own_sockets(fds, &own);
	if (!r)
		r = look(diag, &after);
	const uint32_t *inode = (const uint32_t *)before.found.data;
	for (size_t i = 0; !r && i < before.found.size / sizeof(*inode); i++)
		count += has(&after.found, inode[i]) && !has(&own, inode[i]);
	bytes_free(&before.found);
	bytes_free(&after.found);
	bytes_free(&own);
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
