# SPDX-License-Identifier: Apache-2.0
# One make for everything; each folder's module.mk says what it builds.
#   make          build/optmig, build/optmig-cc, build/libsoftsgx.so, build/libexec/...
#   make check    all tests; ends with "N passed, N failed, N skipped"
#   make demo     Redis moved between two hosts
.SUFFIXES:
.DELETE_ON_ERROR:
# make V=1 shows the commands
ifndef V
.SILENT:
endif
B := build
CC := clang-19
CXX := clang++-19
AR := llvm-ar-19
LD := ld.lld-19
OBJCOPY := llvm-objcopy-19
CFLAGS ?= -O2 -g
# Every include is written from the root of the tree, so that it shows the layer it reaches into.
CPPFLAGS += -I. -D_GNU_SOURCE
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wno-unused-parameter
HOST_CFLAGS = $(CFLAGS) $(WARN) -std=gnu11 -fPIC -fno-strict-aliasing -fvisibility=hidden

prefix ?= /usr/local
PREFIX ?= $(prefix)
VERSION := 0.1.0

ALL :=
# programs to run: exit 0 passes, 77 skips, anything else fails
TESTS :=
# what must be built before tests run, beyond TESTS
CHECK_DEPS :=

.PHONY: all
all:

-include $(wildcard */module.mk)

all: $(ALL)

$(B)/%.o: %.c
	@mkdir -p $(@D); echo '  CC      $<'
	$(CC) $(CPPFLAGS) $(HOST_CFLAGS) -MMD -MP -c -o $@ $<
$(B)/%.o: %.S
	@mkdir -p $(@D); echo '  AS      $<'
	$(CC) $(CPPFLAGS) $(HOST_CFLAGS) -MMD -MP -c -o $@ $<

.PHONY: check clean setup
setup:
	@[ -n "$(NO_SETUP)" ] || scripts/setup
check: setup
	$(MAKE) all check-build
	tests/run $(B) $(TESTS)
.PHONY: check-build
check-build: $(TESTS) $(CHECK_DEPS)
clean:
	rm -rf $(B)

-include $(shell find $(B) -name '*.d' 2>/dev/null)
