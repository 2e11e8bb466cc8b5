/* SPDX-License-Identifier: Apache-2.0
 *
 * The end of a thread that frees the stack it runs on: the runtime has another one.
 */
#include <stddef.h>

_Noreturn void __optmig_unmapself(void *base, size_t size);

_Noreturn void __unmapself(void *base, size_t size)
{
	__optmig_unmapself(base, size);
}
