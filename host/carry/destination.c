/* SPDX-License-Identifier: Apache-2.0 */
#include "host/carry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/carry/local.h"
#include "host/carry/meeting.h"
#include "host/carry/network.h"
#include "host/carry/record.h"
#include "host/carry/wire.h"
#include "host/net/conntrack.h"

#define DESCRIPTORS_SPARE 64 /* for this process itself */

struct carry_destination {
	struct network network;
	int meeting; /* -1: another kernel than the source's */
	struct restore restore;
	struct bytes state; /* what connections have yet to send is there */
	struct made *made; /* by file; entered ones have references */
	unsigned made_count;
};

static void free_prebound(struct restore *r)
{
	for (unsigned i = 0; i < r->prebound_count; i++)
		if (r->prebound[i].fd >= 0)
			close(r->prebound[i].fd);
	free(r->prebound);
	r->prebound = NULL;
	r->prebound_count = 0;
}

static void destination_free(struct carry_destination *d)
{
	free_prebound(&d->restore);
	sockets_stock_free(&d->restore);
	channels_restored(&d->restore);
	bytes_free(&d->state);
	free(d->restore.connection);
	free(d->restore.connecting);
	bytes_free(&d->restore.datagrams);
	free(d->restore.named);
	free(d->made);
	files_restored(&d->restore);
	network_close(&d->network);
	if (d->meeting >= 0)
		close(d->meeting);
	if (d->restore.source >= 0)
		close(d->restore.source);
	free(d);
}

/* The table has raised what may be raised. */
static int check_limit(uint32_t descriptors, uint64_t file_size, struct failure *why)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_max < file_size)
		return fail(why, -EFBIG,
			    "files that this process writes may have %llu bytes at most (ulimit -f), those of the "
			    "program more",
			    (unsigned long long)limit.rlim_max);
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 ||
	    limit.rlim_cur >= (uint64_t)descriptors + DESCRIPTORS_SPARE)
		return 0;
	return fail(why, -EMFILE,
		    "the program has %u descriptors open, this process may have %llu (ulimit -n)",
		    descriptors, (unsigned long long)limit.rlim_cur);
}

/* The program knows who it is, and what its files let it do: it cannot become another. */
static int check_user(struct reader *in, struct failure *why)
{
	uint32_t user = reader_u32(in), group = reader_u32(in);
	if (in->error)
		return fail(why, in->error, "the manifest is damaged");
	if (user == geteuid() && group == getegid())
		return 0;
	return fail(why, -EPERM,
		    "the program runs as user %u, group %u, and optmig receive here as user %u, group %u: they must be the same",
		    user, group, geteuid(), getegid());
}

static int check_directory(struct reader *in, struct failure *why)
{
	char *directory = reader_string(in, CARRY_PATH_MAX);
	if (!directory)
		return fail(why, -EBADMSG, "the manifest is damaged");
	int fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC), r = 0;
	if (fd < 0 || faccessat(fd, ".", X_OK, AT_EACCESS) < 0)
		r = fail(why, -errno,
			 "the program's working directory %s: %s; start it in one that both hosts have, and that its user may "
			 "enter",
			 directory, strerror(errno));
	if (fd >= 0)
		close(fd);
	free(directory);
	return r;
}

int carry_destination_prepare(struct fdtable *fds, const void *manifest, size_t size, struct bytes *answer,
			      struct carry_destination **out, struct failure *why)
{
	*out = NULL;
	struct carry_destination *d = calloc(1, sizeof(*d));
	if (!d)
		return fail(why, -ENOMEM, "out of memory");
	d->restore.fds = fds;
	d->restore.source = d->meeting = -1;
	network_init(&d->network);
	/* The stop does not wait for the answer; where connections are tracked, the move's own is by now. */
	d->restore.tracked = conntrack_is_used();

