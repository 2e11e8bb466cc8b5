/* SPDX-License-Identifier: Apache-2.0
 *
 * A descriptor closed by one thread while another's call works on it: the call
 * ends as if nothing had happened, and the enclave goes when it has.
 */
#include "tests/softsgx/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE 0x4000000ull

static struct sgx_secinfo secinfo = {.flags = SGX_SECINFO_REG | SGX_SECINFO_R};
static struct sgx_enclave_add_pages add = {
    .length = SIZE, .secinfo = (uint64_t)&secinfo, .flags = SGX_PAGE_MEASURE};
static int fd;

static void *adds(void *unused)
{
	CHECK_EQ(softsgx_ioctl(fd, SGX_IOC_ENCLAVE_ADD_PAGES, &add), 0);
	CHECK_EQ(add.count, SIZE);
	return NULL;
}

static int descriptors(void)
{
	int count = 0;

	for (int i = 0; i < 1024; i++)
		count += fcntl(i, F_GETFD) >= 0;
	return count;
}

int main(void)
{
	struct sgx_secs secs = {.size = SIZE,
				.base = 0x7000000000,
				.ssa_frame_size = 1,
				.attributes = {SGX_ATTR_MODE64BIT, SGX_XFRM_LEGACY}};
	struct sgx_enclave_create create = {.src = (uint64_t)&secs};
	pthread_t thread;
	int before = descriptors();

	fd = softsgx_open(SGX_DEVICE_ENCLAVE);
	CHECK_EQ(softsgx_ioctl(fd, SGX_IOC_ENCLAVE_CREATE, &create), 0);
	add.src = (uint64_t)mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CHECK_EQ(pthread_create(&thread, NULL, adds, NULL), 0);
	usleep(20000);
	CHECK_EQ(softsgx_ioctl(fd, SGX_IOC_ENCLAVE_CREATE, &create), -EBUSY);
	CHECK_EQ(softsgx_close(fd), 0);
	pthread_join(thread, NULL);
	CHECK_EQ(descriptors(), before);
	return 0;
}
