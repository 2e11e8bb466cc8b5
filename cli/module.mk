# SPDX-License-Identifier: Apache-2.0
# build/optmig: the command.
CLI_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard cli/*.c migrate/*.c))
CLI_LIBS := $(B)/host/libhost.a $(B)/softsgx/libsoftsgx.a

$(B)/cli/main.o: CPPFLAGS += -DOPTMIG_VERSION='"$(VERSION)"'
# A PIE loads high and leaves the low addresses to the enclave.
$(B)/optmig: $(CLI_OBJ) $(CLI_LIBS)
	$(CC) -pie -o $@ $^ -lmbedcrypto -ljansson -lpthread -lm
ALL += $(B)/optmig
