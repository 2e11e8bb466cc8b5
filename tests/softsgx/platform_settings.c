/* SPDX-License-Identifier: Apache-2.0
 *
 * SOFTSGX_STATE, SOFTSGX_CPUSVN, SOFTSGX_LIMIT, SOFTSGX_STATS, SOFTSGX_SGX1: each in a process
 * of its own, because they are read when the device is first opened.
 */
#include "tests/softsgx/harness.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "/tmp/softsgx-test-XXXXXX";

struct outcome {
	uint64_t result;
	uint8_t key[16];
};

static struct outcome *shared;

static void seal_key(uint8_t cpusvn, struct outcome *out)
{
	struct sgx_keyrequest request = {.keyname = SGX_KEY_SEAL, .keypolicy = SGX_KEYPOLICY_MRENCLAVE};
	struct test_enclave t;

	memset(request.cpusvn, cpusvn, 16);
	test_build(&t, NULL);
	test_put(&t, AT_DATA, &request, sizeof(request));
	out->result = test_leaf(&t, SGX_EGETKEY, t.base + AT_DATA, t.base + AT_DATA + 0x400, 0);
	test_get(&t, AT_DATA + 0x400, out->key, 16);
	test_destroy(&t);
}

static struct outcome seal_key_of(const char *state, const char *platform_cpusvn, uint8_t cpusvn)
{
	char path[128];
	int status;
	pid_t child = fork();

	if (!child) {
		snprintf(path, sizeof(path), "%s/%s", dir, state);
		setenv("SOFTSGX_STATE", path, 1);
		if (platform_cpusvn)
			setenv("SOFTSGX_CPUSVN", platform_cpusvn, 1);
		seal_key(cpusvn, shared);
		exit(0);
	}
	waitpid(child, &status, 0);
	CHECK_EQ(status, 0);
	return *shared;
}

static void limit(void)
{
	struct test_enclave t;
	struct test_options options = {.unsigned_only = 1};
	struct test_args args;

	setenv("SOFTSGX_LIMIT", "1M", 1); /* 256 pages */
	test_build(&t, &options);
	CHECK_EQ(test_add(&t, NULL, AT_FREE, 0x100000, 0x203, 0), -ENOMEM);
	CHECK_EQ(test_init(&t, &t.sig), -EPERM); /* not what was signed */
	softsgx_munmap((void *)t.base, t.size);
	softsgx_close(t.fd);

	/* What is left is enough to start; then faults find no memory. */
	test_build(&t, NULL);
	args = (struct test_args){.rbx = t.base + AT_FREE, .rcx = 1024, .rdx = 0x20b};
	{
		struct sgx_enclave_run run;

		CHECK_EQ(test_enter(&t, 0, OP_ACCEPT_RANGE, &args, &run), 0);
		CHECK_EQ(run.function, SGX_ERESUME);
		CHECK_EQ(run.exception_vector, 14);
		CHECK_EQ(run.exception_error_code, 4);
	}
	exit(0);
}

static void stats(void)
{
	struct test_enclave t;
	struct test_args args;
	char path[128], line[4096] = "", *at;
	FILE *file;

	snprintf(path, sizeof(path), "%s/stats", dir);
	setenv("SOFTSGX_STATS", path, 1);
	setenv("SOFTSGX_COST", "eenter=1000000,eexit=0,eaccept=0", 1);
	test_build(&t, NULL);
	args = (struct test_args){.rbx = t.base + AT_FREE, .rcx = 5, .rdx = 0x20b};
	test_call(&t, 0, OP_ACCEPT_RANGE, &args);
	for (int i = 0; i < 9; i++)
		test_call(&t, 0, OP_NULL, &args);
	test_destroy(&t);
	file = fopen(path, "r");
	CHECK(file && fgets(line, sizeof(line), file));
	CHECK(strstr(line, "\"eenter\":10,"));
	CHECK(strstr(line, "\"eexit\":10,"));
	CHECK(strstr(line, "\"eaccept\":5,"));
	CHECK(strstr(line, "\"eaug\":5,"));
	/* those five; code and data on first touch */
	at = strstr(line, "\"fault\":");
	CHECK(at && strtol(at + 8, NULL, 10) >= 8 && strtol(at + 8, NULL, 10) <= 40);
	at = strstr(line, "\"projected_us\":");
	CHECK(at && strtod(at + 15, NULL) >= 10000);
	exit(0);
}

