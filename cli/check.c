/* SPDX-License-Identifier: Apache-2.0
 *
 * `optmig check`: tries what running and moving programs needs, by doing it.
 */
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <linux/bpf.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "cli/command.h"
#include "host/cpu.h"
#include "host/device.h"
#include "host/net/address.h"
#include "host/net/hold.h"
#include "host/net/tcp_repair.h"
#include "host/vdso.h"
#include "migrate/address.h"
#include "migrate/report.h"
#include "sgx/arch.h"

static const char usage[] =
    "check [--json]\n"
    "       optmig check NAME [tcp:HOST:PORT] [--tcp-established] [--file-locks] [--files check|ignore] [--json]\n"
    "  Says what this machine lacks to run and to move programs, and what to do about it; or what a program that\n"
    "  runs here has open, how each of it would go along, and whether it could leave, and move to that machine.";

static bool has_device(void)
{
	return device_is_hardware();
}

/* What softsgx catches accesses to enclaves with. */
static bool has_userfaultfd(void)
{
	struct uffdio_api api = {
	    .api = UFFD_API,
	    .features = UFFD_FEATURE_SIGBUS | UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM,
	};
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	bool ok = fd >= 0 && !ioctl(fd, UFFDIO_API, &api);

	if (fd >= 0)
		close(fd);
	return ok;
}

static bool has_entry(void)
{
	return device_is_hardware() ? vdso_symbol("__vdso_sgx_enter_enclave") != NULL : has_userfaultfd();
}

static bool has_processor(void)
{
	struct failure why;

	return !cpu_check(0, &why);
}

static bool has_avx512(void)
{
	struct failure why;

	return !cpu_check(SGX_XFRM_AVX512, &why);
}

static bool has_tcp_repair(void)
{
	return !tcp_repair_allowed();
}

/* Not by looking for modules: the kernel loads them for who asks. */
static bool has_nfqueue(void)
{
	struct hold hold;

	if (hold_open(true, false, &hold))
		return false;
	hold_close(&hold);
	return true;
}

static bool has_packet_socket(void)
{
	int fd = address_packet_open();

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static bool has_bpf(void)
{
	union bpf_attr attr = {
	    .map_type = BPF_MAP_TYPE_ARRAY,
	    .key_size = 4,
	    .value_size = 4,
	    .max_entries = 1,
	};
	int fd = syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr));

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static const struct item {
	const char *name;
	bool (*has)(void);
	const char *needed_for;
	const char *remedy;
} items[] = {
    {"sgx-device", has_device, "secrecy",
     "no " SGX_DEVICE_ENCLAVE
     ": software SGX is used, which keeps nothing secret from this host; on an SGX machine enable "
     "SGX in the firmware and use Linux 5.11 or later"},
    {"enclave-entry", has_entry, "running programs",
     "with SGX: Linux 5.11 or later; without: Linux 5.14 or later, with CONFIG_USERFAULTFD; in a container: a seccomp "
     "profile that allows userfaultfd (docs/containers.md)"},
    {"processor", has_processor, "running programs", "use a processor with AVX2, AES-NI, PCLMULQDQ and RDRAND"},
    {"avx512", has_avx512, "images signed with --isa avx512",
     "use a processor with AVX-512 and VAES, or sign with --isa avx2"},
    {"tcp-repair", has_tcp_repair, "moving established connections",
     "run as root or with CAP_NET_ADMIN, on a kernel with CONFIG_CHECKPOINT_RESTORE"},
    {"nfqueue", has_nfqueue, "holding packets while a program moves",
     "run as root or with CAP_NET_ADMIN; modprobe nfnetlink_queue nft_compat xt_NFQUEUE, where they are not loaded on "
     "demand"},
    {"bpf", has_bpf, "redirecting packets while a program moves",
     "run as root or with CAP_BPF and CAP_NET_ADMIN; in a container: a seccomp profile that allows bpf "
     "(docs/containers.md)"},
    {"packet-socket", has_packet_socket, "handing over packets and addresses", "run as root or with CAP_NET_RAW"},
};
#define ITEM_COUNT (sizeof(items) / sizeof(items[0]))

static int print_text(const bool *ok)
{
	for (size_t i = 0; i < ITEM_COUNT; i++) {
		printf("%-14s %-8s for %s\n", items[i].name, ok[i] ? "ok" : "missing", items[i].needed_for);
		if (!ok[i])
			printf("%-14s          %s\n", "", items[i].remedy);
	}
	return EXIT_DONE;
}

static int print_json(const bool *ok)
{
	json_t *list = json_array(), *root;
	int rc;

	for (size_t i = 0; i < ITEM_COUNT; i++) {
		json_t *item = json_pack("{s:s,s:b,s:s}", "name", items[i].name, "ok", ok[i], "needed_for",
					 items[i].needed_for);

		if (!ok[i])
			json_object_set_new(item, "remedy", json_string(items[i].remedy));
		json_array_append_new(list, item);
	}
	root = json_pack("{s:i,s:s,s:o}", "schema_version", 1, "sgx", ok[0] ? "hardware" : "software",
			 "items", list);
	rc = root ? json_dumpf(root, stdout, JSON_INDENT(2)) : -1;
	printf("\n");
	json_decref(root);
	return rc ? EXIT_FAILED : EXIT_DONE;
}

int command_check(int argc, char **argv)
{
	static const struct option options[] = {
	    {"json", no_argument, NULL, 'j'},
	    {"tcp-established", no_argument, NULL, 't'},
	    {"file-locks", no_argument, NULL, 'l'},
	    {"files", required_argument, NULL, 'f'},
	    {NULL, 0, NULL, 0},
	};
	struct migrate_options o = migrate_options_default();
	struct failure why;
	bool ok[ITEM_COUNT], json = false;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'j')
			json = true;
		else if (option == 't')
			o.tcp_established = true;
		else if (option == 'l')
			o.file_locks = true;
		else if (option != 'f' || !files_option(optarg, &o.files_ignore))
			return command_usage(usage);
	}
	if (argc - optind > 2)
		return command_usage(usage);
	if (optind < argc) {
		if (argv[optind + 1] && address_check(argv[optind + 1], &why)) {
			command_failed_json(json, &why);
			return EXIT_USAGE;
		}
		o.only_check = true;
		snprintf(o.to, sizeof(o.to), "%s", argv[optind + 1] ? argv[optind + 1] : "");
		return check_move(argv[optind], &o, json);
	}
	for (size_t i = 0; i < ITEM_COUNT; i++)
		ok[i] = items[i].has();
	return json ? print_json(ok) : print_text(ok);
}
