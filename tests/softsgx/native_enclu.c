/* SPDX-License-Identifier: Apache-2.0
 *
 * A machine whose processor has SGX but whose hypervisor hides it executes ENCLU,
 * and faults: #GP, or #PF on RBX with the SGX bit, never #UD. This program
 * traces others and turns every SIGILL of an ENCLU into what they would get
 * there: signal, siginfo, trap number, error code, CR2. Arguments: a program to
 * run so. Without: the tests beside it, linked to the library and preloaded; on
 * such a machine there is nothing to turn, and the tests themselves have shown it.
 */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define TASKS_MAX 8192 /* over one run */

static const char *const tests[] = {"smoke",
				    "entry_rules",
				    "page_fault_codes",
				    "edmm_life_of_a_page",
				    "exits_save_everything",
				    "reports_and_keys",
				    "illegal_instructions_fault",
				    "genuine_faults_reach_the_program",
				    "signals_show_synthetic_state",
				    "handlers_enter_enclaves",
				    "aex_notify",
				    "host_reads_ones",
				    "fork_shares_the_enclave",
				    "foreign-smoke",
				    "foreign-loaders_of_all_kinds",
				    "foreign-entry_rules",
				    "foreign-edmm_life_of_a_page",
				    "foreign-genuine_faults_reach_the_program",
				    "foreign-signals_show_synthetic_state",
				    "foreign-handlers_enter_enclaves"};

/* What the processor would raise, and what a kernel makes of it. */
struct fault {
	int signal, code;
	uint64_t address; /* si_addr */
	int trap;
	uint64_t error, cr2;
};

static struct task {
	pid_t tid;
	int entering; /* a handler's first instruction is next */
	uint64_t rip;
	struct fault fault;
} tasks[TASKS_MAX];
static size_t task_count;
static unsigned long converted;

static struct task *task_of(pid_t tid)
{
	for (size_t i = task_count; i-- > 0;)
		if (tasks[i].tid == tid)
			return &tasks[i];
	return NULL;
}

static struct task *task_new(pid_t tid)
{
	struct task *task;

	for (size_t i = 0; i < task_count; i++) {
		if (!tasks[i].tid) {
			tasks[i] = (struct task){.tid = tid};
			return &tasks[i];
		}
	}
	if (task_count == TASKS_MAX) {
		fprintf(stderr, "too many tasks\n");
		exit(1);
	}
	task = &tasks[task_count++];
	*task = (struct task){.tid = tid};
	return task;
}

/* The mapping of an address: "rwxp" and the file's name. 1 if there is one. */
static int find_mapping(pid_t tid, uint64_t address, char rights[5], char name[256])
{
	char path[64], line[PATH_MAX + 128];
	unsigned long start, end;
	int found = 0;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/maps", tid);
	maps = fopen(path, "r");
	while (maps && !found && fgets(line, sizeof(line), maps)) {
		name[0] = 0;
		found = sscanf(line, "%lx-%lx %4s %*s %*s %*s %255[^\n]", &start, &end, rights, name) >= 3 &&
			address >= start && address < end;
	}
	if (maps)
		fclose(maps);
	return found;
}

static int is_populated(pid_t tid, uint64_t address)
{
	char path[64];
	uint64_t entry = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", tid);
	file = fopen(path, "r");
	if (file) {
		if (fseek(file, (long)(address >> 12) * 8, SEEK_SET) || fread(&entry, 8, 1, file) != 1)
			entry = 0;
		fclose(file);
	}
	return entry >> 63 & 1;
}

static int is_canonical(uint64_t address)
{
	return (uint64_t)((int64_t)(address << 16) >> 16) == address;
}

static struct fault native_fault(pid_t tid, const struct user_regs_struct *regs)
{
	uint32_t leaf = (uint32_t)regs->rax;
	struct fault fault = {.signal = SIGSEGV, .code = SI_KERNEL, .trap = 13};
	char rights[5] = "", name[256] = "";

	if ((leaf != 2 && leaf != 3) || regs->rbx & 4095 || !is_canonical(regs->rbx) ||
	    !is_canonical(regs->rcx))
		return fault;
	fault.trap = 14;
	fault.address = fault.cr2 = regs->rbx + 4095;
	if (!find_mapping(tid, regs->rbx, rights, name)) {
		fault.code = SEGV_MAPERR;
		fault.error = regs->rbx >> 47 ? 7 : 6;
	} else if (rights[1] != 'w') {
		fault.code = SEGV_ACCERR;
		fault.error = is_populated(tid, regs->rbx) ? 7 : 6;
	} else if (!strncmp(name, "/memfd:softsgx", 14) && !is_populated(tid, regs->rbx)) {
		/* Its faults are answered by a userfaultfd that wants SIGBUS. */
		fault.signal = SIGBUS;
		fault.code = BUS_ADRERR;
		fault.error = 6;
	} else {
		fault.code = SEGV_ACCERR;
		fault.error = 0x8007;
	}
	return fault;
}

