/* SPDX-License-Identifier: Apache-2.0
 *
 * Software SGX for use in process. Same calls, arguments and results as the
 * Linux kernel's /dev/sgx_enclave, /dev/sgx_provision and
 * __vdso_sgx_enter_enclave(); programs that know nothing of this header get the
 * same through LD_PRELOAD. Gives no secrecy: the host can read everything.
 *
 * Functions return 0 (or a value) or -errno unless stated. All are thread-safe.
 */
#ifndef SOFTSGX_SOFTSGX_H
#define SOFTSGX_SOFTSGX_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "sgx/arch.h"
#include "sgx/uapi.h"

#pragma GCC visibility push(default)
#include "softsgx/root_key.h"

/* A new, real file descriptor that stands for one enclave (or for the provisioning device). path is one
 * of the device nodes' names. -ENOENT for another name. */
int softsgx_open(const char *path);
int softsgx_close(int fd);
int softsgx_ioctl(int fd, unsigned long cmd, void *arg);
/* The address or -errno as a pointer, as the raw system call. */
void *softsgx_mmap(void *addr, size_t size, int prot, int flags, int fd, off_t offset);
int softsgx_mprotect(void *addr, size_t size, int prot);
int softsgx_munmap(void *addr, size_t size);
int softsgx_owns(int fd); /* 1 if fd came from softsgx_open (or a dup of it) */

/* Same contract as __vdso_sgx_enter_enclave (kernel: Documentation/arch/x86/sgx.rst). */
int softsgx_enter_enclave(unsigned long rdi, unsigned long rsi, unsigned long rdx, unsigned int function,
			  unsigned long r8, unsigned long r9, struct sgx_enclave_run *run);

/* For handlers of signals that may arrive while a thread is inside: the enclave's registers go to its SSA
 * first, the handler sees the synthetic state at the AEP, and returning from it resumes the enclave. Use it
 * instead of sigaction() in a program linked with this library; the preload library interposes. */
int softsgx_sigaction(int signal, const struct sigaction *action, struct sigaction *old);

/* What pread() of /proc/self/mem gives of an enclave: EDBGRD's bytes of a debug enclave, -EIO of any other and of
 * addresses outside one. All of them or none. */
int softsgx_peek(uint64_t address, void *out, size_t size);

/* What has been done on behalf of one enclave since it was created. */
struct softsgx_stats {
	uint64_t leaf[SGX_ENCLU_LEAF_COUNT];
	uint64_t aex;
	uint64_t eaug;
	uint64_t eadd;
	uint64_t ioctls;
	uint64_t shootdowns;
	uint64_t faults; /* page faults that a kernel resolves unseen: an exit and a resumption each */
};
int softsgx_stats(int fd, struct softsgx_stats *out);
/* How long real hardware would take for that (SOFTSGX_COST; docs/softsgx.md says where the figures are from). */
double softsgx_projected_us(const struct softsgx_stats *stats);

/* Tests only: pages written since the last question, found by the kernel behind the enclave's back
 * (userfaultfd write-protection). start begins it; collect fills bitmap (bit i = page i from addr) and
 * re-arms. -ENOSYS where the kernel cannot. */
int softsgx_oracle_start(int fd, void *addr, size_t size);
int softsgx_oracle_collect(int fd, void *addr, size_t size, uint8_t *bitmap);

/* Software evidence: stands in for a quoting enclave. target fills the TARGETINFO an enclave must make
 * its report for; quote checks the report's MAC and signs it with the software root (a key everybody
 * knows: evidence of kind, not of trust). */
#define SOFTSGX_QUOTE_SIZE 512
struct softsgx_quote {
	uint8_t magic[8]; /* "SOFTQUOT" */
	uint32_t version; /* 1 */
	uint32_t reserved;
	struct sgx_report report;
	uint8_t signature[64]; /* ECDSA P-256 over SHA-256 of everything before, r || s big-endian */
};
_Static_assert(sizeof(struct softsgx_quote) == SOFTSGX_QUOTE_SIZE, "quote");
int softsgx_quote_target(struct sgx_targetinfo *target);
int softsgx_quote(const struct sgx_report *report, struct softsgx_quote *quote);

#pragma GCC visibility pop

#endif
