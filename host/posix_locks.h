/* SPDX-License-Identifier: Apache-2.0
 *
 * The program's POSIX record locks (fcntl F_SETLK). The kernel would give them to
 * this process, which cannot hand them on; here each file's are held by an open
 * file description of their own (F_OFD_SETLK), which can. To others they are the
 * same. As POSIX has it, they belong to the program as a whole, and closing any
 * descriptor of the file gives them up. What is lost: EDEADLK.
 */
#ifndef HOST_POSIX_LOCKS_H
#define HOST_POSIX_LOCKS_H

struct posix_locks;

int posix_locks_create(struct posix_locks **out);
/* Gives all locks up, unless another process has the descriptions too. NULL is fine. */
void posix_locks_destroy(struct posix_locks *l);
void posix_locks_reset(struct posix_locks *l);

/* The description that holds the locks of host_fd's file, made if need be: a copy, the caller's to close.
 * -ENOENT for what is no regular file; -errno. */
int posix_locks_of(struct posix_locks *l, int host_fd);
/* The program closes host_fd. */
void posix_locks_closed(struct posix_locks *l, int host_fd);

/* For a move, while no call is under way: the i-th description, -1 past the last. */
int posix_locks_at(struct posix_locks *l, unsigned i);
/* One that was handed over, or made here, with its locks: owned from now on. */
int posix_locks_put(struct posix_locks *l, int lock_fd);

#endif
