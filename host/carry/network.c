/* SPDX-License-Identifier: Apache-2.0 */
#include "host/carry/network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "host/net/linger.h"
#include "host/net/netlink.h"
#include "host/net/send_back.h"
#include "host/net/tcp_repair.h"

#define LINGER_MAX_MS 2000  /* neighbours learn from the first announcement, or by asking, within this */
#define LINGER_QUIET_MS 300 /* no redirected packet for so long: they have */
#define LINGER_STEP_MS 50
#define RETURN_MAX_MS 100
#define RETURN_QUIET_MS 10
#define RETURN_STEP_MS 2

/* Moves away from this process that have been prepared: who announces an address must stop when it is to
 * leave again. */
static atomic_uint departures;

static void sleep_ms(unsigned ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
	nanosleep(&t, NULL);
}

void network_init(struct network *n)
{
	*n = (struct network){.route = -1, .packet = -1, .hold = HOLD_NONE};
}

void network_close(struct network *n)
{
	for (unsigned i = 0; i < n->steer_count; i++)
		steer_close(&n->steer[i]);
	/* Last of what others wait for. */
	for (unsigned i = 0; i < n->linger_count; i++)
		close(n->linger[i].fd);
	hold_close(&n->hold);
	if (n->route >= 0)
		close(n->route);
	if (n->packet >= 0)
		close(n->packet);
	network_init(n);
}

bool network_has(const struct network *n, const struct in6_addr *address)
{
	for (unsigned i = 0; i < n->service_count; i++)
		if (ip_equal(&n->service[i].address, address))
			return true;
	return false;
}

static int open_route(struct network *n, struct failure *why)
{
	if (n->route < 0)
		n->route = netlink_open(NETLINK_ROUTE);
	return n->route < 0 ? fail(why, n->route, "no netlink socket: %s", strerror(-n->route)) : 0;
}

bool network_is_here(struct network *n, const struct in6_addr *address)
{
	struct failure ignored;
	struct place place;
	return open_route(n, &ignored) == 0 && address_find(n->route, address, &place) != -ENOENT;
}

static struct service *new_service(struct network *n, const struct in6_addr *address, struct failure *why)
{
	if (n->service_count == SERVICES_MAX) {
		fail(why, -E2BIG, "the program uses more than %d local addresses", SERVICES_MAX);
		return NULL;
	}
	struct service *s = &n->service[n->service_count];
	*s = (struct service){.address = *address};
	return s;
}

/* The steer of an interface, opened once. */
static int open_steer(struct network *n, struct service *s, struct failure *why)
{
	for (s->steer = 0; s->steer < n->steer_count; s->steer++)
		if (n->steer_interface[s->steer] == s->place.interface)
			return 0;
	int r = steer_open(s->place.interface, &n->steer[s->steer]);
	if (r == -EOPNOTSUPP)
		return fail(why, r,
			    "moving connections needs BPF at network interfaces (TCX, or clsact and "
			    "cls_bpf), which this kernel lacks");
	if (r)
		return fail(why, r,
			    "cannot load the packet program on %s: %s; it needs CAP_BPF and CAP_NET_ADMIN",
			    s->place.name, strerror(-r));
	n->steer_interface[n->steer_count++] = s->place.interface;
	return 0;
}

static int set_rule(struct network *n, struct service *s, uint32_t flags)
{
	/* The count of redirected packets goes on: it tells when they end. */
	struct steer_rule rule = {0};
	steer_get(&n->steer[s->steer], &s->address, &rule);
	rule.flags = flags;
	rule.mark = n->hold.mark;
	rule.interface = (uint32_t)s->place.interface;
	memcpy(rule.to_mac, s->to_mac, sizeof(rule.to_mac));
	memcpy(rule.from_mac, s->place.mac, sizeof(rule.from_mac));
	return steer_set(&n->steer[s->steer], &s->address, &rule);
}

int network_steer(struct network *n, uint32_t flags)
{
	int r = 0;
	for (unsigned i = 0; !r && i < n->service_count; i++)
		r = set_rule(n, &n->service[i], flags);
	return r;
}

