/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "cli/command.h"
#include "migrate/receive.h"

static const char usage[] =
    "receive tcp:ADDRESS:PORT [--image-dir DIR] [--once] [--log FILE] [--hook PROGRAM]\n"
    "  --image-dir DIR  where the images of programs that may come are (.)\n"
    "  --once           ends with the first program that came, with its exit status\n"
    "  --log FILE       messages go there, and what programs that came write to their standard streams\n"
    "  --hook PROGRAM   is told pre-resume, post-resume and failed";

static int log_to(const char *path)
{
	struct failure why;
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0) {
		fail(&why, -errno, "%s: %s", path, strerror(errno));
		return command_failed(&why);
	}
	close(fd);
	return 0;
}

int command_receive(int argc, char **argv)
{
	static const struct option options[] = {
	    {"image-dir", required_argument, NULL, 'i'},
	    {"once", no_argument, NULL, 'o'},
	    {"log", required_argument, NULL, 'l'},
	    {"hook", required_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0},
	};
	struct receive_options o = {.destination = {.image_dir = "."}, .exit_status = command_end};
	const char *log = NULL;
	struct failure why;
	int option, status;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'i')
			o.destination.image_dir = optarg;
		else if (option == 'o')
			o.once = true;
		else if (option == 'l')
			log = optarg;
		else if (option == 'h')
			o.destination.hook = optarg;
		else
			return command_usage(usage);
	}
	if (optind != argc - 1)
		return command_usage(usage);
	if (address_check(argv[optind], &why)) {
		command_failed(&why);
		return EXIT_USAGE;
	}
	if (address_parse(argv[optind], &o.at, &why))
		return command_failed(&why);
	if (access(o.destination.image_dir, R_OK | X_OK)) {
		fail(&why, -errno, "%s: %s", o.destination.image_dir, strerror(errno));
		return command_failed(&why);
	}
	if (log && log_to(log))
		return EXIT_FAILED;
	return receive_run(&o, &status, &why) ? command_failed(&why) : status;
}
