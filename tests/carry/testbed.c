/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/carry/testbed.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HOSTS_MAX 8
#define MESSAGE_MAX (256u << 20)

static pid_t bridge, hosts[HOSTS_MAX];
static int host_count;

static void run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void run(const char *format, ...)
{
	char command[512];
	va_list args;
	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	if (system(command) != 0) {
		fprintf(stderr, "failed: %s\n", command);
		_exit(1);
	}
}

void testbed_require(void)
{
	pid_t pid = fork();
	if (pid == 0)
		_exit(unshare(CLONE_NEWNET) < 0);
	int status = 1;
	waitpid(pid, &status, 0);
	if (status == 0 && system("ip -V >/dev/null 2>&1 && nsenter -V >/dev/null 2>&1") == 0)
		return;
	printf("needs root (network namespaces), ip and nsenter\n");
	exit(SKIP);
}

bool testbed_has_ipv6(void)
{
	return access("/proc/self/net/if_inet6", F_OK) == 0;
}

static pid_t spawn(int *channel)
{
	int pair[2];
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	fflush(NULL);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(pair[0]);
		CHECK(unshare(CLONE_NEWNET) == 0);
		*channel = pair[1];
	} else {
		close(pair[1]);
		*channel = pair[0];
	}
	return pid;
}

void testbed_open(void)
{
	int channel;
	bridge = spawn(&channel);
	if (bridge == 0) {
		run("ip link set lo up; ip link add br0 type bridge && ip link set br0 up");
		message_put(channel, 'r', NULL, 0);
		for (;;)
			pause();
	}
	struct bytes b = {0};
	message_get(channel, 'r', &b);
	bytes_free(&b);
}

pid_t testbed_host(void (*body)(int channel), int *channel)
{
	int number = host_count + 1;
	pid_t pid = spawn(channel);
	struct bytes b = {0};
	if (pid == 0) {
		run("ip link set lo up");
		/* Or a host could not ask for neighbours in its first two seconds. */
		if (testbed_has_ipv6())
			run("echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad");
		message_put(*channel, 'r', NULL, 0);
		message_get(*channel, 'g', &b); /* eth0 is here */
		run("ip addr add 10.77.0.%d/24 dev eth0 && ip link set eth0 up", number);
		if (testbed_has_ipv6())
			run("ip addr add fd77::%d/64 dev eth0 nodad", number);
		bytes_free(&b);
		body(*channel);
		_exit(0);
	}
	message_get(*channel, 'r', &b);
	run("nsenter -t %d -n sh -c 'ip link add v%d type veth peer name eth0 netns %d && ip link set v%d "
	    "master br0 up'",
	    bridge, number, pid, number);
	message_put(*channel, 'g', NULL, 0);
	bytes_free(&b);
	hosts[host_count++] = pid;
	return pid;
}

void testbed_close(void)
{
	/* Clients are made last: they must not see their servers die. */
	for (int i = host_count - 1; i >= 0; i--) {
		kill(hosts[i], SIGKILL);
		waitpid(hosts[i], NULL, 0);
	}
	kill(bridge, SIGKILL);
	waitpid(bridge, NULL, 0);
	host_count = 0;
}

static void transfer(int channel, void *data, size_t size, bool out)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = out ? write(channel, (char *)data + done, size - done)
				: read(channel, (char *)data + done, size - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			_exit(1); /* the other side ended and has said why */
		CHECK(n > 0);
		done += (size_t)n;
	}
}

void message_put(int channel, uint8_t type, const void *data, size_t size)
{
	uint32_t size32 = (uint32_t)size;
	transfer(channel, &type, 1, true);
	transfer(channel, &size32, 4, true);
	transfer(channel, (void *)data, size, true);
}

uint8_t message_any(int channel, struct bytes *out)
{
	uint8_t type;
	uint32_t size;
	transfer(channel, &type, 1, false);
	transfer(channel, &size, 4, false);
	CHECK(size <= MESSAGE_MAX);
	bytes_clear(out);
	uint8_t *data = bytes_extend(out, size);
	CHECK(data);
	transfer(channel, data, size, false);
	return type;
}

void message_get(int channel, uint8_t type, struct bytes *out)
{
	uint8_t got = message_any(channel, out);
	if (got != type)
		fprintf(stderr, "expected '%c', got '%c': %.*s\n", type, got, (int)out->size,
			(char *)out->data);
	CHECK(got == type);
}

void message_pass(int from, int to, uint8_t type)
{
	struct bytes b = {0};
	message_get(from, type, &b);
	message_put(to, type, b.data, b.size);
	bytes_free(&b);
}

uint64_t now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

void sleep_us(uint64_t us)
{
	struct timespec t = {.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000};
	nanosleep(&t, NULL);
}

static long counter_in(const char *path, const char *name)
{
	char names[8192], values[8192];
	long result = 0;
	FILE *f = fopen(path, "re");
	if (!f)
		return 0;
	while (fgets(names, sizeof(names), f) && fgets(values, sizeof(values), f)) {
		char *rest_name, *rest_value;
		char *n = strtok_r(names, " \n", &rest_name), *v = strtok_r(values, " \n", &rest_value);
		for (; n && v; n = strtok_r(NULL, " \n", &rest_name), v = strtok_r(NULL, " \n", &rest_value))
			if (strcmp(n, name) == 0)
				result += atol(v);
	}
	fclose(f);
	return result;
}

long network_counter(const char *name)
{
	return counter_in("/proc/self/net/netstat", name) + counter_in("/proc/self/net/snmp", name);
}
