/* SPDX-License-Identifier: Apache-2.0
 * EREPORT with the alignments it asks for. */
#include "enclave/attest.h"
#include "enclave/leaf.h"
#include "enclave/rt.h"

void attest_report(const struct sgx_targetinfo *target, const uint8_t data[static 64],
		   struct sgx_report *report)
{
	struct sgx_targetinfo aligned_target;
	struct sgx_reportdata aligned_data;
	_Alignas(512) struct sgx_report aligned_report;
	memset(&aligned_target, 0, sizeof(aligned_target));
	if (target)
		memcpy(&aligned_target, target, sizeof(aligned_target));
	memcpy(aligned_data.data, data, sizeof(aligned_data.data));
	encl_ereport(&aligned_target, &aligned_data, &aligned_report);
	memcpy(report, &aligned_report, sizeof(*report));
}
