/* SPDX-License-Identifier: Apache-2.0
 *
 * Time. The host's clocks are the only ones there are; the enclave adds an
 * offset of its own and never lets CLOCK_MONOTONIC run backwards, not even over
 * a move.
 */
#ifndef ENCLAVE_CLOCK_H
#define ENCLAVE_CLOCK_H

#include <stdint.h>
#include "enclave/rt.h"
#include "enclave/wire.h"

/* An address that passed host_range_ok(). Once: -EBUSY. */
int clock_init(uint64_t u_time_page);
uint64_t clock_real_ns(void);
/* The enclave's monotonic deadline as the host's; ~0 stays ~0. */
uint64_t clock_to_host(uint64_t deadline_ns);
/* Of processors, as the host said last: CPU_USER, CPU_ALL. Never backwards. */
enum { CPU_USER, CPU_ALL, CPU_CLOCKS };
uint64_t clock_cpu_ns(int which);
uint64_t clock_cpu_to_host(int which, uint64_t deadline_ns);
/* clock_gettime(), getrusage(), times(), answered by the host: before the last move there was more. */
void clock_cpu_add(uint64_t nr, const uint64_t a[6]);
int64_t clock_gettime_call(int id, uint64_t u_app_timespec);
void clock_export(struct writer *w);
/* The state is here, or begins to be: from now on the enclave's time goes by as this host's does. */
void clock_arrives(void);
void clock_import(struct reader *r); /* takes effect with clock_go() */
void clock_go(void);

#endif
