/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cpu.h"
#include <cpuid.h>
#include <errno.h>
#include <stdbool.h>
#include "sgx/arch.h"

static bool has_rdrand(void)
{
	unsigned a, b, c = 0, d;
	return __get_cpuid(1, &a, &b, &c, &d) && c & bit_RDRND;
}

int cpu_check(uint64_t xfrm, struct failure *why)
{
	__builtin_cpu_init();
	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("aes") || !__builtin_cpu_supports("pclmul") || !has_rdrand())
		return fail(why, -ENOTSUP,
			    "this processor lacks AVX2, AES-NI, PCLMULQDQ or RDRAND, which every enclave needs");
	if ((xfrm & SGX_XFRM_AVX512) != SGX_XFRM_AVX512)
		return 0;
	/* All processors with SGX2 and AVX-512 have these too; one without SGX may not. */
	if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
	    !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512dq") ||
	    !__builtin_cpu_supports("vaes") || !__builtin_cpu_supports("vpclmulqdq"))
		return fail(why, -ENOTSUP, "the image was signed with --isa avx512, and this processor lacks AVX-512 or VAES: "
					   "sign it with --isa avx2");
	return 0;
}
