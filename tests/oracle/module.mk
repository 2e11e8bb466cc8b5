# SPDX-License-Identifier: Apache-2.0
# The tracker against the kernel: whole runs of real programs.
ORACLE := $(B)/tests/oracle/oracle
$(ORACLE): $(B)/tests/oracle/oracle.o $(B)/host/libhost.a $(B)/softsgx/libsoftsgx.a
	$(CC) -pie -o $@ $^ -lmbedcrypto -ljansson -lpthread
CHECK_DEPS += $(ORACLE)
TESTS += tests/oracle/marks-miss-no-write
