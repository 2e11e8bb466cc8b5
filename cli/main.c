/* SPDX-License-Identifier: Apache-2.0 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "cli/command.h"

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} commands[] = {
    {"keygen", command_keygen, "make a key to sign images with"},
    {"sign", command_sign, "turn a program linked by optmig-cc into an image"},
    {"print", command_print, "show an image's identity and layout"},
    {"run", command_run, "run an image in an enclave"},
    {"ps", command_ps, "list the enclaves that run here"},
    {"receive", command_receive, "wait for programs that move here"},
    {"migrate", command_migrate, "move a running program to another machine"},
    {"status", command_status, "show how a move goes on"},
    {"cancel", command_cancel, "stop a move; the program stays"},
    {"check", command_check, "say what this machine lacks"},
};

static int help(FILE *out)
{
	fprintf(out, "usage: optmig COMMAND [OPTIONS]\n\n");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		fprintf(out, "  %-8s  %s\n", commands[i].name, commands[i].help);
	fprintf(out, "\noptmig COMMAND --help shows a command's options; optmig --version the version.\n");
	return out == stdout ? EXIT_DONE : EXIT_USAGE;
}

/* Every command answers an option it does not know with its usage, on standard error: here it was asked for.
 */
static int command_help(const struct command *command, int argc, char **argv)
{
	opterr = 0;
	dup2(STDOUT_FILENO, STDERR_FILENO);
	command->run(argc, argv);
	return EXIT_DONE;
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return help(stderr);
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "help"))
		return help(stdout);
	if (!strcmp(argv[1], "--version")) {
		printf("optmig %s\n", OPTMIG_VERSION);
		return EXIT_DONE;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(argv[1], commands[i].name))
			continue;
		if (argc == 3 && !strcmp(argv[2], "--help"))
			return command_help(&commands[i], argc - 1, argv + 1);
		return commands[i].run(argc - 1, argv + 1);
	}
	fprintf(stderr, "optmig: no command \"%s\"; optmig --help lists them\n", argv[1]);
	return EXIT_USAGE;
}
