# SPDX-License-Identifier: Apache-2.0
# The trusted half as an ordinary object: only its one entry, and the session, are visible, so its private calloc, printf and friends do
# not meet the C library's.
include enclave/crypto.mk
MIGRATE_TRUSTED := $(B)/tests/migrate/trusted.o
MIGRATE_TRUSTED_OBJS := $(patsubst %.c,$(B)/tests/migrate/%.o,$(filter-out enclave/report.c,$(RT_CRYPTO_SRCS)))
$(B)/tests/migrate/enclave/%.o: enclave/%.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(HOST_CFLAGS) -ffreestanding -MMD -MP -c -o $@ $<
$(MIGRATE_TRUSTED): $(MIGRATE_TRUSTED_OBJS)
	@mkdir -p $(@D)
	$(LD) -r -o $@ $^ $(RT_CRYPTO_LIBS)
	$(OBJCOPY) --keep-global-symbol=migrate_service --keep-global-symbol=session $@

MIGRATE_TESTS := $(addprefix $(B)/tests/migrate/,handshake records commit deferred)
$(MIGRATE_TESTS): $(B)/tests/migrate/%: $(B)/tests/migrate/%.o $(B)/tests/migrate/pair.o \
		$(B)/tests/migrate/fake_runtime.o $(MIGRATE_TRUSTED)
	@mkdir -p $(@D)
	$(CC) -o $@ $^ -lmbedcrypto
TESTS += $(MIGRATE_TESTS)

WIRE_UNITS := migrate/wire.o host/bytes.o host/warm.o
$(B)/tests/migrate/frame_relay: $(B)/tests/migrate/frame_relay.o $(WIRE_UNITS:%=$(B)/%)
	@mkdir -p $(@D)
	$(CC) -o $@ $^ -lpthread
CHECK_DEPS += $(B)/tests/migrate/frame_relay
TESTS += $(addprefix tests/migrate/,links-lost-around-commit strangers-decide-nothing check-tells-what-a-move-would)

# Reads hostile input: with sanitizers.
$(B)/tests/migrate/wire: $(addprefix $(B)/sanitize/,tests/migrate/wire.o $(WIRE_UNITS) migrate/parcel.o migrate/address.o host/failure.o)
	@mkdir -p $(@D)
	$(CC) $(SANITIZE) -o $@ $^
TESTS += $(B)/tests/migrate/wire

$(B)/tests/migrate/attach: $(B)/tests/migrate/attach.o $(B)/migrate/attach.o $(B)/host/net/presence.o $(WIRE_UNITS:%=$(B)/%)
	@mkdir -p $(@D)
	$(CC) -o $@ $^
TESTS += $(B)/tests/migrate/attach

$(B)/tests/migrate/urgent: $(B)/tests/migrate/urgent.o
	@mkdir -p $(@D)
	$(CC) -o $@ $^ -lpthread
TESTS += $(B)/tests/migrate/urgent

# Many threads: with the thread sanitizer.
$(B)/sanitize-thread/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(HOST_CFLAGS) -fsanitize=thread -MMD -MP -c -o $@ $<
$(B)/tests/migrate/streams: $(addprefix $(B)/sanitize-thread/,tests/migrate/streams.o migrate/outflow.o \
		migrate/inflow.o migrate/lane.o migrate/parcel.o migrate/ring.o $(WIRE_UNITS))
	@mkdir -p $(@D)
	$(CC) -fsanitize=thread -o $@ $^
TESTS += $(B)/tests/migrate/streams

# Decisions alone: nothing is sent, and the clock is the test's.
$(B)/tests/migrate/policy: $(addprefix $(B)/tests/migrate/,policy.o model.o enclave/source_pages.o enclave/pageset.o) \
		$(B)/migrate/source_rounds.o $(B)/migrate/source_quiet.o
	@mkdir -p $(@D)
	$(CC) -Wl,--wrap=poll,--wrap=ppoll,--wrap=nanosleep -o $@ $^
TESTS += $(B)/tests/migrate/policy
