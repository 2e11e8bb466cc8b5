# SPDX-License-Identifier: Apache-2.0
# The compiler pass, optmig-cc and what they need at run time, in build/libexec/optmig.
PASS_LIBEXEC := $(B)/libexec/optmig
LLVM_CONFIG := llvm-config-19

PASS_SRC := $(wildcard pass/*.cpp)
PASS_OBJ := $(PASS_SRC:%.cpp=$(B)/%.o)
PASS_CXXFLAGS = -O1 -std=c++17 -fPIC -fno-exceptions -fno-rtti -Wall -Wextra \
	-Wno-unused-parameter -isystem $(shell $(LLVM_CONFIG) --includedir)

PASS_TOOLS := $(B)/optmig-cc $(PASS_LIBEXEC)/optmig-ld
PASS_DATA := $(addprefix $(PASS_LIBEXEC)/, optmig-pass.so enclave.lds native.lds image-note.o include/optmig.h)
ALL += $(PASS_TOOLS) $(PASS_DATA)

$(PASS_OBJ): $(B)/%.o: %.cpp
	@mkdir -p $(@D)
	$(CXX) -I. $(PASS_CXXFLAGS) -MMD -MP -c -o $@ $<

$(PASS_LIBEXEC)/optmig-pass.so: $(PASS_OBJ)
	@mkdir -p $(@D)
	$(CXX) -shared -o $@ $^

$(B)/pass/cc.o: CPPFLAGS += -DVERSION='"$(VERSION)"'
$(B)/optmig-cc: $(B)/pass/cc.o $(B)/pass/tool.o
	$(CC) -o $@ $^

$(PASS_LIBEXEC)/optmig-ld: $(B)/pass/ld.o $(B)/pass/objects.o $(B)/pass/tool.o
	@mkdir -p $(@D)
	$(CC) -o $@ $^

$(PASS_LIBEXEC)/enclave.lds $(PASS_LIBEXEC)/native.lds: pass/enclave.lds.S abi/layout.h
	@mkdir -p $(@D)
	$(CC) -E -P -x c -I. $(if $(findstring native,$@),-DNATIVE) -o $@ $<

# Code and data of an image: not position-independent, so not built by the general rule.
$(PASS_LIBEXEC)/image-note.o: pass/image-note.c abi/image.h sgx/arch.h
	@mkdir -p $(@D)
	$(CC) -I. -O2 -fno-pic -std=gnu11 -c -o $@ $<

$(PASS_LIBEXEC)/include/optmig.h: pass/include/optmig.h
	@mkdir -p $(@D)
	cp $< $@


LIBC_OUT := $(B)/libexec/optmig/musl
