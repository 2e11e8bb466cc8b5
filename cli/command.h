/* SPDX-License-Identifier: Apache-2.0
 *
 * The commands behind `optmig NAME` and what they share. Human wording lives
 * here; the layers below return codes and struct failure.
 */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include <stdbool.h>
#include <stdint.h>
#include "host/enclave.h"
#include "host/failure.h"

/* Exit codes; docs/cli.md is the table for users. run also exits with the program's own. */
enum exit_code {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_ENCLAVE_DIED = 70, /* run: the enclave stopped itself or was attacked */
	EXIT_MOVED = 75,	/* run: the program lives elsewhere now */
};

/* argv[0] is the command's name. Return the process's exit code. */
int command_keygen(int argc, char **argv);
int command_sign(int argc, char **argv);
int command_print(int argc, char **argv);
int command_run(int argc, char **argv);
int command_ps(int argc, char **argv);
int command_check(int argc, char **argv);
/* The part of check that asks a running program. */
struct migrate_options;
int check_move(const char *name, const struct migrate_options *o, bool json);
/* A line if the two hosts differ about the time of day by more than programs put up with. */
void calendars_print(int64_t ahead_us);
int command_migrate(int argc, char **argv);
int command_receive(int argc, char **argv);
int command_status(int argc, char **argv);
int command_cancel(int argc, char **argv);

/* The exit code for how a program ended; says on standard error what its own status cannot. */
int command_end(enum enclave_end end, int status);
/* "64", "64K", "1M", "2G", "1T" -> bytes. False if it is none, or does not fit. */
bool size_parse(const char *text, uint64_t *out);
/* "check" or "ignore". */
bool files_option(const char *text, bool *ignore);
/* Options of a command that knows only --json; optind is then its first argument. False: another was given. */
bool json_option(int argc, char **argv, bool *json);
/* 2 size hexadecimal digits and NUL. */
void hex_format(const uint8_t *bytes, unsigned size, char *out);
/* Prints "optmig: MESSAGE" and returns EXIT_FAILED. */
int command_failed(const struct failure *why);
/* The same; first, if json, as an object on standard output, where whoever asked looks for it. */
int command_failed_json(bool json, const struct failure *why);
/* Is --json among the arguments, which may be wrong? */
bool json_asked(int argc, char **argv);
/* "usage: optmig USAGE" on standard error; returns EXIT_USAGE. */
int command_usage(const char *usage);

#endif
