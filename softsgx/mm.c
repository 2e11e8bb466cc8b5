/* SPDX-License-Identifier: Apache-2.0 */
#include "softsgx/mm.h"
#include "softsgx/bases.h"
#include "softsgx/illegal.h"
#include "softsgx/int3_site.h"
#include "softsgx/platform.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/personality.h>

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
/* Of later kernels than Debian 12's headers. */
#define FEATURE_WP_UNPOPULATED (1ull << 13)
#define FEATURE_WP_ASYNC (1ull << 15)
#define CONTINUE_MODE_WP (1ull << 1)
#define VMAS_MAX (1u << 16)
#define RUN_BEFORE_WINDOW 3 /* consecutive faults before neighbours are installed ahead */
#define WINDOW_MAX 64u	    /* pages */

uint64_t softsgx_generation = 1;

/* This process's side of each enclave; the index is enclave->index. */
static struct local {
	struct enclave *enclave;
	int userfaultfd;
	int can_watch;	 /* the kernel can lift write protection by itself and remember */
	int watching;	 /* for the oracle */
	size_t run_next; /* the page a sequential reader faults on next */
	unsigned int run_length;
} locals[ENCLAVES_MAX];

static struct lock write_lock; /* one mmap, mprotect or munmap at a time; taken first of all */
static struct lock vma_lock;   /* the table below */
static struct vma *vmas;       /* sorted, disjoint */
static size_t vma_count;

static struct { /* shared by all processes that came from this one */
	uint64_t used;
	uint64_t limit;
} *epc;

int mm_init(void)
{
	void *table = sys_reserve(VMAS_MAX * sizeof(struct vma), MAP_PRIVATE);
	void *shared = sys_reserve(sizeof(*epc), MAP_SHARED);

	if (sys_failed(table) || sys_failed(shared))
		return -ENOMEM;
	vmas = table;
	epc = shared;
	epc->limit = platform_epc_limit() / SGX_PAGE_SIZE;
	return 0;
}

int mm_epc_charge(size_t pages)
{
	uint64_t used = __atomic_add_fetch(&epc->used, pages, __ATOMIC_RELAXED);

	if (used <= epc->limit)
		return 0;
	mm_epc_release(pages);
	return -ENOMEM;
}

void mm_epc_release(size_t pages)
{
	__atomic_sub_fetch(&epc->used, pages, __ATOMIC_RELAXED);
}

/* --- the table of mappings --- */

