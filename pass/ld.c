/* SPDX-License-Identifier: Apache-2.0
 *
 * optmig-ld: what clang calls to link when optmig-cc called clang. Adds start
 * files, libc, runtime and linker script, refuses every object that the pass
 * has not seen, and finishes the image's program headers.
 */
#include "pass/tool.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "abi/layout.h"
#include "pass/objects.h"

#define LLD "ld.lld-19"
#define OUTPUT_DEFAULT "a.out"

const char tool_name[] = "optmig-ld";

struct job {
	const char *libexec;
	const char *output;
	bool native;
	bool relocatable; /* -r: no script, no libc */
	struct args user; /* what came, less what is ours to decide */
};

static void job_parse(struct job *job, int argc, char **argv)
{
	static const char *const drop[] = {"-static", "-no-pie",	 "--eh-frame-hdr", "--export-dynamic",
					   "-E",      "-export-dynamic", "--gdb-index"};
	static const char *const drop_two[] = {
	    "-dynamic-linker",	"--dynamic-linker", "-rpath", "--rpath", "-rpath-link", "-soname", "-h",
	    "--version-script", "--dynamic-list"};

	const char *native = getenv("OPTMIG_NATIVE");

	/* clang hands a long command over in a response file */
	args_expand(&argc, &argv);
	job->native = native && !strcmp(native, "1");
	job->output = OUTPUT_DEFAULT;
	for (int i = 1; i < argc; i++) {
		const char *arg = argv[i];
		bool skip = false;

		for (size_t k = 0; k < sizeof(drop) / sizeof(*drop); k++)
			skip |= !strcmp(arg, drop[k]);
		for (size_t k = 0; k < sizeof(drop_two) / sizeof(*drop_two); k++) {
			if (!strcmp(arg, drop_two[k])) {
				skip = true;
				i++;
			}
		}
		/* how build systems ask what linker this is; nothing is linked */
		if (!strcmp(arg, "--version") || !strcmp(arg, "--help")) {
			execlp(LLD, LLD, arg, NULL);
			die("cannot run " LLD ": %s (package lld-19)", strerror(errno));
		}
		if (!strcmp(arg, "-shared") || !strcmp(arg, "-Bshareable"))
			die("-shared: an enclave is one static image; link the objects or a static library "
			    "into the program");
		if (!strcmp(arg, "-pie") || !strcmp(arg, "--pie"))
			skip = true;
		if (!strcmp(arg, "-r") || !strcmp(arg, "--relocatable"))
			job->relocatable = true;
		if (skip)
			continue;
		args_add(&job->user, arg);
		if (!strcmp(arg, "-o") && i + 1 < argc) {
			job->output = argv[++i];
			args_add(&job->user, job->output);
		}
	}
}

static struct args job_command(const struct job *job)
{
	struct args args = {0};

	args_add(&args, LLD);
	args_add(&args, "--trace");
	if (job->relocatable) {
		for (size_t i = 0; i < job->user.count; i++)
			args_add(&args, job->user.item[i]);
		return args;
	}
	args_add(&args, "-static");
	args_add(&args, "--no-pie");
	args_add(&args, "-z");
	args_add(&args, "norelro");
	args_add(&args, "-z");
	args_add(&args, format("max-page-size=%d", PAGE_SIZE));
	args_add(&args, "-T");
	args_add(&args, format("%s/%s.lds", job->libexec, job->native ? "native" : "enclave"));
	args_add(&args, format("%s/musl/lib/crt1.o", job->libexec));
	args_add(&args, format("%s/musl/lib/crti.o", job->libexec));
	for (size_t i = 0; i < job->user.count; i++)
		args_add(&args, job->user.item[i]);
	if (job->native) {
		args_add(&args, "--entry=__optmig_native_start");
		args_add(&args, format("%s/native.o", job->libexec));
	} else {
		args_add(&args, format("%s/enclave.o", job->libexec));
		args_add(&args, format("%s/image-note.o", job->libexec));
		args_add(&args, format("%s/outside.o", job->libexec));
		args_add(&args, "--entry=outside_native_start");
	}
	args_add(&args, format("%s/mark-range.o", job->libexec));
	args_add(&args, format("%s/musl/lib/libc.a", job->libexec));
	args_add(&args, format("%s/musl/lib/libbuiltins.a", job->libexec));
	args_add(&args, format("%s/musl/lib/crtn.o", job->libexec));
	return args;
}

/* Our own files hold assembly and hand-tracked C that we answer for. */
static bool is_ours(const struct job *job, const char *name)
{
	return starts_with(name, job->libexec) && name[strlen(job->libexec)] == '/';
}

/* 1 if refused */
static int input_check(const struct job *job, const char *name)
{
	enum object_kind kind;

	if (is_ours(job, name))
		return 0;
	if (object_classify(name, &kind) < 0) {
		puts(name); /* no input: what the caller has asked the linker to print */
		return 0;
	}
	if (kind == OBJECT_FOREIGN)
		fprintf(stderr,
			"%s: error: %s was not compiled by optmig-cc: what it writes would be missed when "
			"the program moves. "
			"Compile its source with optmig-cc, or leave it out (assembly: use the C version)\n",
			tool_name, name);
	else if (kind == OBJECT_STALE)
		fprintf(stderr,
			"%s: error: %s was compiled by another version of optmig-cc: compile it again with this one\n",
			tool_name, name);
	else if (kind == OBJECT_BITCODE)
		fprintf(stderr,
			"%s: error: %s is LLVM bitcode: compile it again without -flto or -emit-llvm\n",
			tool_name, name);
	else
		return 0;
	return 1;
}

/* Runs the linker; every line it prints is a file it has taken in, or a message. Returns how many were
 * refused. */
