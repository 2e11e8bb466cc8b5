/* SPDX-License-Identifier: Apache-2.0
 *
 * Hosts for tests: processes in network namespaces of their own, joined by a
 * bridge. Namespaces live as long as their process, so nothing is left behind.
 *
 *   10.77.0.1, fd77::1 .. hosts in the order they are made, /24 and /64 on eth0
 */
#ifndef TESTS_CARRY_TESTBED_H
#define TESTS_CARRY_TESTBED_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>
#include "host/bytes.h"
#include "tests/check.h"

#define SKIP 77

/* Ends the test as skipped unless namespaces can be made here. */
void testbed_require(void);
/* Whether this kernel has IPv6. */
bool testbed_has_ipv6(void);
/* The bridge. Once, before hosts. */
void testbed_open(void);
/* A host: runs body(channel) in its own namespace; the parent's end is *channel. */
pid_t testbed_host(void (*body)(int channel), int *channel);
/* Ends all hosts and the bridge. */
void testbed_close(void);

/* Messages on a channel: a type and a block. message_get() fails the test if another type comes. */
void message_put(int channel, uint8_t type, const void *data, size_t size);
uint8_t message_any(int channel, struct bytes *out);
void message_get(int channel, uint8_t type, struct bytes *out);
/* One that one host has for the other, by way of the parent. */
void message_pass(int from, int to, uint8_t type);

uint64_t now_us(void);
void sleep_us(uint64_t us);
/* A counter of /proc/net/netstat or snmp of this namespace, e.g. "RetransSegs". */
long network_counter(const char *name);

#endif
