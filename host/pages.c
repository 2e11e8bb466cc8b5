/* SPDX-License-Identifier: Apache-2.0 */
#include <time.h>
#include "host/enclave_private.h"
#include "sgx/arch.h"

/* The kernel takes one such call for an enclave at a time, and refuses others. */
static int one_at_a_time(struct enclave *e, unsigned long cmd, void *args)
{
	pthread_mutex_lock(&e->change_lock);
	int rc = e->device.op.ioctl(e->device.fd, cmd, args);
	pthread_mutex_unlock(&e->change_lock);
	return rc;
}

/* It may do less than it is asked for, and says how much. */
int enclave_trim(struct enclave *e, uint64_t page, uint64_t count)
{
	while (count) {
		struct sgx_enclave_modify_types args = {.offset = page * PAGE_SIZE - ELRANGE_BASE,
							.length = count * PAGE_SIZE,
							.page_type = SGX_PT_TRIM};
		int rc = one_at_a_time(e, SGX_IOC_ENCLAVE_MODIFY_TYPES, &args);

		if (rc && args.count == 0)
			return rc;
		page += args.count / PAGE_SIZE;
		count -= args.count / PAGE_SIZE;
	}
	return 0;
}

int enclave_remove(struct enclave *e, uint64_t page, uint64_t count)
{
	while (count) {
		struct sgx_enclave_remove_pages args = {.offset = page * PAGE_SIZE - ELRANGE_BASE,
							.length = count * PAGE_SIZE};
		int rc = one_at_a_time(e, SGX_IOC_ENCLAVE_REMOVE_PAGES, &args);

		if (rc && args.count == 0)
			return rc;
		page += args.count / PAGE_SIZE;
		count -= args.count / PAGE_SIZE;
	}
	return 0;
}

void enclave_set_pager(struct enclave *e, void (*wait)(void *context, uint64_t page), void *context)
{
	e->page_context = context;
	e->page_wait = wait;
}

void page_wait(struct enclave *e, uint64_t page)
{
	if (e->page_wait)
		e->page_wait(e->page_context, page);
	else
		nanosleep(&(struct timespec){0, 1000 * 1000}, NULL);
}
