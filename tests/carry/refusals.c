/* SPDX-License-Identifier: Apache-2.0
 *
 * What stands in the way of a move is found in the preparation, at the source or
 * at the destination, and named: the program has not stopped by then.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/carry/program.h"
#include "tests/carry/testbed.h"

static char directory[] = "/tmp/optmig-test-XXXXXX";
static char path[64];

static struct program a, b;
static const struct carry_options nothing_special;

static void refusals(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	long fd = CALL(&a, SYS_open, path, O_CREAT | O_RDWR, 0600);
	CHECK(unlink(path) == 0);
	CALL(&a, SYS_close, fd);
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(bind(listener, (struct sockaddr *)&address, size) == 0 && listen(listener, 1) == 0);
	CHECK(getsockname(listener, (struct sockaddr *)&address, &size) == 0);
	fd = CALL(&a, SYS_socket, AF_INET, SOCK_STREAM, 0);
	CHECK(CALL(&a, SYS_connect, fd, &address, size) == 0);
	program_refused(&a, &nothing_special, -EISCONN, "--tcp-established");
	CALL(&a, SYS_close, fd);
	close(listener);
	fd = CALL(&a, SYS_socket, AF_NETLINK, SOCK_RAW, 0);
	program_refused(&a, &nothing_special, -ENOTSUP, "cannot move");
	CALL(&a, SYS_close, fd);
	/* Where no other host can be: in a directory that is no more. */
	char gone[] = "/tmp/optmig-gone-XXXXXX";
	CHECK(mkdtemp(gone) && chdir(gone) == 0 && rmdir(gone) == 0);
	program_refused(&a, &nothing_special, -ENOENT, "working directory");
	CHECK(chdir("/") == 0);
	/* Its connections look like no connection of TCP: none may pass for a socket that has none. */
	fd = CALL(&a, SYS_socket, AF_INET, SOCK_STREAM, IPPROTO_MPTCP);
	if (fd >= 0) {
		program_refused(&a, &nothing_special, -ENOTSUP, "protocol 262 cannot move");
		CALL(&a, SYS_close, fd);
	}
	/* What a connection is encrypted or signed with, its keys, does not move: the program does it itself. */
	static const int kept_back[] = {TCP_ULP, TCP_MD5SIG, TCP_MD5SIG_EXT, 38 /* TCP_AO_ADD_KEY */};
	fd = CALL(&a, SYS_socket, AF_INET, SOCK_STREAM, 0);
	for (unsigned i = 0; i < sizeof(kept_back) / sizeof(kept_back[0]); i++)
		CHECK(CALL(&a, SYS_setsockopt, fd, IPPROTO_TCP, kept_back[i], "tls", 3) == -ENOPROTOOPT);
	CALL(&a, SYS_close, fd);
}

/* Found out in the preparation, at the destination: a port in use, a directory or a file that is not there. */
static char far_directory[80], far_path[96];

/* The program's host sees far_path; the destination does not, nor its directory unless that stays. */
static int prepare_there(bool directory_stays, struct failure *why)
{
	struct carry_source *s;
	struct carry_destination *d;
	struct bytes manifest = {0}, answer = {0};
	CHECK(carry_source_open(a.fds, &nothing_special, &s, why) == 0);
	CHECK(carry_source_preflight(s, &manifest, NULL, why) == 0);
	unlink(far_path);
	if (!directory_stays)
		rmdir(far_directory);
	int r = carry_destination_prepare(b.fds, manifest.data, manifest.size, &answer, &d, why);
	CHECK((r < 0) == (d == NULL));
	if (d)
		carry_destination_discard(d);
	carry_source_close(s);
	bytes_free(&manifest);
	bytes_free(&answer);
	return r;
}

static void expect_unprepared(bool directory_stays, const char *word)
{
	struct failure why = {0};
	int r = prepare_there(directory_stays, &why);
	if (r >= 0 || !strstr(why.message, word))
		fprintf(stderr, "prepare: %d, \"%s\", expected \"%s\"\n", r, why.message, word);
	CHECK(r < 0 && strstr(why.message, word));
}

/* One that the program has just made may have been removed by it as well meanwhile. */
static void missing_file(void)
{
	struct failure why = {0};
	CHECK(mkdir(far_directory, 0700) == 0);
	for (int age_s = 0; age_s <= 4; age_s += 4) {
		long fd = CALL(&a, SYS_open, far_path, O_CREAT | O_RDWR, 0600);
		sleep((unsigned)age_s);
		if (age_s)
			expect_unprepared(true, far_path);
		else
			CHECK(prepare_there(true, &why) == 0);
		CALL(&a, SYS_close, fd);
	}
	CHECK(rmdir(far_directory) == 0);
}

static void unprepared(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	snprintf(far_directory, sizeof(far_directory), "%s.d", path);
	snprintf(far_path, sizeof(far_path), "%s/file", far_directory);
	CHECK(mkdir(far_directory, 0700) == 0);
	long fd = CALL(&a, SYS_open, far_path, O_CREAT | O_RDWR, 0600);
	expect_unprepared(false, far_path);
	CALL(&a, SYS_close, fd);
	missing_file();
	CHECK(mkdir(far_directory, 0700) == 0 && chdir(far_directory) == 0);
	expect_unprepared(false, "working directory");
	CHECK(chdir("/") == 0);
	fd = program_listen(&a, &address, sizeof(address), 1);
	expect_unprepared(false, "cannot be bound here");
	CALL(&a, SYS_close, fd);
	/* A destination that may have fewer descriptors than the program has. */
	struct rlimit limit, few;
	getrlimit(RLIMIT_NOFILE, &limit);
	few = limit;
	few.rlim_cur = 100;
	for (int i = 0; i < 60; i++)
		CHECK(CALL(&a, SYS_eventfd2, 0, 0) >= 0);
	setrlimit(RLIMIT_NOFILE, &few);
	expect_unprepared(false, "ulimit -n");
	setrlimit(RLIMIT_NOFILE, &limit);
}

int main(void)
{
	CHECK(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/file", directory);
	program_open(&a);
	program_open(&b);
	refusals();
	unprepared();
	program_close(&a);
	program_close(&b);
	CHECK(rmdir(directory) == 0);
	return 0;
}