/* First entry that ends above address. */
static size_t vma_from(uint64_t address)
{
	size_t low = 0, high = vma_count;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (vmas[mid].end > address)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

static int vma_insert_at(size_t i, struct vma vma)
{
	if (vma_count == VMAS_MAX)
		return -ENOMEM;
	memmove(&vmas[i + 1], &vmas[i], (vma_count - i) * sizeof(*vmas));
	vmas[i] = vma;
	vma_count++;
	return 0;
}

/* Makes address a border between entries. */
static int vma_split(uint64_t address)
{
	size_t i = vma_from(address);
	struct vma upper;

	if (i == vma_count || vmas[i].start >= address)
		return 0;
	upper = vmas[i];
	upper.start = address;
	vmas[i].end = address;
	return vma_insert_at(i + 1, upper);
}

static void vma_merge_around(size_t i)
{
	size_t first = i ? i - 1 : 0;

	for (size_t k = first; k + 1 < vma_count && k <= i;) {
		if (vmas[k].end == vmas[k + 1].start && vmas[k].prot == vmas[k + 1].prot &&
		    vmas[k].enclave == vmas[k + 1].enclave) {
			vmas[k].end = vmas[k + 1].end;
			memmove(&vmas[k + 1], &vmas[k + 2], (vma_count - k - 2) * sizeof(*vmas));
			vma_count--;
		} else {
			k++;
		}
	}
}

static int vma_remove(uint64_t start, uint64_t end)
{
	size_t first, last;

	if (vma_split(start) || vma_split(end))
		return -ENOMEM;
	first = last = vma_from(start);
	while (last < vma_count && vmas[last].start < end)
		last++;
	memmove(&vmas[first], &vmas[last], (vma_count - last) * sizeof(*vmas));
	vma_count -= last - first;
	return 0;
}

static int vma_replace(uint64_t start, uint64_t end, int prot, struct enclave *e)
{
	size_t i;
	int error;

	lock_take(&vma_lock);
	error = vma_remove(start, end);
	if (!error && e) {
		i = vma_from(start);
		error = vma_insert_at(i, (struct vma){start, end, prot, e});
		if (!error)
			vma_merge_around(i);
	}
	lock_drop(&vma_lock);
	mm_generation_bump();
	return error;
}

int mm_next(uint64_t address, struct vma *out)
{
	size_t i;
	int found;

	lock_take(&vma_lock);
	i = vma_from(address);
	found = i < vma_count;
	if (found)
		*out = vmas[i];
	lock_drop(&vma_lock);
	return found;
}

int mm_find(uint64_t address, struct vma *out)
{
	return mm_next(address, out) && out->start <= address;
}

int mm_overlaps(uint64_t start, uint64_t end)
{
	struct vma vma;
	uint64_t mask;
	int found;

	if (!vma_count)
		return 0;
	/* The program asks, not a handler: none may come while the table is locked. */
	mask = signals_off();
	found = mm_next(start, &vma) && vma.start < end;
	signals_restore(mask);
	return found;
}

int mm_maps(const struct enclave *e)
{
	int found = 0;

	lock_take(&vma_lock);
	for (size_t i = 0; i < vma_count && !found; i++)
		found = vmas[i].enclave == e;
	lock_drop(&vma_lock);
	return found;
}

/* --- real mappings --- */

int mm_userfaultfd(const struct enclave *e)
{
	return locals[e->index].userfaultfd;
}

/* A userfaultfd with these features, or -errno. */
static long trap_open(uint64_t features)
{
	struct uffdio_api api = {.api = UFFD_API, .features = features};
	long fd = SYS(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

	if (fd >= 0 && SYS(SYS_ioctl, fd, UFFDIO_API, &api) < 0) {
		SYS(SYS_close, fd);
		return -ENOSYS;
	}
	return fd;
}

int mm_attach(struct enclave *e)
{
	const uint64_t needed = UFFD_FEATURE_SIGBUS | UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM;
	const uint64_t oracle = UFFD_FEATURE_WP_HUGETLBFS_SHMEM | FEATURE_WP_UNPOPULATED | FEATURE_WP_ASYNC;
	long fd = trap_open(needed | oracle);
	int can_watch = fd >= 0;

	if (fd == -ENOSYS)
		fd = trap_open(needed);
	if (fd < 0)
		return (int)fd;
	locals[e->index] = (struct local){.enclave = e, .userfaultfd = (int)fd, .can_watch = can_watch};
	return 0;
}

void mm_detach(struct enclave *e)
{
	SYS(SYS_close, locals[e->index].userfaultfd);
	locals[e->index] = (struct local){0};
}

static int watch(const struct enclave *e, uint64_t start, uint64_t size)
{
	struct uffdio_register range = {.range = {start, size},
					.mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR};

	if (locals[e->index].watching)
		range.mode |= UFFDIO_REGISTER_MODE_WP;
	return (int)SYS(SYS_ioctl, mm_userfaultfd(e), UFFDIO_REGISTER, &range);
}

void mm_forked(void)
{
	write_lock = vma_lock = (struct lock){0};
	/* A userfaultfd belongs to the address space that made it; the mappings came along without. */
	for (int i = 0; i < ENCLAVES_MAX; i++) {
		if (!locals[i].enclave)
			continue;
		SYS(SYS_close, locals[i].userfaultfd);
		mm_attach(locals[i].enclave);
	}
	for (size_t i = 0; i < vma_count; i++) {
		struct enclave *e = vmas[i].enclave;
		uint64_t low = vmas[i].start > e->base ? vmas[i].start : e->base;
		uint64_t high = vmas[i].end < e->base + e->size ? vmas[i].end : e->base + e->size;

		if (e->created && low < high)
			watch(e, low, high - low);
	}
}

int mm_watch_writes(struct enclave *e, uint64_t start, uint64_t end)
{
	if (!locals[e->index].can_watch)
		return -ENOSYS;
	locals[e->index].watching = 1;
	return watch(e, start, end - start);
}

/* Where one may execute one may read: the kernel would keep a page that is for execution only from being read
 * by a protection key, and each read of it would fault again for ever. */
static int real_prot(int prot)
{
	return prot & PROT_EXEC ? prot | PROT_READ : prot;
}

/* Puts the backing file where [start, end) meets ELRANGE; what lies outside stays a mere reservation. Open
 * only once it is watched: an access in between would get a page from the file, and fill its holes with
 * zeros. */
static int map_backing(struct enclave *e, uint64_t start, uint64_t end, int prot)
{
	uint64_t low = start > e->base ? start : e->base;
	uint64_t high = end < e->base + e->size ? end : e->base + e->size;
	void *at;

	if (!e->created || low >= high)
		return 0;
	at = sys_mmap((void *)low, high - low, PROT_NONE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE,
		      e->backing_fd, (off_t)(low - e->base));
	if (sys_failed(at))
		return (int)(long)at;
	SYS(SYS_madvise, low, high - low, MADV_DONTDUMP);
	int error = watch(e, low, high - low);
	return error ? error : (int)SYS(SYS_mprotect, low, high - low, real_prot(prot));
}

/* May everything that exists in the range be mapped with prot? */
static int range_allows(struct enclave *e, uint64_t start, uint64_t end, int prot)
{
	uint64_t low = start > e->base ? start : e->base;
	uint64_t high = end < e->base + e->size ? end : e->base + e->size;
	size_t last;
	int allowed = 1;

	prot &= PROT_READ | PROT_WRITE | PROT_EXEC;
	if (!e->created || low >= high || !prot)
		return 1;
	last = enclave_page(e, high - 1) + 1;
	lock_take(&e->lock);
	for (size_t i = epcm_next(&e->epcm, enclave_page(e, low), last); i < last && allowed;
	     i = epcm_next(&e->epcm, i + 1, last))
		allowed = !(prot & ~(e->epcm.entry[i] >> EPCM_MAX_SHIFT));
	lock_drop(&e->lock);
	return allowed;
}

static int map_checked(struct enclave *e, uint64_t start, uint64_t end, int prot)
{
	if (SYS(SYS_personality, 0xffffffff) & READ_IMPLIES_EXEC)
		return -EACCES;
	if (e->initialised && !enclave_contains(e, start, end - start))
		return -EACCES;
	return range_allows(e, start, end, prot) ? 0 : -EACCES;
}

void *mm_map(struct enclave *e, void *addr, size_t size, int prot, int flags)
{
	int placement = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_32BIT);
	int fixed = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);
	uint64_t start = (uint64_t)addr, end;
	void *at;
	int error = 0;

	size = (size + 4095) & ~4095ull;
	if (!size || (fixed && (start & 4095)))
		return (void *)-EINVAL;
	if ((flags & MAP_TYPE) != MAP_SHARED && (flags & MAP_TYPE) != MAP_SHARED_VALIDATE)
		return (void *)-EINVAL;
	lock_take(&write_lock);
	if (fixed)
		error = map_checked(e, start, start + size, prot);
	at = error ? (void *)(long)error
		   : sys_mmap(addr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | placement,
			      -1, 0);
	if (!sys_failed(at)) {
		start = (uint64_t)at;
		end = start + size;
		if (!fixed)
			error = map_checked(e, start, end, prot);
		mm_forget(start, end);
		if (!error)
			error = vma_replace(start, end, prot & 7, e);
		if (!error)
			error = map_backing(e, start, end, prot & 7);
		if (error) {
			SYS(SYS_munmap, start, size);
			vma_replace(start, end, 0, NULL);
			at = (void *)(long)error;
		}
	}
	lock_drop(&write_lock);
	return at;
}

