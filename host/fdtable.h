/* SPDX-License-Identifier: Apache-2.0
 *
 * The program's file descriptors. Its numbers are its own: handed out here by
 * POSIX's lowest-free rule, so they survive a move to a host whose kernel would
 * have given others. Each number has a host descriptor of its own; numbers made
 * by dup share one struct file, as they share the kernel's open file
 * description. What can be asked of the kernel when the program moves (offset,
 * flags, counters, interest lists) is not kept here a second time.
 */
#ifndef HOST_FDTABLE_H
#define HOST_FDTABLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum file_kind {
	FILE_STDIO = 1, /* this process's own 0, 1, 2: belongs to the host, not to the program */
	FILE_OPENED,	/* open(path): file, directory, device */
	FILE_PIPE,	/* pipe2: both ends were made by the program */
	FILE_EVENTFD,
	FILE_TIMERFD,
	FILE_EPOLL,
	FILE_SOCKET,
	FILE_SOCKETPAIR,
	FILE_SIGNALFD, /* an eventfd that can be read while the enclave says so */
	FILE_KIND_COUNT,
};

/* One open file description. */
struct file {
	enum file_kind kind;
	uint32_t pair;		  /* FILE_SOCKETPAIR: the same for both ends */
	uint32_t creation;	  /* eventfd2: its flags, timerfd_create: its clock, signalfd: its bit, stdio: 0, 1 or 2 */
	uint32_t index;		  /* for whoever walks all files while no call is under way */
	uint32_t ahead;		  /* for a move: its place among what was read before the stop, from 1 */
	_Atomic uint64_t options; /* sockets: which options the program has set, bits of net/sockopts.h */
	atomic_bool touched;	  /* sockets: options or flags were set since somebody cleared this */
	atomic_bool urgent;	  /* sockets: out-of-band data was sent */
	uint8_t shut;		  /* FILE_SOCKETPAIR: 1 << SHUT_RD, 1 << SHUT_WR */
	unsigned references;	  /* descriptors that share it; under the table's lock */
	bool outlived; /* one of them was closed and others were not: epoll sets may still know it */
	/* Listening sockets after a move: connections that the other host's kernel had accepted and the
	 * program had not. While there are any, bell (an eventfd that can always be read) stands beside the
	 * socket in every epoll set that waits for it. Under the table's lock. */
	int *pending;
	unsigned pending_count;
	int bell; /* 0: none */
	/* Host descriptors of numbers that were closed while others share the file: epoll sets still know it
	 * by them, so they stay open, and their own, as long as it does. Under the table's lock. */
	int *ghost;
	unsigned ghost_count;
};

struct descriptor {
	int host_fd;
	struct file *file;
	bool cloexec;
	bool watched; /* added to an epoll set */
	/* The following are under the table's lock. A call under way keeps the host descriptor open (and its
	 * number from being given to another file) when the program closes it meanwhile. */
	unsigned users;
	bool closed;
};

struct fdtable;
struct epoll_event;
struct posix_locks;

/* A table with 0, 1 and 2 (those that are open). Ignores SIGPIPE and SIGXFSZ in this process: EPIPE and
 * EFBIG are the program's. */
int fdtable_create(struct fdtable **out);
/* Closes everything but stdio. No call may be under way. NULL is fine. */
void fdtable_destroy(struct fdtable *t);
/* Empties the table; with_stdio: then as fdtable_create() makes it. */
void fdtable_reset(struct fdtable *t, bool with_stdio);

/* Functions below return a descriptor number or -errno. They own host_fd from the call on, failed or not. */
int fdtable_add(struct fdtable *t, int host_fd, enum file_kind kind, bool cloexec);
/* The same for a file of fdtable_file() whose fields are filled in; owns it too. NULL: -ENOMEM. */
int fdtable_add_file(struct fdtable *t, int host_fd, struct file *file, bool cloexec);
/* Both or none; out[0], out[1]. Returns 0. creation as in struct file. */
int fdtable_add_pair(struct fdtable *t, const int host_fd[2], enum file_kind kind, bool cloexec, int out[2]);
/* A number, when there is one to give: -EMFILE otherwise. For calls that must fail before they have an
 * effect. */
int fdtable_room(struct fdtable *t);
int fdtable_dup(struct fdtable *t, int fd, int lowest, bool cloexec);
int fdtable_dup_to(struct fdtable *t, int fd, int to, bool cloexec);
int fdtable_close(struct fdtable *t, int fd);
/* close_range(2); cloexec_only: CLOSE_RANGE_CLOEXEC. */
int fdtable_close_range(struct fdtable *t, unsigned first, unsigned last, bool cloexec_only);

int fdtable_cloexec(struct fdtable *t, int fd); /* 0, 1 or -EBADF */
int fdtable_set_cloexec(struct fdtable *t, int fd, bool cloexec);
/* Files every host has its own of (resolver, hosts, zones, locales) that the program has read: it will again. Notes the
 * first NAMES_MAX. */
#define NAMES_MAX 32
void fdtable_note_name(struct fdtable *t, const char *path);
/* The i-th, NULL past the last; for a move. */
const char *fdtable_name(struct fdtable *t, unsigned i);
/* The locks that belong to the program as a whole: host/posix_locks.h. */
struct posix_locks *fdtable_posix_locks(struct fdtable *t);
/* RLIMIT_NOFILE of the program. */
void fdtable_limit(struct fdtable *t, uint64_t *soft, uint64_t *hard);
int fdtable_set_limit(struct fdtable *t, uint64_t soft, uint64_t hard);

/* For the length of a call. NULL if fd is not open. */
struct descriptor *fdtable_borrow(struct fdtable *t, int fd);
void fdtable_return(struct fdtable *t, struct descriptor *d);

/* Pending connections of a listening socket. take: a host descriptor or -EAGAIN. */
int fdtable_pending_take(struct fdtable *t, struct file *file);
int fdtable_pending_add(struct fdtable *t, struct file *file, int host_fd);
/* A ghost made at the destination of a move. Owns host_fd, failed or not. */
int fdtable_ghost_add(struct fdtable *t, struct file *file, int host_fd);
/* True if any listening socket has one: looked at before each wait, almost always false. */
bool fdtable_pending_any(const struct fdtable *t);
/* What was done with epoll_ctl() for a socket is done for its bell, if it has one. */
void fdtable_pending_watch(struct fdtable *t, struct file *file, int epoll_fd, int operation,
			   const struct epoll_event *event);

/* One that is sent in a message. The program may close it before it arrives: what the kernel will not tell then. */
void fdtable_sent(struct fdtable *t, const struct descriptor *d, int fd);
/* One that came in a message: it shares its file with others of the program that are the same. As fdtable_add(). */
int fdtable_add_received(struct fdtable *t, int host_fd, bool cloexec);
/* OCALL_BELLS. */
void fdtable_bells(struct fdtable *t, uint64_t ring, uint64_t silence);

/* For a move, while no call is under way. Descriptors in rising order: the first at or after fd, -1 at the
 * end. */
int fdtable_next(struct fdtable *t, int fd, struct descriptor **out);
/* A file without descriptors, for fdtable_put(); the first fdtable_put() frees it if it fails. */
struct file *fdtable_file(enum file_kind kind);
/* One that was never entered. */
void fdtable_file_free(struct fdtable *t, struct file *file);
/* Enters it at a given number, which must be free. Returns 0. */
int fdtable_put(struct fdtable *t, int fd, int host_fd, struct file *file, bool cloexec);

#endif
