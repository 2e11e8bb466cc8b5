/* SPDX-License-Identifier: Apache-2.0
 *
 * A program's unix sockets come along: names are taken on the other host after
 * COMMIT and not before, with their owner's permissions; connections within the
 * program go on; one to another process stops the move, as does a name that is in
 * use there.
 */
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "tests/carry/program.h"
#include "tests/carry/testbed.h"

static char directory[] = "/tmp/optmig-unix-XXXXXX";
static struct program program;
static char large[100000]; /* one datagram: more than UDP's may have */

/* The program's memory. */
static struct {
	int listener, abstract, datagrams, sender, connected, accepted, ended, packets;
} memory;

static struct sockaddr_un name_of(const char *name, socklen_t *size)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	if (name[0] == '@') { /* abstract */
		snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "%s", name + 1);
		*size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
	} else {
		snprintf(a.sun_path, sizeof(a.sun_path), "%s/%s", directory, name);
		*size = sizeof(a);
	}
	return a;
}

static int make(int type, const char *name)
{
	int fd = (int)CALL(&program, SYS_socket, AF_UNIX, type, 0);
	CHECK(fd >= 0);
	if (name) {
		socklen_t size;
		struct sockaddr_un a = name_of(name, &size);
		CHECK(CALL(&program, SYS_bind, fd, &a, size) == 0);
	}
	return fd;
}

static int join(int type, const char *name)
{
	socklen_t size;
	struct sockaddr_un a = name_of(name, &size);
	int fd = make(type, NULL);
	CHECK(CALL(&program, SYS_connect, fd, &a, size) == 0);
	return fd;
}

/* From outside the program, on this host: a descriptor or -errno. */
static int reach(int type, const char *name)
{
	socklen_t size;
	struct sockaddr_un a = name_of(name, &size);
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	if (connect(fd, (struct sockaddr *)&a, size) == 0)
		return fd;
	int error = -errno;
	close(fd);
	return error;
}

static void start(void)
{
	char path[200];
	memory.listener = make(SOCK_STREAM, "server");
	CHECK(CALL(&program, SYS_listen, memory.listener, 3) == 0);
	snprintf(path, sizeof(path), "%s/server", directory);
	CHECK(chmod(path, 0631) == 0);
	memory.abstract = make(SOCK_SEQPACKET, "@optmig-test-abstract");
	CHECK(CALL(&program, SYS_listen, memory.abstract, 3) == 0);
	make(SOCK_DGRAM, "of an app");
	memory.datagrams = make(SOCK_DGRAM, "log");
	memory.sender = join(SOCK_DGRAM, "log");
	CHECK(CALL(&program, SYS_write, memory.sender, "one", 3) == 3);
	CHECK(CALL(&program, SYS_write, memory.sender, "second", 6) == 6);
	CHECK(CALL(&program, SYS_write, memory.sender, large, sizeof(large)) == sizeof(large));
	memory.connected = join(SOCK_STREAM, "server");
	memory.accepted = (int)CALL(&program, SYS_accept, memory.listener, 0, 0);
	CHECK(memory.accepted >= 0 && CALL(&program, SYS_write, memory.connected, "inside", 6) == 6);
	memory.ended = join(SOCK_STREAM, "server");
	int other = (int)CALL(&program, SYS_accept, memory.listener, 0, 0);
	CHECK(CALL(&program, SYS_write, other, "last words", 10) == 10 &&
	      CALL(&program, SYS_close, other) == 0);
	memory.packets = join(SOCK_SEQPACKET, "@optmig-test-abstract");
	other = (int)CALL(&program, SYS_accept, memory.abstract, 0, 0);
	CHECK(CALL(&program, SYS_write, other, "last", 4) == 4 && CALL(&program, SYS_write, other, "packets", 7) == 7 &&
	      CALL(&program, SYS_close, other) == 0);
}

static void leave(int channel)
{
	struct carry_options options = {0};
	struct bytes b = {0};
	struct failure why = {0};
	struct carry_source *s;
	/* Another process is connected: no. */
	int outside = reach(SOCK_STREAM, "server");
	int in = (int)CALL(&program, SYS_accept, memory.listener, 0, 0);
	CHECK(outside >= 0 && in >= 0);
	program_refused(&program, &options, -ENOTSUP, "another process");
	CHECK(CALL(&program, SYS_close, in) == 0);
	close(outside);
	/* Bound where the program no longer is: nobody can tell where. */
	struct sockaddr_un relative = {.sun_family = AF_UNIX, .sun_path = "relative"};
	CHECK(chdir(directory) == 0);
	in = make(SOCK_DGRAM, NULL);
	CHECK(CALL(&program, SYS_bind, in, &relative, sizeof(relative)) == 0 && chdir("/") == 0);
	program_refused(&program, &options, -ENOENT, "working directory");
	CHECK(CALL(&program, SYS_close, in) == 0);
	for (;;) {
		CHECK(carry_source_open(program.fds, &options, &s, &why) == 0);
		bytes_clear(&b);
		program_must(carry_source_preflight(s, &b, NULL, &why), &why);
		message_put(channel, 'm', b.data, b.size);
		if (message_any(channel, &b) == 'a')
			break;
		carry_source_close(s); /* refused */
	}
	program_must(carry_source_prepare(s, b.data, b.size, &why), &why);
	program_freeze(s, channel, &memory, sizeof(memory));
	message_get(channel, 'u', &b);
	/* Until COMMIT the name is this host's. */
	int late = reach(SOCK_STREAM, "server");
	CHECK(late >= 0);
	close(late);
	message_put(channel, 'd', NULL, 0);
	message_get(channel, 'c', &b);
	carry_source_forget(s);
	carry_source_close(s);
	CHECK(reach(SOCK_SEQPACKET, "@optmig-test-abstract") == -ECONNREFUSED);
	message_put(channel, 'd', NULL, 0);
}

