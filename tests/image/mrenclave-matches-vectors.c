/* SPDX-License-Identifier: Apache-2.0
 *
 * Target: host/measure.c, against measurements of known enclaves.
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include "host/measure.h"
#include "sgx/arch.h"

#define RW (SGX_SECINFO_REG | SGX_SECINFO_R | SGX_SECINFO_W)
#define RX (SGX_SECINFO_REG | SGX_SECINFO_R | SGX_SECINFO_X)

static const uint8_t zero_page[4096];

static void page_add(struct mrenclave_sum *m, uint64_t offset, uint64_t flags, const void *page)
{
	mrenclave_eadd(m, offset, flags);
	if (page)
		mrenclave_eextend_page(m, offset, page);
}

static bool matches(struct mrenclave_sum *m, const char *expected)
{
	uint8_t sum[MRENCLAVE_SIZE];
	char hex[2 * MRENCLAVE_SIZE + 1];

	mrenclave_final(m, sum);
	for (int i = 0; i < MRENCLAVE_SIZE; i++)
		sprintf(hex + 2 * i, "%02x", sum[i]);
	if (!strcmp(hex, expected))
		return true;
	printf("%s, expected %s\n", hex, expected);
	return false;
}

static bool four_pages(uint32_t ssa_frame_pages, const char *expected)
{
	static const struct sgx_tcs tcs = {
	    .ossa = 0x2000, .nssa = 2, .oentry = 0x1000, .fslimit = 0xfff, .gslimit = 0xfff};
	uint8_t code[4096];
	struct mrenclave_sum m;

	for (int i = 0; i < 4096; i++)
		code[i] = 7 * i + 3;
	mrenclave_ecreate(&m, ssa_frame_pages, 0x4000);
	page_add(&m, 0, SGX_SECINFO_TCS, &tcs);
	page_add(&m, 0x1000, RX, code);
	page_add(&m, 0x2000, RW, zero_page);
	page_add(&m, 0x3000, RW, zero_page);
	return matches(&m, expected);
}

int main(void)
{
	struct mrenclave_sum m;
	bool ok;

	mrenclave_ecreate(&m, 1, 0x2000);
	ok = matches(&m, "9e197c8837c6d65632dbdd59cd7df4f1a25b68d8e4e5eb6ca3b20b05311fecb8");
	mrenclave_ecreate(&m, 1, 0x2000);
	page_add(&m, 0, RW, zero_page);
	ok &= matches(&m, "1f2cf80bd03ffd8bfac33f7cba128aff511c3af666b93bb66e7ef718418bdade");
	mrenclave_ecreate(&m, 1, 0x2000);
	page_add(&m, 0, RW, NULL);
	ok &= matches(&m, "995c454650d39811c9c53e1af534aa6c34a496ce9302c34e0ced2c7a7e2c4103");
	ok &= four_pages(1, "0c1029bfb9718602e0bf0045146a31fe5df69b05a5a936c0ce38b06cb91ed7a3");
	ok &= four_pages(2, "df0ff58ff9d8dea3076aa90b8ae5ee28fb626a01b95ebe39db1945780ca0e207");
	return ok ? 0 : 1;
}
