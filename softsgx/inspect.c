/* SPDX-License-Identifier: Apache-2.0 */
#include "softsgx/inspect.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "softsgx/bases.h"
#include "softsgx/int3_site.h"
#include "softsgx/mm.h"
#include "softsgx/softsgx.h"

#define DBGOPTIN_OFFSET offsetof(struct sgx_tcs, flags)

/* Does that process map this enclave's memory at this address? It came along when it forked. */
static int is_shared_with(pid_t pid, const struct enclave *e, uint64_t address)
{
	char path[64], line[512];
	struct stat st;
	int found = 0;
	FILE *maps;

	if (SYS(SYS_fstat, e->backing_fd, &st))
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	maps = fopen(path, "re");
	while (maps && !found && fgets(line, sizeof(line), maps)) {
		unsigned long start, end, inode;

		found = sscanf(line, "%lx-%lx %*s %*s %*s %lu", &start, &end, &inode) == 3 &&
			address >= start && address < end && inode == st.st_ino;
	}
	if (maps)
		fclose(maps);
	return found;
}

size_t inspect_span(pid_t pid, uint64_t address, size_t size, int *in_enclave)
{
	struct vma vma;
	uint64_t border, mask = signals_off();
	int found = mm_next(address, &vma);

	signals_restore(mask);
	*in_enclave = 0;
	if (!found)
		return size;
	*in_enclave =
	    vma.start <= address && (pid == SYS(SYS_getpid) || is_shared_with(pid, vma.enclave, address));
	border = vma.start <= address ? vma.end : vma.start;
	return size < border - address ? size : border - address;
}

/* A page that EDBGRD and EDBGWR accept, in our view; limits what may be written of a TCS. */
static uint8_t *debuggable(struct enclave *e, uint64_t address, size_t *size, int write)
{
	uint32_t entry = epcm_get(&e->epcm, enclave_page(e, address));
	uint64_t offset = address & (SGX_PAGE_SIZE - 1);

	if (!(entry & EPCM_VALID) || (entry & (EPCM_PENDING | EPCM_MODIFIED)))
		return NULL;
	if (epcm_type(entry) == SGX_PT_TCS) {
		if (write && (offset != DBGOPTIN_OFFSET || *size != sizeof(uint64_t)))
			return NULL;
	} else if (epcm_type(entry) != SGX_PT_REG) {
		return NULL;
	}
	if (*size > SGX_PAGE_SIZE - offset)
		*size = SGX_PAGE_SIZE - offset;
	if (write && !(entry & EPCM_STORED))
		epcm_set(&e->epcm, enclave_page(e, address), entry | EPCM_STORED);
	return e->view + (address - e->base);
}

/* Bytes that could be copied. */
static size_t copy(struct enclave *e, uint64_t address, void *local, size_t size, int write)
{
	size_t done = 0;

	if (!e->initialised || !(e->secs.attributes.flags & SGX_ATTR_DEBUG))
		return 0;
	lock_take(&e->lock);
	while (done < size && enclave_contains(e, address + done, 1)) {
		size_t length = size - done;
		uint8_t *page = debuggable(e, address + done, &length, write);
		size_t index = enclave_page(e, address + done);
		int error;

		if (!page)
			break;
		if (write) {
			int3_site_drop(e, index, 1);
			error = sys_copy_in(page, (char *)local + done, length);
			bases_look(e, index, 1);
		} else {
			int3_site_hide(e, index);
			error = sys_copy_out((char *)local + done, page, length);
			int3_site_show(e, index);
		}
		if (error)
			break;
		done += length;
	}
	lock_drop(&e->lock);
	return done;
}

long inspect_copy(uint64_t address, void *local, size_t size, int write)
{
	struct vma vma;
	size_t done = 0;
	uint64_t mask = signals_off();

	if (mm_find(address, &vma))
		done = copy(vma.enclave, address, local, size, write);
	signals_restore(mask);
	return done ? (long)done : -EFAULT;
}

int softsgx_peek(uint64_t address, void *out, size_t size)
{
	return inspect_copy(address, out, size, 0) == (long)size ? 0 : -EIO;
}
