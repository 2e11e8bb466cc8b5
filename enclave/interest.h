/* SPDX-License-Identifier: Apache-2.0
 *
 * What a program has registered with epoll. The 64 bits it gets back with an
 * event are often a pointer: the host must neither see nor choose them, so it
 * keeps a token in their place, and what it reports is looked up here.
 */
#ifndef ENCLAVE_INTEREST_H
#define ENCLAVE_INTEREST_H

#include <stdbool.h>
#include <stdint.h>
#include "enclave/wire.h"

struct thread;

int64_t interest_control(struct thread *t, const uint64_t arg[6]); /* epoll_ctl */
/* A number for one answer of the host's. */
uint64_t interest_answer(void);
/* Turns an event of that answer (mask and token) into the program's. False: no such interest, nothing asked for, told of
 * before in this answer, or not to be told of until it is armed again. */
bool interest_event(int epoll_fd, uint64_t answer, uint32_t *events, uint64_t *data);
/* Descriptors that are closed are in no set, unless a dup of theirs is open; sets: they may have been sets
 * themselves. */
void interest_closed(uint64_t first, uint64_t last, bool sets);
/* to is open by a dup of from: one file by two numbers. */
void interest_duped(int from, int to);
void interest_export(struct writer *w);
void interest_import(struct reader *r);

#endif
