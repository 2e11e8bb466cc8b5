/* SPDX-License-Identifier: Apache-2.0
 *
 * Packet programs where there is no TCX: those of a process that was killed are
 * taken down by the next one on that interface, those of one that lives are not,
 * though it be in another container, where its number means nothing.
 */
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "host/net/steer.h"
#include "tests/carry/testbed.h"

static void open_one(struct steer *s)
{
	CHECK(steer_open((int)if_nametoindex("eth0"), s) == 0);
}

static int count(const char *side)
{
	char command[100];
	int n = -1;
	snprintf(command, sizeof(command), "tc filter show dev eth0 %s | grep -c optmig", side);
	FILE *f = popen(command, "r");
	CHECK(f && fscanf(f, "%d", &n) == 1);
	pclose(f);
	return n;
}

static void must_be(int expected)
{
	CHECK(count("ingress") == expected && count("egress") == expected);
}

/* In a process of another container: then killed, or not. */
static void open_elsewhere(bool killed)
{
	struct steer s;
	int status;
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK(unshare(CLONE_NEWPID) == 0);
		pid = fork(); /* the first process there */
		if (pid == 0) {
			open_one(&s);
			must_be(killed ? 2 : 3);
			if (!killed)
				steer_close(&s);
			_exit(0); /* as if killed: without a word */
		}
		CHECK(waitpid(pid, &status, 0) == pid && status == 0);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static void host(int channel)
{
	struct steer first, second;
	steer_avoid_tcx = true;
	open_one(&first);
	must_be(1);
	open_elsewhere(true);
	must_be(2);
	open_one(&second); /* and what was left is gone */
	must_be(2);
	open_elsewhere(false);
	must_be(2);
	steer_close(&first);
	steer_close(&second);
	must_be(0);
	message_put(channel, 'd', NULL, 0);
}

int main(void)
{
	struct bytes b = {0};
	int channel;
	testbed_require();
	testbed_open();
	testbed_host(host, &channel);
	message_get(channel, 'd', &b);
	testbed_close();
	bytes_free(&b);
	return 0;
}
