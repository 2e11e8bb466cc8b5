/* SPDX-License-Identifier: Apache-2.0
 *
 * System calls on descriptors that need more than the table in calls.c: what a
 * number stands for, file mappings, the random devices.
 */
#ifndef ENCLAVE_FILES_H
#define ENCLAVE_FILES_H

#include <stdbool.h>
#include <stdint.h>
#include "enclave/wire.h"

struct thread;

/* Everything gate.c does not answer itself. */
int64_t files_call(struct thread *t, uint64_t nr, const uint64_t arg[6]);
/* getrandom, and reading a random device: the enclave's own bytes, never the host's. */
int64_t files_read_random(uint64_t buf, uint64_t size);
int64_t files_mmap(struct thread *t, const uint64_t arg[6]);
/* A number the host has just given out. */
int64_t files_new(struct thread *t, int64_t fd);
/* The runtime keeps something of it: it cannot be sent in a message. */
bool files_own(uint64_t fd);
bool files_is_random(uint64_t fd);
bool files_is_signalfd(uint64_t fd);
void files_export(struct writer *w);
void files_import(struct reader *r);

#endif
