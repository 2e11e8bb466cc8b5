# SPDX-License-Identifier: Apache-2.0
# build/optmig: the command.
CLI_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard cli/*.c migrate/*.c))
CLI_LIBS := $(B)/host/libhost.a $(B)/softsgx/libsoftsgx.a

$(B)/cli/main.o: CPPFLAGS += -DOPTMIG_VERSION='"$(VERSION)"'
# A PIE loads high and leaves the low addresses to the enclave. Bound at once: a program that stands still should not
# wait for the loader to look for a function's name.
$(B)/optmig: $(CLI_OBJ) $(CLI_LIBS)
	$(CC) -pie -Wl,-z,now -o $@ $^ -lmbedcrypto -ljansson -lpthread -lm
ALL += $(B)/optmig
