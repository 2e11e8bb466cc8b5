# SPDX-License-Identifier: Apache-2.0
# build/host/libhost.a: the untrusted runtime.
HOST_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard host/*.c host/*/*.c)) $(patsubst %,$(B)/%.o,$(wildcard host/*.S))
HOST_LIB := $(B)/host/libhost.a

# kick.S and kick.c are neighbours: assembly keeps its suffix in the object's name
$(B)/host/%.S.o: host/%.S
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(HOST_CFLAGS) -MMD -MP -c -o $@ $<
$(HOST_LIB): $(HOST_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^
ALL += $(HOST_LIB)

# Unit tests; those that read hostile input are built with sanitizers. (No enclave runs under them: the
# address sanitizer's shadow lies where enclaves do.)
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all
HOST_TESTS := $(patsubst %.c,$(B)/%,$(wildcard tests/host/*.c))
IMAGE_TESTS := $(patsubst %.c,$(B)/%,$(wildcard tests/image/*.c))
TESTS += $(HOST_TESTS) $(IMAGE_TESTS)

$(HOST_TESTS): $(B)/%: $(B)/%.o $(HOST_LIB)
	$(CC) -pie -o $@ $^ -lmbedcrypto -lpthread

IMAGE_TEST_OBJ := $(patsubst %,$(B)/sanitize/%.o,host/image_elf host/image host/image_pages host/measure host/sign \
	host/key host/failure)
$(B)/sanitize/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(HOST_CFLAGS) $(SANITIZE) -MMD -MP -c -o $@ $<
$(IMAGE_TESTS): $(B)/%: $(B)/sanitize/%.o $(IMAGE_TEST_OBJ)
	@mkdir -p $(@D)
	$(CC) $(SANITIZE) -o $@ $^ -lmbedcrypto
