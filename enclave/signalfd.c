/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include "enclave/calls.h"
#include "enclave/marshal.h"
#include "enclave/mm.h"
#include "enclave/ocall.h"
#include "enclave/signal.h"
#include "enclave/signalfd.h"
#include "enclave/spin.h"
#include "enclave/thread.h"

#define FILES SIGNALFDS_MAX
#define NUMBERS 256
#define BIT(file) (1ull << (file))
#define ALL_SIGNALS_BUT_TWO ~(1ull << (SIGKILL - 1) | 1ull << (SIGSTOP - 1))

static struct spin lock; /* protects the following; masks are read without it */
static uint64_t mask[FILES];
static uint64_t used; /* files */
static struct number {
	int32_t fd;
	uint32_t file;
} number[NUMBERS];
static uint32_t number_count;

static uint64_t rung; /* atomic. Bells that the host was told to ring since they were silenced */

static uint64_t load(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_SEQ_CST);
}

/* Under the lock. NULL: the number is none of a signalfd's. */
static struct number *find(int32_t fd)
{
	for (uint32_t i = 0; i < number_count; i++)
		if (number[i].fd == fd)
			return &number[i];
	return NULL;
}

static bool mask_get(uint64_t app, uint64_t *out)
{
	if (!mm_app_range(app, 8))
		return false;
	memcpy(out, (const void *)app, 8);
	*out &= ALL_SIGNALS_BUT_TWO;
	return true;
}

void signalfd_abandon(unsigned file)
{
	spin_lock(&lock);
	used &= ~BIT(file);
	spin_unlock(&lock);
}

int64_t signalfd_create(struct thread *t, uint64_t app_mask, uint64_t flags, unsigned *file)
{
	uint64_t wanted;
	if (!mask_get(app_mask, &wanted))
		return -EFAULT;
	spin_lock(&lock);
	unsigned i = 0;
	while (i < FILES && used & BIT(i))
		i++;
	if (i < FILES && number_count < NUMBERS) {
		used |= BIT(i);
		__atomic_store_n(&mask[i], wanted, __ATOMIC_SEQ_CST);
		__atomic_fetch_and(&rung, ~BIT(i), __ATOMIC_SEQ_CST);
	} else {
		i = FILES;
	}
	spin_unlock(&lock);
	if (i == FILES)
		return -EMFILE;
	int64_t fd = ocall(t, OCALL_SYSCALL, SYS_signalfd4, (const uint64_t[6]){i, 0, 0, flags}, NULL);
	if (fd < 0 || fd > INT_MAX) {
		signalfd_abandon(i);
		return fd < 0 && fd >= -4095 ? fd : -EIO;
	}
	*file = i;
	return fd;
}

static void forget(uint64_t first, uint64_t last)
{
	for (uint32_t i = 0; i < number_count;) {
		if (number[i].fd < 0 || (uint64_t)number[i].fd < first || (uint64_t)number[i].fd > last) {
			i++;
			continue;
		}
		uint32_t file = number[i].file;
		number[i] = number[--number_count];
		bool shared = false;
		for (uint32_t k = 0; k < number_count; k++)
			shared |= number[k].file == file;
		if (!shared)
			used &= ~BIT(file);
	}
}

void signalfd_closed(uint64_t first, uint64_t last)
{
	spin_lock(&lock);
	forget(first, last);
	spin_unlock(&lock);
}

/* The number was free: one that is known here the host has closed behind the program's back. */
void signalfd_open(int fd, unsigned file)
{
	spin_lock(&lock);
	forget((uint64_t)fd, (uint64_t)fd);
	used |= BIT(file);
	if (number_count < NUMBERS)
		number[number_count++] = (struct number){fd, file};
	spin_unlock(&lock);
}

int64_t signalfd_duped(int from, int to)
{
	int64_t rc = 0;
	spin_lock(&lock);
	const struct number *n = find(from);
	uint32_t file = n ? n->file : FILES;
	if (from != to)
		forget((uint64_t)to, (uint64_t)to);
	if (n && from != to && number_count == NUMBERS)
		rc = -EMFILE;
	else if (file < FILES && from != to)
		number[number_count++] = (struct number){to, file};
	spin_unlock(&lock);
	return rc;
}

static int file_of(uint64_t fd)
{
	spin_lock(&lock);
	const struct number *n = find((int32_t)fd);
	int file = n ? (int)n->file : -1;
	spin_unlock(&lock);
	return file;
}

int64_t signalfd_change(uint64_t fd, uint64_t app_mask)
{
	uint64_t wanted;
	int file = file_of(fd);
	if (file < 0)
		return -EINVAL;
	if (!mask_get(app_mask, &wanted))
		return -EFAULT;
	__atomic_store_n(&mask[file], wanted, __ATOMIC_SEQ_CST);
	return (int64_t)fd;
}