	struct reader in = reader_of(manifest, size);
	uint32_t descriptors = 0;
	int r = 0;
	if (reader_u32(&in) != CARRY_MANIFEST)
		r = fail(why, -EBADMSG, "the manifest is not one of this version");
	if (!r && reader_u8(&in))
		r = local_open(&in, &d->restore.source, why);
	if (!r)
		r = check_user(&in, why);
	if (!r)
		r = names_expect(fds, &in, why);
	if (!r)
		d->meeting = meeting_find(&in);
	if (!r)
		descriptors = reader_u32(&in);
	if (!r)
		r = check_limit(descriptors, reader_u64(&in), why);
	if (!r)
		r = check_directory(&in, why);
	for (uint32_t count = r ? 0 : reader_count(&in, 8); !r && count; count--)
		r = files_expect(&in, why);
	for (uint32_t count = r ? 0 : reader_count(&in, 25); !r && count; count--)
		r = locks_expect(d->meeting >= 0, &in, why);
	for (uint32_t count = r ? 0 : reader_count(&in, 16); !r && count; count--)
		r = sockets_prebind(&d->restore, &in, why);
	for (uint32_t count = r ? 0 : reader_count(&in, 4); !r && count; count--)
		r = unix_expect(&in, why);
	for (uint32_t count = r ? 0 : reader_count(&in, 8); !r && count; count--)
		r = sockets_stock(&d->restore, &in, why);
	if (!r) {
		bytes_put_u32(answer, CARRY_ANSWER);
		r = network_destination_prepare(&d->network, &in, answer, why);
	}
	if (!r && (in.error || in.left))
		r = fail(why, -EBADMSG, "the manifest is damaged");
	if (r)
		destination_free(d);
	else
		*out = d;
	return r;
}

/* ---- restore ---- */

static int restore_pending(struct carry_destination *d, struct reader *in, struct file *listener,
			   struct failure *why)
{
	for (uint32_t count = reader_count(in, 16); count; count--) {
		/* accept() makes it a file of its own. */
		struct file unseen = {.kind = FILE_SOCKET};
		struct made m = {.file = &unseen, .host_fd = -1};
		int r = reader_u8(in) == RECORD_CONNECTION ? 0 : -EBADMSG;
		if (!r)
			r = sockets_restore_connection(&d->restore, in, &m);
		if (!r)
			r = fdtable_pending_add(d->restore.fds, listener, m.host_fd);
		if (r) {
			if (m.host_fd >= 0)
				close(m.host_fd);
			return fail(why, r, "a connection that waits to be accepted cannot be made here: %s",
				    strerror(-r));
		}
	}
	return in->error;
}

static int restore_file(struct carry_destination *d, struct reader *in, struct made *out, struct failure *why)
{
	enum record record = reader_u8(in);
	*out = (struct made){.host_fd = -1};
	int r;
	switch (record) {
	case RECORD_STDIO:
	case RECORD_PATH:
	case RECORD_UNNAMED:
	case RECORD_HANDED:
		return files_restore(&d->restore, record, in, out, why);
	case RECORD_PIPE:
	case RECORD_EVENTFD:
	case RECORD_TIMERFD:
	case RECORD_SIGNALFD:
	case RECORD_EPOLL:
	case RECORD_SOCKETPAIR:
		return channels_restore(&d->restore, record, in, out, why);
	case RECORD_UNIX:
		return unix_restore(&d->restore, in, out, why);
	case RECORD_SOCKET:
	case RECORD_LISTENER:
	case RECORD_CONNECTION:
	case RECORD_CONNECTING:
	case RECORD_ENDED:
	case RECORD_SHARED:
		r = sockets_restore(&d->restore, record, in, out, why);
		if (!r && record == RECORD_LISTENER)
			r = restore_pending(d, in, out->file, why);
		return r;
	default:
		return fail(why, -EBADMSG, "the state is damaged (record %u)", record);
	}
}

static int restore_files(struct carry_destination *d, struct reader *in, struct failure *why)
{
	uint32_t count = reader_count(in, 1);
	int r = 0;
	d->made = calloc(count + 1, sizeof(*d->made));
	if (!d->made)
		return fail(why, -ENOMEM, "out of memory");
	while (!r && d->made_count < count)
		r = restore_file(d, in, &d->made[d->made_count++], why);
	return r;
}

