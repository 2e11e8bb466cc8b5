/* SPDX-License-Identifier: Apache-2.0
 *
 * A function of the kernel's vDSO by name. The dynamic linker does not export
 * SGX's, so the image the kernel mapped is read here.
 */
#ifndef HOST_VDSO_H
#define HOST_VDSO_H

/* NULL if the kernel has none of that name. */
void *vdso_symbol(const char *name);

#endif
