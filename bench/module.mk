# SPDX-License-Identifier: Apache-2.0
# The bench: workloads (compiled by optmig-cc), what measures them, and bench/run, which puts them together.
# make bench measures everything (hours), bench/run --quick the same in minutes.
BENCH_PROGRAMS := $(addprefix $(B)/bench/workloads/,writer kernels sqlite)
BENCH_TOOLS := $(addprefix $(B)/bench/tools/,listen ask cpu bounds park summary report pictures)
BENCH_CFLAGS := -O2 -g -Wall -Wextra -I. -I$(B)/sqlite -D_GNU_SOURCE

$(B)/bench/workloads/writer: bench/workloads/writer.c bench/workloads/meter.c
$(B)/bench/workloads/kernels: $(addprefix bench/workloads/,kernels.c btree.c hash_join.c graph.c lookup.c blockchain.c svm.c \
	encryption.c meter.c)
$(B)/bench/workloads/sqlite: bench/workloads/sqlite.c bench/workloads/meter.c $(B)/sqlite/sqlite3.o
$(BENCH_PROGRAMS): bench/workloads/meter.h bench/workloads/beat.h bench/workloads/kernels.h $(ENCLAVE_PARTS)
	@mkdir -p $(@D); echo '  CC [E]  $@'
	$(OPTMIG_CC) $(BENCH_CFLAGS) -o $@ $(filter bench/%.c $(B)/sqlite/%.o,$^) -lm

$(addprefix $(B)/bench/tools/,listen ask cpu): %: %.o
	$(CC) -o $@ $^ -lpthread
$(B)/bench/tools/bounds: $(B)/bench/tools/bounds.o
	$(CC) -o $@ $^ -lIPSec_MB -lpthread
$(B)/bench/tools/park: $(B)/bench/tools/park.o $(B)/host/libhost.a $(B)/softsgx/libsoftsgx.a
	$(CC) -pie -o $@ $^ -lmbedcrypto -ljansson -lpthread
$(B)/bench/tools/summary: $(B)/bench/tools/summary.o
	$(CC) -o $@ $^ -ljansson -lm
$(addprefix $(B)/bench/tools/,report pictures): %: %.o $(B)/bench/tools/results.o
	$(CC) -o $@ $^ -ljansson -lm

.PHONY: bench bench-build bench-readme
bench-build: $(BENCH_PROGRAMS) $(BENCH_TOOLS) $(B)/demo/load $(B)/demo/redis.signed \
	$(B)/servers/memcached/memcached $(B)/servers/lighttpd/src/lighttpd
bench: setup
	$(MAKE) $(JOBS) NO_SETUP=1 all bench-build
	[ -s $(B)/bench/tracking.json ] || bench/tracking/run
	BUILD=$(B) bench/run
# the results that are there into the README, between its two marks
bench-readme: $(B)/bench/tools/report
	$< --short $(B)/bench/results.json >$(B)/bench/readme.txt
	awk -v text=$(B)/bench/readme.txt '/^<!-- figures: bench\/run -->/ { print; out = 1 } !out { print } \
		out && /^<!-- end of figures -->/ { while ((getline line <text) > 0) print line; print; out = 0 }' \
		README.md >$(B)/bench/README.md
	cp $(B)/bench/README.md README.md
