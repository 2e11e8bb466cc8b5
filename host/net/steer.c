/* SPDX-License-Identifier: Apache-2.0 */
#include "host/net/steer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host/net/steer_tc.h"

#define ATTACH_TCX_INGRESS 46 /* BPF_TCX_INGRESS, Linux 6.6 */
#define ATTACH_TCX_EGRESS 47
#define TCX_PASS_ON (-1)      /* TCX_NEXT */
#define TCX_DROP 2
#define ADDRESSES_MAX 64

bool steer_avoid_tcx;

static int bpf(int command, union bpf_attr *attr)
{
	long r = syscall(SYS_bpf, command, attr, sizeof(*attr));
	return r < 0 ? -errno : (int)r;
}

/* A jump names its target by label; labels vanish when the program is put together. */
enum label {
	IPV4 = 1,
	IPV6,
	SOLICITED,
	MAPPED,
	WIDE,
	FIND,
	ASKED,
	NEW,
	NEW6,
	FLAGS,
	MATCHED,
	REDIRECT,
	PASS,
	DROP,
	LABEL_COUNT
};
#define LABEL_CODE 0xff

#define INSN(c, d, s, o, i)                                                                                  \
	((struct bpf_insn){.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)})
#define AT(l) INSN(LABEL_CODE, 0, 0, l, 0)
#define MOV(d, s) INSN(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define MOV_IMM(d, i) INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define ADD_IMM(d, i) INSN(BPF_ALU64 | BPF_ADD | BPF_K, d, 0, 0, i)
#define ADD(d, s) INSN(BPF_ALU64 | BPF_ADD | BPF_X, d, s, 0, 0)
#define AND_IMM(d, i) INSN(BPF_ALU64 | BPF_AND | BPF_K, d, 0, 0, i)
#define LSH_IMM(d, i) INSN(BPF_ALU64 | BPF_LSH | BPF_K, d, 0, 0, i)
#define LOAD_W(d, s, o) INSN(BPF_LDX | BPF_MEM | BPF_W, d, s, o, 0)
#define LOAD_B(d, s, o) INSN(BPF_LDX | BPF_MEM | BPF_B, d, s, o, 0)
#define STORE_W(d, s, o) INSN(BPF_STX | BPF_MEM | BPF_W, d, s, o, 0)
#define STORE_W_IMM(d, o, i) INSN(BPF_ST | BPF_MEM | BPF_W, d, 0, o, i)
#define ATOMIC_ADD(d, s, o) INSN(BPF_STX | BPF_ATOMIC | BPF_DW, d, s, o, BPF_ADD)
#define CALL(f) INSN(BPF_JMP | BPF_CALL, 0, 0, 0, f)
#define JUMP(l) INSN(BPF_JMP | BPF_JA, 0, 0, l, 0)
#define JUMP_IF(op, d, i, l) INSN(BPF_JMP | (op) | BPF_K, d, 0, l, i)
#define RETURN(v) MOV_IMM(BPF_REG_0, v), INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
/* size bytes of the packet at offset (a register was set to it before, or an immediate) into the stack */
#define PACKET_TO_STACK(stack, size)                                                                         \
	MOV(BPF_REG_1, BPF_REG_6), MOV(BPF_REG_3, BPF_REG_10), ADD_IMM(BPF_REG_3, stack),                    \
	    MOV_IMM(BPF_REG_4, size), CALL(BPF_FUNC_skb_load_bytes), JUMP_IF(BPF_JNE, BPF_REG_0, 0, PASS)
#define RULE(field) offsetof(struct steer_rule, field)
#define SKB(field) offsetof(struct __sk_buff, field)
#define IP_SOURCE (ETH_HLEN + 12)
#define IP_DESTINATION (ETH_HLEN + 16)
#define IP_PROTOCOL (ETH_HLEN + 9)
#define IP6_NEXT_HEADER (ETH_HLEN + 6)
#define IP6_SOURCE (ETH_HLEN + 8)
#define IP6_DESTINATION (ETH_HLEN + 24)
#define IP6_BODY (ETH_HLEN + 40)
#define ND_TARGET (IP6_BODY + 8)
#define ARP_TARGET (ETH_HLEN + 24)
#define ARP_OPERATION (ETH_HLEN + 6)
#define TCP_FLAGS 13
#define TCP_SYN_ACK_BITS 0x12
#define TCP_SYN_BIT 0x02