static int restore_descriptors(struct carry_destination *d, struct reader *in, struct failure *why)
{
	uint32_t count = reader_count(in, 9);
	bool *entered = calloc(d->made_count + 1, sizeof(*entered));
	if (!entered)
		return fail(why, -ENOMEM, "out of memory");
	int r = 0;
	for (; !r && count; count--) {
		uint32_t fd = reader_u32(in), file = reader_u32(in);
		bool cloexec = reader_u8(in);
		if (in->error || file >= d->made_count) {
			r = -EBADMSG;
			break;
		}
		/* The file's own descriptor for the first number, copies for those dup made. */
		struct made *m = &d->made[file];
		int host_fd = entered[file] ? fcntl(m->host_fd, F_DUPFD_CLOEXEC, 3) : m->host_fd;
		if (host_fd < 0) {
			r = -errno;
			break;
		}
		bool first = !entered[file];
		entered[file] = true;
		r = fdtable_put(d->restore.fds, (int)fd, host_fd, m->file, cloexec);
		if (r && first)
			*m = (struct made){.host_fd = -1};
	}
	for (unsigned i = 0; !r && i < d->made_count; i++)
		if (!entered[i])
			r = -EBADMSG;
	free(entered);
	return r ? fail(why, r, "descriptors cannot be entered: %s", strerror(-r)) : 0;
}

/* One-shot, and told already: nothing is left but bits that are no events. */
static bool has_fired(uint32_t events)
{
	return (events & EPOLLONESHOT) && !(events & ~(EPOLLONESHOT | EPOLLET | EPOLLWAKEUP | EPOLLEXCLUSIVE));
}

/* The kernel adds errors and hang-ups to whatever it is given: it forgets them only by telling. What cannot be
 * read or written just now stays with those two. */
static int add_fired(int epoll_fd, int fd, struct epoll_event *event)
{
	struct epoll_event any = *event, told;
	any.events |= EPOLLIN | EPOLLOUT;
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &any) < 0)
		return -errno;
	if (epoll_wait(epoll_fd, &told, 1, 0) == 0 && epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, event) < 0)
		return -errno;
	return 0;
}

static int add_interest(int epoll_fd, int fd, struct epoll_event *event)
{
	if (has_fired(event->events))
		return add_fired(epoll_fd, fd, event);
	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, event) < 0 ? -errno : 0;
}

static int restore_interest(struct carry_destination *d, int epoll_fd, struct descriptor *target,
			    bool has_number, struct epoll_event *event)
{
	/* One whose number was closed: the set keeps it as long as the file is open by another. */
	int fd = has_number ? target->host_fd : fcntl(target->host_fd, F_DUPFD_CLOEXEC, 3);
	int r = fd < 0 ? -errno : add_interest(epoll_fd, fd, event);
	if (has_number) {
		target->watched = true;
	} else if (fd >= 0) {
		int e = fdtable_ghost_add(d->restore.fds, target->file, fd);
		r = r ? r : e;
	}
	if (!r && target->file->pending_count)
		fdtable_pending_watch(d->restore.fds, target->file, epoll_fd, EPOLL_CTL_ADD, event);
	return r;
}

static int restore_those(struct carry_destination *d, struct reader *in, bool fired, struct failure *why)
{
	for (uint32_t count = reader_count(in, 21); count; count--) {
		uint32_t file = reader_u32(in), fd = reader_u32(in);
		bool has_number = reader_u8(in);
		struct epoll_event event = {.events = reader_u32(in)};
		event.data.u64 = reader_u64(in);
		if (!in->error && has_fired(event.events) != fired)
			continue;
		struct descriptor *target = fdtable_borrow(d->restore.fds, (int)fd);
		int r = -EBADMSG;
		if (!in->error && target && file < d->made_count)
			r = restore_interest(d, d->made[file].host_fd, target, has_number, &event);
		if (target)
			fdtable_return(d->restore.fds, target);
		if (r)
			return fail(why, r, "epoll: %s", strerror(-r));
	}
	return 0;
}

