/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/migrate/pair.h"
#include <mbedtls/ecdsa.h>
#include <mbedtls/sha256.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/migrate/fake_runtime.h"

void check_failed(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: %s\n", file, line, what);
	exit(1);
}

/* ---- a root for software evidence ---- */
static mbedtls_ecp_group group;
static mbedtls_mpi root_secret;
static uint8_t root_public[64];

static int random_bytes(void *context, unsigned char *out, size_t size)
{
	return getrandom(out, size, 0) == (ssize_t)size ? 0 : -1;
}

static void root_make(void)
{
	mbedtls_ecp_point point;
	uint8_t raw[65];
	size_t size;
	if (group.id == MBEDTLS_ECP_DP_SECP256R1)
		return;
	mbedtls_ecp_group_init(&group);
	mbedtls_mpi_init(&root_secret);
	mbedtls_ecp_point_init(&point);
	CHECK(mbedtls_ecp_group_load(&group, MBEDTLS_ECP_DP_SECP256R1) == 0);
	CHECK(mbedtls_ecp_gen_keypair(&group, &root_secret, &point, random_bytes, NULL) == 0);
	CHECK(mbedtls_ecp_point_write_binary(&group, &point, MBEDTLS_ECP_PF_UNCOMPRESSED, &size, raw, 65) ==
	      0);
	mbedtls_ecp_point_free(&point);
	memcpy(root_public, raw + 1, 64);
}

/* ---- one side ---- */
void side_open(struct side *s, const struct identity *who)
{
	int fds[2];
	root_make();
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
	s->pid = fork();
	CHECK(s->pid >= 0);
	if (s->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(fds[0]);
		fake_runtime_serve(fds[1], who, root_public);
	}
	close(fds[1]);
	s->fd = fds[0];
}

void side_close(struct side *s)
{
	shutdown(s->fd, SHUT_RDWR); /* the other side may hold a copy of it */
	close(s->fd);
	waitpid(s->pid, NULL, 0);
}

static void transfer_all(ssize_t (*f)(int, void *, size_t), int fd, void *data, size_t size)
{
	for (char *p = data; size;) {
		ssize_t n = f(fd, p, size);
		CHECK(n > 0);
		p += n;
		size -= (size_t)n;
	}
}

static ssize_t write_plain(int fd, void *data, size_t size)
{
	return write(fd, data, size);
}

static int side_exchange(struct side *s, struct service_call *c, const void *in, void *out, size_t *out_size,
			 uint64_t ret[4])
{
	struct service_call call = *c;
	size_t in_size = call.in_size;
	transfer_all(write_plain, s->fd, &call, sizeof(call));
	transfer_all(write_plain, s->fd, (void *)in, in_size);
	transfer_all(read, s->fd, &call, sizeof(call));
	CHECK(call.out_size <= (out_size ? *out_size : 0));
	transfer_all(read, s->fd, out, call.out_size);
	if (out_size)
		*out_size = call.out_size;
	if (ret)
		memcpy(ret, call.ret, sizeof(call.ret));
	return call.result;
}

int side_call(struct side *s, uint32_t op, uint64_t arg0, uint64_t arg1, const void *in, size_t in_size,
	      void *out, size_t *out_size, uint64_t ret[4])
{
	struct service_call call = {
	    .op = op, .in_size = in_size, .out_size = out_size ? *out_size : 0, .arg = {arg0, arg1}};
	return side_exchange(s, &call, in, out, out_size, ret);
}

int side_do(struct side *s, uint32_t op, uint64_t arg0, uint64_t arg1)
{
	return side_call(s, op, arg0, arg1, NULL, 0, NULL, NULL, NULL);
}

uint64_t side_ask(struct side *s, uint32_t op, uint64_t arg0)
{
	uint64_t ret[4];
	CHECK(side_call(s, op, arg0, 0, NULL, 0, NULL, NULL, ret) == 0);
	return ret[0];
}

int message_get(struct side *s, uint32_t op, uint64_t arg0, const struct message *in, struct message *out)
{
	out->size = sizeof(out->data);
	return side_call(s, op, arg0, 0, in ? in->data : NULL, in ? in->size : 0, out->data, &out->size,
			 NULL);
}

int message_put(struct side *s, uint32_t op, uint64_t arg0, const struct message *m)
{
	return side_call(s, op, arg0, 0, m->data, m->size, NULL, NULL, NULL);
}

/* ---- both ---- */
void pair_open(struct pair *p, const struct identity *source, const struct identity *destination)
{
	side_open(&p->source, source);
	side_open(&p->destination, destination);
	CHECK(side_do(&p->source, POKE_START, 0, 0) == 0);
}

