/* SPDX-License-Identifier: Apache-2.0
 *
 * How control crosses the border. The host enters with EENTER, the enclave
 * leaves with EEXIT; both pass three words in RDI, RSI, RDX.
 *
 * Entry (RDI = enum ecall):
 *   ECALL_THREAD   RSI = struct call_area *, RDX = bytes in it. First entry of an
 *                  application slot; the slot decides by its own record what to
 *                  run (main, a cloned thread, a thread that was moved here).
 *   ECALL_RETURN   the ocall in the call area is answered; go on.
 *   ECALL_SERVICE  RSI = struct service_call *. Service slots only.
 * Exit (RDI = enum eexit):
 *   EEXIT_OCALL    the call area holds a request.
 *   EEXIT_DONE     ECALL_THREAD: the thread is gone, its slot is free.
 *                  ECALL_SERVICE: done, .result is set.
 *   EEXIT_RESUME   from an exception entry (CSSA > 0): ERESUME now; if RDX is not 0, once the page of that
 *                  number may have come from where the enclave was before.
 *   EEXIT_FATAL    the enclave is dead; RSI = enum fatal. Every later entry
 *                  gives EEXIT_FATAL too.
 * An exception inside the enclave (the vDSO call returns with function ==
 * SGX_ERESUME and an exception vector) is answered by EENTER of the same TCS
 * with RDI = ECALL_FAULT; the enclave reads its SSA, not the host's word.
 *
 * Everything here lies in the host's memory and is hostile to the enclave: it
 * checks the area once, copies fields in, and never reads one twice. An
 * incompatible change raises ABI_VERSION (abi/image.h).
 */
#ifndef ABI_CALL_H
#define ABI_CALL_H

#include <stdint.h>

enum ecall {
	ECALL_THREAD = 1,
	ECALL_RETURN = 2,
	ECALL_SERVICE = 3,
	ECALL_FAULT = 4,
};

enum eexit {
	EEXIT_OCALL = 1,
	EEXIT_DONE = 2,
	EEXIT_RESUME = 3,
	EEXIT_FATAL = 4,
};

enum fatal {
	FATAL_NONE = 0,
	FATAL_BAD_ENTRY = 1,     /* host broke the protocol above */
	FATAL_PAGE_ATTACK = 2,   /* fault on a page that must be present */
	FATAL_SEGV = 3,          /* the application touched what it has not mapped */
	FATAL_EXCEPTION = 4,     /* another exception (#UD, #DE ...) in the application */
	FATAL_INTERNAL = 5,
	FATAL_MOVED = 6,         /* committed elsewhere, keys wiped */
};
/* FATAL_SEGV, FATAL_EXCEPTION from a fault: the signal the program died of, above its reason. */
#define FATAL_SIGNAL_SHIFT 8
/* From the fault that ended the enclave, and from no other thread: a sentence about it is in the call area, data. */
#define FATAL_TOLD (1ull << 16)

/* Requests to the host. */
enum ocall {
	OCALL_SYSCALL = 1,       /* nr, arg[6] -> result (value or -errno) */
	OCALL_WAIT = 2,          /* arg[0]: absolute CLOCK_MONOTONIC ns of the host or ~0; wait for this slot's wake token */
	OCALL_WAKE = 3,          /* arg[0]: slot; give it its token and wake it. arg[1] = 1: out of any blocking call */
	OCALL_THREAD_CREATE = 4, /* arg[0]: slot; a host thread enters it with ECALL_THREAD -> 0 or -errno */
	OCALL_EXIT = 5,          /* arg[0]: exit status of the whole program; does not return */
	OCALL_PARK = 6,          /* parked for a move; wait until the host unparks this slot */
	OCALL_TRACE = 7,         /* for --trace: system call arg[0] is refused; arg[1]: 1 if an enclave has none such */
	OCALL_SIGNAL_SELF = 8,   /* arg[0]: signal number the program dies of */
	OCALL_DIE = 9,           /* arg[0]: enum fatal, data: text for the operator, arg[1] bytes; does not return */
	OCALL_TIMERS = 10,       /* the program has set a timer: SERVICE_TIMERS says when it rings */
	OCALL_BELLS = 11,        /* signalfds, by bits: arg[0] can be read from now on, arg[1] no more */
};

/* To the host a signalfd is made by OCALL_SYSCALL, SYS_signalfd4, with its bit's number in arg[0], flags in arg[3]. */
#define SIGNALFDS_MAX 64

