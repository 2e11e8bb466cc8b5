/* SPDX-License-Identifier: Apache-2.0
 *
 * Where there is no TCX (before Linux 6.6), the packet program is a classifier
 * of the interface's clsact queueing discipline. The kernel does not take it
 * down when its process is killed: the next one that attaches here does.
 */
#ifndef HOST_NET_STEER_TC_H
#define HOST_NET_STEER_TC_H

#include <stdbool.h>
#include <stdint.h>

struct steer_filter {
	uint32_t handle;
	int presence; /* whose end means that the filter is left over; -1: not attached */
};
#define STEER_FILTER_NONE {0, -1}

/* At the interface's entrance, or at its exit. program: a descriptor. */
int steer_tc_attach(int interface, bool entrance, int program, struct steer_filter *out);
void steer_tc_detach(int interface, bool entrance, struct steer_filter *filter);

#endif