int mm_created(struct enclave *e)
{
	struct vma vma;
	int error = 0;

	lock_take(&write_lock);
	for (uint64_t at = 0; !error && mm_next(at, &vma); at = vma.end)
		if (vma.enclave == e)
			error = map_backing(e, vma.start, vma.end, vma.prot);
	lock_drop(&write_lock);
	return error;
}

/* A wider mapping must not widen pages that the EPCM holds back: they fault again and are narrowed. */
static void recheck_pages(struct enclave *e, uint64_t start, uint64_t end, int prot)
{
	uint64_t low = start > e->base ? start : e->base;
	uint64_t high = end < e->base + e->size ? end : e->base + e->size;
	size_t last;

	if (!e->created || low >= high)
		return;
	last = enclave_page(e, high - 1) + 1;
	lock_take(&e->lock);
	for (size_t i = epcm_next(&e->epcm, enclave_page(e, low), last); i < last;
	     i = epcm_next(&e->epcm, i + 1, last)) {
		uint32_t entry = e->epcm.entry[i];

		if ((entry & EPCM_PRESENT) && (real_prot(prot) & ~entry & EPCM_RWX))
			mm_zap(e, i, 1);
		if (entry & EPCM_NARROWED)
			epcm_set(&e->epcm, i, entry & ~EPCM_NARROWED);
	}
	lock_drop(&e->lock);
}

