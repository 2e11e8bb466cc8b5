# SPDX-License-Identifier: Apache-2.0
# The trusted runtime's modules in an ordinary process (support.h).
ENCLAVE_UNITS := ancillary border calls files futex interest marks mm mm_carry mmap signalfd transfer waits
$(B)/tests/enclave/enclave/%.o: enclave/%.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(HOST_CFLAGS) -ffreestanding -fno-strict-aliasing -MMD -MP -c -o $@ $<
ENCLAVE_UNIT_OBJS := $(ENCLAVE_UNITS:%=$(B)/tests/enclave/enclave/%.o)

ENCLAVE_TESTS := $(addprefix $(B)/tests/enclave/,pages placement hostile-answers futexes)
$(ENCLAVE_TESTS): $(B)/tests/enclave/%: $(B)/tests/enclave/%.o $(B)/tests/enclave/support.o $(ENCLAVE_UNIT_OBJS)
	@mkdir -p $(@D)
	$(CC) -o $@ $^ -lpthread
EXCEPTIONS_TEST := $(B)/tests/enclave/exceptions
$(EXCEPTIONS_TEST): $(EXCEPTIONS_TEST).o $(B)/tests/enclave/support.o $(addprefix $(B)/tests/enclave/enclave/,fault.o signal.o) $(ENCLAVE_UNIT_OBJS)
	$(CC) -o $@ $^ -lpthread
SLOTS_TEST := $(B)/tests/enclave/slots
$(SLOTS_TEST): $(SLOTS_TEST).o $(B)/tests/enclave/support.o $(B)/tests/enclave/enclave/thread.o $(ENCLAVE_UNIT_OBJS)
	$(CC) -o $@ $^ -lpthread
CLOCK_TEST := $(B)/tests/enclave/clock-outlasts-a-stuck-writer
$(CLOCK_TEST): $(CLOCK_TEST).o $(B)/tests/enclave/enclave/clock.o
	$(CC) -o $@ $^
SPARSE_TEST := $(B)/tests/enclave/sparse-arrays
$(SPARSE_TEST): $(SPARSE_TEST).o
	$(CC) -o $@ $^
TESTS += $(ENCLAVE_TESTS) $(EXCEPTIONS_TEST) $(SLOTS_TEST) $(CLOCK_TEST) $(SPARSE_TEST)
