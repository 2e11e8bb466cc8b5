/* SPDX-License-Identifier: Apache-2.0
 *
 * The records of what the host carries: one per open file description. Each
 * kind has a function that says whether it can be carried, one that writes its
 * record at the source and one that makes it anew at the destination. Used by
 * the carry_*.c files only.
 */
#ifndef HOST_CARRY_RECORD_H
#define HOST_CARRY_RECORD_H

#include <stdbool.h>
#include <sys/un.h>
#include "host/bytes.h"
#include "host/carry/inventory.h"
#include "host/carry/network.h"
#include "host/failure.h"
#include "host/fdinfo.h"
#include "host/net/ip.h"
#include "host/net/tcp_repair.h"

/* On the wire: append only. */
enum record {
	RECORD_STDIO = 1,
	RECORD_PATH,
	RECORD_PIPE,
	RECORD_EVENTFD,
	RECORD_TIMERFD,
	RECORD_EPOLL,
	RECORD_SOCKETPAIR,
	RECORD_SOCKET, /* no peer, or a datagram socket's default one */
	RECORD_LISTENER,
	RECORD_CONNECTION, /* TCP with a peer */
	RECORD_CONNECTING, /* TCP waiting for its peer's first word */
	RECORD_ENDED,	   /* TCP whose connection is over, the descriptor still open */
	RECORD_SHARED,	   /* any socket, in a move within one host */
	RECORD_UNNAMED,	   /* a file without a name, with its content */
	RECORD_HANDED,	   /* a file handed over as it is */
	RECORD_UNIX,	   /* a unix socket that is not connected, or a datagram one */
	RECORD_SIGNALFD,
};

#define CARRY_PATH_MAX 4096
#define UNNAMED_MAX 256

/* A file without a name: several descriptions may share it. */
struct unnamed {
	uint64_t device, inode;
	int fd; /* destination */
};

/* Destination: ends whose other end may come in a later record, and what had been bound before. */
struct restore {
	struct fdtable *fds;
	int source; /* a pidfd of the source's process in a move within one host; -1 */
	struct restore_pair {
		uint64_t id;
		int fd;
	} *pair;
	unsigned pair_count;
	struct restore_shut {
		int fd;
		uint8_t how; /* as struct file's shut */
	} *shut;
	unsigned shut_count;
	struct tcp_restored *connection;
	unsigned connection_count, connection_capacity;
	bool tracked; /* this host's firewall knows connections (host/net/conntrack.h) */
	struct stock { /* sockets for connections, made ahead */
		uint8_t *fixed;
		size_t fixed_size;
		uint64_t options;
		int reuse_address;
		int *fd;
		unsigned count;
	} *stock;
	unsigned stock_count;
	struct restore_unix { /* unix sockets, whose names come last */
		int fd;	      /* the table's */
		struct sockaddr_un name, peer;
		socklen_t name_size, peer_size;
		uint32_t mode, user, group, backlog;
		bool listens;
	} *named;
	unsigned named_count;
	struct bytes datagrams; /* to be delivered once the addresses are here */
	struct connecting {
		int fd; /* the table's */
		struct sockaddr_storage peer;
		uint32_t peer_size;
	} *connecting;
	unsigned connecting_count;
	struct prebound {
		int fd;
		int type;
		struct sockaddr_storage name;
	} *prebound;
	unsigned prebound_count;
	int *handed; /* as they came; -1: has become a file */
	unsigned handed_count;
	struct unnamed unnamed[UNNAMED_MAX];
	unsigned unnamed_count;
};

/* Source: what goes over as it is, in this order, where there is a way (host/carry/meeting.h). */
struct meeting;
struct hand_over {
	bool file_locks, compare; /* options */
	struct meeting *offered;  /* preflight: to be offered where a file is that needs it */
	int meeting;		  /* freeze: -1, no way */
	int *fd;
	unsigned count;
	uint64_t shipped; /* bytes of files without a name */
	struct unnamed unnamed[UNNAMED_MAX];
	unsigned unnamed_count;
};
int hand_over_add(struct hand_over *h, int fd, uint32_t *index);