/* ---- source ---- */

int network_source_add(struct network *n, const struct in6_addr *address, const struct in6_addr *stays,
		       struct failure *why)
{
	if (network_has(n, address))
		return 0;
	int r = open_route(n, why);
	if (r)
		return r;
	struct service *s = new_service(n, address, why);
	if (!s)
		return -E2BIG;
	char text[INET6_ADDRSTRLEN];
	ip_text(address, text);
	r = address_find(n->route, address, &s->place);
	if (r == -ENOENT)
		return fail(why, r, "%s, which the program uses, is not an address of this host", text);
	if (r == -EPROTONOSUPPORT)
		return fail(why, r,
			    "%s is on %s, which is not an Ethernet interface: its connections cannot move",
			    text, s->place.name);
	if (r)
		return fail(why, r, "%s: %s", text, strerror(-r));
	if (s->place.autoconfigured)
		return fail(why, -EADDRINUSE,
			    "%s was made by the network's autoconfiguration, which would bring it back to "
			    "this host; give "
			    "the program an address of its own (ip address add ADDRESS/128 dev %s)",
			    text, s->place.name);
	if (stays && ip_equal(address, stays))
		return fail(why, -EADDRINUSE,
			    "the migration itself runs over %s, which would have to move with the program; "
			    "give the program an address of its own, or the migration another",
			    text);
	if (s->place.carries_more)
		return fail(
		    why, -EADDRINUSE,
		    "removing %s from %s would remove other addresses of its subnet; give the program "
		    "an address of its own (ip address add %s/32 dev %s), or set promote_secondaries",
		    text, s->place.name, text, s->place.name);
	n->service_count++;
	return 0;
}

int network_source_peer(struct network *n, const struct in6_addr *own, const struct in6_addr *peer)
{
	for (unsigned i = 0; i < n->way_count; i++)
		if (ip_equal(&n->way[i].own, own) && ip_equal(&n->way[i].peer, peer))
			return 0;
	int interface = address_way(n->route, own, peer);
	for (unsigned i = 0; i < n->service_count; i++)
		if (ip_equal(&n->service[i].address, own) && interface && interface != n->service[i].place.interface)
			return -EXDEV;
	if (n->way_count < PEERS_MAX)
		n->way[n->way_count++] = (struct way){*own, *peer};
	return 0;
}

int network_source_check(struct network *n, struct failure *why)
{
	int r = 0;
	for (unsigned i = 0; !r && i < n->service_count; i++)
		r = open_steer(n, &n->service[i], why);
	if (!r && n->service_count && (r = tcp_repair_allowed()) != 0)
		fail(why, r, "moving connections needs CAP_NET_ADMIN (TCP_REPAIR): %s", strerror(-r));
	return r;
}

void network_put(const struct network *n, struct bytes *manifest)
{
	bytes_put_u32(manifest, n->service_count);
	for (unsigned i = 0; i < n->service_count; i++) {
		bytes_put(manifest, &n->service[i].address, sizeof(n->service[i].address));
		bytes_put(manifest, n->service[i].place.mac, sizeof(n->service[i].place.mac));
	}
	bytes_put_u32(manifest, n->way_count);
	for (unsigned i = 0; i < n->way_count; i++)
		bytes_put(manifest, &n->way[i].peer, sizeof(n->way[i].peer));
}

int network_source_prepare(struct network *n, struct reader *answer, struct failure *why)
{
	if (reader_count(answer, 6) != n->service_count)
		return fail(why, -EBADMSG, "the destination's answer is damaged");
	atomic_fetch_add(&departures, 1);
	int r = 0;
	for (unsigned i = 0; !r && i < n->service_count; i++) {
		struct service *s = &n->service[i];
		reader_get(answer, s->to_mac, sizeof(s->to_mac));
		if (memcmp(s->to_mac, s->place.mac, sizeof(s->to_mac)) == 0)
			return fail(why, -EADDRINUSE, "source and destination are the same interface");
		r = open_steer(n, s, why);
		if (!r && (r = set_rule(n, s, 0)) != 0)
			fail(why, r, "the packet program takes no rule: %s", strerror(-r));
	}
	return r ? r : answer->error;
}

