/* SPDX-License-Identifier: Apache-2.0
 *
 * How a test asks a running program something: a TCP connection, a line in, a
 * line out. The thread that serves it spends its life blocked in accept().
 */
#ifndef TESTS_PROGRAMS_CONTROL_H
#define TESTS_PROGRAMS_CONTROL_H

#include <stddef.h>

/* Answers one command; reply has room for size bytes and is sent with a newline. */
typedef void (*control_handler)(const char *command, char *reply, size_t size);

/* Listens on every address at port and serves it in a thread of its own. Ends the program if it cannot. */
void control_start(int port, control_handler handler);

/* printf that a test's log shows at once. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
