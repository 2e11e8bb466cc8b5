# SPDX-License-Identifier: Apache-2.0
# The trusted half of a migration and its cryptography. Of the libraries only the members that are referred to get
# in: IPsec-MB's direct kernels (not its dispatcher, which asks CPUID) and mbedTLS without its AES.
CRYPTO_LIBDIR ?= /usr/lib/x86_64-linux-gnu
RT_CRYPTO_SRCS := $(addprefix enclave/,attest.c channel.c crypto_support.c destination.c gcm.c migrator.c pageset.c \
	record.c report.c session.c source.c source_pages.c source_serve.c)
RT_CRYPTO_LIBS := $(CRYPTO_LIBDIR)/libIPSec_MB.a $(CRYPTO_LIBDIR)/libmbedcrypto.a