static int protect_ours(struct vma *vma, uint64_t start, uint64_t end, int prot)
{
	struct enclave *e = vma->enclave;
	uint64_t low = start > e->base ? start : e->base;
	uint64_t high = end < e->base + e->size ? end : e->base + e->size;
	long error = map_checked(e, start, end, prot);

	if (error)
		return (int)error;
	/* Pages that would gain a right too many leave before the mapping widens. */
	if (prot & ~vma->prot)
		recheck_pages(e, start, end, prot);
	if (e->created && low < high)
		error = SYS(SYS_mprotect, low, high - low, real_prot(prot));
	if (!error)
		error = vma_replace(start, end, prot & 7, e);
	if (!error)
		recheck_pages(e, start, end, prot);
	return (int)error;
}

int mm_protect(uint64_t start, uint64_t end, int prot)
{
	struct vma vma;
	long error = 0;

	if (start & 4095)
		return -EINVAL;
	end = (end + 4095) & ~4095ull;
	lock_take(&write_lock);
	while (!error && start < end) {
		uint64_t upto = end;

		if (mm_next(start, &vma) && vma.start < end) {
			if (vma.start > start) {
				upto = vma.start;
				error = SYS(SYS_mprotect, start, upto - start, prot);
			} else {
				upto = vma.end < end ? vma.end : end;
				error = protect_ours(&vma, start, upto, prot);
			}
		} else {
			error = SYS(SYS_mprotect, start, upto - start, prot);
		}
		start = upto;
	}
	lock_drop(&write_lock);
	return (int)error;
}

void mm_forget(uint64_t start, uint64_t end)
{
	struct vma vma;

	for (uint64_t at = start; mm_next(at, &vma) && vma.start < end; at = vma.end) {
		struct enclave *e = vma.enclave;
		uint64_t low = vma.start > start ? vma.start : start;
		uint64_t high = vma.end < end ? vma.end : end;
		size_t last;

		low = low > e->base ? low : e->base;
		high = high < e->base + e->size ? high : e->base + e->size;
		if (!e->created || low >= high)
			continue;
		last = enclave_page(e, high - 1) + 1;
		lock_take(&e->lock);
		for (size_t i = epcm_next(&e->epcm, enclave_page(e, low), last); i < last;
		     i = epcm_next(&e->epcm, i + 1, last))
			epcm_set(&e->epcm, i, e->epcm.entry[i] & ~(EPCM_PRESENT | EPCM_NARROWED));
		lock_drop(&e->lock);
	}
	vma_replace(start, end, 0, NULL);
}

int mm_unmap(uint64_t start, uint64_t end)
{
	long error;

	end = (end + 4095) & ~4095ull;
	lock_take(&write_lock);
	error = SYS(SYS_munmap, start, end - start);
	if (!error)
		mm_forget(start, end);
	lock_drop(&write_lock);
	return (int)error;
}

/* --- accesses --- */

uint32_t mm_present(struct enclave *e, uint64_t address, enum mm_access access, struct mm_page *page)
{
	uint32_t code = SGX_PF_U | access, entry;
	int need = access == ACCESS_FETCH ? PROT_EXEC : access == ACCESS_WRITE ? PROT_WRITE : PROT_READ;

	if (!enclave_contains(e, address, 1) || !mm_find(address, &page->vma) || page->vma.enclave != e)
		return code;
	page->enclave = e;
	page->index = enclave_page(e, address);
	entry = epcm_get(&e->epcm, page->index);
	/* x86 cannot map a page for writing or fetching without reading. */
	if (!(page->vma.prot & need) && !(need == PROT_READ && page->vma.prot))
		return code | MM_MAPPED | (entry & EPCM_PRESENT ? SGX_PF_P : 0);
	if (entry & EPCM_PRESENT)
		return 0;
	if (!(entry & EPCM_VALID)) {
		if (!e->initialised || !platform_has_sgx2() || mm_epc_charge(1))
			return code | MM_BUS;
		entry = EPCM_VALID | EPCM_PENDING | SGX_SECINFO_REG | PROT_READ | PROT_WRITE | EPCM_MAX_MASK;
		enclave_count(&e->stats.eaug);
	} else if (page->vma.prot & ~(entry >> EPCM_MAX_SHIFT)) {
		return code | MM_BUS;
	}
	epcm_set(&e->epcm, page->index, entry | EPCM_PRESENT);
	enclave_count(&e->stats.faults);
	return 0;
}

