/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include "host/measure.h"
#include "sgx/arch.h"

#define RECORD_SIZE 64
#define EXTEND_SIZE 256

static void record_add(struct mrenclave_sum *m, const void *record)
{
	mbedtls_sha256_update_ret(&m->sha, record, RECORD_SIZE);
}

void mrenclave_ecreate(struct mrenclave_sum *m, uint32_t ssa_frame_pages, uint64_t size)
{
	struct {
		char tag[8];
		uint32_t ssa_frame_pages;
		uint64_t size;
		uint8_t zero[44];
	} __attribute__((packed)) record = {"ECREATE", ssa_frame_pages, size, {0}};

	_Static_assert(sizeof(record) == RECORD_SIZE, "ECREATE record");
	mbedtls_sha256_init(&m->sha);
	mbedtls_sha256_starts_ret(&m->sha, 0);
	record_add(m, &record);
}

void mrenclave_eadd(struct mrenclave_sum *m, uint64_t offset, uint64_t flags)
{
	struct {
		char tag[8];
		uint64_t offset;
		uint64_t flags;
		uint8_t zero[40];
	} __attribute__((packed)) record = {"EADD", offset, flags, {0}};

	_Static_assert(sizeof(record) == RECORD_SIZE, "EADD record");
	record_add(m, &record);
}

void mrenclave_eextend_page(struct mrenclave_sum *m, uint64_t offset, const uint8_t *page)
{
	for (uint32_t at = 0; at < SGX_PAGE_SIZE; at += EXTEND_SIZE) {
		struct {
			char tag[8];
			uint64_t offset;
			uint8_t zero[48];
		} __attribute__((packed)) record = {{'E', 'E', 'X', 'T', 'E', 'N', 'D', 0}, offset + at, {0}};

		_Static_assert(sizeof(record) == RECORD_SIZE, "EEXTEND record");
		record_add(m, &record);
		mbedtls_sha256_update_ret(&m->sha, page + at, EXTEND_SIZE);
	}
}

void mrenclave_final(struct mrenclave_sum *m, uint8_t mrenclave[static MRENCLAVE_SIZE])
{
	mbedtls_sha256_finish_ret(&m->sha, mrenclave);
	mbedtls_sha256_free(&m->sha);
}
