/* SPDX-License-Identifier: Apache-2.0
 *
 * What a program has open and how it would go along, in words.
 */
#include "host/carry/source.h"

#include <stdio.h>

static const char *describe_socket(const struct carry_source *s, const struct inventory_file *f, char *what,
				   size_t size)
{
	static const char *const names[] = {[SOCKET_PLAIN] = "socket",
					    [SOCKET_LISTENER] = "listening socket",
					    [SOCKET_CONNECTION] = "TCP connection",
					    [SOCKET_CONNECTING] = "TCP connection under way",
					    [SOCKET_ENDED] = "TCP connection that is over"};
	static const char *const ways[] = {[SOCKET_PLAIN] = "made again, bound again, its options set again",
					   [SOCKET_LISTENER] = "bound again, connections that wait go along",
					   [SOCKET_CONNECTION] =
					       "goes along with its address, no packet is lost",
					   [SOCKET_CONNECTING] = "made again",
					   [SOCKET_ENDED] = "stays over, unread data go along"};
	enum socket_class class;
	char name[200];
	if (sockets_classify(f->host_fd, &class)) {
		snprintf(what, size, "socket");
		return "not at all";
	}
	sockets_describe(f->host_fd, name, sizeof(name));
	snprintf(what, size, "%s %s", names[class], name);
	return s->local ? "handed over as it is" : ways[class];
}

void list_tell(const struct carry_source *s, const struct inventory *v, unsigned index,
	       const struct hand_over *h, const char *obstacle)
{
	static const struct {
		const char *what, *how;
	} channels[FILE_KIND_COUNT] = {
	    [FILE_PIPE] = {"pipe", "made again with what is in it"},
	    [FILE_EVENTFD] = {"eventfd", "made again with its counter"},
	    [FILE_TIMERFD] = {"timerfd", "made again with what remains of it"},
	    [FILE_SIGNALFD] = {"signalfd", "made again; signals that wait go along"},
	    [FILE_EPOLL] = {"epoll", "made again with what it waits for"},
	    [FILE_SOCKETPAIR] = {"socketpair", "made again with what is in it"},
	};
	const struct inventory_file *f = &v->file[index];
	struct carry_item item = {.obstacle = obstacle};
	char what[600];
	int fd[64];
	for (unsigned i = 0; i < v->descriptor_count && item.fd_count < 64; i++)
		if (v->descriptor[i].descriptor->file == f->file)
			fd[item.fd_count++] = v->descriptor[i].fd;
	item.fd = fd;
	item.what = what;
	if (f->file->kind == FILE_STDIO || f->file->kind == FILE_OPENED)
		item.how = files_describe(f, h, what, sizeof(what));
	else if (f->file->kind == FILE_SOCKET)
		item.how = describe_socket(s, f, what, sizeof(what));
	else
		item = (struct carry_item){fd, item.fd_count, channels[f->file->kind].what,
					   channels[f->file->kind].how, obstacle};
	if (obstacle)
		item.how = "not at all";
	s->options.tell(s->options.context, &item);
}

/* What belongs to no descriptor. */
void list_rest(const struct carry_source *s, const char *obstacle_locks)
{
	const struct carry_item items[] = {
	    {NULL, 0, "file locks",
	     s->options.file_locks
		 ? "handed over on one kernel, taken there while they are held here on another"
		 : "only with --file-locks",
	     obstacle_locks},
	    {NULL, 0, "working directory, umask, limit of descriptors", "the same there", NULL},
	    {NULL, 0, "signals, timers, clocks, waits", "go on with what remains of them", NULL},
	};
	for (unsigned i = 0; i < sizeof(items) / sizeof(items[0]); i++)
		s->options.tell(s->options.context, &items[i]);
	for (unsigned i = 0; i < s->network.service_count; i++) {
		char text[INET6_ADDRSTRLEN], what[100];
		ip_text(&s->network.service[i].address, text);
		snprintf(what, sizeof(what), "address %s", text);
		struct carry_item item = {NULL, 0, what, "moves to that host's interface", NULL};
		s->options.tell(s->options.context, &item);
	}
}
