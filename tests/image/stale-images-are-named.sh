#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# An image of another runtime ABI is refused before anything runs, and the message says what to do.
cd "$(dirname "$0")/../.." || exit 1
optmig=$PWD/build/optmig guest=$PWD/build/tests/host/guest/guest
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
abi=$(awk '/^#define ABI_VERSION/ { print $3 }' abi/image.h)
tests/image/make-stale "$guest.elf" "$work/elf" && tests/image/make-stale "$guest.image" "$work/image" || exit 1
failures=0
expect() # what, expected, got
{
	[ "$2" == "$3" ] && return
	echo "$1: expected \"$2\", got \"$3\""
	failures=1
}
refused() # command, file
{
	local expected="optmig: $2: built for runtime ABI 1, this optmig speaks $abi: link it again with optmig-cc"

	expect "$1" "$expected"$'\n1' "$(timeout 20 "$optmig" $1 "$2" 2>&1; echo $?)"
}
refused "sign --key build/tests/key.pem -o $work/signed" "$work/elf"
refused print "$work/image"
refused run "$work/image"
expect "what print says" "$abi" "$("$optmig" print "$guest.image" | sed -n 's/^runtime ABI *//p')"
expect "what print says to programs" "$abi" "$("$optmig" print --json "$guest.image" | jq .abi)"
exit $failures
