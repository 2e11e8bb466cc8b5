/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/image_find.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "host/image.h"

/* stale: why the last image of another ABI was passed over. */
static int image_measures(const char *path, const uint8_t mrenclave[static 32], struct failure *stale)
{
	struct stat st;
	struct image image;
	struct failure why;
	if (stat(path, &st) || !S_ISREG(st.st_mode) || (uint64_t)st.st_size > IMAGE_FILE_SIZE_MAX)
		return 0;
	int rc = image_open(path, &image, &why);
	if (rc == -ESTALE)
		*stale = why;
	if (rc)
		return 0;
	int same = image.note.signed_flag && memcmp(image.note.sigstruct.enclavehash, mrenclave, 32) == 0;
	image_close(&image);
	return same;
}

int image_find(const char *dir, const uint8_t mrenclave[static 32], char *path, size_t size,
	       struct failure *why)
{
	struct failure stale = {0};
	DIR *d = opendir(dir);
	if (!d)
		return fail(why, -errno, "%s: %s", dir, strerror(errno));
	for (struct dirent *entry; (entry = readdir(d));) {
		int n = snprintf(path, size, "%s/%s", dir, entry->d_name);
		if (n > 0 && (size_t)n < size && image_measures(path, mrenclave, &stale)) {
			closedir(d);
			return 0;
		}
	}
	closedir(d);
	return fail(why, -ENOENT, "no image with MRENCLAVE %02x%02x%02x%02x... in the image directory%s%.250s",
		    mrenclave[0], mrenclave[1], mrenclave[2], mrenclave[3], stale.message[0] ? "; " : "",
		    stale.message);
}
