/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include "cli/command.h"
#include "host/key.h"

int command_keygen(int argc, char **argv)
{
	struct failure why;

	if (argc != 2 || argv[1][0] == '-')
		return command_usage(
		    "keygen FILE\n  Writes a new RSA-3072 key to FILE (PEM, mode 0600). Keep it: it is the"
		    " images' signer.");
	if (key_generate(argv[1], &why))
		return command_failed(&why);
	return EXIT_DONE;
}
