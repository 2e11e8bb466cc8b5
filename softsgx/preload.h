/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the preload library share.
 */
#ifndef SOFTSGX_PRELOAD_H
#define SOFTSGX_PRELOAD_H

#include <dlfcn.h>

#define EXPORT __attribute__((visibility("default")))
/* The next definition of a function, looked up once. */
#define NEXT(name)                                                                                           \
	({                                                                                                   \
		static __typeof__(&name) next;                                                               \
		if (!next)                                                                                   \
			next = (__typeof__(&name))dlsym(RTLD_NEXT, #name);                                   \
		next;                                                                                        \
	})

extern int preload_active; /* a device has been opened */

/* The program opened a file, closed a descriptor. */
void preload_opened(const char *path, int fd);
void preload_closed(int fd);

#endif
