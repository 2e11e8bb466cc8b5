/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "cli/command.h"
#include "host/sign.h"

static const char usage[] = "print [--json] IMAGE\n  Shows the identity and layout of a signed image.";

struct facts {
	char mrenclave[2 * MRENCLAVE_SIZE + 1];
	char mrsigner[2 * MRSIGNER_SIZE + 1];
	bool debug, production;
	uint64_t pages, pages_measured;
};

/* What is printed is what the file's pages and signature say, not what its note claims. */
static int facts_of(const struct image *image, struct facts *f, struct failure *why)
{
	const struct sgx_sigstruct *sig = &image->note.sigstruct;
	uint8_t mrenclave[MRENCLAVE_SIZE], mrsigner[MRSIGNER_SIZE];

	image_measure(image, mrenclave);
	if (sign_verify(sig) || memcmp(mrenclave, sig->enclavehash, sizeof(mrenclave)))
		return fail(why, -EBADMSG,
			    "the signature does not match the image: it was changed after it was signed");
	sign_mrsigner(sig, mrsigner);
	*f = (struct facts){
	    .debug = sign_is_debug(sig),
	    .production = image->config.flags & IMAGE_FLAG_PRODUCTION,
	};
	hex_format(mrenclave, sizeof(mrenclave), f->mrenclave);
	hex_format(mrsigner, sizeof(mrsigner), f->mrsigner);
	for (size_t i = 0; i < image->run_count; i++) {
		f->pages += image->run[i].count;
		f->pages_measured += image->run[i].measured ? image->run[i].count : 0;
	}
	return 0;
}

static const char *isa_name(uint64_t xfrm)
{
	return xfrm == SGX_XFRM_AVX512 ? "avx512" : "avx2";
}

static void print_text(const struct image *image, const struct facts *f)
{
	const struct image_config *c = &image->config;

	printf("MRENCLAVE    %s\n", f->mrenclave);
	printf("MRSIGNER     %s\n", f->mrsigner);
	printf("runtime ABI  %u\n", c->abi);
	printf("date         %08x\n", image->note.sigstruct.date);
	printf("debug        %s\n", f->debug ? "yes" : "no");
	printf("production   %s\n", f->production ? "yes" : "no");
	printf("instructions %s\n", isa_name(c->xfrm));
	printf("enclave      %" PRIu64 " bytes\n", c->elrange_size);
	printf("heap         %" PRIu64 " bytes at %#" PRIx64 ", %" PRIu64 " of them at load\n", c->heap_size,
	       c->heap_base, c->heap_static);
	printf("stack        %" PRIu64 " bytes\n", c->stack_size);
	printf("threads      %u\n", c->thread_count);
	printf("entry        %#" PRIx64 "\n", c->entry);
	for (uint32_t i = 0; i < c->range_count; i++)
		printf("data         %#" PRIx64 " to %#" PRIx64 "\n", c->range[i].start, c->range[i].end);
	printf("at load      %" PRIu64 " pages, %" PRIu64 " measured\n", f->pages, f->pages_measured);
}

static int print_json(const struct image *image, const struct facts *f)
{
	const struct image_config *c = &image->config;
	json_t *ranges = json_array(), *root;
	int rc;

	for (uint32_t i = 0; i < c->range_count; i++)
		json_array_append_new(
		    ranges, json_pack("[I,I]", (json_int_t)c->range[i].start, (json_int_t)c->range[i].end));
	root = json_pack("{s:i,s:s,s:s,s:i,s:i,s:b,s:b,s:s,s:I,s:I,s:I,s:I,s:I,s:i,s:I,s:o,s:I,s:I}",
			 "schema_version", 1, "mrenclave", f->mrenclave, "mrsigner", f->mrsigner, "abi", (int)c->abi, "date",
			 (int)image->note.sigstruct.date, "debug", f->debug, "production", f->production,
			 "isa", isa_name(c->xfrm), "enclave_size", (json_int_t)c->elrange_size, "heap_base",
			 (json_int_t)c->heap_base, "heap_size", (json_int_t)c->heap_size, "heap_static",
			 (json_int_t)c->heap_static, "stack_size", (json_int_t)c->stack_size, "threads",
			 (int)c->thread_count, "entry", (json_int_t)c->entry, "data_ranges", ranges, "pages",
			 (json_int_t)f->pages, "pages_measured", (json_int_t)f->pages_measured);
	rc = root ? json_dumpf(root, stdout, JSON_INDENT(2)) : -1;
	json_decref(root);
	printf("\n");
	return rc ? EXIT_FAILED : EXIT_DONE;
}

int command_print(int argc, char **argv)
{
	struct failure why;
	struct image image;
	struct facts facts;
	bool json = false;
	int code;

	if (!json_option(argc, argv, &json))
		return command_usage(usage);
	if (optind != argc - 1)
		return command_usage(usage);
	if (image_open(argv[optind], &image, &why))
		return command_failed_json(json, &why);
	if (image_derive_signed(&image, &why) || facts_of(&image, &facts, &why)) {
		code = command_failed_json(json, &why);
	} else if (json) {
		code = print_json(&image, &facts);
	} else {
		print_text(&image, &facts);
		code = EXIT_DONE;
	}
	image_close(&image);
	return code;
}
