/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "cli/command.h"
#include "host/enclave.h"
#include "host/log.h"
#include "host/signals.h"
#include "migrate/control.h"

static const char usage[] =
    "run [--name NAME] [--trace] IMAGE [-- ARGUMENTS]\n"
    "  --name NAME  what ps, migrate and status call it (the image's file name)\n"
    "  --trace      say on standard error what the program asks for and does not get\n"
    "  Exits with the program's status, 128 + n if signal n ended it, 70 if the enclave died,\n"
    "  75 once the program has moved away.";

struct run_args {
	const char *name, *image;
	bool named; /* by --name: it must have that name */
	int argc;
	char **argv;
	uint32_t flags;
};

static bool args_parse(int argc, char **argv, struct run_args *a)
{
	static const struct option options[] = {
	    {"name", required_argument, NULL, 'n'},
	    {"trace", no_argument, NULL, 't'},
	    {NULL, 0, NULL, 0},
	};
	int option;

	*a = (struct run_args){.name = NULL};
	/* "+": what follows IMAGE is the program's */
	while ((option = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		if (option == 'n') {
			a->name = optarg;
			a->named = true;
		} else if (option == 't') {
			a->flags |= START_TRACE;
		} else {
			return false;
		}
	}
	if (optind == argc)
		return false;
	a->image = argv[optind++];
	if (optind < argc && !strcmp(argv[optind], "--"))
		optind++;
	if (!a->name)
		a->name = strrchr(a->image, '/') ? strrchr(a->image, '/') + 1 : a->image;
	/* argv[0] of the program takes the place before its arguments */
	argv[optind - 1] = (char *)a->image;
	a->argc = argc - optind + 1;
	a->argv = argv + optind - 1;
	return true;
}

int command_end(enum enclave_end end, int status)
{
	switch (end) {
	case ENCLAVE_EXITED:
		return status;
	case ENCLAVE_SIGNALED:
		log_line("the program was ended by a signal: %s", strsignal(status));
		return 128 + status;
	case ENCLAVE_MOVED:
		return EXIT_MOVED;
	case ENCLAVE_DIED:
		break;
	}
	log_line("the enclave died: %s", enclave_fatal_text(status));
	return EXIT_ENCLAVE_DIED;
}

/* Under its name, or, when it only got the image's and another program has that, with the process number.
 * Without a control socket the program runs all the same; it cannot be moved. */
static struct control *control_serve(const struct run_args *a, struct enclave *e, struct failure *why)
{
	struct control *control;

	if (!control_open(a->name, e, 0, &control, why))
		return control;
	if (why->code == -EEXIST && !a->named && !control_open_numbered(a->name, e, &control, why))
		return control;
	if (!a->named)
		log_line("%s: it cannot be moved", why->message);
	return NULL;
}

int command_run(int argc, char **argv)
{
	struct enclave *enclave;
	struct control *control;
	struct run_args a;
	struct failure why;
	int status, code;

	if (!args_parse(argc, argv, &a))
		return command_usage(usage);
	signals_block();
	if (enclave_load(a.image, &enclave, &why))
		return command_failed(&why);
	control = control_serve(&a, enclave, &why);
	if (!control && a.named) {
		enclave_destroy(enclave);
		return command_failed(&why);
	}
	if (enclave_start(enclave, a.argc, a.argv, environ, a.flags, &why) || signals_forward(enclave)) {
		control_close(control);
		enclave_destroy(enclave);
		return command_failed(&why);
	}
	code = command_end(enclave_wait(enclave, &status), status);
	control_close(control);
	/* Threads may still compute inside; the end of the process takes them and the enclave with it. */
	_exit(code);
}
