/* SPDX-License-Identifier: Apache-2.0
 *
 * The workloads' side of a measurement: they count what they do, and the meter tells the listener, from the
 * thread that works, so that a gap in what it tells is a gap in the work. One thread uses it.
 */
#ifndef BENCH_METER_H
#define BENCH_METER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* to: ADDRESS:PORT of the listener. check() looks at everything the workload holds, returns how much of it is
 * wrong, and says in text what it looked at; it runs inside meter_add(). Exits with a message if it cannot. */
void meter_start(const char *to, uint64_t (*check)(char *text, size_t size));

/* So many operations more are done; call it every 10 to 100 us. Answers when asked, and ends the program. */
void meter_add(uint64_t operations);

/* Waits for the next whole millisecond after `last_ns`, of which there is no making up for those that were
 * missed; returns it. For workloads with a fixed rate. */
uint64_t meter_next_ms(uint64_t last_ns);

uint64_t meter_now_ns(void);

/* size bytes (a multiple of 32) that follow from the seed and do not compress, and whether they are still there */
void noise_fill(uint64_t seed, void *out, size_t size);
bool noise_is(uint64_t seed, const void *in, size_t size);
uint64_t mix64(uint64_t x);

/* Zeroed memory on whole pages, or the program ends. */
void *room(size_t size);

#endif
