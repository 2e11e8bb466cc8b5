/* SPDX-License-Identifier: Apache-2.0
 *
 * A runtime of a page or two, for tests of the host alone: each application
 * slot repeats one request, as the test tells it by a service call.
 */
#ifndef TESTS_HOST_GUEST_H
#define TESTS_HOST_GUEST_H

#define GUEST_SLOTS 16

enum guest_op {
	GUEST_MODE = 1000, /* arg[0]: slot, arg[1]: enum guest_mode, arg[2]: its argument */
	GUEST_COUNT,	   /* arg[0]: slot; ret[0]: requests begun, ret[1]: interrupted, ret[2]: parked now */
	GUEST_STOP,	   /* arg[0]: 1 every slot parks at its next entry, 0 no more */
};

enum guest_mode {
	GUEST_DONE,   /* ends the thread */
	GUEST_WAIT,   /* waits for its token, for ever */
	GUEST_PING,   /* wakes slot arg and waits for its own token, in turns */
	GUEST_READ,   /* reads descriptor arg */
	GUEST_SPIN,   /* never leaves */
	GUEST_FAULT,  /* faults, has it repaired, ends */
	GUEST_EXIT,   /* ends the program with status arg */
	GUEST_CREATE, /* starts a thread in slot arg, ends */
};

#endif