/* ---- bells ---- */

uint64_t signalfd_due(void)
{
	if (!load(&used))
		return 0;
	uint64_t pending = signal_pending_anywhere(), due = 0;
	for (unsigned i = 0; i < FILES; i++)
		if (load(&used) & BIT(i) && load(&mask[i]) & pending)
			due |= BIT(i);
	return due & ~__atomic_fetch_or(&rung, due, __ATOMIC_SEQ_CST);
}

void signalfd_ring(struct thread *t)
{
	uint64_t due = signalfd_due();
	if (due)
		ocall(t, OCALL_BELLS, 0, (const uint64_t[6]){due, 0}, NULL);
}

/* The host's bell first: one that rings before it is silenced is gone with it, and no other rings until the bit is clear.
 * What is pending by then rings anew. */
static void silence(struct thread *t, int file)
{
	ocall(t, OCALL_BELLS, 0, (const uint64_t[6]){0, BIT(file)}, NULL);
	__atomic_fetch_and(&rung, ~BIT(file), __ATOMIC_SEQ_CST);
	signalfd_ring(t);
}

/* ---- reading ---- */

static int64_t take_one(struct thread *t, int file, uint64_t app)
{
	uint8_t info[128];
	int32_t w[6];
	if (!signal_take(t, load(&mask[file]), info))
		return -EAGAIN;
	memcpy(w, info, sizeof w);
	struct signalfd_siginfo out = {.ssi_signo = (uint32_t)w[0], .ssi_code = w[2]};
	if (out.ssi_code == SI_TIMER) {
		out.ssi_tid = (uint32_t)w[4];
		out.ssi_overrun = (uint32_t)w[5];
	} else {
		out.ssi_pid = (uint32_t)w[4];
		out.ssi_uid = (uint32_t)w[5];
	}
	memcpy(&out.ssi_ptr, info + sizeof w, sizeof out.ssi_ptr);
	out.ssi_int = (int32_t)out.ssi_ptr;
	memcpy((void *)app, &out, sizeof out);
	marks_set(app, sizeof out);
	return 0;
}

static bool waits(struct thread *t, uint64_t fd)
{
	int64_t flags = ocall(t, OCALL_SYSCALL, SYS_fcntl, (const uint64_t[6]){fd, F_GETFL}, NULL);
	return flags >= 0 && !(flags & O_NONBLOCK);
}

int64_t signalfd_read(struct thread *t, uint64_t fd, uint64_t app, uint64_t size)
{
	const uint64_t one = sizeof(struct signalfd_siginfo);
	int file = file_of(fd);
	if (file < 0)
		return -EBADF;
	if (size < one)
		return -EINVAL;
	if (size / one > 64)
		size = 64 * one;
	if (!mm_app_range(app, size))
		return -EFAULT;
	for (;;) {
		uint64_t done = 0;
		while (done + one <= size && take_one(t, file, app + done) == 0)
			done += one;
		if (done == 0 || !(signal_pending_anywhere() & load(&mask[file])))
			silence(t, file);
		if (done)
			return (int64_t)done;
		if (!waits(t, fd))
			return -EAGAIN;
		struct pollfd p = {.fd = (int)fd, .events = POLLIN};
		uint64_t at = area_data(t);
		host_copy_out(at, &p, sizeof p);
		int64_t rc = call_out(t, SYS_poll, (const uint64_t[6]){at, 1, (uint64_t)-1});
		if (rc < 0)
			return rc < -4095 ? -EIO : rc;
	}
}

/* ---- hand-over: which bells ring is asked anew at the other side ---- */

void signalfd_export(struct writer *w)
{
	put_u64(w, used);
	for (unsigned i = 0; i < FILES; i++)
		if (used & BIT(i))
			put_u64(w, mask[i]);
	put_u64(w, number_count);
	put_bytes(w, number, number_count * sizeof number[0]);
}

void signalfd_import(struct reader *r)
{
	uint64_t files = get_u64(r);
	for (unsigned i = 0; i < FILES; i++)
		mask[i] = files & BIT(i) ? get_u64(r) : 0;
	uint64_t count = get_u64(r);
	if (r->bad || count > NUMBERS) {
		r->bad = true;
		return;
	}
	get_bytes(r, number, count * sizeof number[0]);
	number_count = (uint32_t)count;
	for (uint32_t i = 0; i < number_count; i++)
		if (number[i].file >= FILES)
			r->bad = true;
	used = r->bad ? 0 : files;
}
