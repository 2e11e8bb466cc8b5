/* SPDX-License-Identifier: Apache-2.0 */
#include "enclave/ancillary.h"
#include <limits.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include "enclave/files.h"

/* The kernel's struct cmsghdr. */
struct header {
	uint64_t size; /* with the header */
	int32_t level, type;
};
#define ALIGNED(size) (((size) + 7) & ~7ull)
#define SOL_UDP 17

/* clang-format off */
static const struct {
	int32_t level, type;
	bool sent;
	uint8_t size; /* of what is received; 0: descriptors */
} known[] = {
	{SOL_SOCKET, SCM_RIGHTS, true, 0},
	{SOL_SOCKET, 29 /* SCM_TIMESTAMP */, false, 16},
	{SOL_SOCKET, 35 /* SCM_TIMESTAMPNS */, false, 16},
	{IPPROTO_IP, 1 /* IP_TOS */, true, 4},
	{IPPROTO_IP, 2 /* IP_TTL */, true, 4},
	{IPPROTO_IP, 8 /* IP_PKTINFO */, true, 12},
	{IPPROTO_IPV6, 50 /* IPV6_PKTINFO */, true, 20},
	{IPPROTO_IPV6, 52 /* IPV6_HOPLIMIT */, true, 4},
	{IPPROTO_IPV6, 67 /* IPV6_TCLASS */, true, 4},
	{SOL_UDP, 103 /* UDP_SEGMENT */, true, 2},
};
/* clang-format on */
#define KNOWN (sizeof known / sizeof known[0])

static unsigned lookup(const struct header *h)
{
	unsigned i = 0;
	while (i < KNOWN && (known[i].level != h->level || known[i].type != h->type))
		i++;
	return i;
}

/* False: there is none at `at`, or it is none. */
static bool header_get(const uint8_t *data, uint64_t size, uint64_t at, struct header *h)
{
	if (at > size || size - at < sizeof *h)
		return false;
	memcpy(h, data + at, sizeof *h);
	return h->size >= sizeof *h && h->size <= size - at;
}

int64_t ancillary_out(struct marshal *m, uint64_t app, uint64_t size, uint64_t *at)
{
	uint8_t data[ANCILLARY_MAX];
	struct header h;
	uint64_t i = 0;
	if (size > sizeof data)
		return -ENOBUFS;
	if (!mm_app_range(app, size))
		return -EFAULT;
	memcpy(data, (const void *)app, size);
	for (; header_get(data, size, i, &h); i += ALIGNED(h.size)) {
		unsigned which = lookup(&h);
		if (which == KNOWN || !known[which].sent)
			return -EOPNOTSUPP;
		for (uint64_t k = sizeof h; !known[which].size && k + 4 <= h.size; k += 4) {
			int32_t fd;
			memcpy(&fd, data + i + k, sizeof fd);
			if (fd < 0)
				return -EBADF;
			if (files_own((uint32_t)fd)) /* its number would mean nothing to whom gets it */
				return -EOPNOTSUPP;
		}
		for (uint64_t k = i + h.size; k < i + ALIGNED(h.size) && k < size; k++)
			data[k] = 0; /* nobody's: what was there before stays inside */
	}
	if (i < size && size - i >= sizeof h)
		return -EINVAL;
	if (i < size)
		memset(data + i, 0, size - i);
	*at = marshal_room(m, size);
	host_copy_out(*at, data, size);
	return 0;
}

/* The host's word for what descriptors they are, as for any it gives. What follows one that cannot be is left out. */
static uint64_t take_descriptors(struct thread *t, uint8_t *data, uint64_t size)
{
	uint64_t good = 0;
	for (; good + 4 <= size; good += 4) {
		int32_t fd;
		memcpy(&fd, data + good, sizeof fd);
		if (fd < 0 || files_new(t, fd) < 0)
			break;
	}
	return good;
}

void ancillary_in(struct thread *t, uint64_t u_from, uint64_t u_size, uint64_t app, uint64_t room, uint64_t *size,
		  uint32_t *flags)
{
	uint8_t data[ANCILLARY_MAX];
	struct header h;
	*size = 0;
	if (room > sizeof data)
		room = sizeof data;
	if (u_size > room)
		u_size = room;
	memset(data, 0, sizeof data);
	host_copy_in(data, u_from, u_size);
	for (uint64_t i = 0; header_get(data, u_size, i, &h); i += ALIGNED(h.size)) {
		unsigned which = lookup(&h);
		uint64_t said = h.size - sizeof h, n = said;
		if (which < KNOWN && !known[which].size)
			n = take_descriptors(t, data + i + sizeof h, n);
		if (which == KNOWN || n == 0 || (known[which].size && n != known[which].size)) {
			*flags |= MSG_CTRUNC;
			break;
		}
		if (n != said)
			*flags |= MSG_CTRUNC;
		h.size = sizeof h + n;
		memcpy((void *)(app + *size), &h, sizeof h);
		memcpy((void *)(app + *size + sizeof h), data + i + sizeof h, n);
		*size += ALIGNED(h.size) < room - *size ? ALIGNED(h.size) : room - *size;
		if (n != said)
			break;
	}
	marks_set(app, *size);
}
