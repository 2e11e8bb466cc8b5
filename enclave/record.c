/* SPDX-License-Identifier: Apache-2.0 */
#include "enclave/record.h"
#include <errno.h>
#include "enclave/rt.h"

_Static_assert(offsetof(struct record, run) == sizeof(struct record_header), "header and runs are one range");

/* IPsec-MB's kernels and NIST's bound on one key are far above this. Only hosts that mean to reach it. */
#define COUNTER_LIMIT (1ull << 32)

static size_t head_size(const struct record *r)
{
	return sizeof(r->header) + r->header.run_count * sizeof(r->run[0]);
}

static void iv_of(uint64_t counter, uint8_t iv[static GCM_IV_SIZE])
{
	memset(iv, 0, GCM_IV_SIZE);
	memcpy(iv + GCM_IV_SIZE - sizeof(counter), &counter, sizeof(counter));
}

void record_start(struct record *r, enum record_type type)
{
	memset(&r->header, 0, sizeof(r->header));
	r->header.magic = RECORD_MAGIC;
	r->header.version = RECORD_VERSION;
	r->header.type = (uint8_t)type;
}

int record_may_seal(const struct channel *c)
{
	if (!c->open)
		return -EPERM;
	return c->next < COUNTER_LIMIT ? 0 : -EOVERFLOW;
}

int record_seal(struct channel *c, struct record *r)
{
	uint8_t iv[GCM_IV_SIZE];
	int rc = record_may_seal(c);
	if (rc)
		return rc;
	r->header.stream = c->stream;
	r->header.counter = c->next++;
	iv_of(r->header.counter, iv);
	gcm_seal(&c->key, iv, &r->header, head_size(r), r->body, r->header.body_size, r->tag);
	return 0;
}

size_t record_size(const struct record *r)
{
	return head_size(r) + r->header.body_size + RECORD_TAG_SIZE;
}

int record_write(const struct record *r, uint64_t u_out, size_t capacity)
{
	if (capacity < record_size(r))
		return -ENOSPC;
	size_t head = head_size(r);
	host_copy_out(u_out, &r->header, head);
	host_copy_out(u_out + head, r->body, r->header.body_size);
	host_copy_out(u_out + head + r->header.body_size, r->tag, RECORD_TAG_SIZE);
	return 0;
}

int record_read(struct record *r, uint64_t u_in, size_t size)
{
	if (size < RECORD_SIZE_MIN || size > RECORD_SIZE_MAX)
		return -EBADMSG;
	host_copy_in(&r->header, u_in, sizeof(r->header));
	if (r->header.magic != RECORD_MAGIC || r->header.version != RECORD_VERSION ||
	    r->header.run_count > RECORD_RUNS_MAX || r->header.body_size > RECORD_BODY_MAX ||
	    record_size(r) != size)
		return -EBADMSG;
	size_t head = head_size(r);
	host_copy_in(r->run, u_in + sizeof(r->header), head - sizeof(r->header));
	host_copy_in(r->body, u_in + head, r->header.body_size);
	host_copy_in(r->tag, u_in + head + r->header.body_size, RECORD_TAG_SIZE);
	return 0;
}

int record_open(struct channel *c, struct record *r)
{
	uint8_t iv[GCM_IV_SIZE];
	if (!c->open)
		return -EPERM;
	if (r->header.stream != c->stream || r->header.counter != c->next)
		return -EBADMSG;
	iv_of(r->header.counter, iv);
	int rc = gcm_open(&c->key, iv, &r->header, head_size(r), r->body, r->header.body_size, r->tag);
	if (rc == 0)
		c->next++;
	return rc;
}
