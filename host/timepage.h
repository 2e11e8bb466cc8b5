/* SPDX-License-Identifier: Apache-2.0
 *
 * The page of host memory from which the enclave reads the time without leaving
 * (struct time_page). A thread keeps it fresh once started.
 */
#ifndef HOST_TIMEPAGE_H
#define HOST_TIMEPAGE_H

#include "abi/call.h"

struct timepage;

/* Takes the first sample; the second, at timepage_start(), gives the counter's rate. 0 or -errno. */
int timepage_create(struct timepage **out);
/* Returns once the page is valid. More than once is fine. */
int timepage_start(struct timepage *t);
void timepage_destroy(struct timepage *t); /* NULL is fine */
struct time_page *timepage_page(struct timepage *t);

#endif
