/* SPDX-License-Identifier: Apache-2.0 */
#include "host/net/linger.h"

#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "host/net/ip.h"
#include "host/net/presence.h"

#define END_MAX_MS 1000
#define NAME_SIZE (INET6_ADDRSTRLEN + 8)

static void name_of(const struct in6_addr *address, char out[NAME_SIZE])
{
	char text[INET6_ADDRSTRLEN];
	ip_text(address, text);
	snprintf(out, NAME_SIZE, "linger-%s", text);
}

int linger_open(const struct in6_addr *address)
{
	char name[NAME_SIZE];
	name_of(address, name);
	return presence_begin(name);
}

void linger_end(const struct in6_addr *address)
{
	char name[NAME_SIZE];
	name_of(address, name);
	struct pollfd ended = {.fd = presence_ask(name), .events = POLLIN};
	if (ended.fd < 0)
		return;
	poll(&ended, 1, END_MAX_MS);
	close(ended.fd);
}
