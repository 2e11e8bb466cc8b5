/* SPDX-License-Identifier: Apache-2.0
 *
 * Files and answers that are the host's lead the C library nowhere outside
 * them: time zones, tables of messages, interfaces and addresses. Good ones it
 * reads as ever; a bad one is as if it were not there.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <ifaddrs.h>
#include <libintl.h>
#include <locale.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <nl_types.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "tests/libc/check.h"

static char dir[] = "/tmp/believes-no-host.XXXXXX", path[100];

static void write_file(const char *name, const void *data, size_t size)
{
	snprintf(path, sizeof path, "%s/%s", dir, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size) {
		perror(path);
		exit(1);
	}
	close(fd);
}

/* ---- time zones ---- */

static unsigned char zone[400];
static size_t zone_size;
enum { SECOND = 44 + 6 + 4 }; /* where the second header is */

static void put(const void *data, size_t size)
{
	memcpy(zone + zone_size, data, size);
	zone_size += size;
}

static void put32(uint32_t v)
{
	v = __builtin_bswap32(v);
	put(&v, 4);
}

static void put_header(uint32_t times, uint32_t types, uint32_t chars)
{
	put("TZif2\0\0\0\0\0\0\0\0\0\0\0", 16);
	put32(0); /* the rest of 15 zeros, and three counts of what nobody needs */
	put32(0);
	put32(0);
	put32(0);
	put32(times);
	put32(types);
	put32(chars);
}

/* Central European time: since 1970 in winter, in summer of 2020 and 2021, and by the rule from then on. */
static void make_zone(const char *footer)
{
	static const uint32_t at[] = {0, 1585443600, 1603587600, 1616893200};
	static const unsigned char type_of[] = {0, 1, 0, 1};

	zone_size = 0;
	put_header(0, 1, 4);
	put("\0\0\0\0\0\0UTC", 10);
	put_header(4, 2, 9);
	for (int i = 0; i < 4; i++) {
		put32(0);
		put32(at[i]);
	}
	put(type_of, 4);
	put32(3600);
	put("\0\0", 2);
	put32(7200);
	put("\1\4", 2);
	put("CET\0CEST", 9);
	put(footer, strlen(footer));
}

/* What a time is called in the zone as it is now; by another name each time, for libc reads a file once. */
static const char *called(time_t when)
{
	static unsigned n;
	static char is[64];
	char name[32], tz[120];

	snprintf(name, sizeof name, "zone%u", n++);
	write_file(name, zone, zone_size);
	snprintf(tz, sizeof tz, ":%s", path);
	setenv("TZ", tz, 1);
	struct tm tm;
	strftime(is, sizeof is, "%Z%z", localtime_r(&when, &tm));
	unlink(path);
	return is;
}

#define SUMMER 1594000000
#define WINTER 1610000000
#define LATER 2226000000
#define FOOTER "\nCET-1CEST,M3.5.0,M10.5.0/3\n"

static bool is_refused(void)
{
	return strcmp(called(SUMMER), "UTC+0000") == 0;
}

static void zones_are_read(void)
{
	static const char *const footers[] = {"\n\n", "\nCET-1\n", "\n<-03>3<-02>2:30,J1/-1,365/167:59:59\n",
					      FOOTER};

	make_zone(FOOTER);
	CHECK(strcmp(called(SUMMER), "CEST+0200") == 0);
	CHECK(strcmp(called(WINTER), "CET+0100") == 0);
	CHECK(strcmp(called(LATER), "CEST+0200") == 0);
	for (size_t i = 0; i < sizeof footers / sizeof *footers; i++) {
		make_zone(footers[i]);
		CHECK(strcmp(called(SUMMER), "CEST+0200") == 0);
	}
}