/* A machine of the first generation: what came later is not there. */
static void sgx1(void)
{
	struct sgx_enclave_restrict_permissions restrict_ = {AT_DATA, 4096, SGX_SECINFO_R, 0, 0};
	struct sgx_enclave_modify_types modify = {AT_DATA, 4096, SGX_PT_TRIM, 0, 0};
	struct sgx_enclave_remove_pages gone = {AT_DATA, 4096, 0};
	static struct sgx_tcs tcs __attribute__((aligned(4096))) = {.flags = SGX_TCS_AEXNOTIFY};
	struct sgx_secinfo secinfo = {.flags = SGX_SECINFO_TCS};
	struct sgx_enclave_add_pages add = {.length = 4096};
	struct sgx_enclave_create create;
	struct test_enclave t;
	struct test_args args = {0};
	struct sgx_enclave_run run;
	int fd;

	setenv("SOFTSGX_SGX1", "1", 1);
	fd = softsgx_open(SGX_DEVICE_ENCLAVE);
	CHECK_EQ(softsgx_ioctl(fd, SGX_IOC_ENCLAVE_REMOVE_PAGES, &gone), -ENODEV); /* before all else */
	test_build(&t, NULL);
	t.secs.attributes.flags |= SGX_ATTR_AEXNOTIFY;
	create.src = (uint64_t)&t.secs;
	CHECK_EQ(softsgx_ioctl(fd, SGX_IOC_ENCLAVE_CREATE, &create), -EIO);
	t.secs.attributes.flags &= ~SGX_ATTR_AEXNOTIFY;
	CHECK_EQ(softsgx_ioctl(fd, SGX_IOC_ENCLAVE_CREATE, &create), 0);
	add.secinfo = (uint64_t)&secinfo;
	add.src = (uint64_t)&tcs;
	CHECK_EQ(softsgx_ioctl(fd, SGX_IOC_ENCLAVE_ADD_PAGES, &add), -EIO);
	CHECK_EQ(softsgx_ioctl(t.fd, SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS, &restrict_), -ENODEV);
	CHECK_EQ(softsgx_ioctl(t.fd, SGX_IOC_ENCLAVE_MODIFY_TYPES, &modify), -ENODEV);
	CHECK_EQ(softsgx_ioctl(t.fd, SGX_IOC_ENCLAVE_REMOVE_PAGES, &gone), -ENODEV);
	/* No page comes by being touched. */
	args.rbx = t.base + AT_FREE;
	CHECK_EQ(test_enter(&t, 0, OP_READ, &args, &run), 0);
	CHECK_EQ(run.function, SGX_ERESUME);
	CHECK_EQ(run.exception_vector, 14);
	CHECK_EQ(run.exception_error_code, 4);
	exit(0);
}

static void sgx1_leaves(void)
{
	static const uint64_t later[] = {SGX_EACCEPT, SGX_EMODPE, SGX_EACCEPTCOPY, SGX_EVERIFYREPORT2,
					 SGX_EDECCSSA};

	setenv("SOFTSGX_SGX1", "1", 1);
	for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++) {
		struct test_enclave t;
		struct sgx_enclave_run run;
		struct test_args args = {.rax = later[i]};

		test_build(&t, NULL);
		args.rbx = t.base + AT_DATA;
		args.rcx = t.base + AT_DATA + 0x1000;
		args.rdx = t.base + AT_DATA + 0x2000;
		CHECK_EQ(test_enter(&t, 0, OP_LEAF, &args, &run), 0);
		CHECK_EQ(run.function, SGX_ERESUME);
		CHECK_EQ(run.exception_vector, 13);
		test_destroy(&t);
	}
	exit(0);
}

static void run_alone(void (*what)(void))
{
	int status;
	pid_t child = fork();

	if (!child)
		what();
	waitpid(child, &status, 0);
	CHECK_EQ(status, 0);
}

int main(void)
{
	struct outcome first, again, other, old, newer;
	char command[128];

	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(mkdtemp(dir));
	first = seal_key_of("one", NULL, 0);
	again = seal_key_of("one", NULL, 0);
	other = seal_key_of("two", NULL, 0);
	CHECK_EQ(first.result, 0);
	CHECK(!memcmp(first.key, again.key, 16));
	CHECK(memcmp(first.key, other.key, 16));

	/* After an upgrade the old key can still be had; before it the new one cannot. */
	old = seal_key_of("one", "03030303030303030303030303030303", 3);
	CHECK_EQ(old.result, 0);
	newer = seal_key_of("one", "05050505050505050505050505050505", 3);
	CHECK(!memcmp(old.key, newer.key, 16));
	newer = seal_key_of("one", "05050505050505050505050505050505", 5);
	CHECK_EQ(newer.result, 0);
	CHECK(memcmp(old.key, newer.key, 16));
	old = seal_key_of("one", "03030303030303030303030303030303", 5);
	CHECK_EQ(old.result, SGX_INVALID_CPUSVN);

	run_alone(limit);
	run_alone(stats);
	run_alone(sgx1);
	run_alone(sgx1_leaves);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	CHECK_EQ(system(command), 0);
	return 0;
}