static uint64_t redirected(struct network *n)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i < n->service_count; i++) {
		struct steer_rule rule = {0};
		steer_get(&n->steer[n->service[i].steer], &n->service[i].address, &rule);
		sum += rule.redirected;
	}
	return sum;
}

void network_source_finish(struct network *n)
{
	if (n->service_count == 0)
		return;
	network_steer(n, STEER_REDIRECT | STEER_SILENT);
	/* Packets are redirected before they would be for an address. */
	for (unsigned i = 0; i < n->service_count; i++) {
		struct service *s = &n->service[i];
		address_remove(n->route, &s->address, s->place.interface, s->place.prefix);
		int fd = linger_open(&s->address);
		if (fd >= 0)
			n->linger[n->linger_count++] = (struct pollfd){.fd = fd, .events = POLLIN};
	}
	uint64_t count = redirected(n);
	for (unsigned total = 0, quiet = 0; total < LINGER_MAX_MS && quiet < LINGER_QUIET_MS;
	     total += LINGER_STEP_MS) {
		if (poll(n->linger, n->linger_count, LINGER_STEP_MS) > 0)
			break;
		uint64_t now = redirected(n);
		quiet = now == count ? quiet + LINGER_STEP_MS : 0;
		count = now;
	}
}

/* ---- destination ---- */

static int find_place(struct network *n, struct service *s, struct failure *why)
{
	char text[INET6_ADDRSTRLEN];
	ip_text(&s->address, text);
	struct place here;
	if (address_find(n->route, &s->address, &here) == 0)
		return fail(why, -EADDRINUSE, "%s, which would move here, is an address of this host already",
			    text);
	int r = address_link(n->route, &s->address, &s->place);
	if (r == -EHOSTUNREACH)
		return fail(
		    why, r,
		    "%s is on no link of this host: connections move between hosts of one link (no gateway "
		    "between), and a route to it is needed here",
		    text);
	if (r == -EPROTONOSUPPORT)
		return fail(why, r, "the way to %s is not an Ethernet interface", text);
	return r ? fail(why, r, "%s: %s", text, strerror(-r)) : 0;
}

static int open_hold(struct network *n, struct failure *why)
{
	bool ipv4 = false, ipv6 = false;
	for (unsigned i = 0; i < n->service_count; i++)
		*(ip_is_ipv4(&n->service[i].address) ? &ipv4 : &ipv6) = true;
	int r = hold_open(ipv4, ipv6, &n->hold);
	if (r == -EOPNOTSUPP)
		return fail(why, r,
			    "taking connections over needs netfilter's NFQUEUE and nf_tables, which this "
			    "kernel lacks");
	return r ? fail(why, r, "packets cannot be held here: %s; it needs CAP_NET_ADMIN", strerror(-r)) : 0;
}

