/* SPDX-License-Identifier: Apache-2.0
 *
 * kernels NAME LISTENER BYTES
 */
#include "bench/workloads/kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bench/workloads/meter.h"

static const struct kernel *const kernels[] = {
    &kernel_btree,  &kernel_hash_join,	&kernel_bfs, &kernel_pagerank,
    &kernel_lookup, &kernel_blockchain, &kernel_svm, &kernel_encryption,
};

int main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof(kernels) / sizeof(*kernels); i++) {
		const struct kernel *k = kernels[i];
		if (argc != 4 || strcmp(argv[1], k->name))
			continue;
		k->prepare(strtoull(argv[3], NULL, 10));
		meter_start(argv[2], k->check);
		k->run();
	}
	fprintf(stderr, "usage: kernels NAME LISTENER BYTES, NAME one of");
	for (size_t i = 0; i < sizeof(kernels) / sizeof(*kernels); i++)
		fprintf(stderr, " %s", kernels[i]->name);
	fprintf(stderr, "\n");
	return 2;
}
