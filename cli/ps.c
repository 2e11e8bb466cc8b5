/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/command.h"
int command_ps(int argc, char **argv)
{
	return EXIT_FAILED;
}