static int is_enclu(pid_t tid, uint64_t rip)
{
	uint32_t code;

	errno = 0;
	code = (uint32_t)ptrace(PTRACE_PEEKTEXT, tid, rip, NULL);
	if (errno)
		return 0;
	if ((code & 0xf0) == 0x40)
		code >>= 8;
	return (code & 0xffffff) == 0xd7010f;
}

/* The signal to let through in place of SIGILL. */
static int convert(struct task *task)
{
	struct user_regs_struct regs;
	siginfo_t info;

	if (ptrace(PTRACE_GETREGS, task->tid, NULL, &regs) ||
	    ptrace(PTRACE_GETSIGINFO, task->tid, NULL, &info) || info.si_code <= 0 ||
	    !is_enclu(task->tid, regs.rip))
		return SIGILL;
	task->fault = native_fault(task->tid, &regs);
	task->rip = regs.rip;
	task->entering = 1;
	memset(&info, 0, sizeof(info));
	info.si_signo = task->fault.signal;
	info.si_code = task->fault.code;
	info.si_addr = (void *)task->fault.address;
	ptrace(PTRACE_SETSIGINFO, task->tid, NULL, &info);
	converted++;
	return task->fault.signal;
}

static void write_word(pid_t tid, uint64_t address, uint64_t value)
{
	struct iovec local = {&value, sizeof(value)}, remote = {(void *)address, sizeof(value)};

	if (process_vm_writev(tid, &local, 1, &remote, 1, 0) != sizeof(value)) {
		perror("frame");
		exit(1);
	}
}

/* At a handler's first instruction: the frame that RDX points to tells of the fault. */
static void fix_frame(struct task *task)
{
	struct user_regs_struct regs;
	uint64_t frame;

	ptrace(PTRACE_GETREGS, task->tid, NULL, &regs);
	frame = regs.rdx + offsetof(ucontext_t, uc_mcontext.gregs);
	write_word(task->tid, frame + REG_TRAPNO * 8, (uint64_t)task->fault.trap);
	write_word(task->tid, frame + REG_ERR * 8, task->fault.error);
	if (task->fault.trap == 14)
		write_word(task->tid, frame + REG_CR2 * 8, task->fault.cr2);
	task->entering = 0;
}

static void task_stopped(struct task *task, int status)
{
	int signal = WSTOPSIG(status);

	if (status >> 16) {
		ptrace(PTRACE_CONT, task->tid, NULL, 0);
		return;
	}
	if (signal == SIGTRAP && task->entering) {
		fix_frame(task);
		ptrace(PTRACE_CONT, task->tid, NULL, 0);
		return;
	}
	if (signal == SIGILL)
		signal = convert(task);
	ptrace(task->entering ? PTRACE_SINGLESTEP : PTRACE_CONT, task->tid, NULL, (long)signal);
}

/* Exit status of the program, or 128 and its signal. */
static int run(char **argv)
{
	int status, result = 1;
	pid_t child = fork(), tid;

	if (!child) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		execv(argv[0], argv);
		perror(argv[0]);
		_exit(127);
	}
	waitpid(child, &status, 0);
	ptrace(PTRACE_SETOPTIONS, child, NULL,
	       PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC |
		   PTRACE_O_EXITKILL);
	task_new(child);
	ptrace(PTRACE_CONT, child, NULL, 0);
	while ((tid = waitpid(-1, &status, __WALL)) > 0) {
		struct task *task = task_of(tid);

		if (!WIFSTOPPED(status)) {
			if (task)
				task->tid = 0;
			if (tid == child)
				result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		} else if (task) {
			task_stopped(task, status);
		} else {
			task_new(tid); /* born stopped */
			ptrace(PTRACE_CONT, tid, NULL, 0);
		}
	}
	return result;
}

/* Of a plain EENTER, at no TCS: 1 if it raises #UD, as where there is no SGX. */
static int is_enclu_undefined(void)
{
	int status = 0;
	pid_t child = fork();

	if (!child) {
		__asm__ volatile(".byte 0x0f, 0x01, 0xd7" : : "a"(2), "b"(1L), "c"(0L) : "memory");
		_exit(0);
	}
	waitpid(child, &status, 0);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGILL;
}

int main(int argc, char **argv)
{
	char path[PATH_MAX + 64], self[PATH_MAX] = "";
	int failed = 0;

	if (argc > 1)
		return run(argv + 1);
	if (!is_enclu_undefined()) {
		fprintf(stderr, "this processor executes ENCLU: the tests ran so by themselves\n");
		return 77;
	}
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		return 1;
	dirname(self);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		char *arguments[] = {path, NULL};
		int result;

		snprintf(path, sizeof(path), "%s/%s", self, tests[i]);
		converted = 0;
		result = run(arguments);
		if ((result && result != 77) || !converted) {
			fprintf(stderr, "%s: exit %d, %lu faults of ENCLU\n", tests[i], result, converted);
			failed = 1;
		}
	}
	return failed;
}
