/* SPDX-License-Identifier: Apache-2.0
 *
 * There is no name service cache: it would be the host's, and musl believes the
 * counts and lengths in its answers. Users and groups are those in the files.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* "Not found", as where none runs: the caller closes what it gets. */
FILE *__nscd_query(int32_t request, const char *key, int32_t *answer, size_t size, int *swap)
{
	(void)request, (void)key;
	memset(answer, 0, size);
	*swap = 0;
	return fopen("/dev/null", "re");
}