static void expect(int fd, const char *text)
{
	char data[64];
	long got = CALL(&program, SYS_recvfrom, fd, data, sizeof(data), MSG_DONTWAIT);
	if (got != (long)strlen(text))
		fprintf(stderr, "expected \"%s\", got %ld\n", text, got);
	CHECK(got == (long)strlen(text) && memcmp(data, text, strlen(text)) == 0);
}

static void arrive(int channel)
{
	struct bytes b = {0}, answer = {0};
	struct failure why = {0};
	struct carry_destination *d;
	struct stat st;
	char path[200];
	socklen_t size;
	/* The first time, another program here has one of the names. */
	struct sockaddr_un taken = name_of("@optmig-test-abstract", &size);
	int other = socket(AF_UNIX, SOCK_DGRAM, 0);
	CHECK(bind(other, (struct sockaddr *)&taken, size) == 0);
	message_get(channel, 'm', &b);
	CHECK(carry_destination_prepare(program.fds, b.data, b.size, &answer, &d, &why) == -EADDRINUSE);
	CHECK(strstr(why.message, "@optmig-test-abstract") && strstr(why.message, "in use here"));
	close(other);
	message_put(channel, 'n', NULL, 0);
	/* The second time one that is a path, and that program reached it by another way. */
	snprintf(taken.sun_path, sizeof(taken.sun_path), "%s/of an app", directory);
	taken.sun_family = AF_UNIX;
	CHECK(unlink(taken.sun_path) == 0);
	snprintf(taken.sun_path, sizeof(taken.sun_path), "/proc/self/root%s/of an app", directory);
	other = socket(AF_UNIX, SOCK_DGRAM, 0);
	CHECK(bind(other, (struct sockaddr *)&taken, sizeof(taken)) == 0);
	message_get(channel, 'm', &b);
	CHECK(carry_destination_prepare(program.fds, b.data, b.size, &answer, &d, &why) == -EADDRINUSE);
	CHECK(strstr(why.message, "/of an app") && strstr(why.message, "in use here"));
	close(other);
	message_put(channel, 'n', NULL, 0);
	bytes_clear(&answer);
	d = program_answer(&program, channel);
	message_get(channel, 's', &b);
	program_restore(d, channel, &b, &memory, sizeof(memory));
	message_get(channel, 'c', &b);
	program_must(carry_destination_release(d, &why), &why);

	snprintf(path, sizeof(path), "%s/server", directory);
	CHECK(stat(path, &st) == 0 && (st.st_mode & 07777) == 0631);
	int client = reach(SOCK_STREAM, "server");
	int accepted = (int)CALL(&program, SYS_accept, memory.listener, 0, 0);
	CHECK(client >= 0 && accepted >= 0 && write(client, "new", 3) == 3);
	expect(accepted, "new");
	close(client);
	client = reach(SOCK_SEQPACKET, "@optmig-test-abstract");
	CHECK(client >= 0 && CALL(&program, SYS_accept, memory.abstract, 0, 0) >= 0);
	expect(memory.datagrams, "one");
	expect(memory.datagrams, "second");
	CHECK(CALL(&program, SYS_recvfrom, memory.datagrams, large, sizeof(large), MSG_DONTWAIT) == sizeof(large));
	CHECK(CALL(&program, SYS_write, memory.sender, "third", 5) == 5);
	expect(memory.datagrams, "third");
	client = reach(SOCK_DGRAM, "log");
	CHECK(write(client, "fourth", 6) == 6);
	expect(memory.datagrams, "fourth");
	expect(memory.accepted, "inside");
	CHECK(CALL(&program, SYS_write, memory.accepted, "back", 4) == 4);
	expect(memory.connected, "back");
	expect(memory.ended, "last words");
	CHECK(CALL(&program, SYS_read, memory.ended, path, 1) == 0);
	expect(memory.packets, "last");
	expect(memory.packets, "packets");
	expect(memory.packets, "");
	carry_destination_finish(d);
	message_put(channel, 'd', NULL, 0);
}

static void host(int channel)
{
	struct bytes b = {0};
	program_open(&program);
	if (message_any(channel, &b) == 'L') {
		start();
		leave(channel);
	} else {
		arrive(channel);
	}
	message_get(channel, 'E', &b);
}

int main(void)
{
	struct bytes b = {0};
	int from, to;
	testbed_require();
	CHECK(mkdtemp(directory));
	testbed_open();
	testbed_host(host, &from);
	testbed_host(host, &to);
	message_put(from, 'L', NULL, 0);
	message_put(to, 'T', NULL, 0);
	message_pass(from, to, 'm');
	for (int refused = 0; refused < 2; refused++) {
		message_pass(to, from, 'n');
		message_pass(from, to, 'm');
	}
	message_pass(to, from, 'a');
	message_pass(from, to, 's');
	message_get(to, 'r', &b);
	message_put(from, 'u', NULL, 0);
	message_get(from, 'd', &b);
	message_put(to, 'c', NULL, 0);
	message_get(to, 'd', &b);
	message_put(from, 'c', NULL, 0);
	message_get(from, 'd', &b);
	testbed_close();
	char command[100];
	snprintf(command, sizeof(command), "rm -r %s", directory);
	CHECK(system(command) == 0);
	bytes_free(&b);
	return 0;
}