static int restore_interests(struct carry_destination *d, struct reader *in, struct failure *why)
{
	/* Those that have fired first, while nothing else can be told of their sets. */
	struct reader first = *in;
	int r = restore_those(d, &first, true, why);
	return r ? r : restore_those(d, in, false, why);
}

static int restore_process(struct carry_destination *d, struct reader *in, struct failure *why)
{
	char *directory = reader_string(in, CARRY_PATH_MAX);
	uint32_t mask = reader_u32(in);
	uint64_t soft = reader_u64(in), hard = reader_u64(in), file_size = reader_u64(in), own_soft, own_hard;
	struct rlimit files;
	if (!directory || in->error) {
		free(directory);
		return fail(why, -EBADMSG, "the state is damaged");
	}
	int r = chdir(directory) < 0
		    ? fail(why, -errno, "the working directory %s: %s", directory, strerror(errno))
		    : 0;
	free(directory);
	umask(mask & 0777);
	if (!r && getrlimit(RLIMIT_FSIZE, &files) == 0) {
		files.rlim_cur = file_size < files.rlim_max ? file_size : files.rlim_max;
		if (setrlimit(RLIMIT_FSIZE, &files) < 0)
			r = fail(why, -errno, "the limit of the size of files: %s", strerror(errno));
	}
	fdtable_limit(d->restore.fds, &own_soft, &own_hard);
	fdtable_set_limit(d->restore.fds, soft < own_hard ? soft : own_hard,
			  hard < own_hard ? hard : own_hard);
	return r;
}

int carry_destination_restore(struct carry_destination *d, struct bytes *state, struct failure *why)
{
	if (d->state.data)
		return fail(why, -EBADMSG, "a second state");
	d->state = *state;
	*state = (struct bytes){0};
	struct reader in = reader_of(d->state.data, d->state.size);
	if (reader_u32(&in) != CARRY_STATE)
		return fail(why, -EBADMSG, "the state is not one of this version");
	fdtable_reset(d->restore.fds, false);
	files_take(&d->restore, d->meeting);
	int r = restore_process(d, &in, why);
	if (!r)
		r = restore_files(d, &in, why);
	if (!r)
		r = restore_descriptors(d, &in, why);
	if (!r)
		r = restore_interests(d, &in, why);
	if (!r)
		r = locks_restore(&d->restore, d->made, d->made_count, &in, why);
	if (!r && (in.error || in.left))
		r = fail(why, -EBADMSG, "the state is damaged");
	if (!r) {
		files_restored(&d->restore);
		channels_restored(&d->restore);
		free_prebound(&d->restore);
	}
	return r;
}

/* ---- the end, either way ---- */

static bool is_service(const void *network, const struct in6_addr *address)
{
	return network_has(network, address);
}

int carry_destination_release(struct carry_destination *d, struct failure *why)
{
	int r = network_destination_arrive(&d->network, why);
	int e = sockets_release(&d->restore, is_service, &d->network);
	if (e && !r)
		r = fail(why, e, "a connection could not be continued: %s", strerror(-e));
	e = network_destination_open(&d->network, why);
	return r ? r : e;
}

void carry_destination_finish(struct carry_destination *d)
{
	if (!d)
		return;
	network_destination_finish(&d->network);
	destination_free(d);
}

void carry_destination_discard(struct carry_destination *d)
{
	if (!d)
		return;
	struct fdtable *fds = d->restore.fds;
	network_destination_return(&d->network);
	/* What was made and not entered. */
	for (unsigned i = 0; i < d->made_count; i++) {
		struct made *m = &d->made[i];
		if (!m->file || m->file->references)
			continue;
		if (m->host_fd >= 0)
			close(m->host_fd);
		fdtable_file_free(fds, m->file);
	}
	fdtable_reset(fds, true);
	d->restore.shut_count = 0;
	destination_free(d);
}