uint32_t mm_access(struct enclave *e, uint64_t address, enum mm_access access, struct mm_page *page)
{
	uint32_t code = mm_present(e, address, access, page), entry;
	uint32_t need = access == ACCESS_FETCH	 ? SGX_SECINFO_X
			: access == ACCESS_WRITE ? SGX_SECINFO_W
						 : SGX_SECINFO_R;

	if (code)
		return code;
	entry = e->epcm.entry[page->index];
	if (epcm_type(entry) == SGX_PT_REG && !(entry & (EPCM_PENDING | EPCM_MODIFIED)) && (entry & need))
		return 0;
	return SGX_PF_SGX | SGX_PF_U | SGX_PF_P | access | MM_MAPPED;
}

static int install_run(struct enclave *e, size_t first, size_t count, int stored)
{
	static const uint8_t zeros[SGX_PAGE_SIZE] __attribute__((aligned(4096)));
	uint64_t at = e->base + first * SGX_PAGE_SIZE;
	int fd = mm_userfaultfd(e), watching = locals[e->index].watching;
	struct uffdio_continue existing = {.range = {at, count * SGX_PAGE_SIZE},
					   .mode = watching ? CONTINUE_MODE_WP : 0};
	struct uffdio_zeropage fresh = {.range = {at, count * SGX_PAGE_SIZE}};
	int error = 0;

	if (stored)
		return (int)SYS(SYS_ioctl, fd, UFFDIO_CONTINUE, &existing);
	if (!watching)
		return (int)SYS(SYS_ioctl, fd, UFFDIO_ZEROPAGE, &fresh);
	for (size_t i = 0; i < count && !error; i++) {
		struct uffdio_copy copy = {.dst = at + i * SGX_PAGE_SIZE,
					   .src = (uint64_t)zeros,
					   .len = SGX_PAGE_SIZE,
					   .mode = UFFDIO_COPY_MODE_WP};

		error = (int)SYS(SYS_ioctl, fd, UFFDIO_COPY, &copy);
	}
	return error;
}

/* How many pages from first on can be installed with it: a reader that walks through memory traps once a
 * window, not once a page. */
static size_t install_window(struct enclave *e, const struct mm_page *page)
{
	struct local *local = &locals[e->index];
	uint32_t first = e->epcm.entry[page->index];
	size_t count = 1, limit = (page->vma.end - e->base) >> 12;

	local->run_length = page->index == local->run_next ? local->run_length + 1 : 0;
	if (local->run_length >= RUN_BEFORE_WINDOW) {
		while (count < WINDOW_MAX && page->index + count < limit) {
			uint32_t next = epcm_get(&e->epcm, page->index + count);

			if ((next | EPCM_PRESENT) != first || (next & EPCM_PRESENT))
				break;
			count++;
		}
	}
	local->run_next = page->index + count;
	return count;
}

int mm_install(const struct mm_page *page)
{
	struct enclave *e = page->enclave;
	uint64_t at = e->base + page->index * SGX_PAGE_SIZE;
	uint32_t entry = e->epcm.entry[page->index];
	int wanted = real_prot(page->vma.prot), rights = wanted & (int)entry & 7;
	size_t count = 1;
	long error;

	if (rights != wanted || (entry & EPCM_NARROWED)) {
		error = SYS(SYS_mprotect, at, SGX_PAGE_SIZE, rights);
		if (error)
			return (int)error;
		entry = rights == wanted ? entry & ~EPCM_NARROWED : entry | EPCM_NARROWED;
		epcm_set(&e->epcm, page->index, entry);
	} else {
		count = install_window(e, page);
	}
	if (rights & PROT_EXEC) {
		illegal_look(e, page->index, count);
		bases_look(e, page->index, count);
	}
	error = install_run(e, page->index, count, !!(entry & EPCM_STORED));
	if (error) {
		/* The view filled the hole, or a window met a page that is there already: one page, both
		 * ways. */
		count = 1;
		error = install_run(e, page->index, 1, 1);
		if (error == -EFAULT)
			error = install_run(e, page->index, 1, 0);
		if (error && error != -EEXIST && error != -EAGAIN)
			return (int)error;
	}
	/* Each of those that are installed ahead would have been a fault of its own. */
	__atomic_fetch_add(&e->stats.faults, count - 1, __ATOMIC_RELAXED);
	for (size_t i = page->index; i < page->index + count; i++)
		epcm_set(&e->epcm, i, e->epcm.entry[i] | EPCM_STORED | EPCM_PRESENT);
	return 0;
}