/* What preflight has found. */
struct files_need {
	struct bytes paths;
	unsigned path_count;
	unsigned unnamed;
	uint64_t unnamed_size;
	struct bytes locks; /* for locks_expect() */
	unsigned lock_files;
};

/* One made file, ready to be entered. */
struct made {
	struct file *file;
	int host_fd;
};

/* ---- files.c ---- */
int files_check(const struct inventory_file *f, const struct hand_over *h, struct files_need *need,
		struct failure *why);
/* What can only be handed over, if there is no way to. */
int files_check_alone(const struct files_need *need, struct failure *why);
int files_dump(const struct inventory_file *f, struct hand_over *h, struct bytes *out, struct failure *why);
int files_restore(struct restore *r, enum record record, struct reader *in, struct made *out,
		  struct failure *why);
/* Names of files that the destination must have too: writes them, looks for them (and notes them there). */
void names_put(struct fdtable *fds, bool compare, struct bytes *out);
int names_expect(struct fdtable *fds, struct reader *in, struct failure *why);
/* The path it was opened by, -errno. */
int files_path(int host_fd, char path[CARRY_PATH_MAX]);
/* One that was handed over: the caller's from now on. */
int files_handed(struct restore *r, uint32_t index);
/* Everything that was handed over, before the state is read; and what nobody asked for, after. */
void files_take(struct restore *r, int meeting_fd);
void files_restored(struct restore *r);
/* Prepare: opens nothing, says what the destination lacks. */
int files_expect(struct reader *in, struct failure *why);

/* ---- locks.c ---- */
/* Refused without --file-locks. */
int locks_refuse(const struct fdinfo *info, const struct hand_over *h, const char *path, struct failure *why);
/* The same in preparation; notes what the destination may look at. */
int locks_need(const struct fdinfo *info, const struct hand_over *h, const char *path, struct files_need *need,
	       struct failure *why);
/* Prepare: takes nothing. met: they will be handed over. */
int locks_expect(bool met, struct reader *in, struct failure *why);
/* Of one description: writes them, takes them there. */
void locks_put(const struct fdinfo *info, struct bytes *out);
int locks_take(int host_fd, const char *path, struct reader *in, struct failure *why);
/* The program's POSIX locks, after all files. */
struct posix_locks;
int locks_check(struct posix_locks *locks, const struct hand_over *h, struct files_need *need,
		struct failure *why);
int locks_dump(struct posix_locks *locks, const struct inventory *v, struct hand_over *h, struct bytes *out,
	       struct failure *why);
int locks_restore(struct restore *r, const struct made *made, unsigned made_count, struct reader *in,
		  struct failure *why);

/* What it is: a path; how it goes along. */
const char *files_describe(const struct inventory_file *f, const struct hand_over *h, char *what,
			   size_t size);

/* ---- channels.c: pipes, socketpairs, eventfds, timerfds ---- */
int channels_check(const struct inventory_file *f, struct failure *why);
int channels_dump(const struct inventory_file *f, struct bytes *out, struct failure *why);
/* Two connected sockets, both the program's. id: the same for both. */
int channels_dump_pair(const struct inventory_file *f, uint64_t id, struct bytes *out, struct failure *why);
int channels_restore(struct restore *r, enum record record, struct reader *in, struct made *out,
		     struct failure *why);
/* Once all descriptors are made. Closes the ends nobody asked for: the program had closed them before it
 * moved. */
void channels_restored(struct restore *r);

/* Descriptors that wait in a unix socket's queue, as recvmsg() has given them: closed. -EINPROGRESS if there were any. */
int channels_rights(struct msghdr *m);
/* The same, of the whole queue. */
int channels_look_for_rights(int host_fd);
/* What could not be read, in words. */
int channels_fail(const struct inventory_file *f, int error, struct failure *why);