static void zones_lead_nowhere(void)
{
	static const char *const footers[] = {"\nCET-1CEST,M\n",
					      "\nCET-1CEST,M13.1.1,M1.1.1\n",
					      "\n<CET-1\n",
					      "\nCET\n",
					      "\nCET-1CEST,M3.5.0\n",
					      "\nCET-1CEST,J0,J9\n",
					      "\nCET-1CEST,M3.5.0,M9.1.1/\n",
					      "\nCET-99999999999\n",
					      "\nCET-1 \n"};

	for (size_t i = 0; i < sizeof footers / sizeof *footers; i++) {
		make_zone(footers[i]);
		CHECK(is_refused());
	}
	/* counts that end behind the file, of which 32-bit sums would not */
	static const struct {
		size_t at;
		unsigned char with[4];
	} changed[] = {{SECOND + 32, {0, 0, 1, 0}},
		       {SECOND + 32, {0x55, 0x55, 0x55, 0x50}},
		       {SECOND + 36, {0, 0, 0, 0}},
		       {SECOND + 36, {0x40, 0, 0, 0}},
		       {SECOND + 40, {0xff, 0xff, 0xff, 0xff}},
		       {SECOND + 40, {0, 0, 0, 0}},
		       {SECOND + 40, {0, 0, 0, 8}},
		       {32, {0xff, 0xff, 0, 0}},
		       {20, {0x7f, 0, 0, 0}}};
	for (size_t i = 0; i < sizeof changed / sizeof *changed; i++) {
		make_zone(FOOTER);
		memcpy(zone + changed[i].at, changed[i].with, 4);
		CHECK(is_refused());
	}
	make_zone(FOOTER);
	zone[SECOND + 44 + 32 + 1] = 2; /* a type that there is not */
	CHECK(is_refused());
	make_zone(FOOTER);
	zone[SECOND + 44 + 36 + 5] = 9; /* a name behind the names */
	CHECK(is_refused());
	for (size_t size = 0; size < SECOND + 44 + 36 + 12 + 9; size++) {
		make_zone(FOOTER);
		zone_size = size;
		CHECK(is_refused());
	}
	/* any byte: what a time is called is always in the file, or UTC */
	for (size_t at = 4; at < SECOND + 44 + 36 + 12; at++)
		for (int value = 0; value < 256; value += at % 2 ? 85 : 51) {
			make_zone(FOOTER);
			zone[at] = (unsigned char)value;
			char is[64];
			strcpy(is, called(SUMMER));
			is[strcspn(is, "+-")] = 0;
			CHECK(strcmp(is, "UTC") == 0 || memmem(zone, zone_size, is, strlen(is)));
		}
}

/* The environment is the host's, too. */
static void months_are_months(void)
{
	time_t when = SUMMER;

	setenv("TZ", "A0B,M500000000.1.1,M400000000.1.1", 1);
	for (int i = 0; i < 12; i++, when += 30 * 86400) {
		long seconds = localtime(&when)->tm_gmtoff;
		CHECK(seconds == 0 || seconds == 3600);
	}
	setenv("TZ", "UTC0", 1);
	tzset();
}

/* ---- messages ---- */

static void messages_are_looked_at(void)
{
	struct {
		uint32_t magic, version, count, originals, translations, none[6];
		uint32_t original[2][2], translation[2][2];
		char text[40];
	} file = {.magic = 0x950412de,
		  .count = 2,
		  .originals = 44,
		  .translations = 60,
		  .original = {{0, 76}, {3, 77}},
		  .translation = {{0, 76}, {5, 81}},
		  .text = "\0yes\0aye!!"};
	static char place[120];

	snprintf(place, sizeof place, "%s/de", dir);
	mkdir(place, 0700);
	strcat(place, "/LC_MESSAGES");
	mkdir(place, 0700);
	setenv("LC_ALL", "de", 1);
	setlocale(LC_ALL, "");
	for (int i = 0; i < 4; i++) {
		char domain[8], name[60];
		snprintf(domain, sizeof domain, "d%d", i);
		snprintf(name, sizeof name, "de/LC_MESSAGES/%s.mo", domain);
		file.count = i == 1 ? 0 : i == 2 ? sizeof file / 8 - 5 : 2; /* 2: fits once in 4 bytes each */
		if (i == 3)
			file.originals = sizeof file - 8;
		write_file(name, &file, sizeof file);
		bindtextdomain(domain, dir);
		CHECK(strcmp(dgettext(domain, "yes"), i == 0 ? "aye!!" : "yes") == 0);
		unlink(path);
	}
	rmdir(place);
	*strrchr(place, '/') = 0;
	rmdir(place);
}

static void there_are_no_catalogues(void)
{
	static const unsigned char catalogue[20] = "\xff\x88\xff\x89\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

	write_file("catalogue", catalogue, sizeof catalogue);
	CHECK(catopen(path, 0) == (nl_catd)-1);
	unlink(path);
}

/* ---- interfaces, users ---- */

static _Alignas(8) char answer[2][4096];
static size_t answer_size[2];
static int asked;

int socket(int family, int type, int protocol)
{
	(void)family, (void)type, (void)protocol;
	asked = 0;
	return dup(0);
}

ssize_t send(int fd, const void *data, size_t size, int flags)
{
	(void)fd, (void)data, (void)flags;
	asked++;
	return (ssize_t)size;
}

ssize_t recv(int fd, void *data, size_t size, int flags)
{
	(void)fd, (void)size, (void)flags;
	memcpy(data, answer[asked - 1], answer_size[asked - 1]);
	return (ssize_t)answer_size[asked - 1];
}

int connect(int fd, const struct sockaddr *to, socklen_t size)
{
	(void)fd, (void)to, (void)size;
	CHECK(!"a service of the host's is asked about users");
	return -1;
}

