# SPDX-License-Identifier: Apache-2.0
# Servers as Debian has them, each built by its own configure and Makefile with
# CC=optmig-cc: what the end-to-end tests move. Nothing in them is changed.
SERVERS := $(B)/servers
MEMCACHED := $(SERVERS)/memcached/memcached
LIGHTTPD := $(SERVERS)/lighttpd/src/lighttpd
SERVER_IMAGES := $(SERVERS)/memcached.signed $(SERVERS)/lighttpd.signed
CHECK_DEPS += $(SERVER_IMAGES)

# Their make is none of ours: it must not see our variables.
SERVER_ENV := env -u MAKEFLAGS -u MFLAGS -u CFLAGS -u LDFLAGS -u CPPFLAGS
# What autoconf and automake make is in the packages; unpacking gives it any age.
SERVER_MAKE := $(SERVER_ENV) $(MAKE) ACLOCAL=: AUTOCONF=: AUTOMAKE=: AUTOHEADER=:
# $(call server_configure,PACKAGE,ARGUMENTS,ENVIRONMENT), then $(call server_make,PACKAGE,ARGUMENTS)
define server_configure
	@echo "  SERVER  $(1)"
	scripts/fetch-source $(1) $(SERVERS)/$(1)
	cd $(SERVERS)/$(1) && $(SERVER_ENV) $(3) ./configure CC=$(abspath $(B)/optmig-cc) $(2) \
		>../$(1)-configure.log 2>&1 || { tail -n 30 ../$(1)-configure.log; false; }
endef
define server_make
	$(SERVER_MAKE) -C $(SERVERS)/$(1) -j$(shell nproc) $(2) >$(SERVERS)/$(1).log 2>&1 || \
		{ tail -n 30 $(SERVERS)/$(1).log; false; }
endef
# They are made anew when the compiler changes, and linked again when anything does that is linked in.
SERVER_COMPILER := $(B)/optmig-cc $(B)/libexec/optmig/optmig-pass.so $(LIBC_HEADERS) scripts/fetch-source

$(SERVERS)/libevent.built: $(SERVER_COMPILER) | $(ENCLAVE_PARTS)
	$(call server_configure,libevent,--prefix=$(abspath $(SERVERS)/usr) --disable-shared --disable-openssl \
		--disable-samples --disable-libevent-regress)
	$(call server_make,libevent,install)
	touch $@
$(SERVERS)/memcached.configured: $(SERVERS)/libevent.built
	$(call server_configure,memcached,--with-libevent=$(abspath $(SERVERS)/usr) --disable-docs)
	touch $@
$(MEMCACHED): $(SERVERS)/memcached.configured $(ENCLAVE_PARTS)
	rm -f $@
	$(call server_make,memcached,memcached)

# No shared modules in an enclave: lighttpd links those that it finds in plugin-static.h.
$(SERVERS)/lighttpd.configured: $(SERVER_COMPILER) tests/servers/plugin-static.h | $(ENCLAVE_PARTS)
	$(call server_configure,lighttpd,CPPFLAGS=-I$(abspath tests/servers) --without-pcre2 --without-zlib \
		--without-bzip2 --disable-dependency-tracking,LIGHTTPD_STATIC=yes)
	touch $@
$(LIGHTTPD): $(SERVERS)/lighttpd.configured $(ENCLAVE_PARTS)
	rm -f $@
	$(call server_make,lighttpd)

$(SERVERS)/memcached.signed: $(MEMCACHED)
$(SERVERS)/lighttpd.signed: $(LIGHTTPD)
$(SERVER_IMAGES): $(B)/demo/key.pem $(B)/optmig
	$(B)/optmig sign --key $(B)/demo/key.pem --heap 512M --threads 16 -o $@ $(filter $(MEMCACHED) $(LIGHTTPD),$^)

# the client
SERVER_LOAD := $(SERVERS)/load
$(SERVER_LOAD): $(addprefix $(B)/tests/servers/,load.o load_redis.o load_memcached.o load_http.o)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ -lpthread
CHECK_DEPS += $(SERVER_LOAD)
