/* SPDX-License-Identifier: Apache-2.0
 *
 * Parts of the trusted runtime in an ordinary process: its fixed addresses are
 * mapped, EACCEPT is emulated, each host thread may be one of its threads, and
 * where it would leave the enclave the test's host_answer() is called.
 */
#ifndef TESTS_ENCLAVE_SUPPORT_H
#define TESTS_ENCLAVE_SUPPORT_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include "enclave/mm.h"
#include "enclave/thread.h"
#include "tests/check.h"

#define HEAP_SIZE (32ull << 20)
#define IMAGE_SIZE (4ull * PAGE_SIZE) /* writable, at APP_BASE */

void enclave_begin(void); /* maps everything, mm_init(), this thread is slot THREAD_SLOTS_SERVICE */
struct thread *enclave_thread(unsigned slot); /* the calling host thread is this slot's */
uint64_t random_below(uint64_t *seed, uint64_t end);
unsigned long pages_accepted(void);
/* A thread touched a page whose content is still to come: the test may bring it. */
void page_wanted(uint64_t page);
void host_answer(struct thread *t, struct call_area *area); /* the test's own host */

#endif
