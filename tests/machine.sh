# SPDX-License-Identifier: Apache-2.0
# Virtual machines with Debian's own kernel, for tests; to be sourced. They are emulated: nothing is asked of the
# hardware, and the processor is one without SGX.
#
#   machine_needs BUILD      sets $qemu, $kernel, $modules; else fails, having said what is missing
#   machine_root DIR FILE... a root file system: busybox, and the libraries that the programs FILE need
#   machine_libraries DIR FILE...   these libraries alone
#   machine_pack DIR FILE    the same, as the kernel takes it; DIR/init is its first program
# KERNEL=FILE names the kernel, else Debian's is fetched once. Its modules are in FILE.modules.

machine_needs()
{
	qemu=$(command -v qemu-system-x86_64) || { echo "no qemu-system-x86_64 (Debian: qemu-system-x86)"; return 1; }
	busybox=$(command -v busybox) || { echo "no busybox (Debian: busybox-static)"; return 1; }
	! ldd "$busybox" >/dev/null 2>&1 || { echo "busybox is not static (Debian: busybox-static)"; return 1; }
	kernel=${KERNEL:-$1/sources/vmlinuz} modules=${KERNEL:-$1/sources/vmlinuz}.modules
	[ -n "${KERNEL:-}" ] || "$(dirname "${BASH_SOURCE[0]}")/../scripts/fetch-kernel" "$kernel" ||
		{ echo "no kernel image (Debian: linux-image-cloud-amd64)"; return 1; }
	[ -r "$kernel" ] || { echo "cannot read $kernel"; return 1; }
}

machine_root()
{
	mkdir -p "$1"/{bin,proc,sys,dev,run,tmp} && cp "$busybox" "$1/bin/busybox" && machine_libraries "$@"
}

# The C library and its loader, where the programs look for them.
machine_libraries()
{
	local root=$1 library; shift

	for library in $(ldd "$@" | grep -o '/[^ ]*' | grep -v ':$' | sort -u); do
		[ ! -f "$library" ] || { mkdir -p "$root$(dirname "$library")" && cp -L "$library" "$root$library"; } || return
	done
}

machine_pack()
{
	(cd "$1" && find . | "$busybox" cpio -o -H newc 2>/dev/null | gzip -1) >"$2"
}
