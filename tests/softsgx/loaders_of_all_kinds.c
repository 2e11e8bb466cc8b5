/* SPDX-License-Identifier: Apache-2.0
 *
 * A loader of its own, in the manners that loaders of SGX enclaves have: ways to
 * open the device, to find a place, to map and fill it, to look the kernel's call
 * up, to enter without it. Each combination must load and run the same enclave.
 */
#include "tests/softsgx/harness.h"

#include <cpuid.h>
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <mbedtls/sha256.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define SIZE 0x8000ul
#define AT_TCS_PAGE 0x2000
#define ADDED 0x5000ul /* code, data, TCS, two SSA frames */
#define CHECK_OK(what)                                                                                       \
	do {                                                                                                 \
		if ((long)(what) == -1) {                                                                    \
			fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #what, strerror(errno));      \
			exit(1);                                                                             \
		}                                                                                            \
	} while (0)

/* Entry: op in RDI. 0 adds RDX to a counter of its own and stores it at RSI; 1 does that after an UD2. An
 * entry with CSSA 1 steps over the UD2. */
extern const uint8_t loaders_enclave[], loaders_enclave_end[];
__asm__(".section .rodata\n"
	".p2align 12\n"
	".globl loaders_enclave, loaders_enclave_end\n"
	"loaders_enclave:\n"
	"	mov %rcx, %rbx\n"
	"	test %eax, %eax\n"
	"	jnz 1f\n"
	"	test %edi, %edi\n"
	"	jz 2f\n"
	"	ud2\n"
	"2:	add loaders_enclave+0x1000(%rip), %rdx\n"
	"	mov %rdx, loaders_enclave+0x1000(%rip)\n"
	"	mov %rdx, (%rsi)\n"
	"	mov $4, %eax\n"
	"	.byte 0x0f, 0x01, 0xd7\n"
	"1:	addq $2, loaders_enclave+0x4000-184+136(%rip)\n"
	"	mov $4, %eax\n"
	"	.byte 0x0f, 0x01, 0xd7\n"
	"loaders_enclave_end:\n"
	".text\n");

static uint8_t image[ADDED] __attribute__((aligned(4096)));
static const struct {
	uint64_t offset, flags;
	int prot;
} pages[] = {{0, 0x205, PROT_READ | PROT_EXEC},
	     {0x1000, 0x203, PROT_READ | PROT_WRITE},
	     {0x2000, 0x100, PROT_READ | PROT_WRITE},
	     {0x3000, 0x203, PROT_READ | PROT_WRITE},
	     {0x4000, 0x203, PROT_READ | PROT_WRITE}};
#define PAGES (sizeof(pages) / sizeof(pages[0]))

static struct sgx_sigstruct sig;
static struct sgx_secs secs __attribute__((aligned(4096)));

static void record(mbedtls_sha256_context *sha, const char *name, uint64_t a, uint64_t b)
{
	uint8_t block[64] = {0};

	memcpy(block, name, strlen(name));
	memcpy(block + 8, &a, 8);
	memcpy(block + 16, &b, 8);
	mbedtls_sha256_update_ret(sha, block, 64);
}

/* Signed once: where it is loaded is not measured. */
static void make_image(void)
{
	struct sgx_tcs *tcs = (void *)(image + AT_TCS_PAGE);
	mbedtls_sha256_context sha;

	memcpy(image, loaders_enclave, (size_t)(loaders_enclave_end - loaders_enclave));
	tcs->ossa = 0x3000;
	tcs->nssa = 2;
	tcs->fslimit = tcs->gslimit = 0xfff;
	mbedtls_sha256_init(&sha);
	mbedtls_sha256_starts_ret(&sha, 0);
	record(&sha, "ECREATE", 1 | (SIZE & 0xffffffff) << 32, SIZE >> 32);
	for (size_t i = 0; i < PAGES; i++) {
		record(&sha, "EADD", pages[i].offset, pages[i].flags);
		for (uint64_t at = pages[i].offset; at < pages[i].offset + 4096; at += 256) {
			record(&sha, "EEXTEND", at, 0);
			mbedtls_sha256_update_ret(&sha, image + at, 256);
		}
	}
	sig = (struct sgx_sigstruct){.header = SGX_SIGSTRUCT_HEADER,
				     .header2 = SGX_SIGSTRUCT_HEADER2,
				     .vendor = 0x8086,
				     .date = 0x20240229,
				     .attributes = {SGX_ATTR_MODE64BIT | SGX_ATTR_DEBUG, 3},
				     .attribute_mask = {~SGX_ATTR_DEBUG, ~3ull}};
	mbedtls_sha256_finish_ret(&sha, sig.enclavehash);
	test_sign_again(&sig);
}

