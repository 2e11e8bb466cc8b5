/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernels of data-centre programs, each with a habit of touching memory of its own. One file each.
 */
#ifndef BENCH_KERNELS_H
#define BENCH_KERNELS_H

#include <stddef.h>
#include <stdint.h>

struct kernel {
	const char *name;
	void (*prepare)(size_t bytes); /* fills about so much memory with what does not compress */
	void (*run)(void);	       /* for ever; meter_add() counts its operations and may call check() */
	uint64_t (*check)(char *text, size_t size); /* as meter_start() wants it */
};

extern const struct kernel kernel_btree, kernel_hash_join, kernel_bfs, kernel_pagerank, kernel_lookup, kernel_blockchain,
	kernel_svm, kernel_encryption;

#endif
