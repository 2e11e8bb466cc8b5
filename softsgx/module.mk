# SPDX-License-Identifier: Apache-2.0
SOFTSGX_OBJS := $(addprefix $(B)/softsgx/,aex.o build.o device.o entry.o epcm.o keys.o leaf.o measure.o mm.o \
	quote.o sgx2.o signals.o sigstruct.o sys.o thread.o trap.o)
MBEDCRYPTO := /usr/lib/x86_64-linux-gnu/libmbedcrypto.a

ALL += $(B)/libsoftsgx.so $(B)/softsgx/libsoftsgx.a

# One object whose only global symbols are ours: a program may have its own mbedTLS.
$(B)/softsgx/libsoftsgx.o: $(SOFTSGX_OBJS) $(MBEDCRYPTO)
	$(LD) -r -o $@ $(SOFTSGX_OBJS) $(MBEDCRYPTO)
	$(OBJCOPY) --wildcard --keep-global-symbol='softsgx_*' $@
$(B)/softsgx/libsoftsgx.a: $(B)/softsgx/libsoftsgx.o
	rm -f $@
	$(AR) rcs $@ $<
$(B)/libsoftsgx.so: $(B)/softsgx/libsoftsgx.o softsgx/libsoftsgx.map
	$(CC) -shared -fuse-ld=lld -o $@ $(B)/softsgx/libsoftsgx.o -Wl,--version-script=softsgx/libsoftsgx.map -lpthread

# Each program in tests/softsgx/ that is not part of the harness is a test.
SOFTSGX_HARNESS := $(addprefix $(B)/tests/softsgx/,harness.o enclave.o)
SOFTSGX_TESTS := $(patsubst tests/softsgx/%.c,$(B)/tests/softsgx/%,\
	$(filter-out tests/softsgx/harness.c tests/softsgx/enclave.c,$(wildcard tests/softsgx/*.c)))
TESTS += $(SOFTSGX_TESTS)

$(B)/tests/softsgx/enclave.o: HOST_CFLAGS += -fno-stack-protector -fno-jump-tables -fno-builtin -fno-vectorize -fno-unroll-loops -mno-sse
$(SOFTSGX_TESTS): $(B)/tests/softsgx/%: $(B)/tests/softsgx/%.o $(SOFTSGX_HARNESS) $(B)/softsgx/libsoftsgx.a tests/softsgx/enclave.ld
	$(CC) -fuse-ld=lld -Wl,-T,tests/softsgx/enclave.ld -o $@ $< $(SOFTSGX_HARNESS) $(B)/softsgx/libsoftsgx.a $(MBEDCRYPTO) -lpthread
