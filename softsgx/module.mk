# SPDX-License-Identifier: Apache-2.0
SOFTSGX_OBJS := $(addprefix $(B)/softsgx/,abort.o aex.o bases.o build.o cpuid.o decode.o device.o entry.o epcm.o illegal.o inspect.o int3_site.o keys.o leaf.o measure.o mm.o oracle.o \
	patch.o platform.o quote.o sgx2.o signals.o sigstruct.o source.o stats.o sys.o thread.o trap.o)
MBEDCRYPTO := /usr/lib/x86_64-linux-gnu/libmbedcrypto.a

ALL += $(B)/libsoftsgx.so $(B)/softsgx/libsoftsgx.a

# One object whose only global symbols are ours: a program may have its own mbedTLS.
$(B)/softsgx/libsoftsgx.o: $(SOFTSGX_OBJS) $(MBEDCRYPTO)
	$(LD) -r -o $@ $(SOFTSGX_OBJS) $(MBEDCRYPTO)
	$(OBJCOPY) --wildcard --keep-global-symbol='softsgx_*' $@
$(B)/softsgx/libsoftsgx.a: $(B)/softsgx/libsoftsgx.o
	rm -f $@
	$(AR) rcs $@ $<

# The preload library adds what interposes, and the image of a vDSO.
$(B)/softsgx/vdso.so: $(B)/softsgx/vdso.o softsgx/vdso.ld softsgx/vdso.map
	$(LD) -shared -soname linux-vdso.so.1 --hash-style=both -Bsymbolic --strip-debug -z noseparate-code \
		-T softsgx/vdso.ld --version-script=softsgx/vdso.map -o $@ $<
$(B)/softsgx/preload_entry.o: CPPFLAGS += -DVDSO_IMAGE='"$(B)/softsgx/vdso.so"'
$(B)/softsgx/preload_entry.o: $(B)/softsgx/vdso.so
SOFTSGX_PRELOAD := $(addprefix $(B)/softsgx/,preload.o preload_entry.o preload_debug.o vdso_image.o)
$(B)/libsoftsgx.so: $(SOFTSGX_OBJS) $(SOFTSGX_PRELOAD) $(MBEDCRYPTO) softsgx/libsoftsgx.map
	$(CC) -shared -fuse-ld=lld -o $@ $(SOFTSGX_OBJS) $(SOFTSGX_PRELOAD) $(MBEDCRYPTO) \
		-Wl,--version-script=softsgx/libsoftsgx.map -Wl,--exclude-libs,ALL -lpthread -ldl

# Each program in tests/softsgx that is not part of the harness is a test, linked to the library; and a
# second one, foreign-*, that uses the kernel's calls under the preload library.
SOFTSGX_HARNESS := harness enclave direct foreign native_enclu
SOFTSGX_TEST_NAMES := $(filter-out $(SOFTSGX_HARNESS),$(basename $(notdir $(wildcard tests/softsgx/*.c))))
# ... those that need what only the library has, or only the preload library; and tests of single functions
SOFTSGX_FOREIGN_ONLY := detection descriptors_open_one_way loaders_of_all_kinds debuggers_see_debug_enclaves
SOFTSGX_UNIT := cmac_vectors decode_lengths
SOFTSGX_DIRECT_ONLY := oracle_finds_writes two_enclaves_change_at_once changes_meet_short_entries $(SOFTSGX_UNIT)
SOFTSGX_TESTS := $(addprefix $(B)/tests/softsgx/,$(filter-out $(SOFTSGX_FOREIGN_ONLY) $(SOFTSGX_UNIT),$(SOFTSGX_TEST_NAMES)))
SOFTSGX_FOREIGN_TESTS := $(addprefix $(B)/tests/softsgx/foreign-,$(filter-out $(SOFTSGX_DIRECT_ONLY),$(SOFTSGX_TEST_NAMES)))
SOFTSGX_UNIT_TESTS := $(addprefix $(B)/tests/softsgx/,$(SOFTSGX_UNIT))
# ... and some once more on other kinds of machine
TESTS += $(SOFTSGX_UNIT_TESTS) $(SOFTSGX_TESTS) $(SOFTSGX_FOREIGN_TESTS) $(B)/tests/softsgx/native_enclu \
	tests/softsgx/debian-kernel
export SOFTSGX_BUILD := $(abspath $(B))

$(B)/tests/softsgx/enclave.o: HOST_CFLAGS += -fno-stack-protector -fno-jump-tables -fno-builtin -fno-vectorize \
	-fno-unroll-loops -mno-sse -mno-red-zone
SOFTSGX_TEST_LINK = $(CC) -fuse-ld=lld -Wl,-T,tests/softsgx/enclave.ld -o $@ $(filter %.o %.a,$^) -lpthread
$(SOFTSGX_TESTS): $(B)/tests/softsgx/%: $(B)/tests/softsgx/%.o $(addprefix $(B)/tests/softsgx/,harness.o enclave.o direct.o) \
		$(B)/softsgx/libsoftsgx.a $(MBEDCRYPTO) tests/softsgx/enclave.ld
	$(SOFTSGX_TEST_LINK)
$(SOFTSGX_UNIT_TESTS): $(B)/tests/softsgx/%: $(B)/tests/softsgx/%.o $(SOFTSGX_OBJS) $(MBEDCRYPTO)
	$(CC) -fuse-ld=lld -o $@ $^ -lpthread
$(SOFTSGX_FOREIGN_TESTS): $(B)/tests/softsgx/foreign-%: $(B)/tests/softsgx/%.o \
		$(addprefix $(B)/tests/softsgx/,harness.o enclave.o foreign.o) $(MBEDCRYPTO) tests/softsgx/enclave.ld \
		| $(B)/libsoftsgx.so
	$(SOFTSGX_TEST_LINK)
$(B)/tests/softsgx/native_enclu: $(B)/tests/softsgx/native_enclu.o
	$(CC) -fuse-ld=lld -o $@ $<

# make bench-softsgx: ratios, as JSON
.PHONY: bench-softsgx
bench-softsgx: $(B)/softsgx/bench/bench
	$<
$(B)/softsgx/bench/bench: $(B)/softsgx/bench/bench.o $(addprefix $(B)/tests/softsgx/,harness.o enclave.o direct.o) \
		$(B)/softsgx/libsoftsgx.a $(MBEDCRYPTO) tests/softsgx/enclave.ld
	$(SOFTSGX_TEST_LINK)

# make kernel-selftest-softsgx: the kernel's own, under the preload library
.PHONY: kernel-selftest-softsgx
kernel-selftest-softsgx: $(B)/libsoftsgx.so
	tests/softsgx/kernel-selftest

# make mutants: single faults put into softsgx, each found by a test
.PHONY: mutants list-softsgx-tests
mutants:
	tests/softsgx/mutants
list-softsgx-tests:
	@echo $(SOFTSGX_UNIT_TESTS) $(SOFTSGX_TESTS)
