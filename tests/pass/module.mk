# SPDX-License-Identifier: Apache-2.0
# Programs compiled by optmig-cc that run outside an enclave, and scripts that run optmig-cc itself.
NATIVE_CC = $(B)/optmig-cc --native -std=gnu11 -D_GNU_SOURCE -I. -g
NATIVE_DEPS := $(PASS_TOOLS) $(PASS_DATA) $(B)/libexec/optmig/native.o $(B)/libexec/optmig/mark-range.o $(LIBC_OUT)/lib/libc.a $(LIBC_HEADERS)

STORE_TESTS := $(foreach level,O0 O1 O2 O3 Os, $(B)/tests/pass/every-store-is-marked-$(level))
PASS_TESTS := $(STORE_TESTS) $(addprefix $(B)/tests/pass/,collector-order-loses-nothing safepoints-come-often) \
	$(addprefix $(B)/tests/libc/,replaced-parts-work lists-keep-their-order believes-no-host)
PASS_SCRIPTS := tests/pass/untrackable-code-is-refused tests/pass/optmig-cc-is-a-drop-in
TESTS += $(PASS_TESTS) $(PASS_SCRIPTS)
CHECK_DEPS += $(NATIVE_DEPS)

$(STORE_TESTS): $(B)/tests/pass/every-store-is-marked-%: tests/pass/every-store-is-marked.c $(NATIVE_DEPS)
	@mkdir -p $(@D)
	$(NATIVE_CC) -$* -o $@ $<

$(filter-out $(STORE_TESTS),$(PASS_TESTS)): $(B)/%: %.c $(NATIVE_DEPS)
	@mkdir -p $(@D)
	$(NATIVE_CC) -O2 -o $@ $< -lm -lpthread

# what bench/tracking/run links with
.PHONY: tracking-deps
tracking-deps: $(NATIVE_DEPS)
