# SPDX-License-Identifier: Apache-2.0
# Test programs: ordinary C, each built three times: for this machine as it is
# (NAME.native), by optmig-cc, and signed as an enclave (NAME.signed).
PROGRAMS_DIR := $(B)/tests/programs
PROGRAMS := hello echo syscalls pattern follow markers obstacles process locks sqlite-insert late
PROGRAM_HEAP := 256M
PROGRAM_CFLAGS := -O2 -g -Wall -Wextra -Itests/programs -I$(B)/sqlite -pthread
SIGNED_PROGRAMS := $(PROGRAMS:%=$(PROGRAMS_DIR)/%.signed) $(PROGRAMS_DIR)/sqlite3.signed
NATIVE_PROGRAMS := $(PROGRAMS:%=$(PROGRAMS_DIR)/%.native)
OPTMIG_CC := $(abspath $(B))/optmig-cc

# SQLite's amalgamation is made from Debian's source package by its own scripts.
$(B)/sqlite/sqlite3.c:
	scripts/fetch-source sqlite3 $(B)/sqlite/source
	cd $(B)/sqlite/source && env -u MAKEFLAGS -u MFLAGS CC=$(CC) sh -c './configure && make sqlite3.c shell.c' >../make.log 2>&1
	cp $(addprefix $(B)/sqlite/source/,shell.c sqlite3.h sqlite3.c) $(B)/sqlite
SQLITE_CFLAGS := -O2 -g -w -DSQLITE_THREADSAFE=1 -DSQLITE_OMIT_LOAD_EXTENSION
$(B)/sqlite/sqlite3.native.o: $(B)/sqlite/sqlite3.c
	$(CC) $(SQLITE_CFLAGS) -c -o $@ $<
$(B)/sqlite/sqlite3.o: $(B)/sqlite/sqlite3.c $(ENCLAVE_PARTS)
	$(OPTMIG_CC) $(SQLITE_CFLAGS) -c -o $@ $<

CONTROLLED := pattern follow markers obstacles process locks sqlite-insert
$(foreach p,$(CONTROLLED),$(eval $(PROGRAMS_DIR)/$(p).native $(PROGRAMS_DIR)/$(p): tests/programs/control.c))
$(PROGRAMS_DIR)/syscalls.native $(PROGRAMS_DIR)/syscalls: $(wildcard tests/programs/syscalls/*)
$(PROGRAMS_DIR)/sqlite-insert.native: $(B)/sqlite/sqlite3.native.o
$(PROGRAMS_DIR)/sqlite-insert: $(B)/sqlite/sqlite3.o

# SQLite's own shell, as it is
$(B)/sqlite/shell.c: $(B)/sqlite/sqlite3.c
$(PROGRAMS_DIR)/sqlite3: $(B)/sqlite/shell.c $(B)/sqlite/sqlite3.o $(ENCLAVE_PARTS)
	@mkdir -p $(@D)
	$(OPTMIG_CC) $(SQLITE_CFLAGS) -o $@ $(B)/sqlite/shell.c $(B)/sqlite/sqlite3.o -lm

$(NATIVE_PROGRAMS): $(PROGRAMS_DIR)/%.native: tests/programs/%.c tests/programs/control.h
	@mkdir -p $(@D)
	$(CC) $(PROGRAM_CFLAGS) -o $@ $(filter %.c %.o,$^) -lm
$(PROGRAMS:%=$(PROGRAMS_DIR)/%): $(PROGRAMS_DIR)/%: tests/programs/%.c tests/programs/control.h $(ENCLAVE_PARTS)
	@mkdir -p $(@D)
	$(OPTMIG_CC) $(PROGRAM_CFLAGS) -o $@ $(filter %.c $(B)/sqlite/%.o,$(filter-out pass/%,$^)) -lm

$(PROGRAMS_DIR)/key.pem: | $(B)/optmig
	@mkdir -p $(@D)
	$(B)/optmig keygen $@
$(SIGNED_PROGRAMS): %.signed: % $(PROGRAMS_DIR)/key.pem $(B)/optmig
	$(B)/optmig sign --key $(PROGRAMS_DIR)/key.pem --heap $(PROGRAM_HEAP) -o $@ $<

.PHONY: programs
programs: $(SIGNED_PROGRAMS) $(NATIVE_PROGRAMS)
CHECK_DEPS += programs

# End to end: each script is one behaviour, on hosts made of namespaces.
E2E := $(filter-out tests/e2e/lib.sh tests/e2e/servers.sh %.c,$(wildcard tests/e2e/*))
E2E_TOOLS := $(addprefix $(B)/tests/e2e/,relay distance witness)
$(E2E_TOOLS): %: %.o
	$(CC) $(LDFLAGS) -o $@ $^
# The command, with a host that interferes.
$(B)/tests/e2e/hostile: $(B)/tests/e2e/hostile.o $(CLI_OBJ) $(CLI_LIBS)
	$(CC) -pie -Wl,--wrap=enclave_unpark_all -o $@ $^ -lmbedcrypto -ljansson -lpthread -lm
TESTS += $(E2E)

# Not part of `make check`: each builds a large program first.
CORPUS := $(filter-out tests/corpus/lib.sh,$(wildcard tests/corpus/*))
.PHONY: check-corpus
check-corpus: setup
	$(MAKE) $(JOBS) NO_SETUP=1 all $(SERVER_LOAD)
	TEST_JOBS=1 TEST_TIMEOUT=1800 tests/run $(B) $(CORPUS)
CHECK_DEPS += $(E2E_TOOLS) $(B)/tests/e2e/hostile $(B)/demo/load $(B)/demo/redis.signed
