/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/trusted.h"
#include <errno.h>
#include <string.h>
#include "softsgx/softsgx.h"

int trusted(struct enclave *e, enum migrate_op op, uint64_t arg, struct trusted_call *c)
{
	struct service_call call = {.op = op, .arg = {arg}};
	if (c) {
		call.arg[1] = c->more[0];
		call.arg[2] = c->more[1];
		call.in = (uintptr_t)c->in;
		call.in_size = c->in_size;
		call.out = (uintptr_t)c->out;
		call.out_size = c->out_size;
	}
	int rc = enclave_service(e, &call);
	if (rc)
		return rc;
	if (c) {
		/* The enclave's word on sizes is not needed to be safe: it is ours that must hold. */
		c->out_size = call.out_size < c->out_size ? call.out_size : c->out_size;
		memcpy(c->ret, call.ret, sizeof(c->ret));
	}
	return call.result;
}

int trusted_peer_refused(int rc, const char *peer, struct failure *why)
{
	switch (rc) {
	case -EACCES:
		return fail(why, rc, "the program is signed with --production and takes neither software SGX nor a debug enclave: %s "
			    "has one of these", peer);
	case -EKEYREJECTED:
		return fail(why, rc, "%s has the same program signed by another key, or otherwise (--debug): both hosts need the same "
			    "image", peer);
	case -EBADMSG:
		return fail(why, rc, "%s has shown no authentic evidence of being the same enclave", peer);
	default:
		return fail(why, rc, "the enclave refused the evidence of %s: %s", peer, strerror(-rc));
	}
}

int trusted_evidence(struct enclave *e, void *out, size_t capacity, size_t *size, struct failure *why)
{
	struct sgx_targetinfo target;
	struct sgx_report report;
	struct softsgx_quote quote;
	struct evidence head = {EVIDENCE_SOFTSGX_QUOTE, sizeof(quote)};
	struct trusted_call c = {
	    .in = &target, .in_size = sizeof(target), .out = &report, .out_size = sizeof(report)};
	if (!enclave_is_software(e))
		return fail(why, -ENOTSUP, "no quoting service for hardware SGX is supported yet");
	if (capacity < sizeof(head) + sizeof(quote))
		return fail(why, -ENOSPC, "no room for evidence");
	int rc = softsgx_quote_target(&target);
	if (rc == 0)
		rc = trusted(e, MIGRATE_REPORT, 0, &c);
	if (rc == 0)
		rc = softsgx_quote(&report, &quote);
	if (rc)
		return fail(why, rc, "cannot get evidence for this enclave: %s", strerror(-rc));
	memcpy(out, &head, sizeof(head));
	memcpy((char *)out + sizeof(head), &quote, sizeof(quote));
	*size = sizeof(head) + sizeof(quote);
	return 0;
}
