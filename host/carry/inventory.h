/* SPDX-License-Identifier: Apache-2.0
 *
 * All of a table's descriptors, and the open file descriptions behind them, at
 * one moment. Borrowed until freed, so that the program may run meanwhile.
 */
#ifndef HOST_CARRY_INVENTORY_H
#define HOST_CARRY_INVENTORY_H

#include <stdbool.h>
#include "host/fdtable.h"

struct inventory {
	struct fdtable *fds;
	struct inventory_descriptor {
		int fd; /* the program's number */
		struct descriptor *descriptor;
	} *descriptor;
	unsigned descriptor_count;
	struct inventory_file {
		struct file *file; /* file->index is its place here */
		int host_fd, fd;   /* of one of its descriptors */
	} *file;
	unsigned file_count;
};

int inventory_take(struct fdtable *fds, struct inventory *out);
/* Whether a connection's other end is the program's too. */
bool inventory_has_other_end(const struct inventory *v, int host_fd);
void inventory_free(struct inventory *inventory);

#endif
