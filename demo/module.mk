# SPDX-License-Identifier: Apache-2.0
# The demo: a client that knows every reply, Redis built by optmig-cc, two hosts.
LOAD_OBJS := $(addprefix $(B)/demo/,load.o resp.o fill.o client.o run.o)
REDIS := $(B)/demo/redis
REDIS_HEAP ?= 3G

$(B)/demo/load: $(LOAD_OBJS)
	$(CC) $(LDFLAGS) -o $@ $^

$(REDIS)/Makefile:
	scripts/fetch-source redis $(REDIS)
	touch $@

# Debian's Redis by its own Makefile, as anybody would build it. That make is none of
# ours: it must not see our variables.
REDIS_MAKE = env -u MAKEFLAGS -u MFLAGS -u CFLAGS -u LDFLAGS $(MAKE) -C $(REDIS) \
	CC=$(abspath $(B)/optmig-cc) MALLOC=libc
REDIS_LOG := $(B)/demo/redis-build.log
# Redis does not know that its compiler may change.
$(REDIS)/compiler-changed: $(REDIS)/Makefile $(B)/optmig-cc $(B)/libexec/optmig/optmig-pass.so
	$(REDIS_MAKE) distclean >$(REDIS_LOG) 2>&1
	touch $@
$(REDIS)/src/redis-server: $(REDIS)/compiler-changed $(ENCLAVE_PARTS)
	@echo "  REDIS   $@"; rm -f $@
	$(REDIS_MAKE) -j$(shell nproc) redis-server >$(REDIS_LOG) 2>&1 || { tail -n 30 $(REDIS_LOG); false; }

$(B)/demo/key.pem: | $(B)/optmig
	$(B)/optmig keygen $@

$(B)/demo/redis.signed: $(REDIS)/src/redis-server $(B)/demo/key.pem $(B)/optmig
	$(B)/optmig sign --key $(B)/demo/key.pem --heap $(REDIS_HEAP) --threads 16 -o $@ $<

.PHONY: demo demo-build
demo-build: $(B)/demo/load $(B)/demo/redis.signed
demo: setup
	$(MAKE) $(JOBS) NO_SETUP=1 all demo-build
	BUILD=$(B) demo/run
# the figures of a migration, for the README
.PHONY: bench-migrate
bench-migrate:
	$(MAKE) $(JOBS) NO_SETUP=1 all demo-build
	BUILD=$(B) bench/migrate/run
