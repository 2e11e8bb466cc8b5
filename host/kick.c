/* SPDX-License-Identifier: Apache-2.0 */
#include "host/ocall.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <ucontext.h>

/* kick.S */
extern const char kick_window[], kick_window_end[], kick_cut[];

static _Thread_local atomic_uint taken;

atomic_uint *kick_taken(void)
{
	return &taken;
}

static void kick_handler(int signal_number, siginfo_t *info, void *context)
{
	atomic_fetch_add(&taken, 1);
	greg_t *rip = &((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
	if (*rip >= (greg_t)kick_window && *rip < (greg_t)kick_window_end)
		*rip = (greg_t)kick_cut;
}

int kick_signal_install(int (*install)(int, const struct sigaction *, struct sigaction *))
{
	/* Without SA_RESTART: a blocked call is to come back. */
	struct sigaction action = {.sa_sigaction = kick_handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	return install(KICK_SIGNAL, &action, NULL);
}
