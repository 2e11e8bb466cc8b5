/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "host/loader.h"
#include "host/sign.h"

/* Zero pages are added from one buffer of this many bytes. */
#define ZERO_SIZE (1u << 20)

static int create(struct device *device, const struct image *image, struct failure *why)
{
	struct sgx_secs *secs = aligned_alloc(PAGE_SIZE, sizeof(*secs));
	struct sgx_enclave_create args = {.src = (uintptr_t)secs};
	int rc;

	if (!secs)
		return fail(why, -ENOMEM, "out of memory");
	image_secs(image, sign_is_debug(&image->note.sigstruct), secs);
	rc = device->op.ioctl(device->fd, SGX_IOC_ENCLAVE_CREATE, &args);
	free(secs);
	if (rc)
		return fail(why, rc, "cannot create an enclave of %llu bytes with XFRM %#llx: %s%s",
			    (unsigned long long)image->config.elrange_size,
			    (unsigned long long)image->config.xfrm, strerror(-rc),
			    rc == -EIO
				? " (does the processor have this instruction-set level? see optmig check)"
				: "");
	return 0;
}

/* The kernel may stop after part of the pages when a signal comes; it says how far it got. */
static int pages_add(struct device *device, uint64_t address, const uint8_t *source, uint64_t size,
		     const struct image_run *run)
{
	struct sgx_secinfo secinfo = {.flags = run->flags};

	while (size) {
		struct sgx_enclave_add_pages args = {
		    .src = (uintptr_t)source,
		    .offset = address - ELRANGE_BASE,
		    .length = size,
		    .secinfo = (uintptr_t)&secinfo,
		    .flags = run->measured ? SGX_PAGE_MEASURE : 0,
		};
		int rc = device->op.ioctl(device->fd, SGX_IOC_ENCLAVE_ADD_PAGES, &args);

		if (rc && rc != -EINTR)
			return rc;
		if (!rc && !args.count)
			return -EIO;
		address += args.count;
		source += args.count;
		size -= args.count;
	}
	return 0;
}

static int run_load(struct device *device, const struct image_run *run, const uint8_t *zero)
{
	uint64_t size = run->count * PAGE_SIZE;

	if (run->content)
		return pages_add(device, run->start, run->content, size, run);
	for (uint64_t done = 0; done < size;) {
		uint64_t part = size - done < ZERO_SIZE ? size - done : ZERO_SIZE;
		int rc = pages_add(device, run->start + done, zero, part, run);

		if (rc)
			return rc;
		done += part;
	}
	return 0;
}

