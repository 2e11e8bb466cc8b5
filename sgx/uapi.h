/* SPDX-License-Identifier: Apache-2.0
 *
 * The Linux kernel's SGX interface (Linux 5.11 and later, SGX2 from 6.0): ioctl
 * numbers and argument structures of /dev/sgx_enclave and /dev/sgx_provision,
 * and the vDSO call's run structure. Written out here because Debian 12's
 * headers describe only what its own kernel has.
 */
#ifndef SGX_UAPI_H
#define SGX_UAPI_H

#include <stdint.h>

#define SGX_DEVICE_ENCLAVE "/dev/sgx_enclave"
#define SGX_DEVICE_PROVISION "/dev/sgx_provision"

#define SGX_IOC_ENCLAVE_CREATE 0x4008A400ul
#define SGX_IOC_ENCLAVE_ADD_PAGES 0xC030A401ul
#define SGX_IOC_ENCLAVE_INIT 0x4008A402ul
#define SGX_IOC_ENCLAVE_PROVISION 0x4008A403ul
#define SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS 0xC028A405ul
#define SGX_IOC_ENCLAVE_MODIFY_TYPES 0xC028A406ul
#define SGX_IOC_ENCLAVE_REMOVE_PAGES 0xC018A407ul

#define SGX_PAGE_MEASURE 1ull

struct sgx_enclave_create {
	uint64_t src; /* SECS, 4096 bytes */
};
struct sgx_enclave_add_pages {
	uint64_t src;
	uint64_t offset;
	uint64_t length;
	uint64_t secinfo;
	uint64_t flags;
	uint64_t count; /* out: bytes added */
};
struct sgx_enclave_init {
	uint64_t sigstruct;
};
struct sgx_enclave_provision {
	uint64_t fd;
};
struct sgx_enclave_restrict_permissions {
	uint64_t offset;
	uint64_t length;
	uint64_t permissions;
	uint64_t result;
	uint64_t count;
};
struct sgx_enclave_modify_types {
	uint64_t offset;
	uint64_t length;
	uint64_t page_type;
	uint64_t result;
	uint64_t count;
};
struct sgx_enclave_remove_pages {
	uint64_t offset;
	uint64_t length;
	uint64_t count;
};

struct sgx_enclave_run;
typedef int (*sgx_enclave_user_handler)(long rdi, long rsi, long rdx, long rsp, long r8, long r9,
					struct sgx_enclave_run *run);
struct sgx_enclave_run {
	uint64_t tcs;
	uint32_t function;
	uint16_t exception_vector;
	uint16_t exception_error_code;
	uint64_t exception_addr;
	uint64_t user_handler;
	uint64_t user_data;
	uint8_t reserved[216];
};
_Static_assert(sizeof(struct sgx_enclave_run) == 256, "sgx_enclave_run");

typedef int (*sgx_enter_enclave_fn)(unsigned long rdi, unsigned long rsi, unsigned long rdx,
				    unsigned int function, unsigned long r8, unsigned long r9,
				    struct sgx_enclave_run *run);

#endif