/* Takes the labels out, and puts the distances to them in their jumps. */
static int load_program(struct bpf_insn *program, int size)
{
	int place[LABEL_COUNT] = {0}, count = 0;
	for (int i = 0; i < size; i++) {
		if (program[i].code == LABEL_CODE)
			place[program[i].off] = count;
		else
			program[count++] = program[i];
	}
	for (int i = 0; i < count; i++) {
		uint8_t class = BPF_CLASS(program[i].code), op = BPF_OP(program[i].code);
		if (class == BPF_JMP && op != BPF_CALL && op != BPF_EXIT)
			program[i].off = (int16_t)(place[program[i].off] - i - 1);
	}
	union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_SCHED_CLS,
			       .insns = (uintptr_t)program,
			       .insn_cnt = (uint32_t)count,
			       .license = (uintptr_t)"Apache-2.0"};
	return bpf(BPF_PROG_LOAD, &attr);
}

/* R0: the rule of the address on the stack, from -16 on. */
#define FIND_RULE(map)                                                                                       \
	INSN(BPF_LD | BPF_DW | BPF_IMM, BPF_REG_1, BPF_PSEUDO_MAP_FD, 0, map), INSN(0, 0, 0, 0, 0),          \
	    MOV(BPF_REG_2, BPF_REG_10), ADD_IMM(BPF_REG_2, -16), CALL(BPF_FUNC_map_lookup_elem)
/* The address on the stack, all but its end, as ::ffff:a.b.c.d */
#define MAPPED_TO_STACK                                                                                      \
	STORE_W_IMM(BPF_REG_10, -16, 0), STORE_W_IMM(BPF_REG_10, -12, 0),                                    \
	    STORE_W_IMM(BPF_REG_10, -8, (int32_t)htonl(0xffff))

