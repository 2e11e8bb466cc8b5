/* SPDX-License-Identifier: Apache-2.0 */
#include "host/warm.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_PAGE (2u << 20)

void *warm_memory(size_t size)
{
	uint8_t *memory = aligned_alloc(HUGE_PAGE, (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
	int zeros = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	size_t done = 0;
	if (memory) {
		madvise(memory, size, MADV_HUGEPAGE);
		for (ssize_t n; done < size && (n = read(zeros, memory + done, size - done)) > 0;)
			done += (size_t)n;
		memset(memory + done, 0, size - done); /* without that device, as far as this goes */
	}
	if (zeros >= 0)
		close(zeros);
	return memory;
}