/*
 * One per host thread that runs an application slot, in host memory, page
 * aligned, CALL_AREA_SIZE bytes. Pointer arguments of OCALL_SYSCALL are
 * absolute addresses inside .data: the host may pass them to the kernel as
 * they are, and translates file descriptor arguments only (an application's
 * descriptor numbers are its own).
 */
#define CALL_AREA_SIZE 0x110000u
#define CALL_DATA_SIZE (CALL_AREA_SIZE - 0x1000u)
struct call_area {
	uint32_t op; /* enum ocall */
	uint32_t flags;
	uint64_t nr;
	uint64_t arg[6];
	int64_t result;
	/* Set by the host for OCALL_SYSCALL, OCALL_WAIT: 1 if the call was cut short by
	 * enclave_kick_all() and had no effect (result is then -EINTR). */
	uint32_t interrupted;
	uint32_t reserved0;
	uint64_t reserved[502];
	uint8_t data[CALL_DATA_SIZE];
} __attribute__((packed, aligned(4096)));
_Static_assert(__builtin_offsetof(struct call_area, data) == 0x1000, "data starts on a page");

/* What the host tells a fresh enclave: SERVICE_START's input. Strings are NUL terminated, one after another. */
struct start_info {
	uint32_t argc;
	uint32_t envc;
	uint32_t flags;    /* START_TRACE */
	uint32_t uid, gid, pid;
	uint32_t strings_size;
	uint32_t reserved;
	char strings[];     /* argv[0] .. argv[argc-1], env[0] .. env[envc-1] */
};
#define START_TRACE 1u

/* Kept fresh by the host, read by the enclave (seqlock: odd seq = being written). Believed
 * only as far as a host's clock can be: the enclave never lets time run backwards. */
struct time_page {
	uint32_t seq;
	uint32_t reserved;
	uint64_t tsc;      /* RDTSC at the moment of the two clocks below */
	uint64_t mono_ns;
	uint64_t real_ns;
	uint64_t tsc_hz;
	/* What the program's threads have used of processors since its host process began: in user mode, and in all. Not
	 * under seq; as of the host's last SERVICE_TIMERS, or the stop of a move. */
	uint64_t cpu_ns[2];
};

/*
 * Service calls: the host's requests to the runtime. Input and output are host
 * memory; the enclave copies input in before it looks at it.
 */
struct service_call {
	uint32_t op; /* enum service_op, or one of abi/migrate.h */
	int32_t result; /* 0 or -errno */
	uint64_t in, in_size;
	uint64_t out, out_size;  /* capacity; on return out_size is what was written */
	uint64_t arg[4];
	uint64_t ret[4];
};

enum service_op {
	SERVICE_START = 1,  /* in: struct start_info. Makes the main thread's record: slot THREAD_SLOTS_SERVICE may then be entered */
	SERVICE_SIGNAL = 2, /* arg[0]: signal number from outside, delivered at a safepoint; ret[0]: slot to kick or ~0; ret[1]:
			     * signalfds that can be read now */
	SERVICE_STATS = 3,  /* out: struct runtime_stats */
	SERVICE_CLOCK = 4,  /* arg[0]: address of a struct time_page in host memory. Once, before anything runs */
	SERVICE_TIMERS = 5, /* a timer of the program may be due. ret[0]: slot to kick or ~0; ret[1]: when to ask again, on
			     * the host's CLOCK_MONOTONIC in ns, ~0 never (until OCALL_TIMERS, or threads that were stopped
			     * go on); ret[2], ret[3]: the same on each of time_page's cpu_ns; out: signalfds that can be
			     * read now, 8 bytes */
	/* DEBUG enclaves only, for tests of the tracker: stop all threads as a move would, ask how many still run
	 * (ret[0]), take what a final round would send (pages arg[0] .. arg[0] + arg[1], out: its bitmap,
	 * then one of the pages that need not travel), go on. */
	SERVICE_INSPECT_STOP = 10,
	SERVICE_INSPECT_PENDING = 11,
	SERVICE_INSPECT_DIRTY = 12,
	SERVICE_INSPECT_GO = 13,
	SERVICE_MIGRATE_FIRST = 100, /* abi/migrate.h */
};

struct runtime_stats {
	uint64_t pages_accepted; /* pages of the application that exist */
	uint64_t pages_mapped;
	uint64_t pages_deferred; /* that live, and are still where the program was before */
	uint64_t threads;
	uint64_t ocalls;
	uint64_t faults;
};

#endif