static int load_entrance(int map)
{
	/* R6: the packet, R7: its address's rule, R8: where the address stands, then the rule's flags, R9:
	   KIND_. The stack: the address from -16 on, a scratch byte or two at -24. */
	enum { KIND_IPV4, KIND_IPV6, KIND_QUESTION /* who has the address? */ };
	struct bpf_insn program[] = {
	    MOV(BPF_REG_6, BPF_REG_1),
	    LOAD_W(BPF_REG_9, BPF_REG_6, SKB(protocol)),
	    JUMP_IF(BPF_JEQ, BPF_REG_9, htons(ETH_P_IP), IPV4),
	    JUMP_IF(BPF_JEQ, BPF_REG_9, htons(ETH_P_IPV6), IPV6),
	    JUMP_IF(BPF_JNE, BPF_REG_9, htons(ETH_P_ARP), PASS),

	    /* Answers to our own questions must come in. */
	    MOV_IMM(BPF_REG_2, ARP_OPERATION),
	    PACKET_TO_STACK(-24, 2),
	    LOAD_B(BPF_REG_1, BPF_REG_10, -23),
	    JUMP_IF(BPF_JNE, BPF_REG_1, ARPOP_REQUEST, PASS),
	    MOV_IMM(BPF_REG_9, KIND_QUESTION),
	    MOV_IMM(BPF_REG_8, ARP_TARGET),
	    JUMP(MAPPED),

	    AT(IPV4),
	    MOV_IMM(BPF_REG_9, KIND_IPV4),
	    MOV_IMM(BPF_REG_8, IP_DESTINATION),
	    AT(MAPPED),
	    MAPPED_TO_STACK,
	    MOV(BPF_REG_2, BPF_REG_8),
	    PACKET_TO_STACK(-4, 4),
	    JUMP(FIND),

	    AT(IPV6),
	    MOV_IMM(BPF_REG_9, KIND_IPV6),
	    MOV_IMM(BPF_REG_2, IP6_NEXT_HEADER),
	    PACKET_TO_STACK(-24, 1),
	    MOV_IMM(BPF_REG_8, IP6_DESTINATION),
	    LOAD_B(BPF_REG_1, BPF_REG_10, -24),
	    JUMP_IF(BPF_JNE, BPF_REG_1, IPPROTO_ICMPV6, WIDE),
	    MOV_IMM(BPF_REG_2, IP6_BODY),
	    PACKET_TO_STACK(-24, 1),
	    LOAD_B(BPF_REG_1, BPF_REG_10, -24),
	    JUMP_IF(BPF_JEQ, BPF_REG_1, ND_NEIGHBOR_SOLICIT, SOLICITED),
	    JUMP_IF(BPF_JEQ, BPF_REG_1, ND_NEIGHBOR_ADVERT, PASS),
	    JUMP(WIDE),
	    AT(SOLICITED),
	    MOV_IMM(BPF_REG_9, KIND_QUESTION),
	    MOV_IMM(BPF_REG_8, ND_TARGET),
	    AT(WIDE),
	    MOV(BPF_REG_2, BPF_REG_8),
	    PACKET_TO_STACK(-16, 16),

	    AT(FIND),
	    FIND_RULE(map),
	    JUMP_IF(BPF_JEQ, BPF_REG_0, 0, PASS),
	    MOV(BPF_REG_7, BPF_REG_0),
	    LOAD_W(BPF_REG_8, BPF_REG_7, RULE(flags)),
	    JUMP_IF(BPF_JEQ, BPF_REG_9, KIND_QUESTION, ASKED),
	    JUMP_IF(BPF_JSET, BPF_REG_8, STEER_NEW_ONLY, NEW),
	    JUMP_IF(BPF_JSET, BPF_REG_8, STEER_HOLD | STEER_REDIRECT, MATCHED),
	    JUMP(PASS),

	    AT(ASKED),
	    JUMP_IF(BPF_JSET, BPF_REG_8, STEER_SILENT, DROP),
	    JUMP(PASS),

	    AT(NEW),
	    JUMP_IF(BPF_JEQ, BPF_REG_9, KIND_IPV6, NEW6),
	    MOV_IMM(BPF_REG_2, IP_PROTOCOL),
	    PACKET_TO_STACK(-24, 1),
	    LOAD_B(BPF_REG_1, BPF_REG_10, -24),
	    JUMP_IF(BPF_JNE, BPF_REG_1, IPPROTO_TCP, PASS),
	    MOV_IMM(BPF_REG_2, ETH_HLEN),
	    PACKET_TO_STACK(-24, 1),
	    LOAD_B(BPF_REG_2, BPF_REG_10, -24),
	    AND_IMM(BPF_REG_2, 15),
	    LSH_IMM(BPF_REG_2, 2),
	    ADD_IMM(BPF_REG_2, ETH_HLEN + TCP_FLAGS),
	    JUMP(FLAGS),
	    AT(NEW6),
	    MOV_IMM(BPF_REG_2, IP6_NEXT_HEADER),
	    PACKET_TO_STACK(-24, 1),
	    LOAD_B(BPF_REG_1, BPF_REG_10, -24),
	    JUMP_IF(BPF_JNE, BPF_REG_1, IPPROTO_TCP, PASS),
	    MOV_IMM(BPF_REG_2, IP6_BODY + TCP_FLAGS),
	    AT(FLAGS),
	    PACKET_TO_STACK(-24, 1),
	    LOAD_B(BPF_REG_1, BPF_REG_10, -24),
	    AND_IMM(BPF_REG_1, TCP_SYN_ACK_BITS),
	    JUMP_IF(BPF_JNE, BPF_REG_1, TCP_SYN_BIT, PASS),

	    AT(MATCHED),
	    JUMP_IF(BPF_JSET, BPF_REG_8, STEER_REDIRECT, REDIRECT),
	    LOAD_W(BPF_REG_1, BPF_REG_7, RULE(mark)),
	    STORE_W(BPF_REG_6, BPF_REG_1, SKB(mark)),
	    JUMP(PASS),

	    /* Both MACs are rewritten: with the sender's left as it was, a bridge would learn the sender
	       here. */
	    AT(REDIRECT),
	    MOV_IMM(BPF_REG_1, 1),
	    ATOMIC_ADD(BPF_REG_7, BPF_REG_1, RULE(redirected)),
	    MOV(BPF_REG_1, BPF_REG_6),
	    MOV_IMM(BPF_REG_2, 0),
	    MOV(BPF_REG_3, BPF_REG_7),
	    ADD_IMM(BPF_REG_3, RULE(to_mac)),
	    MOV_IMM(BPF_REG_4, 2 * ETH_ALEN),
	    MOV_IMM(BPF_REG_5, 0),
	    CALL(BPF_FUNC_skb_store_bytes),
	    LOAD_W(BPF_REG_1, BPF_REG_7, RULE(interface)),
	    MOV_IMM(BPF_REG_2, 0),
	    CALL(BPF_FUNC_redirect),
	    INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),

	    AT(PASS),
	    RETURN(TCX_PASS_ON),
	    AT(DROP),
	    RETURN(TCX_DROP),
	};
	return load_program(program, sizeof(program) / sizeof(program[0]));
}

