/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/parcel.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int parcel_init(struct parcel *p)
{
	*p = (struct parcel){-1, malloc(PARCEL_SIZE), 0};
	if (!p->data)
		return -ENOMEM;
	memset(p->data, 0, PARCEL_SIZE);
	return 0;
}

void parcel_free(struct parcel *p)
{
	free(p->data);
	*p = (struct parcel){.fd = -1};
}

void parcel_begin(struct parcel *p, int fd)
{
	p->fd = fd;
	p->size = 0;
}

static int send_waiting(struct parcel *p, struct wait wait)
{
	int rc = p->size ? wire_send_raw(p->fd, p->data, p->size, wait) : 0;
	p->size = 0;
	return rc;
}

static void append(struct parcel *p, const void *data, size_t size)
{
	if (size)
		memcpy(p->data + p->size, data, size);
	p->size += size;
}

int parcel_put(struct parcel *p, enum frame_type type, const void *first, size_t first_size, const void *second,
	       size_t second_size, struct wait wait)
{
	size_t payload = first_size + second_size, whole = sizeof(struct frame_header) + payload;
	if (payload > frame_size_max(type))
		return -EMSGSIZE;
	if (whole > PARCEL_SIZE - p->size) {
		int rc = send_waiting(p, wait);
		if (rc || whole > PARCEL_SIZE)
			return rc ? rc : wire_send(p->fd, type, first, first_size, second, second_size, wait);
	}
	struct frame_header header = frame_header_of(type, payload);
	append(p, &header, sizeof(header));
	append(p, first, first_size);
	append(p, second, second_size);
	return 0;
}

int parcel_end(struct parcel *p, struct wait wait)
{
	int rc = send_waiting(p, wait);
	p->fd = -1;
	return rc;
}
