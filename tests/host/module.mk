# SPDX-License-Identifier: Apache-2.0
# Unit tests of the host; those that read hostile input are built with sanitizers. (No enclave runs under them: the
# address sanitizer's shadow lies where enclaves do.)
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all
HOST_TESTS := $(patsubst %.c,$(B)/%,$(wildcard tests/host/*.c))
IMAGE_TESTS := $(patsubst %.c,$(B)/%,$(wildcard tests/image/*.c))
TESTS += $(HOST_TESTS) $(IMAGE_TESTS) scripts/check-layers $(wildcard tests/host/*.sh tests/image/*.sh)

$(HOST_TESTS): $(B)/%: $(B)/%.o $(B)/tests/host/guest/load.o $(HOST_LIB) $(B)/softsgx/libsoftsgx.a | $(B)/tests/host/guest/guest.image
	$(CC) -pie -o $@ $^ -lmbedcrypto -lpthread

IMAGE_TEST_OBJ := $(patsubst %,$(B)/sanitize/%.o,host/image_elf host/image_symbols host/image host/image_pages host/measure host/sign \
	host/key host/failure)
$(B)/sanitize/%.o: %.c
	@mkdir -p $(@D); echo '  CC [S]  $<'
	$(CC) $(CPPFLAGS) $(HOST_CFLAGS) $(SANITIZE) -MMD -MP -c -o $@ $<
$(IMAGE_TESTS): $(B)/%: $(B)/sanitize/%.o $(IMAGE_TEST_OBJ)
	@mkdir -p $(@D)
	$(CC) $(SANITIZE) -o $@ $^ -lmbedcrypto

# A runtime for tests of the host alone
GUEST := $(B)/tests/host/guest
GUEST_CFLAGS := -O2 -g $(WARN) -std=gnu11 -ffreestanding -fno-pic -mcmodel=small -fno-stack-protector -mno-sse -fno-jump-tables
$(GUEST)/guest.o $(GUEST)/entry.S.o: $(GUEST)/%.o:
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(GUEST_CFLAGS) -MMD -MP -c -o $@ $<
$(GUEST)/guest.o: tests/host/guest/guest.c
$(GUEST)/entry.S.o: tests/host/guest/entry.S
$(GUEST)/guest.lds: tests/host/guest/guest.lds.S abi/layout.h
	@mkdir -p $(@D)
	$(CC) -E -P -x c -I. -o $@ $<
$(GUEST)/guest.elf: $(GUEST)/guest.lds $(GUEST)/guest.o $(GUEST)/entry.S.o $(B)/libexec/optmig/image-note.o
	$(LD) -static -T $^ -o $@
$(B)/tests/key.pem: | $(B)/optmig
	@mkdir -p $(@D)
	$(B)/optmig keygen $@
# as many threads as guest.h has slots, less those for service calls
$(GUEST)/guest.image: $(GUEST)/guest.elf $(B)/tests/key.pem $(B)/optmig
	$(B)/optmig sign --key $(B)/tests/key.pem --threads 8 --heap 16M -o $@ $<

# make check-sanitize: the tests of what a program has open, with the whole host instrumented.
SANITIZE_LIB := $(B)/sanitize/host/libhost.a
SANITIZE_SUPPORT := $(B)/sanitize/tests/carry/testbed.o $(B)/sanitize/tests/carry/program.o
SANITIZE_TESTS := $(patsubst %.c,$(B)/sanitize/%,$(filter-out %/testbed.c %/program.c,$(wildcard tests/carry/*.c)))
$(SANITIZE_LIB): $(patsubst $(B)/%,$(B)/sanitize/%,$(filter-out %.S.o,$(HOST_OBJ))) $(filter %.S.o,$(HOST_OBJ))
	@rm -f $@
	$(AR) rcs $@ $^
$(SANITIZE_TESTS): %: %.o $(SANITIZE_SUPPORT) $(SANITIZE_LIB)
	$(CC) $(SANITIZE) -o $@ $^ -lpthread
.PHONY: check-sanitize
check-sanitize: $(SANITIZE_TESTS) $(IMAGE_TESTS)
	tests/run $(B)/sanitize $^
