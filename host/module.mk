# SPDX-License-Identifier: Apache-2.0
# build/host/libhost.a: the untrusted runtime.
HOST_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard host/*.c host/*/*.c)) $(patsubst %,$(B)/%.o,$(wildcard host/*.S))
HOST_LIB := $(B)/host/libhost.a

# kick.S and kick.c are neighbours: assembly keeps its suffix in the object's name
$(B)/host/%.S.o: host/%.S
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(HOST_CFLAGS) -MMD -MP -c -o $@ $<
$(B)/host/system_calls.inc:
	@mkdir -p $(@D)
	echo '#include <asm/unistd_64.h>' | $(CC) -E -dM - | sed -n 's/^#define __NR_\([a-z0-9_]*\) \([0-9]*\)$$/[\2] = "\1",/p' >$@
$(B)/host/system_calls.o $(B)/sanitize/host/system_calls.o: $(B)/host/system_calls.inc
%/host/system_calls.o: CPPFLAGS += -I$(B)
$(HOST_LIB): $(HOST_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^
ALL += $(HOST_LIB)
