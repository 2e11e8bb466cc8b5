/* SPDX-License-Identifier: Apache-2.0
 *
 * Whether a process of this network lives, by a name that the kernel takes away when
 * it ends: numbers of processes mean nothing in another container. (Abstract names
 * of unix sockets, for packets in sequence; any user of the host may have one, and connect.)
 */
#ifndef HOST_NET_PRESENCE_H
#define HOST_NET_PRESENCE_H

/* A listening socket that has the name, and can be read when somebody asks for it, or -errno. -EADDRINUSE: another has it. */
int presence_begin(const char *name);
/* A socket connected to it, which can be read at the latest when whoever has the name ends, or -ECONNREFUSED: nobody has it. */
int presence_ask(const char *name);

#endif
