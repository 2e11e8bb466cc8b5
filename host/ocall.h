/* SPDX-License-Identifier: Apache-2.0
 *
 * The system calls the host makes for the enclave. One table: what each
 * argument is, whether it may block. File descriptor arguments are translated
 * through the fdtable.
 */
#ifndef HOST_OCALL_H
#define HOST_OCALL_H

#include "host/enclave.h"

/* Serves OCALL_SYSCALL in t->area: sets .result and .interrupted. */
void ocall_syscall(struct host_thread *t, struct fdtable *fds);

/* host/kick.S: `syscall` unless *kicked; returns -EINTR with *kicked still set if it was cut short.
 * kick_signal_install() installs the signal handler (KICK_SIGNAL) that moves a thread out of the window. */
long kick_syscall(volatile uint32_t *kicked, long nr, long a, long b, long c, long d, long e, long f);
#define KICK_SIGNAL (SIGRTMIN + 3)
int kick_signal_install(void);

#endif