/* ---- sockets.c ---- */
enum socket_class {
	SOCKET_PLAIN, /* not TCP, or TCP that was never connected */
	SOCKET_LISTENER,
	SOCKET_CONNECTION,
	SOCKET_CONNECTING,
	SOCKET_ENDED,
};
int sockets_classify(int host_fd, enum socket_class *out);
/* The same for one that had a peer before. */
int sockets_classify_connection(int host_fd, enum socket_class *out);
/* Address of a socket's own end (or of its peer's). False: it has none, or all. */
bool sockets_address(int host_fd, bool peer, struct in6_addr *out);
/* A bound datagram socket that takes from anybody. */
bool sockets_is_open(int host_fd);
/* Whether the program has had the kernel remember how far it has peeked (SO_PEEK_OFF): we would read from there. */
bool sockets_peeks(const struct file *file);
/* -1: always the beginning. before: NULL, or what it was. 0 or -errno. */
int sockets_peek_from(int host_fd, int from, int *before);
/* Bytes that a connection has in its queues; whether so many of all of them fit into a state. */
size_t sockets_queued(int host_fd);
int sockets_fit(size_t queued, struct failure *why);
/* "10.0.0.1:6379 - 10.0.0.2:40000" */
void sockets_describe(int host_fd, char *out, size_t size);
/* Bound or plain sockets (not connections): what cannot be carried; bound ones into the manifest. */
int sockets_check(const struct inventory_file *f, enum socket_class class, struct bytes *bound,
		  struct failure *why);
int sockets_prebind(struct restore *r, struct reader *in, struct failure *why);
/* Record of anything but a connection. network: which addresses come along. */
int sockets_dump(const struct inventory_file *f, enum socket_class class, const struct network *network,
		 struct bytes *out, struct failure *why);
/* What of a connection does not change by itself: domain, flags, own name, options. Connections of one
 * listening socket mostly have the same, byte by byte, so the destination can make their sockets ahead. */
int sockets_dump_fixed(int host_fd, uint64_t options, struct bytes *out);
/* Record of a frozen connection. */
int sockets_dump_connection(int host_fd, uint8_t shut, const void *fixed, size_t fixed_size,
			    struct bytes *out, struct tcp_mark *mark);
/* Prepare: reads sockets_dump_fixed() as a block, makes count sockets for it, or as many as it can. */
int sockets_stock(struct restore *r, struct reader *in, struct failure *why);
void sockets_stock_free(struct restore *r);
/* In a move within one host: the socket itself is handed over. */
void sockets_dump_shared(const struct inventory_file *f, struct bytes *out);
int sockets_restore(struct restore *r, enum record record, struct reader *in, struct made *out,
		    struct failure *why);
/* A connection's record behind its type; out->file is there. */
int sockets_restore_connection(struct restore *r, struct reader *in, struct made *out);
/* After COMMIT, when the addresses are here; is_here tells which came along. */
int sockets_release(struct restore *r, bool (*is_here)(const void *context, const struct in6_addr *address),
		    const void *context);

/* ---- unix.c ---- */
bool unix_is(int host_fd);
/* What cannot be carried; appends the name, if it has one of its own, for unix_expect(). */
int unix_check(const struct inventory *v, const struct inventory_file *f, struct bytes *names,
	       unsigned *name_count, struct failure *why);
int unix_dump(const struct inventory *v, const struct inventory_file *f, struct bytes *out,
	      struct failure *why);
/* Prepare: makes nothing, says what stands in the way. */
int unix_expect(struct reader *in, struct failure *why);
int unix_restore(struct restore *r, struct reader *in, struct made *out, struct failure *why);
/* After COMMIT: names are taken. */
int unix_release(struct restore *r);

/* ---- datagrams.c ---- */
int datagrams_dump(int host_fd, int domain, struct bytes *out);
/* Keeps the section for datagrams_deliver(). fd: the socket made for them. */
int datagrams_expect(struct restore *r, int fd, struct reader *in);
/* One that cannot be delivered is lost, as datagrams may be. */
void datagrams_deliver(struct restore *r, struct inject *i,
		       bool (*is_here)(const void *context, const struct in6_addr *address),
		       const void *context);

#endif
