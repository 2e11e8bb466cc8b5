# SPDX-License-Identifier: Apache-2.0
# What a program has open, without an enclave: table, system calls, kicks, and moves.
CARRY_SUPPORT := $(B)/tests/carry/testbed.o $(B)/tests/carry/program.o
CARRY_TESTS := $(patsubst %.c,$(B)/%,$(filter-out tests/carry/testbed.c tests/carry/program.c, \
	$(wildcard tests/carry/*.c)))
TESTS += $(CARRY_TESTS)

$(CARRY_TESTS): $(B)/%: $(B)/%.o $(CARRY_SUPPORT) $(HOST_LIB)
	$(CC) -pie -o $@ $^ -lpthread
