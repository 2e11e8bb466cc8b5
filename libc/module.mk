# SPDX-License-Identifier: Apache-2.0
# The enclave's libc: build/libexec/optmig/musl, and the stand-in for the runtime outside an enclave.
LIBC_OUT := $(B)/libexec/optmig/musl
LIBC := $(LIBC_OUT)/lib/libc.a
ALL += $(LIBC) $(B)/libexec/optmig/native.o $(B)/libexec/optmig/outside.o $(B)/libexec/optmig/mark-range.o

$(LIBC): libc/build scripts/fetch-source abi/layout.h $(wildcard libc/src/* libc/override/*) \
		$(B)/libexec/optmig/optmig-pass.so
	libc/build $(B)/musl $(LIBC_OUT) $(CURDIR)/$(B)/libexec/optmig/optmig-pass.so

ALL += $(LIBC_HEADERS) $(KERNEL_HEADERS)
$(LIBC_HEADERS): $(B)/libexec/optmig/include/%: libc/include/% | $(LIBC)
	install -D -m 644 $< $@
$(KERNEL_HEADERS): | $(LIBC)
	ln -sfn $(firstword $(wildcard /usr/include/x86_64-linux-gnu/$(@F) /usr/include/$(@F))) $@

$(B)/libexec/optmig/native.o: libc/native/gate.S abi/layout.h
	@mkdir -p $(@D)
	$(CC) -I. -c -o $@ $<

$(B)/libexec/optmig/outside.o: libc/native/gate.S abi/layout.h
	@mkdir -p $(@D)
	$(CC) -I. -DOUTSIDE -c -o $@.tmp $<
	$(OBJCOPY) --rename-section .text=.outside.text $@.tmp $@
	rm -f $@.tmp

$(B)/libexec/optmig/mark-range.o: libc/src/mark-range.S abi/layout.h
	@mkdir -p $(@D)
	$(CC) -I. -c -o $@ $<