/* --- opening --- */

static int open_plain(void)
{
	return open("/dev/sgx_enclave", O_RDWR);
}
static int open_64(void)
{
	return open64("/dev/sgx_enclave", O_RDWR | O_CLOEXEC);
}
static int open_relative(void)
{
	return openat(AT_FDCWD, "/dev/sgx_enclave", O_RDWR);
}
static int open_old_name(void)
{
	return openat64(AT_FDCWD, "/dev/sgx/enclave", O_RDWR);
}
static int open_stream(void)
{
	FILE *file = fopen("/dev/sgx_enclave", "r+");

	return file ? dup(fileno(file)) : -1;
}
static int open_by_number(void)
{
	return (int)syscall(SYS_openat, AT_FDCWD, "/dev/sgx_enclave", O_RDWR, 0);
}
static int (*const opens[])(void) = {open_plain,    open_64,	 open_relative,
				     open_old_name, open_stream, open_by_number};

/* --- finding a place and mapping --- */

static void create(int fd, uint64_t base)
{
	struct sgx_enclave_create c = {.src = (uint64_t)&secs};

	secs = (struct sgx_secs){.size = SIZE,
				 .base = base,
				 .ssa_frame_size = 1,
				 .attributes = {SGX_ATTR_MODE64BIT | SGX_ATTR_DEBUG, 3}};
	CHECK_OK(ioctl(fd, SGX_IOC_ENCLAVE_CREATE, &c));
}

static void add(int fd, size_t first, size_t count)
{
	struct sgx_secinfo secinfo = {.flags = pages[first].flags};
	struct sgx_enclave_add_pages a = {.src = (uint64_t)image + pages[first].offset,
					  .offset = pages[first].offset,
					  .length = count * 4096,
					  .secinfo = (uint64_t)&secinfo,
					  .flags = 1};

	/* What was not done in one call is done in the next. */
	while (a.length) {
		CHECK_OK(ioctl(fd, SGX_IOC_ENCLAVE_ADD_PAGES, &a));
		CHECK(a.count);
		a.src += a.count;
		a.offset += a.count;
		a.length -= a.count;
		a.count = 0;
	}
}

static void init(int fd)
{
	struct sgx_enclave_init i = {.sigstruct = (uint64_t)&sig};

	CHECK_OK(ioctl(fd, SGX_IOC_ENCLAVE_INIT, &i));
}

static void fill(int fd)
{
	add(fd, 0, 1);
	add(fd, 1, 1);
	add(fd, 2, 1);
	add(fd, 3, 2);
}

static void map_pieces(int fd, uint64_t base)
{
	for (size_t i = 0; i < PAGES; i++)
		CHECK_OK(mmap((void *)(base + pages[i].offset), 4096, pages[i].prot, MAP_SHARED | MAP_FIXED,
			      fd, 0));
}

