# SPDX-License-Identifier: Apache-2.0
# One make for everything; each folder's module.mk says what it builds.
#   make          build/optmig, build/optmig-cc, build/libsoftsgx.so, build/libexec/...
#   make check    all tests; ends with "N passed, N failed, N skipped"
#   make check-sanitize   those of the host that need no enclave, with address and undefined-behaviour sanitizers
#   make check-corpus     programs of others, built from Debian's sources and moved while they work: a quarter of an hour the first time
#   make demo     Redis moved between two hosts
#   make bench    what a move costs, against what was promised (docs/bench.md)
#   make install, make uninstall  under PREFIX (/usr/local), in DESTDIR if given
# Each but check-sanitize first installs what Debian packages are missing (scripts/setup); NO_SETUP=1 leaves that out.
.SUFFIXES:
.DELETE_ON_ERROR:
# make V=1 shows the commands
ifndef V
.SILENT:
endif
ifneq ($(words $(CURDIR)),1)
$(error make takes "$(CURDIR)" for several paths: build in a directory whose path has no space in it)
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
# of what is built, as many at a time as there are processors, unless make was told
JOBS = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))

ALL :=
# programs to run: exit 0 passes, 77 skips, anything else fails
TESTS :=
# what must be built before tests run, beyond TESTS
CHECK_DEPS :=

# headers that programs expect of a libc and musl has not, or not so; found before musl's
LIBC_HEADERS := $(patsubst libc/include/%,$(B)/libexec/optmig/include/%,$(wildcard libc/include/*/*.h))
# the kernel's own headers, as the system has them: programs include <linux/version.h> and the like beside libc's
KERNEL_HEADERS := $(addprefix $(B)/libexec/optmig/musl/include/,linux asm asm-generic)
# what every program for an enclave is made with; when one changes, all are made again
ENCLAVE_PARTS := $(B)/optmig-cc $(B)/libexec/optmig/musl/lib/libc.a $(addprefix $(B)/libexec/optmig/,optmig-pass.so \
	optmig-ld enclave.lds enclave.o outside.o image-note.o mark-range.o) $(LIBC_HEADERS) $(KERNEL_HEADERS)

.PHONY: all
all:

include $(sort $(wildcard */module.mk)) $(sort $(wildcard */*/module.mk))

ifdef NO_SETUP
all: $(ALL)
else
all: setup
	$(MAKE) $(JOBS) NO_SETUP=1 all
endif

$(B)/%.o: %.c
	@mkdir -p $(@D); echo '  CC      $<'
	$(CC) $(CPPFLAGS) $(HOST_CFLAGS) -MMD -MP -c -o $@ $<
$(B)/%.o: %.S
	@mkdir -p $(@D); echo '  AS      $<'
	$(CC) $(CPPFLAGS) $(HOST_CFLAGS) -MMD -MP -c -o $@ $<

.PHONY: check clean setup install uninstall
setup:
	@[ -n "$(NO_SETUP)" ] || scripts/setup
check: setup
	$(MAKE) $(JOBS) NO_SETUP=1 all check-build
	tests/run $(B) $(TESTS)
.PHONY: check-build
check-build: $(TESTS) $(CHECK_DEPS)
clean:
	rm -rf $(B)
install: all
	install -d "$(DESTDIR)$(PREFIX)/bin" "$(DESTDIR)$(PREFIX)/lib" "$(DESTDIR)$(PREFIX)/libexec/optmig"
	install $(B)/optmig $(B)/optmig-cc "$(DESTDIR)$(PREFIX)/bin"
	install -m 644 $(B)/libsoftsgx.so "$(DESTDIR)$(PREFIX)/lib"
	cp -R $(B)/libexec/optmig/. "$(DESTDIR)$(PREFIX)/libexec/optmig"
uninstall:
	rm -f "$(DESTDIR)$(PREFIX)/bin/optmig" "$(DESTDIR)$(PREFIX)/bin/optmig-cc" "$(DESTDIR)$(PREFIX)/lib/libsoftsgx.so"
	rm -rf "$(DESTDIR)$(PREFIX)/libexec/optmig"

# not those of other projects' sources that are built in there
-include $(shell find $(B) \( -path '$(B)/demo/*/*' -o -path $(B)/sources -o -path $(B)/servers -o -path $(B)/corpus -o -path $(B)/musl \) -prune -o -name '*.d' -type f -print 2>/dev/null)
