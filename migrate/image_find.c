/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/image_find.h"
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "host/image.h"
#include "host/sign.h"

/* Is it signed as this MRENCLAVE? Its signature to *out. stale: why the last image of another ABI was passed over. */
static bool image_measures(const char *path, const uint8_t mrenclave[static 32], struct sgx_sigstruct *out,
			   struct failure *stale)
{
	struct stat st;
	struct image image;
	struct failure why;
	if (stat(path, &st) || !S_ISREG(st.st_mode) || (uint64_t)st.st_size > IMAGE_FILE_SIZE_MAX)
		return false;
	int rc = image_open(path, &image, &why);
	if (rc == -ESTALE)
		*stale = why;
	if (rc)
		return false;
	bool same = image.note.signed_flag && memcmp(image.note.sigstruct.enclavehash, mrenclave, 32) == 0;
	*out = image.note.sigstruct;
	image_close(&image);
	return same;
}

/* As the processor sees it: who signed it, and what it may. Enclaves that differ in this do not take each other for the same. */
static bool signed_alike(const struct sgx_sigstruct *a, const struct sgx_sigstruct *b)
{
	return memcmp(a->modulus, b->modulus, sizeof(a->modulus)) == 0 && sign_is_debug(a) == sign_is_debug(b);
}

/* Would the processor take it? Its pages are what was signed. */
static bool image_sound(const char *path, const uint8_t mrenclave[static 32])
{
	struct image image;
	struct failure why;
	uint8_t measured[MRENCLAVE_SIZE];
	if (image_open(path, &image, &why))
		return false;
	bool sound = image_derive_signed(&image, &why) == 0 && sign_verify(&image.note.sigstruct) == 0;
	if (sound)
		image_measure(&image, measured);
	image_close(&image);
	return sound && memcmp(measured, mrenclave, sizeof(measured)) == 0;
}

int image_find(const char *dir, const uint8_t mrenclave[static 32], char *path, size_t size,
	       struct failure *why)
{
	struct failure stale = {0};
	struct sgx_sigstruct found, next;
	char other[PATH_MAX];
	bool good = false, known = false; /* is the one at path sound? */
	int rc = -ENOENT;
	DIR *d = opendir(dir);
	if (!d)
		return fail(why, -errno, "%s: %s", dir, strerror(errno));
	for (struct dirent *entry; rc != -EEXIST && (entry = readdir(d));) {
		char *to = rc ? path : other;
		size_t room = rc ? size : sizeof(other);
		int n = snprintf(to, room, "%s/%s", dir, entry->d_name);
		if (n <= 0 || (size_t)n >= room || !image_measures(to, mrenclave, rc ? &found : &next, &stale))
			continue;
		if (rc) {
			rc = 0;
			continue;
		}
		/* Of one alone, its loading says what is wrong with it. */
		if (!known)
			good = image_sound(path, mrenclave);
		known = true;
		if ((good && signed_alike(&found, &next)) || !image_sound(other, mrenclave))
			continue;
		if (good)
			rc = fail(why, -EEXIST,
				  "%.100s and %.100s are the same program signed differently: leave one of them in the "
				  "image directory",
				  path, other);
		else if (strlen(other) < size) {
			strcpy(path, other);
			found = next;
			good = true;
		}
	}
	closedir(d);
	if (rc != -ENOENT)
		return rc;
	return fail(why, -ENOENT, "no image with MRENCLAVE %02x%02x%02x%02x... in the image directory%s%.250s",
		    mrenclave[0], mrenclave[1], mrenclave[2], mrenclave[3], stale.message[0] ? "; " : "",
		    stale.message);
}