int mm_install_copy(const struct mm_page *page, int rights, const uint8_t *from)
{
	struct enclave *e = page->enclave;
	struct uffdio_copy copy = {.dst = e->base + page->index * SGX_PAGE_SIZE,
				   .src = (uint64_t)from,
				   .len = SGX_PAGE_SIZE,
				   .mode = locals[e->index].watching ? UFFDIO_COPY_MODE_WP : 0};

	if ((page->vma.prot & rights) != page->vma.prot || page->vma.prot & PROT_EXEC ||
	    e->epcm.entry[page->index] & (EPCM_NARROWED | EPCM_STORED))
		return -EINVAL;
	return (int)SYS(SYS_ioctl, mm_userfaultfd(e), UFFDIO_COPY, &copy);
}

/* 0 or -errno; *code is what the access fails with. */
static int try_access(struct enclave *e, uint64_t address, enum mm_access access, uint32_t *code)
{
	struct mm_page page;
	int error = 0;

	lock_take(&e->lock);
	*code = mm_access(e, address, access, &page);
	if (!*code)
		error = mm_install(&page);
	lock_drop(&e->lock);
	return error;
}

uint32_t mm_fault(struct enclave *e, uint64_t address, enum mm_access access)
{
	uint32_t code;
	int error = try_access(e, address, access, &code);

	if (error == -ENOENT) {
		/* Another thread is mapping something there: once more when it is done. */
		lock_take(&write_lock);
		error = try_access(e, address, access, &code);
		lock_drop(&write_lock);
	}
	return error ? SGX_PF_U | access | MM_BUS : code;
}

int mm_shade(const struct mm_page *page)
{
	uint64_t *at = sys_mmap((void *)(page->enclave->base + page->index * SGX_PAGE_SIZE), SGX_PAGE_SIZE,
				PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	if (sys_failed(at))
		return (int)(long)at;
	for (size_t i = 0; i < SGX_PAGE_SIZE / sizeof(*at); i++)
		at[i] = ~0ull;
	return (int)SYS(SYS_mprotect, at, SGX_PAGE_SIZE, real_prot(page->vma.prot));
}

void mm_unshade(uint64_t address)
{
	struct vma vma;

	lock_take(&write_lock);
	if (mm_find(address, &vma))
		map_backing(vma.enclave, address, address + SGX_PAGE_SIZE, vma.prot);
	else
		SYS(SYS_munmap, address, SGX_PAGE_SIZE);
	lock_drop(&write_lock);
}

void mm_zap(struct enclave *e, size_t first, size_t count)
{
	uint64_t start = e->base + first * SGX_PAGE_SIZE, end = start + count * SGX_PAGE_SIZE;
	struct vma vma;

	for (uint64_t at = start; mm_next(at, &vma) && vma.start < end; at = vma.end) {
		uint64_t low = vma.start > start ? vma.start : start;
		uint64_t high = vma.end < end ? vma.end : end;

		if (vma.enclave == e)
			SYS(SYS_madvise, low, high - low, MADV_DONTNEED);
	}
}

void mm_widen(struct enclave *e, size_t index)
{
	uint64_t at = e->base + index * SGX_PAGE_SIZE;
	struct vma vma;

	if (!(e->epcm.entry[index] & EPCM_NARROWED))
		return;
	if (mm_find(at, &vma) && vma.enclave == e)
		SYS(SYS_mprotect, at, SGX_PAGE_SIZE, real_prot(vma.prot));
	epcm_set(&e->epcm, index, e->epcm.entry[index] & ~EPCM_NARROWED);
}

void mm_discard(struct enclave *e, size_t first, size_t count)
{
	int3_site_drop(e, first, count);
	SYS(SYS_fallocate, e->backing_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, first * SGX_PAGE_SIZE,
	    count * SGX_PAGE_SIZE);
}