static int runs_load(struct device *device, const struct image *image, struct failure *why)
{
	uint8_t *zero = mmap(NULL, ZERO_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int rc = 0;

	if (zero == MAP_FAILED)
		return fail(why, -ENOMEM, "out of memory");
	for (size_t i = 0; !rc && i < image->run_count; i++) {
		rc = run_load(device, &image->run[i], zero);
		if (rc)
			fail(why, rc, "cannot add the page at %#llx: %s%s",
			     (unsigned long long)image->run[i].start, strerror(-rc),
			     rc == -ENOMEM ? " (the enclave page cache is full)" : "");
	}
	munmap(zero, ZERO_SIZE);
	return rc;
}

static int map(struct device *device, struct loader_map *maps, struct image_range range, int prot,
	       struct failure *why)
{
	struct image_range *grown = reallocarray(maps->range, maps->count + 1, sizeof(*grown));
	void *mapped;

	if (!grown)
		return fail(why, -ENOMEM, "out of memory");
	maps->range = grown;
	mapped = device->op.mmap((void *)range.start, range.end - range.start, prot,
				 MAP_SHARED | MAP_FIXED_NOREPLACE, device->fd, 0);
	if ((uintptr_t)mapped != range.start)
		return fail(why, (int)(intptr_t)mapped, "cannot map the enclave at %#llx: %s",
			    (unsigned long long)range.start, strerror((int)-(intptr_t)mapped));
	maps->range[maps->count++] = range;
	return 0;
}

static int prot_of(uint64_t secinfo_flags)
{
	/* a TCS has no permissions of its own, but the processor writes it */
	if ((secinfo_flags & ~0xffull) == SGX_SECINFO_TCS)
		return PROT_READ | PROT_WRITE;
	return (secinfo_flags & SGX_SECINFO_R ? PROT_READ : 0) |
	       (secinfo_flags & SGX_SECINFO_W ? PROT_WRITE : 0) |
	       (secinfo_flags & SGX_SECINFO_X ? PROT_EXEC : 0);
}

/* Regions the enclave adds pages to by itself (EAUG): mapped whole, whatever is in them at load. */
static unsigned growing(const struct image_config *c, struct image_range out[static 4])
{
	uint64_t elrange_pages = c->elrange_size / PAGE_SIZE;

	out[0] = (struct image_range){RTHEAP_BASE, RTHEAP_END};
	out[1] = (struct image_range){MARKS_BASE, MARKS_BASE + page_up(elrange_pages)};
	out[2] = (struct image_range){PAGESTATE_BASE, PAGESTATE_BASE + page_up(elrange_pages)};
	out[3] = (struct image_range){c->heap_base, c->heap_base + c->heap_size};
	return 4;
}

static bool grows_at(const struct image_range *regions, unsigned count, uint64_t address)
{
	for (unsigned i = 0; i < count; i++)
		if (address >= regions[i].start && address < regions[i].end)
			return true;
	return false;
}

static int map_all(struct device *device, const struct image *image, struct loader_map *maps,
		   struct failure *why)
{
	struct image_range regions[4];
	unsigned count = growing(&image->config, regions);
	int rc = 0;

	for (unsigned i = 0; !rc && i < count; i++)
		rc = map(device, maps, regions[i], PROT_READ | PROT_WRITE, why);
	/* Runs that touch and have the same permissions are one mapping. */
	for (size_t i = 0; !rc && i < image->run_count;) {
		const struct image_run *first = &image->run[i];
		struct image_range range = {first->start, first->start + first->count * PAGE_SIZE};
		int prot = prot_of(first->flags);

		for (i++; i < image->run_count; i++) {
			const struct image_run *next = &image->run[i];

			if (next->start != range.end || prot_of(next->flags) != prot)
				break;
			range.end += next->count * PAGE_SIZE;
		}
		if (!grows_at(regions, count, range.start))
			rc = map(device, maps, range, prot, why);
	}
	return rc;
}

static int initialise(struct device *device, const struct image *image, struct failure *why)
{
	struct sgx_enclave_init args = {.sigstruct = (uintptr_t)&image->note.sigstruct};
	int rc = device->op.ioctl(device->fd, SGX_IOC_ENCLAVE_INIT, &args);

	if (rc == -EPERM)
		return fail(why, rc,
			    "the processor refuses the signature: the image was changed after it was signed");
	if (rc)
		return fail(why, rc, "cannot initialise the enclave: %s", strerror(-rc));
	return 0;
}

int loader_build(struct device *device, const struct image *image, struct loader_map *map_out,
		 struct failure *why)
{
	int rc = create(device, image, why);

	*map_out = (struct loader_map){NULL, 0};
	if (!rc)
		rc = runs_load(device, image, why);
	if (!rc)
		rc = map_all(device, image, map_out, why);
	if (!rc)
		rc = initialise(device, image, why);
	if (rc)
		loader_unmap(device, map_out);
	return rc;
}

void loader_unmap(struct device *device, struct loader_map *map)
{
	for (size_t i = 0; i < map->count; i++)
		device->op.munmap((void *)map->range[i].start, map->range[i].end - map->range[i].start);
	free(map->range);
	*map = (struct loader_map){NULL, 0};
}
