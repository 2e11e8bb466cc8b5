# SPDX-License-Identifier: Apache-2.0
# build/libexec/optmig/enclave.o: the trusted runtime with its cryptography as one relocatable object. Its sections
# get the prefix .rt (the linker script places them apart) and its symbols become local, so that nothing of it meets
# the application's libc.
include enclave/crypto.mk

RT_DIR := $(B)/enclave
RT_SRCS := $(addprefix enclave/,ancillary.c border.c calls.c clock.c fault.c files.c futex.c gate.c inspect.c interest.c limits.c marks.c mm.c mm_carry.c mmap.c park.c rtlib.c \
	service.c signal.c signalfd.c start.c thread.c timer.c transfer.c waits.c) $(RT_CRYPTO_SRCS)
RT_OBJ := $(RT_DIR)/entry.o $(RT_SRCS:%.c=$(B)/%.o) $(RT_DIR)/root_public_key.o
RT_CFLAGS := -O2 -g $(WARN) -std=gnu11 -mpopcnt -ffreestanding -fno-pic -mcmodel=small -fno-stack-protector \
	-fno-strict-aliasing -fno-asynchronous-unwind-tables -fno-jump-tables
RT_GATES := __optmig_entry __optmig_syscall __optmig_clone __optmig_unmapself __optmig_restore __optmig_safepoint

$(RT_DIR)/%.o: enclave/%.c
	@mkdir -p $(@D); echo '  CC [E]  $<'
	$(CC) $(CPPFLAGS) $(RT_CFLAGS) -MMD -MP -c -o $@ $<
$(RT_DIR)/%.o: enclave/%.S
	@mkdir -p $(@D); echo '  AS [E]  $<'
	$(CC) $(CPPFLAGS) -MMD -MP -c -o $@ $<

$(RT_DIR)/root_public_key.o: softsgx/root_public_key.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(RT_CFLAGS) -MMD -MP -c -o $@ $<

$(RT_DIR)/joined.o: $(RT_OBJ)
	echo '  LD [E]  $@'
	$(LD) -r -o $@ $(RT_OBJ) --start-group $(RT_CRYPTO_LIBS) --end-group

$(B)/libexec/optmig/enclave.o: $(RT_DIR)/joined.o
	@mkdir -p $(@D)
	$(OBJCOPY) --remove-section=.eh_frame --remove-section=.rela.eh_frame --remove-section='.note.*' \
		--prefix-alloc-sections=.rt $(RT_GATES:%=--keep-global-symbol=%) $< $@
	@if llvm-nm-19 -u $@ | grep -v _GLOBAL_OFFSET_TABLE_; then echo "enclave.o: the symbols above are missing" >&2; rm -f $@; exit 1; fi
ALL += $(B)/libexec/optmig/enclave.o