/* What this host still has to say for an address whose packets go elsewhere: nothing. It may have taken a packet that was past
 * the entrance when the redirect began, and is not in what moves: acknowledged, nobody would send it again. */
static int load_exit(int map)
{
	struct bpf_insn program[] = {
	    MOV(BPF_REG_6, BPF_REG_1),
	    LOAD_W(BPF_REG_9, BPF_REG_6, SKB(protocol)),
	    JUMP_IF(BPF_JEQ, BPF_REG_9, htons(ETH_P_IP), IPV4),
	    JUMP_IF(BPF_JNE, BPF_REG_9, htons(ETH_P_IPV6), PASS),
	    MOV_IMM(BPF_REG_2, IP6_SOURCE),
	    PACKET_TO_STACK(-16, 16),
	    JUMP(FIND),
	    AT(IPV4),
	    MAPPED_TO_STACK,
	    MOV_IMM(BPF_REG_2, IP_SOURCE),
	    PACKET_TO_STACK(-4, 4),
	    AT(FIND),
	    FIND_RULE(map),
	    JUMP_IF(BPF_JEQ, BPF_REG_0, 0, PASS),
	    LOAD_W(BPF_REG_1, BPF_REG_0, RULE(flags)),
	    JUMP_IF(BPF_JSET, BPF_REG_1, STEER_NEW_ONLY, PASS),
	    JUMP_IF(BPF_JSET, BPF_REG_1, STEER_REDIRECT, DROP),
	    AT(PASS),
	    RETURN(TCX_PASS_ON),
	    AT(DROP),
	    RETURN(TCX_DROP),
	};
	return load_program(program, sizeof(program) / sizeof(program[0]));
}

static int attach(struct steer *s, struct steer_side *side, bool entrance)
{
	union bpf_attr attr = {0};
	attr.link_create.prog_fd = (uint32_t)side->program;
	attr.link_create.target_ifindex = (uint32_t)s->interface;
	attr.link_create.attach_type = entrance ? ATTACH_TCX_INGRESS : ATTACH_TCX_EGRESS;
	int r = side->link = steer_avoid_tcx ? -EINVAL : bpf(BPF_LINK_CREATE, &attr);
	if (r != -EINVAL)
		return r;
	r = steer_tc_attach(s->interface, entrance, side->program, &side->filter);
	return r == -ENOENT || r == -EINVAL ? -EOPNOTSUPP : r;
}

int steer_open(int interface, struct steer *out)
{
	*out = STEER_NONE;
	out->interface = interface;
	union bpf_attr attr = {.map_type = BPF_MAP_TYPE_HASH,
			       .key_size = sizeof(struct in6_addr),
			       .value_size = sizeof(struct steer_rule),
			       .max_entries = ADDRESSES_MAX};
	int r = out->map = bpf(BPF_MAP_CREATE, &attr);
	if (r >= 0)
		r = out->in.program = load_entrance(out->map);
	if (r >= 0)
		r = out->out.program = load_exit(out->map);
	if (r >= 0)
		r = attach(out, &out->in, true);
	if (r >= 0)
		r = attach(out, &out->out, false);
	if (r < 0)
		steer_close(out);
	return r < 0 ? r : 0;
}

static void detach(const struct steer *s, struct steer_side *side, bool entrance)
{
	steer_tc_detach(s->interface, entrance, &side->filter);
	if (side->link >= 0)
		close(side->link);
	if (side->program >= 0)
		close(side->program);
}

void steer_close(struct steer *s)
{
	detach(s, &s->in, true);
	detach(s, &s->out, false);
	if (s->map >= 0)
		close(s->map);
	*s = STEER_NONE;
}

int steer_set(struct steer *s, const struct in6_addr *address, const struct steer_rule *rule)
{
	union bpf_attr attr = {.map_fd = (uint32_t)s->map,
			       .key = (uintptr_t)address,
			       .value = (uintptr_t)rule,
			       .flags = BPF_ANY};
	return bpf(BPF_MAP_UPDATE_ELEM, &attr);
}

int steer_get(struct steer *s, const struct in6_addr *address, struct steer_rule *rule)
{
	union bpf_attr attr = {
	    .map_fd = (uint32_t)s->map, .key = (uintptr_t)address, .value = (uintptr_t)rule};
	return bpf(BPF_MAP_LOOKUP_ELEM, &attr);
}
