/* SPDX-License-Identifier: Apache-2.0
 *
 * The program's resource limits. Their values are kept here, from the first time
 * they are asked for, and so are the same wherever it is; RLIMIT_NOFILE is the
 * host's table's. Enforced are RLIMIT_AS and RLIMIT_DATA, here; RLIMIT_CPU, by
 * timer.c; RLIMIT_FSIZE, by the kernel; others limit what an enclave does not have.
 */
#ifndef ENCLAVE_LIMITS_H
#define ENCLAVE_LIMITS_H

#include <stdbool.h>
#include <stdint.h>
#include "enclave/wire.h"

struct thread;

/* getrlimit(), setrlimit(), prlimit(). */
int64_t limits_call(struct thread *t, uint64_t nr, const uint64_t a[6]);
/* Whether the program may map so much more. */
bool limits_memory(uint64_t more);
/* EFBIG: is it the program's limit? */
bool limits_file(struct thread *t);
void limits_export(struct writer *w);
void limits_import(struct reader *r);

#endif
