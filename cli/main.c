/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
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
	return ferror(stderr) ? EXIT_FAILED : EXIT_DONE;
}

/* Nothing that is opened later may take the place of one that was closed: what is meant for the user would go there. */
static bool standard_streams_open(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* An answer that did not reach whoever asked is a failure, whatever it says. */
static int answered(int code)
{
	errno = 0;
	if (!fflush(stdout) && !ferror(stdout))
		return code;
	fprintf(stderr, "optmig: the answer cannot be written to standard output%s%s\n", errno ? ": " : "",
		errno ? strerror(errno) : "");
	return code ? code : EXIT_FAILED;
}

static int dispatch(int argc, char **argv)
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

int main(int argc, char **argv)
{
	if (!standard_streams_open()) {
		fprintf(stderr, "optmig: /dev/null: %s\n", strerror(errno));
		return EXIT_FAILED;
	}
	return answered(dispatch(argc, argv));
}
