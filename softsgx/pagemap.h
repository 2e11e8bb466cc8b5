/* SPDX-License-Identifier: Apache-2.0
 *
 * PAGEMAP_SCAN of Linux 6.7, which Debian 12's headers do not know.
 */
#ifndef SOFTSGX_PAGEMAP_H
#define SOFTSGX_PAGEMAP_H

#include <stdint.h>
#include <sys/ioctl.h>

#define PAGEMAP_WRITTEN (1ull << 1)
#define PAGEMAP_PRESENT (1ull << 3)
#define PAGEMAP_SWAPPED (1ull << 4)
#define PM_SCAN_WP_MATCHING (1ull << 0)
#define PM_SCAN_CHECK_WPASYNC (1ull << 1)

struct pm_scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
struct page_region {
	uint64_t start, end, categories;
};
#define PAGEMAP_SCAN _IOWR('f', 16, struct pm_scan_arg)

#endif
