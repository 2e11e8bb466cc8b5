/* SPDX-License-Identifier: Apache-2.0
 *
 * Target: sigstruct_check_form, sigstruct_check_signature, build_init.
 * Any change of any bit of a SIGSTRUCT, one or many, makes INIT refuse it.
 * Arguments: seed, count.
 */
#include "tests/softsgx/harness.h"

#include <errno.h>
#include <string.h>

static uint64_t state;

static uint64_t draw(uint64_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % below;
}

int main(int argc, char **argv)
{
	struct test_options options = {.unsigned_only = 1};
	struct test_enclave t;
	long count = argc > 2 ? atol(argv[2]) : 3000;

	state = argc > 1 ? strtoull(argv[1], NULL, 0) : 0x5eed5eed5eedull;
	test_build(&t, &options);
	for (long i = 0; i < count; i++) {
		struct sgx_sigstruct sig = t.sig;
		uint8_t *bytes = (uint8_t *)&sig;
		unsigned int changes = draw(4) ? 1 : 1 + (unsigned int)draw(64);
		int error;

		for (unsigned int c = 0; c < changes; c++) {
			uint64_t at = draw(sizeof(sig));

			bytes[at] ^= (uint8_t)(1u << draw(8));
		}
		if (draw(50) == 0)
			memset(bytes + draw(1400), draw(2) ? 0xff : 0, draw(400));
		if (!memcmp(&sig, &t.sig, sizeof(sig)))
			continue;
		error = test_init(&t, &sig);
		if (error != -EPERM && error != -EINVAL) {
			fprintf(stderr, "change %ld gave %d\n", i, error);
			return 1;
		}
	}
	CHECK_EQ(test_init(&t, &t.sig), 0);
	softsgx_close(t.fd);
	return 0;
}
