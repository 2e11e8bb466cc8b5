/* SPDX-License-Identifier: Apache-2.0
 *
 * Signals sent to the host process are the program's: a thread takes them and
 * hands them in. A second SIGINT or SIGTERM within SIGNALS_IMPATIENCE_MS, while
 * the program still runs, ends the process, for programs that do not listen.
 */
#ifndef HOST_SIGNALS_H
#define HOST_SIGNALS_H

#include "host/enclave.h"

#define SIGNALS_IMPATIENCE_MS 2000

/* In main(), before any thread is made: they inherit the mask. */
void signals_block(void);
/* From now on signals go to the enclave. Lasts as long as the process. 0 or -errno. */
int signals_forward(struct enclave *e);

#endif
