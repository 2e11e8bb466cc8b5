/* SPDX-License-Identifier: Apache-2.0
 *
 * Descriptors that signals are read from. What is pending is the enclave's; the
 * host has an eventfd in its place, a bell, so that poll, epoll and blocking
 * reads find out. It rings while something of its mask may be pending: a bell
 * that rings for nothing is silenced by the read that finds nothing.
 */
#ifndef ENCLAVE_SIGNALFD_H
#define ENCLAVE_SIGNALFD_H

#include <stdbool.h>
#include <stdint.h>
#include "enclave/wire.h"

struct thread;

/* signalfd4() on no descriptor yet: one of the host's, which the caller enters by signalfd_open(). */
int64_t signalfd_create(struct thread *t, uint64_t app_mask, uint64_t flags, unsigned *file);
/* The same on a signalfd: another mask. */
int64_t signalfd_change(uint64_t fd, uint64_t app_mask);
void signalfd_open(int fd, unsigned file);
void signalfd_abandon(unsigned file); /* its descriptor was refused */
/* -EMFILE: there are too many numbers of signalfds. */
int64_t signalfd_duped(int from, int to);
void signalfd_closed(uint64_t first, uint64_t last);
int64_t signalfd_read(struct thread *t, uint64_t fd, uint64_t app, uint64_t size);

/* Something may have become pending: after each call of the application. */
void signalfd_ring(struct thread *t);
/* The same where the host asks: which bells it is to ring. */
uint64_t signalfd_due(void);

void signalfd_export(struct writer *w);
void signalfd_import(struct reader *r);

#endif
