/* SPDX-License-Identifier: Apache-2.0
 *
 * One checking connection. It alone writes its keys, so every reply follows
 * from what it sent before: which value a GET returns, what INCR counts to,
 * which item leaves its list. Sockets and time are the caller's (run.c).
 *
 * What was sent and what was acknowledged are kept apart. While a connection
 * lives they tell in which order replies must come; when it broke they are the
 * bounds of what the server may hold, and an audit reads everything back.
 */
#ifndef DEMO_CLIENT_H
#define DEMO_CLIENT_H

#include "demo/resp.h"

#include <stdbool.h>
#include <stdint.h>

struct client;

struct client *client_create(unsigned id, unsigned key_count, unsigned depth_max);
void client_destroy(struct client *c);

/* Appends one command to out. */
void client_command(struct client *c, struct resp_buffer *out);
/* Appends the commands that read every key back. Only with nothing outstanding. */
void client_audit(struct client *c, struct resp_buffer *out);
/* Replies still to come. */
unsigned client_outstanding(const struct client *c);
/* False: a wrong reply; why, a static buffer, says what was expected. */
bool client_reply(struct client *c, const struct resp_reply *reply, const char **why);
/* The connection is gone with what was outstanding on it: an audit must follow on the next one. */
void client_lost(struct client *c);
uint64_t client_acknowledged(const struct client *c); /* writes */

#endif
