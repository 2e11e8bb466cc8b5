/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "cli/command.h"
#include "host/key.h"
#include "host/sign.h"

static const char usage[] =
    "sign --key KEY -o IMAGE [OPTIONS] PROGRAM\n"
    "  --heap SIZE          most memory the program can use (1G)\n"
    "  --heap-static SIZE   of it, added when the enclave is built (0); the rest is added when touched\n"
    "  --stack SIZE         of the main thread, taken from the heap (8M)\n"
    "  --threads N          at one time (32)\n"
    "  --isa avx2|avx512    instructions the program may use (avx2); a machine without them refuses it\n"
    "  --production         refuses debug enclaves and software SGX as a peer\n"
    "  --debug              the processor lets a debugger look inside\n"
    "  --date YYYYMMDD      written into the signature (from SOURCE_DATE_EPOCH, else none)\n"
    "  Sizes take K, M, G. The same inputs give the same file.";

struct sign_args {
	const char *key, *program, *image;
	struct image_options options;
	bool debug;
	uint32_t date; /* BCD */
};

enum {
	OPT_KEY = 1,
	OPT_HEAP,
	OPT_HEAP_STATIC,
	OPT_STACK,
	OPT_THREADS,
	OPT_ISA,
	OPT_PRODUCTION,
	OPT_DEBUG,
	OPT_DATE
};

static const struct option long_options[] = {
    {"key", required_argument, NULL, OPT_KEY},
    {"heap", required_argument, NULL, OPT_HEAP},
    {"heap-static", required_argument, NULL, OPT_HEAP_STATIC},
    {"stack", required_argument, NULL, OPT_STACK},
    {"threads", required_argument, NULL, OPT_THREADS},
    {"isa", required_argument, NULL, OPT_ISA},
    {"production", no_argument, NULL, OPT_PRODUCTION},
    {"debug", no_argument, NULL, OPT_DEBUG},
    {"date", required_argument, NULL, OPT_DATE},
    {"output", required_argument, NULL, 'o'},
    {NULL, 0, NULL, 0},
};

static bool isa_parse(const char *text, uint64_t *xfrm)
{
	if (!strcmp(text, "avx2"))
		*xfrm = SGX_XFRM_AVX;
	else if (!strcmp(text, "avx512"))
		*xfrm = SGX_XFRM_AVX512;
	else
		return false;
	return true;
}

/* Eight decimal digits read as hexadecimal ones are the BCD wanted. */
static bool date_parse(const char *text, uint32_t *date)
{
	if (strlen(text) != 8 || strspn(text, "0123456789") != 8)
		return false;
	*date = strtoul(text, NULL, 16);
	return true;
}

static bool date_default(uint32_t *date)
{
	const char *epoch = getenv("SOURCE_DATE_EPOCH");
	char text[32];
	time_t seconds;
	struct tm tm;

	*date = 0;
	if (!epoch)
		return true;
	seconds = strtoll(epoch, NULL, 10);
	return gmtime_r(&seconds, &tm) && strftime(text, sizeof(text), "%Y%m%d", &tm) &&
	       date_parse(text, date);
}

static bool option_take(struct sign_args *a, int option)
{
	uint64_t number;

	switch (option) {
	case OPT_KEY:
		a->key = optarg;
		return true;
	case OPT_HEAP:
		return size_parse(optarg, &a->options.heap_size);
	case OPT_HEAP_STATIC:
		return size_parse(optarg, &a->options.heap_static);
	case OPT_STACK:
		return size_parse(optarg, &a->options.stack_size);
	case OPT_THREADS:
		if (!size_parse(optarg, &number) || number > UINT32_MAX)
			return false;
		a->options.thread_count = number;
		return true;
	case OPT_ISA:
		return isa_parse(optarg, &a->options.xfrm);
	case OPT_PRODUCTION:
		a->options.flags |= IMAGE_FLAG_PRODUCTION;
		return true;
	case OPT_DEBUG:
		a->debug = true;
		return true;
	case OPT_DATE:
		return date_parse(optarg, &a->date);
	case 'o':
		a->image = optarg;
		return true;
	default:
		return false;
	}
}

static bool args_parse(int argc, char **argv, struct sign_args *a)
{
	int option, index = 0;

	*a = (struct sign_args){
	    .options =
		{
		    .heap_size = 1ull << 30,
		    .stack_size = 8ull << 20,
		    .thread_count = 32,
		    .xfrm = SGX_XFRM_AVX,
		},
	};
	if (!date_default(&a->date))
		return false;
	while ((option = getopt_long(argc, argv, "o:", long_options, &index)) != -1) {
		if (!option_take(a, option)) {
			if (option != '?')
				fprintf(stderr, "optmig: --%s cannot be \"%s\"\n", long_options[index].name, optarg);
			return false;
		}
	}
	if (optind != argc - 1 || !a->key || !a->image)
		return false;
	a->program = argv[optind];
	return true;
}

static int write_all(int fd, const uint8_t *data, size_t size)
{
	while (size) {
		ssize_t n = write(fd, data, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		size -= n;
	}
	return 0;
}

/* Under another name first: an image is there whole or not at all, and may be the program's own file. */
static int image_write(const char *path, const struct image *image, struct failure *why)
{
	char temporary[4096];
	struct stat st;
	int fd, rc;

	/* rename() would put the image in the place of a device, or of the link itself */
	if (!lstat(path, &st) && !S_ISREG(st.st_mode))
		return fail(why, -EEXIST, "%s: is there already and no regular file: give -o another name", path);
	if (snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path) >= (int)sizeof(temporary))
		return fail(why, -ENAMETOOLONG, "%s: name too long", path);
	fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0)
		return fail(why, -errno, "%s: %s", path, strerror(errno));
	rc = write_all(fd, image->file, image->file_size);
	if (!rc && fchmod(fd, 0755) < 0)
		rc = -errno;
	if (close(fd) < 0 && !rc)
		rc = -errno;
	if (!rc && rename(temporary, path) < 0)
		rc = -errno;
	if (!rc)
		return 0;
	unlink(temporary);
	return fail(why, rc, "%s: %s", path, strerror(-rc));
}

static int sign(const struct sign_args *a, struct failure *why)
{
	mbedtls_pk_context key;
	struct image image;
	int rc;

	rc = image_open(a->program, &image, why);
	if (rc)
		return rc;
	rc = image_derive(&image, &a->options, why);
	if (rc)
		goto close;
	rc = key_load(a->key, &key, why);
	if (!rc)
		rc = sign_image(&image, a->debug, a->date, &key, &image.note.sigstruct, why);
	mbedtls_pk_free(&key);
	if (rc)
		goto close;
	image.note.config = image.config;
	image.note.signed_flag = 1;
	memcpy(image.file + image.note_offset, &image.note, sizeof(image.note));
	rc = image_write(a->image, &image, why);
close:
	image_close(&image);
	return rc;
}

int command_sign(int argc, char **argv)
{
	struct sign_args a;
	struct failure why;

	if (!args_parse(argc, argv, &a))
		return command_usage(usage);
	return sign(&a, &why) ? command_failed(&why) : EXIT_DONE;
}
