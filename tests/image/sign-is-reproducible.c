/* SPDX-License-Identifier: Apache-2.0
 *
 * Target: host/sign.c, host/key.c: the same inputs give the same signature, it
 * verifies, and no byte that it covers can be changed.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "host/key.h"
#include "host/sign.h"
#include "tests/image/elf_build.h"

static int failures;

static void expect(bool condition, const char *what)
{
	if (condition)
		return;
	printf("not so: %s\n", what);
	failures++;
}

static void key_file(const char *path)
{
	struct failure why;
	struct stat st;

	expect(!key_generate(path, &why), "a key is made");
	expect(!stat(path, &st) && (st.st_mode & 0777) == 0600, "its file is private");
	expect(key_generate(path, &why) == -EEXIST, "a key is never overwritten");
}

static void sign_twice(struct image *image, mbedtls_pk_context *key)
{
	struct sgx_sigstruct first, second, other;
	struct failure why;

	expect(!sign_image(image, false, 0x20260101, key, &first, &why), "signing works");
	expect(!sign_image(image, false, 0x20260101, key, &second, &why), "signing works again");
	expect(!memcmp(&first, &second, sizeof(first)), "the same inputs give the same signature");
	expect(!sign_verify(&first), "the signature verifies");
	sign_image(image, true, 0x20260101, key, &other, &why);
	expect(!memcmp(first.enclavehash, other.enclavehash, 32), "debug is not measured");
	expect(memcmp(first.signature, other.signature, 384), "but signed");
	for (size_t i = 0; i < sizeof(first); i++) {
		/* reserved bytes are not signed: EINIT itself wants them zero; the vendor's is not ours to
		 * judge */
		bool covered = i < 128 || (i >= offsetof(struct sgx_sigstruct, modulus) && i < 900) ||
			       (i >= 900 && i < 1028) || i >= offsetof(struct sgx_sigstruct, q1);

		((uint8_t *)&first)[i] ^= 1;
		if (covered && !sign_verify(&first)) {
			printf("byte %zu can be changed\n", i);
			failures++;
		}
		((uint8_t *)&first)[i] ^= 1;
		if (i > 16 && i < 1700)
			i += 40;
	}
}

static void options_are_measured(struct image *image)
{
	struct image_options options = elf_options();
	uint8_t first[MRENCLAVE_SIZE], second[MRENCLAVE_SIZE];

	image_measure(image, first);
	options.heap_size += 4096;
	image_derive(image, &options, NULL);
	image_measure(image, second);
	expect(memcmp(first, second, sizeof(first)), "the heap's size is measured");
	options = elf_options();
	image_derive(image, &options, NULL);
	image_measure(image, second);
	expect(!memcmp(first, second, sizeof(first)), "deriving again gives the same");
}

/* As the loader sees it: what was signed is what the file derives, or it is refused. */
static void changed_after_signing(struct image *image)
{
	struct failure why;

	image->note.config = image->config;
	image->note.signed_flag = 1;
	expect(!image_derive_signed(image, &why), "a signed image derives");
	image->note.config.entry += 16;
	expect(image_derive_signed(image, &why), "a changed configuration is refused");
	image->note.config.entry -= 16;
	image->note.signed_flag = 0;
	expect(image_derive_signed(image, &why), "an unsigned image is refused");
}

int main(void)
{
	static struct elf_file f;
	char directory[] = "/tmp/sign-is-reproducible.XXXXXX", path[64];
	struct image_options options = elf_options();
	mbedtls_pk_context key;
	struct failure why;
	struct image image;

	if (!mkdtemp(directory))
		return 1;
	snprintf(path, sizeof(path), "%s/key.pem", directory);
	elf_build(&f);
	expect(!elf_parse(&f, sizeof(f), &image, &why) && !image_derive(&image, &options, &why),
	       "the image is good");
	key_file(path);
	expect(!key_load(path, &key, &why), "the key loads");
	sign_twice(&image, &key);
	options_are_measured(&image);
	changed_after_signing(&image);
	mbedtls_pk_free(&key);
	image_close(&image);
	unlink(path);
	rmdir(directory);
	return failures != 0;
}
