#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# scripts/check-image complains of each thing it is there for.
cd "$(dirname "$0")/../.." || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
made() # name, assembly, linker flags
{
	echo ".globl _start; _start: $2; ret" >"$work/$1.s"
	clang-19 -c -o "$work/$1.o" "$work/$1.s" && ld.lld-19 $3 -o "$work/$1" "$work/$1.o"
}
refused() # name
{
	scripts/check-image "$work/$1" >"$work/out" 2>&1 && { echo "$1: not found"; failures=1; }
}
made nothing nop && { scripts/check-image "$work/nothing" >/dev/null || { echo "a good one is refused"; failures=1; }; }
for bad in syscall sysenter cpuid 'int $0x80' rdpmc; do
	made bad "$bad" && refused bad
done
made writable_code nop --omagic && refused writable_code
made dynamic nop "-pie --no-dynamic-linker" && refused dynamic
exit $failures
