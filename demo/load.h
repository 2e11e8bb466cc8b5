/* SPDX-License-Identifier: Apache-2.0
 *
 * The demo's client: fills a Redis with data that does not compress, and puts a
 * load on it of which every reply is known beforehand. Each job is one file.
 */
#ifndef DEMO_LOAD_H
#define DEMO_LOAD_H

#include <stddef.h>
#include <stdint.h>

struct load_options {
	const char *host, *port;
	uint64_t bytes;        /* fill, verify: how much data */
	unsigned connections;  /* run */
	unsigned depth;        /* run: commands sent together on one connection */
	unsigned rate;         /* run: commands per second over all connections, 0 as fast as they are answered */
	unsigned keys;         /* run: keys each connection rewrites */
	unsigned seconds;      /* run: 0 until SIGTERM or SIGINT */
};

/* Each returns the program's exit status: 0, or 1 when the server lost or altered something. */
int load_fill(const struct load_options *o);
int load_verify(const struct load_options *o); /* what load_fill() wrote is all there */
int load_run(const struct load_options *o);    /* prints one JSON object at the end */

/* Bytes that follow from the seed alone and that no compressor makes smaller. */
void load_noise(uint64_t seed, void *out, size_t size);
uint64_t load_now_us(void); /* CLOCK_MONOTONIC */

#endif
