/* SPDX-License-Identifier: Apache-2.0
 *
 * Some ten system calls of those a connection takes can be made while the
 * program still runs: what they tell changes only when the program sets it, and
 * that is noted (struct file, touched). And memory for what connections have in
 * their queues, megabytes where a peer is slow, is found while it runs.
 */
#include "host/carry/source.h"

#include <stdlib.h>
#include <sys/socket.h>

#include "host/warm.h"

#define ROOM_MIN (64u << 10)
#define ROOM_MORE 2 /* times: queues grow meanwhile, while it waits for calm */

static void read_connection(struct carry_source *s, const struct inventory_file *f)
{
	struct file *file = f->file;
	struct in6_addr own;
	/* Where a program peeks from, each of its calls changes. */
	if (sockets_peeks(file) || !sockets_address(f->host_fd, false, &own) || !network_has(&s->network, &own))
		return;
	struct ahead *a = &s->ahead[s->ahead_count];
	*a = (struct ahead){.file = file, .fixed = s->fixed.size};
	/* Before the first question: what is set from here on makes the answers void. */
	atomic_store(&file->touched, false);
	socklen_t size = sizeof(a->reuse_address);
	getsockopt(f->host_fd, SOL_SOCKET, SO_REUSEADDR, &a->reuse_address, &size);
	if (sockets_dump_fixed(f->host_fd, file->options, &s->fixed)) {
		if (!s->fixed.error)
			s->fixed.size = a->fixed;
		return;
	}
	a->fixed_size = s->fixed.size - a->fixed;
	file->ahead = ++s->ahead_count;
}

void ahead_expect(struct carry_source *s, size_t queued)
{
	size_t size = ROOM_MIN + ROOM_MORE * queued;
	s->expected = size < CARRY_SIZE_MAX ? size : CARRY_SIZE_MAX;
}

static void find_room(struct carry_source *s)
{
	bytes_free(&s->room);
	s->room.data = warm_memory(s->expected);
	s->room.capacity = s->room.data ? s->expected : 0;
}

size_t carry_source_expected(const struct carry_source *s)
{
	return s->expected;
}

int ahead_read(struct carry_source *s, struct failure *why)
{
	struct inventory v;
	if (s->local || inventory_take(s->fds, &v))
		return 0;
	size_t queued = 0;
	s->ahead = calloc(v.file_count + 1, sizeof(*s->ahead));
	for (unsigned i = 0; s->ahead && i < v.file_count; i++) {
		enum socket_class class;
		v.file[i].file->ahead = 0;
		if (v.file[i].file->kind == FILE_SOCKET && sockets_classify(v.file[i].host_fd, &class) == 0 &&
		    class == SOCKET_CONNECTION) {
			read_connection(s, &v.file[i]);
			queued += sockets_queued(v.file[i].host_fd);
		}
	}
	inventory_free(&v);
	int r = sockets_fit(queued, why);
	ahead_expect(s, queued);
	if (!r)
		find_room(s);
	return r;
}

const struct ahead *ahead_of(const struct carry_source *s, const struct file *file)
{
	if (!file->ahead || file->ahead > s->ahead_count || atomic_load(&file->touched))
		return NULL;
	const struct ahead *a = &s->ahead[file->ahead - 1];
	return a->file == file ? a : NULL;
}
