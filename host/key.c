/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include <mbedtls/error.h>
#include <mbedtls/platform_util.h>
#include <mbedtls/rsa.h>
#include "host/key.h"

#define PEM_SIZE_MAX 8192

int key_random(void *unused, unsigned char *out, size_t size)
{
	while (size) {
		ssize_t n = getrandom(out, size, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return MBEDTLS_ERR_RSA_RNG_FAILED;
		out += n;
		size -= n;
	}
	return 0;
}

static int crypto_fail(struct failure *why, const char *what, int code)
{
	char text[128];

	mbedtls_strerror(code, text, sizeof(text));
	return fail(why, -EINVAL, "%s: %s", what, text);
}

static int pem_write(const char *path, const char *pem, struct failure *why)
{
	size_t size = strlen(pem);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int rc = 0;

	if (fd < 0)
		return fail(why, -errno, "%s: %s", path, strerror(errno));
	if (write(fd, pem, size) != (ssize_t)size || fsync(fd) < 0)
		rc = fail(why, -EIO, "%s: cannot write the key", path);
	if (close(fd) < 0 && !rc)
		rc = fail(why, -errno, "%s: %s", path, strerror(errno));
	if (rc)
		unlink(path);
	return rc;
}

int key_generate(const char *path, struct failure *why)
{
	mbedtls_pk_context key;
	unsigned char pem[PEM_SIZE_MAX];
	int rc;

	mbedtls_pk_init(&key);
	rc = mbedtls_pk_setup(&key, mbedtls_pk_info_from_type(MBEDTLS_PK_RSA));
	if (!rc)
		rc = mbedtls_rsa_gen_key(mbedtls_pk_rsa(key), key_random, NULL, KEY_BITS, KEY_EXPONENT);
	if (!rc)
		rc = mbedtls_pk_write_key_pem(&key, pem, sizeof(pem));
	mbedtls_pk_free(&key);
	if (rc)
		return crypto_fail(why, "cannot make a key", rc);
	rc = pem_write(path, (const char *)pem, why);
	mbedtls_platform_zeroize(pem, sizeof(pem));
	return rc;
}

int key_load(const char *path, mbedtls_pk_context *key, struct failure *why)
{
	mbedtls_mpi exponent;
	int rc;

	mbedtls_pk_init(key);
	if (access(path, R_OK) < 0)
		return fail(why, -errno, "%s: %s", path, strerror(errno));
	rc = mbedtls_pk_parse_keyfile(key, path, NULL);
	if (rc)
		return crypto_fail(why, path, rc);
	mbedtls_mpi_init(&exponent);
	if (mbedtls_pk_get_type(key) == MBEDTLS_PK_RSA)
		rc = mbedtls_rsa_export(mbedtls_pk_rsa(*key), NULL, NULL, NULL, NULL, &exponent);
	if (mbedtls_pk_get_type(key) != MBEDTLS_PK_RSA || rc || mbedtls_pk_get_bitlen(key) != KEY_BITS ||
	    mbedtls_mpi_cmp_int(&exponent, KEY_EXPONENT))
		rc = fail(why, -EINVAL,
			  "%s: not an RSA key of %d bits with exponent %d: make one with optmig keygen", path,
			  KEY_BITS, KEY_EXPONENT);
	mbedtls_mpi_free(&exponent);
	return rc;
}
