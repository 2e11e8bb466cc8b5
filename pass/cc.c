/* SPDX-License-Identifier: Apache-2.0
 *
 * optmig-cc: clang with the tracking pass and the enclave's libc, in the place
 * of cc. Arguments are clang's; this program adds its own, drops those that
 * have no meaning in an enclave, refuses those that would make a program that
 * cannot be moved, and becomes clang. Linking is optmig-ld's (ld.c).
 *
 * OPTMIG_NATIVE=1, or --native, links without the runtime, to run outside an
 * enclave only: for tests and measurements.
 */
#include "pass/tool.h"

#include <errno.h>

#define CLANG "clang-19"

const char tool_name[] = "optmig-cc";

/* An argument that begins with (or, without the star, is) the pattern. */
struct rule {
	const char *pattern;
	const char *reason;
};

static const char *const dropped[] = {
    /* one image at a fixed address: position-independent code would only be slower */
    "-fPIC",
    "-fpic",
    "-fPIE",
    "-fpie",
    "-pie",
    "-static-pie",
    "-no-pie",
    "-fno-pie",
    "-fno-pic",
    "-fno-PIC",
    "-fno-PIE",
    "-static",
    "-static-libgcc",
    "-shared-libgcc",
    "-rdynamic",
    "-nopie",
    /* the pass works file by file; see docs/optmig-cc.md */
    "-flto*",
    "-fno-lto",
    "-ffat-lto-objects",
    "-fuse-linker-plugin",
    "-fwhole-program",
    "-fuse-ld=*",
    "-pthread",
    "-mcmodel=small",
    "-fno-semantic-interposition",
    /* C throws nothing; the tables would ask for an unwinder */
    "-fexceptions",
};

static const struct rule refused[] = {
    {"-shared", "an enclave is one static image; link the objects or a static library into the program"},
    {"-m32", "enclaves are 64-bit"},
    {"-mx32", "enclaves are 64-bit"},
    {"-m16", "enclaves are 64-bit"},
    {"-mcmodel=*", "the image lies in the low 2 GiB; the small code model is the only one"},
    {"-fsanitize=*", "sanitizer run-time libraries are not compiled by the pass; check with plain clang"},
    {"--coverage", "the coverage run-time library is not compiled by the pass"},
    {"-fprofile-arcs", "the profiling run-time library is not compiled by the pass"},
    {"-fprofile-generate*", "the profiling run-time library is not compiled by the pass"},
    {"-fprofile-instr-generate*", "the profiling run-time library is not compiled by the pass"},
    {"-fopenmp*", "the OpenMP run-time library is not compiled by the pass; use threads"},
    {"-pg", "the profiling run-time library is not compiled by the pass; use perf"},
    {"-fsplit-stack", "split stacks are unknown to the runtime"},
    {"-fxray-instrument", "XRay patches code, and code pages are never writable"},
    {"-fno-integrated-as", "the pass's notes need clang's own assembler"},
    {"--target=*", "the target is x86_64-linux-musl"},
    {"-target", "the target is x86_64-linux-musl"},
    {"-T", "the image has its own linker script"},
    {"-Wl,-T*", "the image has its own linker script"},
};

static const char *const cxx_suffixes[] = {".cc", ".cpp", ".cxx", ".c++", ".C", ".CPP", ".mm"};

static bool matches(const char *arg, const char *pattern)
{
	size_t length = strlen(pattern);

	if (pattern[length - 1] == '*')
		return !strncmp(arg, pattern, length - 1);
	return !strcmp(arg, pattern);
}

static bool is_dropped(const char *arg)
{
	for (size_t i = 0; i < sizeof(dropped) / sizeof(*dropped); i++)
		if (matches(arg, dropped[i]))
			return true;
	return false;
}

static void refuse_if_unsound(const char *arg)
{
	for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++)
		if (matches(arg, refused[i].pattern))
			die("%s: %s", arg, refused[i].reason);
}

