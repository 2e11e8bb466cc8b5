/* SPDX-License-Identifier: Apache-2.0
 *
 * What softsgx costs, as ratios to what the machine gives: medians of several
 * runs, one JSON object on standard output.
 */
#include <mbedtls/sha256.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <ucontext.h>
#include "tests/softsgx/harness.h"

#define RUNS 7
#define TRIPS 20000
#define ACCEPTS 8192
#define GB (1ull << 30)

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double (*run)(void))
{
	double values[RUNS];

	for (int i = 0; i < RUNS; i++)
		values[i] = run();
	qsort(values, RUNS, sizeof(*values), compare);
	return values[RUNS / 2];
}

static struct test_enclave t;

static void skip_ud2(int signal, siginfo_t *info, void *context)
{
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
}

static double signal_trip(void)
{
	double start = now_ns();

	for (int i = 0; i < TRIPS; i++)
		__asm__ volatile("ud2");
	return (now_ns() - start) / TRIPS;
}

static void go_on(int signal, siginfo_t *info, void *context)
{
}

/* The same by an exception that no hypervisor looks at. */
static double breakpoint_trip(void)
{
	double start = now_ns();

	for (int i = 0; i < TRIPS; i++)
		__asm__ volatile("int3");
	return (now_ns() - start) / TRIPS;
}

static double null_call(void)
{
	struct test_args args = {0};
	double start = now_ns();

	for (int i = 0; i < TRIPS; i++)
		test_call(&t, 0, OP_NULL, &args);
	return (now_ns() - start) / TRIPS;
}

static double eaccept(void)
{
	static uint64_t next = AT_FREE;
	struct test_args args = {.rbx = t.base + next, .rcx = ACCEPTS, .rdx = 0x20b};
	double start = now_ns();

	test_call(&t, 0, OP_ACCEPT_RANGE, &args);
	CHECK_EQ(args.rax, 0);
	next += ACCEPTS * 4096ull;
	return (now_ns() - start) / ACCEPTS;
}

static double add(uint64_t size, int measure, int fill)
{
	struct test_options options = {.size = 16 * GB, .unsigned_only = 1};
	struct sgx_secinfo secinfo = {.flags = 0x203};
	struct sgx_enclave_add_pages add = {.offset = GB,
					    .length = size,
					    .secinfo = (uint64_t)&secinfo,
					    .flags = measure ? SGX_PAGE_MEASURE : 0};
	struct test_enclave loaded;
	void *pages =
	    mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	double start;

	if (fill)
		memset(pages, 0x5a, size);
	test_build(&loaded, &options);
	add.src = (uint64_t)pages;
	start = now_ns();
	CHECK_EQ(softsgx_ioctl(loaded.fd, SGX_IOC_ENCLAVE_ADD_PAGES, &add), 0);
	start = now_ns() - start;
	test_destroy(&loaded);
	munmap(pages, size);
	return start;
}

static double add_zeros(void)
{
	return add(4 * GB, 0, 0) / 1e9;
}

static double add_measured(void)
{
	return (64 << 20) / add(64 << 20, 1, 1);
}

static double sha256(void)
{
	static uint8_t data[16 << 20];
	uint8_t digest[32];
	double start = now_ns();

	mbedtls_sha256_ret(data, sizeof(data), digest, 0);
	return sizeof(data) / (now_ns() - start);
}

static long resident_kb(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_maxrss;
}

int main(void)
{
	struct test_options options = {.size = GB};
	struct sigaction action = {.sa_sigaction = skip_ud2, .sa_flags = SA_SIGINFO};
	struct sigaction on_int3 = {.sa_sigaction = go_on, .sa_flags = SA_SIGINFO};
	double trip, int3, call, accept, zeros, measured, sha;
	long before, after;

	sigaction(SIGILL, &action, NULL); /* before softsgx has a hand in it */
	sigaction(SIGTRAP, &on_int3, NULL);
	trip = median(signal_trip);
	int3 = median(breakpoint_trip);
	before = resident_kb();
	zeros = median(add_zeros);
	after = resident_kb();
	test_build(&t, &options);
	call = median(null_call);
	accept = median(eaccept);
	sha = median(sha256);
	measured = median(add_measured);
	printf("{\"signal_round_trip_ns\":%.0f,\"breakpoint_round_trip_ns\":%.0f,\"enter_exit_ns\":%.0f,\"enter_exit_per_signal\":%.2f,"
	       "\"eaccept_ns\":%.0f,\"eaccept_per_signal\":%.2f,\"add_4gb_zero_pages_s\":%.3f,"
	       "\"add_4gb_zero_pages_kb\":%ld,\"sha256_gb_s\":%.3f,\"add_measured_gb_s\":%.3f,"
	       "\"add_measured_per_sha256\":%.2f}\n",
	       trip, int3, call, call / trip, accept, accept / trip, zeros, after - before, sha, measured,
	       measured / sha);
	return 0;
}