/* Twice the size of anonymous memory, the edges given back, the device put over it, filled, protected. */
static uint64_t place_trimmed(int fd)
{
	uint64_t at = (uint64_t)mmap(NULL, 2 * SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t base = (at + SIZE - 1) & ~(SIZE - 1);

	if (base > at)
		CHECK_OK(munmap((void *)at, base - at));
	CHECK_OK(munmap((void *)(base + SIZE), at + SIZE - base));
	create(fd, base);
	fill(fd);
	map_pieces(fd, base);
	init(fd);
	return base;
}

/* The device itself mapped without rights before CREATE, then piece by piece. */
static uint64_t place_by_device(int fd)
{
	uint64_t at = (uint64_t)mmap(NULL, 2 * SIZE, PROT_NONE, MAP_SHARED, fd, 0);
	uint64_t base = (at + SIZE - 1) & ~(SIZE - 1);

	CHECK_OK(at);
	if (base > at)
		CHECK_OK(munmap((void *)at, base - at));
	CHECK_OK(munmap((void *)(base + SIZE), at + SIZE - base));
	create(fd, base);
	fill(fd);
	init(fd);
	map_pieces(fd, base);
	return base;
}

/* At an address of the loader's choice, mapped whole after INIT where nothing is yet, then each page
 * protected. */
static uint64_t place_fixed(int fd)
{
	static uint64_t next = 0x100000000000ul;
	uint64_t base = next;

	next += SIZE;
	create(fd, base);
	fill(fd);
	CHECK_OK(mmap((void *)base, SIZE, PROT_NONE, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0));
	for (size_t i = 0; i < PAGES; i++)
		CHECK_OK(mprotect((void *)(base + pages[i].offset), 4096, pages[i].prot));
	init(fd);
	return base;
}

/* Anonymous memory stays around the mapped pages, the descriptor is closed early, calls are made by number.
 */
static uint64_t place_by_number(int fd)
{
	uint64_t at = (uint64_t)syscall(SYS_mmap, NULL, 2 * SIZE, PROT_NONE,
					MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t base = (at + SIZE - 1) & ~(SIZE - 1);
	struct sgx_enclave_create c = {.src = (uint64_t)&secs};

	secs = (struct sgx_secs){.size = SIZE,
				 .base = base,
				 .ssa_frame_size = 1,
				 .attributes = {SGX_ATTR_MODE64BIT | SGX_ATTR_DEBUG, 3}};
	CHECK_OK(syscall(SYS_ioctl, fd, SGX_IOC_ENCLAVE_CREATE, &c));
	fill(fd);
	for (size_t i = 0; i < PAGES; i++)
		CHECK_OK(syscall(SYS_mmap, base + pages[i].offset, 4096, pages[i].prot,
				 MAP_SHARED | MAP_FIXED, fd, 0));
	init(fd);
	return base;
}
static uint64_t (*const places[])(int) = {place_trimmed, place_by_device, place_fixed, place_by_number};

/* --- looking up the call --- */

static const char call_name[] = "__vdso_sgx_enter_enclave";

struct dynamic {
	const Elf64_Sym *symbols;
	const char *strings;
	const uint32_t *hash, *gnu;
};

static void read_dynamic(const char *image_start, struct dynamic *d)
{
	const Elf64_Ehdr *header = (const void *)image_start;
	const Elf64_Phdr *segment = (const void *)(image_start + header->e_phoff);
	const Elf64_Dyn *dynamic = NULL;
	long bias = 0;

	CHECK(!memcmp(header->e_ident, ELFMAG, SELFMAG));
	CHECK_EQ(header->e_type, ET_DYN);
	for (int i = 0; i < header->e_phnum; i++) {
		if (segment[i].p_type == PT_LOAD)
			bias = (long)image_start + (long)segment[i].p_offset - (long)segment[i].p_vaddr;
		else if (segment[i].p_type == PT_DYNAMIC)
			dynamic = (const void *)(image_start + segment[i].p_offset);
	}
	*d = (struct dynamic){0};
	for (; dynamic->d_tag; dynamic++) {
		const void *at = (const void *)(bias + (long)dynamic->d_un.d_ptr);

		if (dynamic->d_tag == DT_SYMTAB)
			d->symbols = at;
		else if (dynamic->d_tag == DT_STRTAB)
			d->strings = at;
		else if (dynamic->d_tag == DT_HASH)
			d->hash = at;
		else if (dynamic->d_tag == DT_GNU_HASH)
			d->gnu = at;
	}
}

static void *lookup_hash(const char *base)
{
	struct dynamic d;
	uint32_t h = 0;

	read_dynamic(base, &d);
	CHECK(d.hash);
	for (const char *c = call_name; *c; c++) {
		h = (h << 4) + (uint8_t)*c;
		h = (h ^ (h & 0xf0000000) >> 24) & 0x0fffffff;
	}
	for (uint32_t i = d.hash[2 + h % d.hash[0]]; i; i = d.hash[2 + d.hash[0] + i])
		if (!strcmp(d.strings + d.symbols[i].st_name, call_name))
			return (void *)(base + d.symbols[i].st_value);
	return NULL;
}

static void *lookup_gnu_hash(const char *base)
{
	struct dynamic d;
	const uint32_t *buckets, *chain;
	uint32_t h = 5381, i;

	read_dynamic(base, &d);
	CHECK(d.gnu);
	for (const char *c = call_name; *c; c++)
		h = h * 33 + (uint8_t)*c;
	buckets = d.gnu + 4 + d.gnu[2] * 2;
	chain = buckets + d.gnu[0];
	for (i = buckets[h % d.gnu[0]]; i; i++) {
		if ((chain[i - d.gnu[1]] | 1) == (h | 1) &&
		    !strcmp(d.strings + d.symbols[i].st_name, call_name))
			return (void *)(base + d.symbols[i].st_value);
		if (chain[i - d.gnu[1]] & 1)
			break;
	}
	return NULL;
}

static void *lookup_sections(const char *base)
{
	const Elf64_Ehdr *header = (const void *)base;
	const Elf64_Shdr *section = (const void *)(base + header->e_shoff);
	const char *names = base + section[header->e_shstrndx].sh_offset;
	const Elf64_Sym *symbols = NULL;
	const char *strings = NULL;
	size_t count = 0;

	for (int i = 0; i < header->e_shnum; i++) {
		if (!strcmp(names + section[i].sh_name, ".dynsym")) {
			symbols = (const void *)(base + section[i].sh_offset);
			count = section[i].sh_size / sizeof(*symbols);
		} else if (!strcmp(names + section[i].sh_name, ".dynstr")) {
			strings = base + section[i].sh_offset;
		}
	}
	for (size_t i = 0; i < count; i++)
		if (!strcmp(strings + symbols[i].st_name, call_name))
			return (void *)(base + symbols[i].st_value);
	return NULL;
}
static void *(*const lookups[])(const char *) = {lookup_hash, lookup_gnu_hash, lookup_sections};

static const char *image_by_getauxval(void)
{
	return (const char *)getauxval(AT_SYSINFO_EHDR);
}
static const char *image_by_environment(void)
{
	extern char **environ;
	char **at = environ;
	Elf64_auxv_t *aux;

	while (*at)
		at++;
	for (aux = (void *)(at + 1); aux->a_type != AT_NULL; aux++)
		if (aux->a_type == AT_SYSINFO_EHDR)
			return (const char *)aux->a_un.a_val;
	return NULL;
}
static const char *image_by_proc(void)
{
	Elf64_auxv_t aux;
	const char *found = NULL;
	int fd = open("/proc/self/auxv", O_RDONLY);

	while (read(fd, &aux, sizeof(aux)) == sizeof(aux))
		if (aux.a_type == AT_SYSINFO_EHDR)
			found = (const char *)aux.a_un.a_val;
	close(fd);
	return found;
}
static int see_object(struct dl_phdr_info *info, size_t size, void *found)
{
	if (strstr(info->dlpi_name, "linux-vdso"))
		*(const char **)found = (const char *)info->dlpi_addr;
	return 0;
}
static const char *image_by_objects(void)
{
	const char *found = NULL;

	dl_iterate_phdr(see_object, &found);
	return found;
}
static const char *(*const images[])(void) = {image_by_getauxval, image_by_environment, image_by_proc,
					      image_by_objects};

typedef int (*enter_fn)(unsigned long, void *, unsigned long, unsigned int, unsigned long, unsigned long,
			struct sgx_enclave_run *);

/* --- entering --- */

/* An asynchronous exit loses the registers that C wants kept. */
static int call(enter_fn enter, unsigned long op, void *out, unsigned long value, unsigned int function,
		struct sgx_enclave_run *run)
{
	register struct sgx_enclave_run *r __asm__("r11") = run;
	register enter_fn to __asm__("r10") = enter;
	unsigned long a = op, b = (unsigned long)out, c = value, d = function;
	int result;

	__asm__ volatile(
	    "xor %%r8d, %%r8d; xor %%r9d, %%r9d; push %%r11; push %%r11; call *%%r10; add $16, %%rsp"
	    : "=a"(result), "+D"(a), "+S"(b), "+d"(c), "+c"(d), "+r"(r), "+r"(to)
	    :
	    : "r8", "r9", "r12", "r13", "r14", "r15", "memory", "cc");
	return result;
}

static void enter_by_call(enter_fn enter, uint64_t tcs, unsigned long op, uint64_t expected)
{
	struct sgx_enclave_run run = {.tcs = tcs};
	uint64_t out = 0;

	CHECK_EQ(call(enter, op, &out, 5, SGX_EENTER, &run), 0);
	if (op) {
		CHECK_EQ(run.function, SGX_ERESUME);
		CHECK_EQ(run.exception_vector, 6);
		CHECK_EQ(call(enter, 0, NULL, 0, SGX_EENTER, &run), 0);
		CHECK_EQ(run.function, SGX_EEXIT);
		CHECK_EQ(call(enter, 0, NULL, 0, SGX_ERESUME, &run), 0);
	}
	CHECK_EQ(run.function, SGX_EEXIT);
	CHECK_EQ(out, expected);
}

static int handler_calls;
static int on_exit_of(long rdi, long rsi, long rdx, long rsp, long r8, long r9, struct sgx_enclave_run *run)
{
	handler_calls++;
	if (run->function != SGX_ERESUME)
		return 0;
	/* an exception: tell the enclave, then go on */
	return run->exception_vector == 6 ? SGX_EENTER : -1;
}

static int after_exception;
static int on_exit_resuming(long rdi, long rsi, long rdx, long rsp, long r8, long r9,
			    struct sgx_enclave_run *run)
{
	if (run->function == SGX_EEXIT && after_exception) {
		after_exception = 0;
		return SGX_ERESUME;
	}
	after_exception = run->function == SGX_ERESUME;
	return on_exit_of(rdi, rsi, rdx, rsp, r8, r9, run);
}

static void enter_with_handler(enter_fn enter, uint64_t tcs, uint64_t expected)
{
	struct sgx_enclave_run run = {.tcs = tcs, .user_handler = (uint64_t)on_exit_resuming};
	uint64_t out = 0;

	handler_calls = 0;
	CHECK_EQ(call(enter, 1, &out, 5, SGX_EENTER, &run), 0);
	CHECK_EQ(run.function, SGX_EEXIT);
	CHECK_EQ(handler_calls, 2); /* the exception, and the end */
	CHECK_EQ(out, expected);
}

/* Without the kernel's call, as it was before there was one: EENTER in the program's text, exceptions as
 * signals at an AEP that resumes. */
extern const char loaders_aep[], loaders_gate[];
static uint64_t gate_tcs;
static volatile int signals;

__attribute__((noinline)) static void enter_at_gate(uint64_t tcs, unsigned long op, uint64_t *out,
						    unsigned long value)
{
	register uint64_t d __asm__("rdx") = value;
	unsigned long rdi = op;
	void *rsi = out;
	uint64_t rbx = tcs;

	__asm__ volatile("lea loaders_aep(%%rip), %%rcx\n"
			 "	mov $2, %%eax\n"
			 "	.byte 0x0f, 0x01, 0xd7\n"
			 "	jmp 1f\n"
			 ".globl loaders_aep\n"
			 "loaders_aep:\n"
			 "	.byte 0x0f, 0x01, 0xd7\n"
			 "1:\n"
			 : "+D"(rdi), "+S"(rsi), "+b"(rbx), "+r"(d)
			 :
			 : "rax", "rcx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory",
			   "cc");
}

static void on_exception(int signal, siginfo_t *info, void *context)
{
	greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;

	CHECK_EQ(signal, SIGILL);
	CHECK_EQ(g[REG_RIP], (greg_t)loaders_aep);
	CHECK_EQ(g[REG_RAX], SGX_ERESUME);
	CHECK_EQ((uint64_t)g[REG_RBX], gate_tcs);
	signals++;
	/* The enclave's own handler; ERESUME follows when we return. */
	enter_at_gate(gate_tcs, 0, NULL, 0);
}

static void enter_by_signal(uint64_t tcs, uint64_t expected, int by_number)
{
	struct sigaction action = {.sa_sigaction = on_exception,
				   .sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART},
			 old;
	uint64_t out = 0;

	sigemptyset(&action.sa_mask);
	if (by_number) {
		struct {
			void (*handler)(int, siginfo_t *, void *);
			unsigned long flags;
			void *restorer;
			unsigned long mask;
		} raw = {on_exception, SA_SIGINFO | SA_NODEFER, NULL, 0}, was;

		CHECK_OK(syscall(SYS_rt_sigaction, SIGILL, &raw, &was, 8));
	} else {
		CHECK_OK(sigaction(SIGILL, &action, &old));
	}
	signals = 0;
	gate_tcs = tcs;
	enter_at_gate(tcs, 1, &out, 5);
	CHECK_EQ(signals, 1);
	CHECK_EQ(out, expected);
	enter_at_gate(tcs, 0, &out, 5);
	CHECK_EQ(out, expected + 5);
	signal(SIGILL, SIG_DFL);
}

/* --- all of it --- */

static void detect(void)
{
	unsigned int a, b, c, d;
	struct stat st;
	struct statx stx;

	CHECK(__get_cpuid_max(0, NULL) >= 0x12);
	CHECK(__get_cpuid_count(7, 0, &a, &b, &c, &d));
	if (b & 4) {
		CHECK(__get_cpuid_count(0x12, 0, &a, &b, &c, &d));
		CHECK(a & 1);
	}
	CHECK_OK(stat("/dev/sgx_enclave", &st));
	CHECK(S_ISCHR(st.st_mode));
	CHECK_OK(fstatat(AT_FDCWD, "/dev/sgx_provision", &st, 0));
	CHECK_OK(statx(AT_FDCWD, "/dev/sgx_enclave", 0, STATX_BASIC_STATS, &stx));
	CHECK(S_ISCHR(stx.stx_mode));
	CHECK_OK(access("/sys/devices/system/node/node0/x86/sgx_total_bytes", R_OK));
	CHECK_EQ(access("/dev/sgx_enclave", X_OK), -1);
}

static void use(uint64_t base, enter_fn enter)
{
	uint64_t tcs = base + AT_TCS_PAGE;

	enter_by_call(enter, tcs, 0, 5);
	enter_by_call(enter, tcs, 1, 10);
	enter_with_handler(enter, tcs, 15);
	enter_by_signal(tcs, 20, 0);
	enter_by_signal(tcs, 30, 1);
	enter_by_call(enter, tcs, 0, 40);
}

int main(void)
{
	enter_fn enter;
	void *handle;
	int fd;

	make_image();
	for (size_t i = 0; i < sizeof(images) / sizeof(images[0]); i++) {
		for (size_t j = 0; j < sizeof(lookups) / sizeof(lookups[0]); j++) {
			CHECK(images[i]());
			enter = (enter_fn)lookups[j](images[i]());
			CHECK(enter);
		}
	}
	detect();
	for (size_t i = 0; i < sizeof(opens) / sizeof(opens[0]); i++) {
		for (size_t j = 0; j < sizeof(places) / sizeof(places[0]); j++) {
			uint64_t base;

			fd = opens[i]();
			CHECK_OK(fd);
			base = places[j](fd);
			if (i & 1)
				close(fd);
			use(base, enter);
			CHECK_OK(munmap((void *)base, SIZE));
			if (!(i & 1))
				close(fd);
		}
	}

	/* By the dynamic linker. */
	handle = dlopen("linux-vdso.so.1", RTLD_LAZY | RTLD_LOCAL | RTLD_NOLOAD);
	CHECK(handle);
	for (int i = 0; i < 3; i++) {
		enter = (enter_fn)(i == 0   ? dlsym(handle, call_name)
				   : i == 1 ? dlvsym(handle, call_name, "LINUX_2.6")
					    : dlsym(RTLD_DEFAULT, call_name));
		CHECK(enter);
		fd = open_plain();
		use(place_trimmed(fd), enter);
		close(fd);
	}
	return 0;
}
