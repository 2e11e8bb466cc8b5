/* SPDX-License-Identifier: Apache-2.0
 *
 * An image of a vDSO that has __vdso_sgx_enter_enclave, and the functions of the
 * kernel's own behind the same names. Mapped as it is in its file: programs walk
 * its dynamic section or its section headers.
 */
#ifndef SOFTSGX_VDSO_H
#define SOFTSGX_VDSO_H

/* Address of the image, made on the first call; 0 if it cannot be. */
unsigned long vdso_image(void);
/* The kernel's own, or 0. */
unsigned long vdso_kernel_image(void);
/* A copy of /proc/self/auxv that names the image, or -errno. */
int vdso_auxv_file(void);

#endif
