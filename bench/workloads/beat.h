/* SPDX-License-Identifier: Apache-2.0
 *
 * What a workload tells its listener: one datagram a millisecond while it works, and its answer when it is
 * asked. Host and enclave have the same byte order here, so it is a plain structure.
 */
#ifndef BENCH_BEAT_H
#define BENCH_BEAT_H

#include <stdint.h>

#define BEAT_MAGIC 0x74616562u
#define BEAT_INTERVAL_NS 1000000

enum beat_kind {
	BEAT_WORK,
	BEAT_CHECKED, /* text: what was looked at; wrong: how much of it was not as it must be */
};

struct beat {
	uint32_t magic, kind;
	uint64_t sequence;
	uint64_t program_ns; /* the program's own monotonic clock */
	uint64_t operations; /* since it began */
	uint64_t gap_ns;     /* longest time between two batches of work since the last beat */
	uint64_t wrong;
	char text[80];
};

/* What the listener asks: one character in a datagram. */
#define BEAT_ASK_CHECK 'c'
#define BEAT_ASK_QUIT 'q'

#endif