void pair_close(struct pair *p)
{
	side_close(&p->source);
	side_close(&p->destination);
}

int pair_hello(struct pair *p, unsigned streams)
{
	static struct message offer, answer;
	int rc = message_get(&p->source, MIGRATE_OFFER, streams, NULL, &offer);
	if (rc == 0)
		rc = message_get(&p->destination, MIGRATE_ACCEPT, 0, &offer, &answer);
	if (rc == 0)
		rc = message_put(&p->source, MIGRATE_ANSWERED, 0, &answer);
	return rc;
}

#define QUOTE(evidence) ((struct softsgx_quote *)((evidence)->data + sizeof(struct evidence)))

void evidence_sign(struct message *evidence)
{
	uint8_t hash[32];
	mbedtls_mpi r, s;
	struct softsgx_quote *quote = QUOTE(evidence);
	mbedtls_mpi_init(&r);
	mbedtls_mpi_init(&s);
	mbedtls_sha256_ret((const uint8_t *)quote, offsetof(struct softsgx_quote, signature), hash, 0);
	CHECK(mbedtls_ecdsa_sign(&group, &r, &s, &root_secret, hash, 32, random_bytes, NULL) == 0);
	mbedtls_mpi_write_binary(&r, quote->signature, 32);
	mbedtls_mpi_write_binary(&s, quote->signature + 32, 32);
	mbedtls_mpi_free(&r);
	mbedtls_mpi_free(&s);
}

void evidence_make(struct side *s, struct message *evidence)
{
	struct sgx_targetinfo target;
	struct evidence head = {EVIDENCE_SOFTSGX_QUOTE, sizeof(struct softsgx_quote)};
	struct softsgx_quote *quote = QUOTE(evidence);
	size_t size = sizeof(quote->report);
	memset(&target, 0, sizeof(target));
	memset(quote, 0, sizeof(*quote));
	memcpy(evidence->data, &head, sizeof(head));
	memcpy(quote->magic, "SOFTQUOT", 8);
	quote->version = 1;
	CHECK(side_call(s, MIGRATE_REPORT, 0, 0, &target, sizeof(target), &quote->report, &size, NULL) == 0);
	evidence->size = sizeof(head) + sizeof(*quote);
	evidence_sign(evidence);
}

int pair_attest(struct pair *p)
{
	static struct message source, destination;
	evidence_make(&p->source, &source);
	evidence_make(&p->destination, &destination);
	int rc = message_put(&p->source, MIGRATE_PEER, 0, &destination);
	return rc ? rc : message_put(&p->destination, MIGRATE_PEER, 0, &source);
}

int pair_secure(struct pair *p, unsigned streams)
{
	int rc = pair_hello(p, streams);
	return rc ? rc : pair_attest(p);
}

void pair_choose(struct pair *p, enum migrate_round kind, uint64_t most, uint64_t grow, uint64_t ret[4])
{
	struct service_call call = {.op = MIGRATE_ROUND, .arg = {kind, most, grow}};
	CHECK(side_exchange(&p->source, &call, NULL, NULL, NULL, ret) == 0);
	pair_export(p);
}

void pair_send(struct pair *p, unsigned streams, uint64_t counts[2])
{
	static struct message record;
	for (unsigned stream = 0; stream < streams; stream++) {
		for (;;) {
			uint64_t sent[4], got[4];
			record.size = sizeof(record.data);
			CHECK(side_call(&p->source, MIGRATE_SEND, stream, 0, NULL, 0, record.data,
					&record.size, sent) == 0);
			if (sent[0] == 0)
				break;
			CHECK(side_call(&p->destination, MIGRATE_RECEIVE, stream, 0, record.data, record.size,
					NULL, NULL, got) == 0);
			CHECK(sent[1] == got[1] && sent[2] == got[2]);
			if (counts) {
				counts[0] += got[1];
				counts[1] += got[2];
			}
		}
	}
}

void pair_round(struct pair *p, unsigned streams, enum migrate_round kind, uint64_t counts[2])
{
	pair_choose(p, kind, UINT64_MAX, 0, NULL);
	pair_send(p, streams, counts);
}

void pair_stop(struct pair *p)
{
	CHECK(side_do(&p->source, MIGRATE_STOP, 0, 0) == 0);
	CHECK(side_ask(&p->source, MIGRATE_PENDING, 0) == 0);
}

void pair_export(struct pair *p)
{
	static struct message record;
	for (;;) {
		CHECK(message_get(&p->source, MIGRATE_EXPORT, 0, NULL, &record) == 0);
		if (record.size == 0)
			return;
		CHECK(message_put(&p->destination, MIGRATE_RECEIVE, MIGRATE_CONTROL, &record) == 0);
	}
}
