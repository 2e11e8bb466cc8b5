/* SPDX-License-Identifier: Apache-2.0
 *
 * Addresses that cannot move are refused in the preparation, and only those. Others are gone from the source when
 * they have moved.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "host/net/address.h"
#include "host/net/netlink.h"
#include "tests/carry/program.h"
#include "tests/carry/testbed.h"

#define PORT 7000
#define SERVICE "10.77.0.100"

static struct program program;
static const struct carry_options options = {.tcp_established = true};

/* The first address of a subnet takes the others along when it goes, unless the kernel is told not to. */
static void first_of_its_subnet(void)
{
	struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(PORT)};
	struct failure why = {0};
	struct bytes manifest = {0};
	struct carry_counts counts;
	struct carry_source *s;
	inet_pton(AF_INET, "10.77.0.1", &name.sin_addr);
	int fd = program_listen(&program, &name, sizeof(name), 5);
	CHECK(system("ip addr add 10.77.0.50/24 dev eth0") == 0);
	CHECK(system("echo 0 >/proc/sys/net/ipv4/conf/all/promote_secondaries &&"
		     "echo 0 >/proc/sys/net/ipv4/conf/eth0/promote_secondaries") == 0);
	program_refused(&program, &options, -EADDRINUSE, "promote_secondaries");
	CHECK(system("echo 1 >/proc/sys/net/ipv4/conf/eth0/promote_secondaries") == 0);
	CHECK(carry_source_open(program.fds, &options, &s, &why) == 0);
	program_must(carry_source_preflight(s, &manifest, &counts, &why), &why);
	CHECK(counts.addresses == 1);
	carry_source_close(s);
	CHECK(CALL(&program, SYS_close, fd) == 0);
	bytes_free(&manifest);
}

/* It means something on its own interface only, which needs it. */
static void of_the_link(void)
{
	struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_port = htons(PORT), .sin6_scope_id = if_nametoindex("eth0")};
	CHECK(system("ip addr add fe80::77/64 dev eth0 nodad") == 0);
	inet_pton(AF_INET6, "fe80::77", &name.sin6_addr);
	int fd = program_listen(&program, &name, sizeof(name), 5);
	program_refused(&program, &options, -EHOSTUNREACH, "link-local");
	CHECK(CALL(&program, SYS_close, fd) == 0);
}

/* However it was given to the interface, it goes. */
static void with_a_peer(void)
{
	struct in6_addr address = {.s6_addr = {[10] = 0xff, 0xff, 10, 78, 0, 1}};
	struct place place;
	int route = netlink_open(NETLINK_ROUTE);
	CHECK(route >= 0 && system("ip addr add 10.78.0.1 peer 10.78.0.2/32 dev eth0") == 0);
	CHECK(address_find(route, &address, &place) == 0);
	CHECK(address_remove(route, &address, place.interface, place.prefix) == 0);
	CHECK(address_find(route, &address, &place) == -ENOENT);
	close(route);
}

/* Of its connections on an address: those of another program there are none of its to take along, and packets of a peer that is
 * reached by another interface than the address's come in past the packet program. */
static void with_connections(int channel)
{
	struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(PORT)}, others = {.sin_family = AF_INET, .sin_port = htons(PORT + 1)};
	struct failure why = {0};
	struct bytes b = {0}, manifest = {0};
	struct carry_source *s;
	CHECK(system("ip addr add " SERVICE "/32 dev eth0") == 0);
	inet_pton(AF_INET, SERVICE, &name.sin_addr);
	others.sin_addr = name.sin_addr;
	int fd = program_listen(&program, &name, sizeof(name), 5), other = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(bind(other, (struct sockaddr *)&others, sizeof(others)) == 0 && listen(other, 1) == 0);
	message_put(channel, 'c', NULL, 0);
	CHECK(CALL(&program, SYS_accept, fd, 0, 0) >= 0);
	int accepted = accept(other, NULL, NULL);
	CHECK(accepted >= 0);
	program_refused(&program, &options, -EADDRINUSE, "other programs");
	CHECK(close(accepted) == 0 && close(other) == 0);
	CHECK(carry_source_open(program.fds, &options, &s, &why) == 0);
	program_must(carry_source_preflight(s, &manifest, NULL, &why), &why);
	carry_source_close(s);
	CHECK(system("ip link add other type veth peer name end && ip link set other up && ip route add 10.77.0.2/32 dev other") == 0);
	program_refused(&program, &options, -EXDEV, "another interface");
	message_put(channel, 'd', NULL, 0);
	message_get(channel, 'E', &b);
}

static void peer(int channel)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(PORT)};
	struct bytes b = {0};
	inet_pton(AF_INET, SERVICE, &to.sin_addr);
	message_get(channel, 'c', &b);
	CHECK(connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&to, sizeof(to)) == 0);
	to.sin_port = htons(PORT + 1);
	CHECK(connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&to, sizeof(to)) == 0);
	message_get(channel, 'E', &b);
}

static void host(int channel)
{
	program_open(&program);
	first_of_its_subnet();
	with_a_peer();
	if (testbed_has_ipv6())
		of_the_link();
	with_connections(channel);
}

int main(void)
{
	struct bytes b = {0};
	int channel, peers;
	testbed_require();
	testbed_open();
	testbed_host(host, &channel);
	testbed_host(peer, &peers);
	message_pass(channel, peers, 'c');
	message_get(channel, 'd', &b);
	testbed_close();
	bytes_free(&b);
	return 0;
}