static int link_and_check(const struct job *job)
{
	struct args command = job_command(job);
	int pipe_fd[2], status, refused = 0;
	char *line = NULL;
	size_t capacity = 0;
	ssize_t length;
	FILE *trace;
	pid_t pid;

	if (pipe(pipe_fd) < 0 || (pid = fork()) < 0)
		die("cannot start " LLD ": %s", strerror(errno));
	if (pid == 0) {
		dup2(pipe_fd[1], STDOUT_FILENO);
		close(pipe_fd[0]);
		close(pipe_fd[1]);
		execvp(LLD, (char **)command.item);
		die("cannot run " LLD ": %s (package lld-19)", strerror(errno));
	}
	close(pipe_fd[1]);
	trace = fdopen(pipe_fd[0], "r");
	while (trace && (length = getline(&line, &capacity, trace)) > 0) {
		if (line[length - 1] == '\n')
			line[length - 1] = 0;
		refused += input_check(job, line);
	}
	free(line);
	if (trace)
		fclose(trace);
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status)) {
		exit(WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : 1);
	}
	return refused;
}

/*
 * musl finds the TLS template through the program headers, so they must be in
 * memory. The linker puts loaded headers below the lowest section, which is
 * the runtime's; here they are copied to .phdrs, the first thing in the
 * application's read-only segment. The file's own stay where every strip and
 * objcopy looks for them.
 */
static int headers_copy(uint8_t *image, size_t size)
{
	Elf64_Ehdr *header = (Elf64_Ehdr *)image;
	Elf64_Phdr *phdr = (Elf64_Phdr *)(image + header->e_phoff);
	size_t table_size = header->e_phnum * sizeof(*phdr);

	for (int i = 0; i < header->e_phnum; i++) {
		if (phdr[i].p_type != PT_LOAD || phdr[i].p_vaddr != APP_BASE)
			continue;
		if (phdr[i].p_filesz < table_size || phdr[i].p_offset > size - table_size)
			return -EINVAL;
		memcpy(image + phdr[i].p_offset, phdr, table_size);
		return 0;
	}
	return -EINVAL;
}

/* Is it in a writable segment of the application? */
static bool section_writable(const Elf64_Ehdr *header, const Elf64_Phdr *phdr, const Elf64_Shdr *section)
{
	if (!(section->sh_flags & SHF_ALLOC) || (section->sh_flags & SHF_TLS) || section->sh_size == 0)
		return false;
	for (int i = 0; i < header->e_phnum; i++)
		if (phdr[i].p_type == PT_LOAD && (phdr[i].p_flags & PF_W) && phdr[i].p_vaddr >= APP_BASE &&
		    section->sh_addr - phdr[i].p_vaddr < phdr[i].p_memsz)
			return true;
	return false;
}

/* What the linker script cannot say. Returns what is wrong, or NULL. */
static const char *image_check(const uint8_t *image)
{
	const Elf64_Ehdr *header = (const Elf64_Ehdr *)image;
	const Elf64_Phdr *phdr = (const Elf64_Phdr *)(image + header->e_phoff);
	const Elf64_Shdr *section = (const Elf64_Shdr *)(image + header->e_shoff);
	const char *names = (const char *)image + section[header->e_shstrndx].sh_offset;
	uint64_t small_start = 0, small_end = 0;

	for (int i = 0; i < header->e_phnum; i++)
		if (phdr[i].p_type == PT_LOAD && (phdr[i].p_flags & PF_W) && (phdr[i].p_flags & PF_X))
			return "a segment is writable and executable";
	for (int i = 0; i < header->e_shnum; i++) {
		const char *name = names + section[i].sh_name;

		if (section[i].sh_type == SHT_RELA || section[i].sh_type == SHT_REL)
			if (section[i].sh_flags & SHF_ALLOC)
				return "relocations are left to do at run time (an ifunc?)";
		if (!strcmp(name, ".data"))
			small_start = section[i].sh_addr;
		if (!strcmp(name, ".small.end"))
			small_end = section[i].sh_addr;
	}
	/* Stores to small globals are not tracked, so none may lie outside what always counts as dirty. */
	for (int i = 0; i < header->e_shnum; i++) {
		const char *name = names + section[i].sh_name;

		if (!section_writable(header, phdr, &section[i]) || !strcmp(name, ".optmig.data") ||
		    !strcmp(name, ".optmig.bss"))
			continue;
		if (section[i].sh_addr < small_start || section[i].sh_addr + section[i].sh_size > small_end)
			return format("section %s lies outside the always-dirty globals", name);
	}
	return NULL;
}

/* Never a device: who links into /dev/null wants to know whether it can be done. */
static bool output_is_file(const struct job *job)
{
	struct stat st;

	return !stat(job->output, &st) && S_ISREG(st.st_mode);
}

static void image_finish(const struct job *job)
{
	struct stat st;
	int fd = open(job->output, O_RDWR | O_CLOEXEC);
	const char *fault;
	uint8_t *image;

	if (fd < 0 || fstat(fd, &st) < 0)
		die("%s: %s", job->output, strerror(errno));
	image = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (image == MAP_FAILED)
		die("%s: %s", job->output, strerror(errno));
	fault = headers_copy(image, (size_t)st.st_size) < 0 ? "the program headers do not fit"
							    : image_check(image);
	munmap(image, (size_t)st.st_size);
	if (fault) {
		unlink(job->output);
		die("%s: %s", job->output, fault);
	}
}

int main(int argc, char **argv)
{
	struct job job = {.libexec = own_directory()};

	job_parse(&job, argc, argv);
	if (link_and_check(&job)) {
		if (output_is_file(&job))
			unlink(job.output);
		return 1;
	}
	if (!job.relocatable && output_is_file(&job))
		image_finish(&job);
	return 0;
}