int network_destination_prepare(struct network *n, struct reader *manifest, struct bytes *answer,
				struct failure *why)
{
	struct in6_addr address;
	uint32_t count = reader_count(manifest, sizeof(address) + 6);
	bytes_put_u32(answer, count);
	if (count == 0)
		return reader_u32(manifest) || manifest->error
			   ? fail(why, -EBADMSG, "the manifest is damaged")
			   : 0;
	int r = open_route(n, why);
	if (!r && (r = tcp_repair_allowed()) != 0)
		fail(why, r, "taking connections over needs CAP_NET_ADMIN (TCP_REPAIR): %s", strerror(-r));
	if (r)
		return r;
	n->packet = address_packet_open();
	if (n->packet < 0)
		return fail(why, n->packet, "no packet socket (CAP_NET_RAW): %s", strerror(-n->packet));
	for (; count; count--) {
		reader_get(manifest, &address, sizeof(address));
		struct service *s = new_service(n, &address, why);
		if (!s)
			return -E2BIG;
		reader_get(manifest, s->to_mac, sizeof(s->to_mac));
		r = find_place(n, s, why);
		if (r)
			return r;
		n->service_count++;
		bytes_put(answer, s->place.mac, sizeof(s->place.mac));
	}
	r = open_hold(n, why);
	for (unsigned i = 0; !r && i < n->service_count; i++) {
		r = open_steer(n, &n->service[i], why);
		if (!r && (r = set_rule(n, &n->service[i], STEER_HOLD | STEER_SILENT)) != 0)
			fail(why, r, "the packet program takes no rule: %s", strerror(-r));
	}
	if (r)
		return r;
	/* Packets that come here from now on are held. */
	for (unsigned i = 0; i < n->service_count; i++)
		linger_end(&n->service[i].address);
	for (count = reader_count(manifest, sizeof(address)); count; count--) {
		reader_get(manifest, &address, sizeof(address));
		address_warm(n->route, &address);
	}
	return manifest->error ? manifest->error : answer->error;
}

int network_destination_arrive(struct network *n, struct failure *why)
{
	int error = 0;
	for (unsigned i = 0; i < n->service_count; i++) {
		struct service *s = &n->service[i];
		int r = address_add(n->route, &s->address, s->place.interface);
		s->added = r == 0;
		if (r)
			error =
			    fail(why, r, "an address cannot be added to %s: %s", s->place.name, strerror(-r));
	}
	return error;
}

static void announce(struct network *n)
{
	for (unsigned i = 0; i < n->service_count; i++)
		address_announce(n->packet, &n->service[i].address, &n->service[i].place);
}

int network_destination_open(struct network *n, struct failure *why)
{
	if (n->service_count == 0)
		return 0;
	/* What waits first, then the door, then what came between and what is still on its way from the door. */
	int r = hold_release(&n->hold);
	if (!r)
		r = network_steer(n, 0);
	if (!r)
		r = hold_end(&n->hold);
	n->departures = atomic_load(&departures);
	announce(n);
	return r ? fail(why, r, "held packets could not be delivered: %s", strerror(-r)) : 0;
}

void network_destination_finish(struct network *n)
{
	static const unsigned wait_ms[] = {20, 80, 200, 500};
	for (unsigned i = 0; n->service_count && i < sizeof(wait_ms) / sizeof(wait_ms[0]); i++) {
		sleep_ms(wait_ms[i]);
		if (atomic_load(&departures) != n->departures)
			break;
		announce(n);
	}
	network_close(n);
}

struct way_back {
	struct network *network;
	int fd;
};

static void return_packet(void *context, const uint8_t *packet, size_t size)
{
	struct way_back *back = context;
	bool is_ipv6 = packet[0] >> 4 == 6;
	if (is_ipv6 && size < sizeof(struct ip6_hdr))
		return;
	struct in6_addr to = is_ipv6 ? ip_read(AF_INET6, packet + offsetof(struct ip6_hdr, ip6_dst))
				     : ip_read(AF_INET, packet + offsetof(struct iphdr, daddr));
	for (unsigned i = 0; i < back->network->service_count; i++) {
		struct service *s = &back->network->service[i];
		if (ip_equal(&s->address, &to))
			send_back(back->fd, &s->place, s->to_mac, packet, size);
	}
}

void network_destination_return(struct network *n)
{
	if (n->service_count == 0)
		return;
	struct way_back back = {n, send_back_open()};
	if (back.fd < 0)
		return;
	/* While the source has not yet opened its door again, what is sent there comes back here, to be held
	 * again. */
	for (unsigned total = 0, quiet = 0; total < RETURN_MAX_MS && quiet < RETURN_QUIET_MS;
	     total += RETURN_STEP_MS) {
		quiet = hold_each(&n->hold, return_packet, &back) ? 0 : quiet + RETURN_STEP_MS;
		sleep_ms(RETURN_STEP_MS);
	}
	close(back.fd);
}
