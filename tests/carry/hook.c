/* SPDX-License-Identifier: Apache-2.0
 *
 * A hook is told each event once and in order; its refusal, silence and death
 * are told apart; none of them blocks longer than allowed or leaves a process.
 */
#include "host/hook.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/carry/testbed.h"

static char path[] = "/tmp/optmig-test-XXXXXX";

static void script(const char *text)
{
	FILE *f = fopen(path, "w");
	CHECK(f);
	fprintf(f, "#!/bin/sh\n%s\n", text);
	fclose(f);
	CHECK(chmod(path, 0700) == 0);
}

int main(void)
{
	struct hook *h;
	struct failure why;
	int fd = mkstemp(path);
	CHECK(fd >= 0);
	close(fd);

	script("n=0; while read event name; do n=$((n+1)); case $event in pre-stop|post-stop|post-resume) "
	       "echo ok;; "
	       "pre-resume) echo \"$1 $n $name\";; esac; done");
	CHECK(hook_start(path, "source", &h, &why) == 0);
	CHECK(hook_tell(h, HOOK_PRE_STOP, "redis", 2000, &why) == 0);
	CHECK(hook_tell(h, HOOK_POST_STOP, "redis", 2000, &why) == 0);
	CHECK(hook_tell(h, HOOK_PRE_RESUME, "redis", 2000, &why) == -ECANCELED &&
	      strstr(why.message, "source 3 redis"));
	CHECK(hook_tell(h, HOOK_POST_RESUME, "redis", 2000, &why) == 0);
	uint64_t start = now_us();
	CHECK(hook_tell(h, HOOK_FAILED, "redis", 50, &why) == -ETIMEDOUT && now_us() - start < 1000000);
	CHECK(hook_tell(h, HOOK_PRE_STOP, "redis", 2000, &why) ==
	      -EPIPE); /* its answers are out of step now */
	hook_stop(h);

	script("read line; exit 3");
	CHECK(hook_start(path, "source", &h, &why) == 0);
	CHECK(hook_tell(h, HOOK_PRE_STOP, "redis", 2000, &why) == -EPIPE);
	CHECK(hook_tell(h, HOOK_PRE_STOP, "redis", 2000, &why) == -EPIPE);
	hook_stop(h);

	script("sleep 1000");
	CHECK(hook_start(path, "source", &h, &why) == 0);
	start = now_us();
	hook_stop(h);
	CHECK(now_us() - start < 3000000);

	CHECK(hook_start("/no/such/program", "source", &h, &why) == -ENOENT);
	CHECK(hook_tell(NULL, HOOK_FAILED, "x", 1, &why) == 0);
	CHECK(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD);
	unlink(path);
	return 0;
}
