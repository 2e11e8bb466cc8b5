/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the receive service hands further connections of a session to the
 * session's process: a socket in the abstract namespace, named by the session,
 * so that a service that was started again finds it too.
 */
#ifndef MIGRATE_ATTACH_H
#define MIGRATE_ATTACH_H

#include "migrate/wire.h"

/* A descriptor to take from, or -errno; -EADDRINUSE: there is a process of that session. */
int attach_listen(const uint8_t session[static SESSION_ID_SIZE]);
/* fd stays the caller's. 0, -ENOENT if no process is of that session, or -errno. Does not wait. */
int attach_give(const struct frame_attach *attach, int fd);
/* The next connection that is there. 0, -EAGAIN if there is none or it is not from this user or root, or -errno. */
int attach_take(int listener, struct frame_attach *attach, int *fd);

#endif
