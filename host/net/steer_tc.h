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

/* At the interface's entrance, or at its exit. program: a descriptor. *handle names the filter for steer_tc_detach(). */
int steer_tc_attach(int interface, bool entrance, int program, uint32_t *handle);
void steer_tc_detach(int interface, bool entrance, uint32_t handle);

#endif
