/* SPDX-License-Identifier: Apache-2.0
 *
 * The control socket of a running program: NAME.sock in the runtime directory,
 * mode 0600. JSON, one object a line, both ways. Untrusted side.
 *
 *   {"command":"status"}              -> one object
 *   {"command":"migrate","to":...,}   -> progress, at most ten a second, then the report ("result")
 *   {"command":"migrate",...,"detach":true} -> {"schema_version":1,"result":"started"}
 *   {"command":"cancel"}              -> {"schema_version":1,"result":"cancelled"}, or how else it ended, or an error
 *
 * A client of migrate that hangs up cancels, unless it detached.
 */
#ifndef MIGRATE_CONTROL_H
#define MIGRATE_CONTROL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "host/enclave.h"

struct control;

/* A name is 1 to 63 of [A-Za-z0-9._-] and does not begin with a dot. */
bool control_name_ok(const char *name);
/* /run/optmig for root, else $XDG_RUNTIME_DIR/optmig; OPTMIG_RUNTIME_DIR goes before both. */
int control_directory(char *out, size_t size, struct failure *why);
int control_path(const char *name, char *out, size_t size, struct failure *why);
/* A connected socket. -ENOENT if no such program runs here, -ETIMEDOUT if it accepts nobody. */
int control_connect(const char *name, int *fd, struct failure *why);
/* One line of JSON, whole or not at all; frees the object. */
int control_say(int fd, json_t *object, uint64_t timeout_us);
/* The process at the other end; -1: of another container, or not known. */
pid_t control_peer(int fd);
/* So long is waited for a program that accepts nobody, or that does not answer. */
#define CONTROL_SILENCE_US (5ull * 1000 * 1000)

/* Could a program have a control socket under that name, if nobody else has? */
int control_possible(const char *name, struct failure *why);
/* Serves e under that name until closed. -EEXIST if another program has it here, unless its process is the one to be
 * replaced: the same program's earlier home. replaces 0: none is. */
int control_open(const char *name, struct enclave *e, pid_t replaces, struct control **out, struct failure *why);
/* Under NAME.PID, where another program has NAME. */
int control_open_numbered(const char *name, struct enclave *e, struct control **out, struct failure *why);
/* The program has ended: ends a migration under way, removes the socket. NULL is fine. */
void control_close(struct control *c);

#endif