static struct nlmsghdr *add_message(int i, int type, size_t fixed, const void *data)
{
	struct nlmsghdr *h = (void *)(answer[i] + answer_size[i]);
	*h = (struct nlmsghdr){.nlmsg_len = (uint32_t)(sizeof *h + fixed), .nlmsg_type = (uint16_t)type};
	memcpy(h + 1, data, fixed);
	answer_size[i] += h->nlmsg_len;
	return h;
}

static struct rtattr *add_attribute(int i, struct nlmsghdr *h, int type, const void *data, size_t size)
{
	struct rtattr *a = (void *)(answer[i] + answer_size[i]);
	*a = (struct rtattr){.rta_len = (uint16_t)(sizeof *a + size), .rta_type = (uint16_t)type};
	memcpy(a + 1, data, size);
	h->nlmsg_len += RTA_ALIGN(a->rta_len);
	answer_size[i] += RTA_ALIGN(a->rta_len);
	return a;
}

enum flaw {
	NONE,
	LONG_MESSAGE,
	SHORT_MESSAGE,
	OTHER_TYPE,
	LONG_ATTRIBUTE,
	SHORT_ATTRIBUTE,
	EMPTY_NAME,
	LONG_NAME,
	STATISTICS_TWICE,
	NEGATIVE_INDEX,
	UNPADDED,
	FLAWS
};

static void make_answers(enum flaw flaw)
{
	static const char statistics[600] = {1};
	struct ifinfomsg link = {
	    .ifi_type = 1, .ifi_index = flaw == NEGATIVE_INDEX ? -3 : 3, .ifi_flags = IFF_UP};
	struct ifaddrmsg address = {.ifa_family = AF_INET, .ifa_prefixlen = 24, .ifa_index = 3};
	const char *name = flaw == LONG_NAME ? "a name of 17 byt" : "eth0";

	answer_size[0] = answer_size[1] = 0;
	struct nlmsghdr *h = add_message(0, RTM_NEWLINK, sizeof link, &link);
	add_attribute(0, h, IFLA_STATS, statistics, 96);
	add_attribute(0, h, IFLA_ADDRESS, "\2\0\0\0\0\1", 6);
	if (flaw == STATISTICS_TWICE)
		add_attribute(0, h, IFLA_STATS, statistics, sizeof statistics);
	struct rtattr *a = add_attribute(0, h, IFLA_IFNAME, name, flaw == EMPTY_NAME ? 0 : strlen(name) + 1);
	if (flaw == LONG_ATTRIBUTE || flaw == SHORT_ATTRIBUTE)
		a->rta_len = flaw == LONG_ATTRIBUTE ? 4000 : 2;
	if (flaw == OTHER_TYPE)
		h->nlmsg_type = 77;
	add_message(0, NLMSG_DONE, 4, "\0\0\0");
	if (flaw == LONG_MESSAGE || flaw == SHORT_MESSAGE)
		h->nlmsg_len = flaw == LONG_MESSAGE ? 5000 : 0;
	if (flaw == UNPADDED) { /* the step behind its last attribute leads past it */
		h->nlmsg_len -= 3;
		answer_size[0] = h->nlmsg_len;
	}
	h = add_message(1, RTM_NEWADDR, sizeof address, &address);
	add_attribute(1, h, IFA_ADDRESS, "\12\115\0\1", 4);
	add_attribute(1, h, IFA_LABEL, "eth0", 5);
	add_message(1, NLMSG_DONE, 4, "\0\0\0");
}

static void interfaces_are_looked_at(void)
{
	struct ifaddrs *all;
	struct if_nameindex *names;

	make_answers(NONE);
	CHECK(getifaddrs(&all) == 0 && strcmp(all->ifa_name, "eth0") == 0 && all->ifa_next &&
	      all->ifa_next->ifa_addr->sa_family == AF_INET);
	freeifaddrs(all);
	CHECK((names = if_nameindex()) && names->if_index == 3 && strcmp(names->if_name, "eth0") == 0);
	if_freenameindex(names);
	for (enum flaw f = NONE + 1; f < FLAWS; f++) {
		make_answers(f);
		if (getifaddrs(&all) != -1 || if_nameindex()) {
			printf("flaw %d is not seen\n", f);
			failed = 1;
		}
	}
}

static void users_are_those_in_files(void)
{
	CHECK(getpwnam("root") && getpwnam("root")->pw_uid == 0 && getgrgid(0));
	CHECK(!getpwnam("nobody has this name") && !getgrnam("nor a group"));
	gid_t groups[8];
	int n = 8;
	CHECK(getgrouplist("root", 0, groups, &n) >= 1 && groups[0] == 0);
}

int main(void)
{
	if (!mkdtemp(dir))
		return 1;
	zones_are_read();
	zones_lead_nowhere();
	months_are_months();
	messages_are_looked_at();
	there_are_no_catalogues();
	interfaces_are_looked_at();
	users_are_those_in_files();
	rmdir(dir);
	return failed;
}
