# SPDX-License-Identifier: Apache-2.0
# The bench measures, on its smallest plan.
TESTS += tests/bench/moves-are-measured
CHECK_DEPS += $(BENCH_PROGRAMS) $(BENCH_TOOLS)