static void refuse_cxx(const char *arg)
{
	bool cxx = starts_with(arg, "-std=c++") || starts_with(arg, "-std=gnu++");

	for (size_t i = 0; arg[0] != '-' && i < sizeof(cxx_suffixes) / sizeof(*cxx_suffixes); i++)
		cxx |= ends_with(arg, cxx_suffixes[i]);
	if (cxx)
		die("%s: C++ needs a standard library and an unwinder compiled by the pass, and there is "
		    "none yet; "
		    "only C can be compiled for an enclave",
		    arg);
}

/* Options whose value is the next argument, which must not be looked at. */
static bool takes_value(const char *arg)
{
	static const char *const options[] = {
	    "-o",  "-I",  "-D",	     "-U",     "-include", "-isystem", "-idirafter",
	    "-MF", "-MT", "-MQ",     "-L",     "-l",	   "-Xlinker", "-Xclang",
	    "-u",  "-z",  "-iquote", "-mllvm", "-imacros", "-iprefix", "-Xassembler"};

	for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++)
		if (!strcmp(arg, options[i]))
			return true;
	return false;
}

/* libexec is beside the program in a build tree, and beside bin when installed. */
static const char *find_libexec(void)
{
	const char *own = own_directory();
	char *const places[] = {format("%s/libexec/optmig", own), format("%s/../libexec/optmig", own)};

	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++)
		if (!access(format("%s/optmig-pass.so", places[i]), R_OK))
			return places[i];
	die("cannot find libexec/optmig beside %s: is the installation complete?", own);
}

int main(int argc, char **argv)
{
	const char *libexec = find_libexec();
	const char *native_env = getenv("OPTMIG_NATIVE");
	bool native = native_env && !strcmp(native_env, "1");
	struct args args = {0};
	const char *ours[] = {
	    CLANG,
	    "--no-default-config",
	    "--target=x86_64-linux-musl",
	    "-nostdlibinc",
	    /* configure and make pass options of the linker when they compile, and the reverse */
	    "-Qunused-arguments",
	    /* gives the pass line numbers to name, without -g; matches no remark */
	    "-Rpass=^optmig$",
	    /* behind the pass no comparison may become a call that polls */
	    "-mllvm",
	    "-disable-mergeicmps",
	    "-fno-pic",
	    "-fno-pie",
	    "-D__OPTMIG__=1",
	    "-static",
	    "-nostdlib",
	};

	args_expand(&argc, &argv);
	for (size_t i = 0; i < sizeof(ours) / sizeof(*ours); i++)
		args_add(&args, ours[i]);
	args_add(&args, format("-fpass-plugin=%s/optmig-pass.so", libexec));
	args_add(&args, format("--ld-path=%s/optmig-ld", libexec));
	args_add(&args, format("--sysroot=%s/musl", libexec));
	for (int i = 1; i < argc; i++) {
		const char *arg = argv[i];

		if (takes_value(arg) && i + 1 < argc) {
			args_add(&args, arg);
			args_add(&args, argv[++i]);
			continue;
		}
		if (!strcmp(arg, "--version"))
			puts("optmig-cc " VERSION ", a C compiler for enclaves that move; it is:");
		if (starts_with(arg, "-xc++") || (!strcmp(arg, "-x") && i + 1 < argc && starts_with(argv[i + 1], "c++")))
			refuse_cxx("-std=c++ (from -x c++)");
		if (!strcmp(arg, "--native")) {
			native = true;
			continue;
		}
		refuse_if_unsound(arg);
		refuse_cxx(arg);
		if (!is_dropped(arg))
			args_add(&args, arg);
		if (!strcmp(arg, "-pthread"))
			args_add(&args, "-D_REENTRANT");
	}
	fflush(stdout);
	args_add(&args, "-isystem");
	args_add(&args, format("%s/include", libexec));
	args_add(&args, "-isystem");
	args_add(&args, format("%s/musl/include", libexec));
	args_add(&args, format("-L%s/musl/lib", libexec));
	/* for optmig-ld; an option for it would make clang link when there is nothing to link */
	setenv("OPTMIG_NATIVE", native ? "1" : "0", 1);
	execvp(CLANG, (char **)args.item);
	die("cannot run " CLANG ": %s (package " CLANG ")", strerror(errno));
}
