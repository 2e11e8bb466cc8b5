#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The command as a user meets it: keygen, sign, print, run and its exit codes, signals, ps, bad images.
set -u
cd "$(dirname "$0")/../.." || exit 1
b=$PWD/build optmig=$PWD/build/optmig
work=$(mktemp -d)
export OPTMIG_RUNTIME_DIR=$work/run
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$work"' EXIT
failures=0
expect() # what, expected, got
{
	[ "$2" == "$3" ] && return
	echo "$1: expected \"$2\", got \"$3\""
	failures=$((failures + 1))
}
run() # arguments of run -> rc, out
{
	out=$(timeout 20 "$optmig" run "$work/image" "$@" 2>"$work/err" </dev/null)
	rc=$?
}

"$b/optmig-cc" -O1 tests/host/programs/signals.c -o "$work/program" || exit 1
"$optmig" keygen "$work/key" || exit 1
"$optmig" sign --key "$work/key" --heap 64M -o "$work/image" "$work/program" || exit 1
"$optmig" sign --key "$work/key" --heap 64M -o "$work/again" "$work/program"
expect "signing twice" "" "$(cmp "$work/image" "$work/again" 2>&1)"
SOURCE_DATE_EPOCH=86400 "$optmig" sign --key "$work/key" -o "$work/dated" "$work/program"
expect "the date" "19700102" "$("$optmig" print "$work/dated" | awk '$1 == "date" { print $2 }')"
expect "json" "$("$optmig" print "$work/image" | awk '$1 == "MRENCLAVE" { print $2 }')" \
	"$("$optmig" print --json "$work/image" | sed -n 's/.*"mrenclave": "\(.*\)".*/\1/p')"
expect "what the image holds" 0 "$(scripts/check-image "$work/image" >"$work/err" 2>&1; echo $?)"

ln -s /dev/null "$work/link" && mkfifo "$work/fifo"
for there in link fifo; do
	said=$("$optmig" sign --key "$work/key" -o "$work/$there" "$work/program" 2>&1)
	expect "an image in the place of a $there" "1 optmig: $work/$there: is there already and no regular file: give -o another name" \
		"$? $said"
	expect "a key in the place of a $there" 1 "$("$optmig" keygen "$work/$there" 2>/dev/null; echo $?)"
done
expect "they are still there" "symbolic link fifo" "$(stat -c %F "$work/link" "$work/fifo" | xargs)"

: >"$work/empty"
for of in print run sign\ --key\ $work/key\ -o\ $work/x; do
	expect "$of of a pipe" "1 optmig: $work/fifo: not a regular file" "$(said=$(timeout 10 "$optmig" $of "$work/fifo" 2>&1); echo "$? $said")"
	expect "$of of nothing" "1 optmig: $work/empty: the file is empty" "$(said=$("$optmig" $of "$work/empty" 2>&1); echo "$? $said")"
done

run exit 42; expect "exit 42" 42 $rc
run abort; expect "abort" 134 $rc
run wild; expect "a wild store" 139 $rc
expect "is said" 1 "$(grep -c 'page fault at instruction 0x.*, address 0x1f0000000' "$work/err")"
run wild-handled; expect "a wild store, handled" "9 11 1 1f0000040 elsewhere" "$rc $out"
run divide; expect "a division by zero" 136 $rc
run divide-handled; expect "a division by zero, handled" 9 $rc
run illegal; expect "an illegal instruction" 132 $rc
run nowhere; expect "a call of nothing, handled" "9 11 1 0 elsewhere" "$rc $out"
run deep; expect "a stack that overflows" 139 $rc
run deep-handled; expect "a stack that overflows, handled" "9 1 elsewhere" "$rc $(awk '{ print $2, $4 }' <<<"$out")"
run raise; expect "a signal of its own" 135 $rc
run alarm; expect "an alarm" 142 $rc
run -- arguments "a b" --trace; expect "arguments" $'a b\n--trace' "$out"
expect "what it did not get" "optmig: trace: fork is not supported" \
	"$("$optmig" run --trace "$work/image" fork 2>&1 | grep trace)"
GREETING=hello run environment; expect "environment" hello "$out"

# An answer that cannot be written, and streams that are closed
expect "an answer on a full disk" "1 optmig: the answer cannot be written to standard output: No space left on device" \
	"$(said=$("$optmig" print "$work/image" 2>&1 >/dev/full); echo "$? $said")"
expect "closed streams" 42 "$("$optmig" run "$work/image" exit 42 <&- >&- 2>&-; echo $?)"
"$optmig" run --name closed "$work/image" default <&- 2>&- >"$work/out" &
for _ in $(seq 200); do grep -q ready "$work/out" && break; sleep 0.05; done
expect "what takes their place" "/dev/null /dev/null" "$(readlink /proc/$!/fd/0 /proc/$!/fd/2 | xargs)"
expect "a move's answers go nowhere else" "1 optmig: tcp:127.0.0.1:1: cannot connect: Connection refused" \
	"$(said=$("$optmig" migrate closed tcp:127.0.0.1:1 --json 2>&1 >&-); echo "$? $said")"
kill $!
wait $!

signalled() # how, signal..., -> rc
{
	local how=$1; shift
	mkfifo "$work/in"
	timeout 20 "$optmig" run --name "$how" "$work/image" "$how" <"$work/in" >"$work/out" 2>"$work/err" &
	local pid=$!
	exec 9>"$work/in"
	for _ in $(seq 200); do grep -q ready "$work/out" && break; sleep 0.05; done
	expect "$how: ps" "$how running" "$("$optmig" ps | awk -v n="$how" '$1 == n { print $1, $3 }')"
	for s; do kill -"$s" "$(pgrep -P $pid)"; sleep 0.2; done
	wait $pid
	rc=$?
	exec 9>&-
	rm "$work/in"
}
for how in compute sleep read; do signalled $how TERM; expect "TERM while it does $how" 15 $rc; done
signalled default TERM; expect "TERM, not handled" 143 $rc
signalled deaf TERM TERM; expect "TERM twice to one that is deaf" 143 $rc

# One that was stopped holds up nobody, and is named.
for name in stopped other; do
	"$optmig" run --name "$name" "$work/image" default </dev/null >"$work/$name.out" 2>&1 &
	for _ in $(seq 200); do grep -q ready "$work/$name.out" && break; sleep 0.05; done
done
stopped=$(jobs -p | tail -n 2 | head -n 1)
kill -STOP "$stopped"
for command in ps "ps --json" "status stopped" "cancel stopped" "check stopped" "migrate stopped tcp:127.0.0.1:1 --detach"; do
	timeout 20 "$optmig" $command >"$work/${command%% t*}.said" 2>&1 &
	asked+=($!)
done
for pid in "${asked[@]}"; do wait "$pid"; codes+=" $?"; done
expect "codes with one that is stopped" " 0 0 1 1 1 1" "$codes"
expect "ps lists both" "other running stopped does" "$(awk '/^other|^stopped/ { print $1, $3 }' "$work/ps.said" | xargs)"
expect "ps --json lists both" "2 1" "$(grep -c '"name"' "$work/ps --json.said") $(grep -c '"error"' "$work/ps --json.said")"
for command in status cancel check migrate; do
	expect "$command of one that is stopped" \
		"optmig: stopped does not answer: if its process $stopped was stopped, kill -CONT lets it go on" \
		"$(cat "$work/$command stopped.said")"
done
kill -CONT "$stopped"
expect "what it was asked meanwhile" 1 "$("$optmig" status stopped --json | grep -c '"migrating":false.*"last":null')"
kill $(jobs -p)
wait
expect "sockets left" "" "$(ls "$OPTMIG_RUNTIME_DIR")"

expect "a key is overwritten" 1 "$("$optmig" keygen "$work/key" 2>/dev/null; echo $?)"
expect "an unsigned program runs" 1 "$("$optmig" run "$work/program" 2>/dev/null; echo $?)"
expect "an ordinary program is signed" 1 "$("$optmig" sign --key "$work/key" -o "$work/x" /bin/true 2>/dev/null; echo $?)"
# one byte of the program's text
offset=$(llvm-readelf-19 -SW "$work/image" | awk '$2 == ".text" || $3 == ".text" { for (i = 1; i <= NF; i++) if ($i == "PROGBITS") print $(i + 2) }')
printf '\xcc' | dd of="$work/image" bs=1 seek=$((16#$offset + 100)) conv=notrunc status=none
run exit 42; expect "a changed image runs" 1 $rc
expect "a changed image is printed" 1 "$("$optmig" print "$work/image" >/dev/null 2>&1; echo $?)"
refused() # what it says of options that make no sense, and its exit code
{
	local said status # all of it is read: a reader that leaves early would end the command

	said=$("$optmig" "$@" 2>&1)
	status=$?
	printf '%s\n%s\n' "${said%%$'\n'*}" "$status"
}
value() # option, value, what it may be
{
	expect "--$1 $2" "optmig: --$1 cannot be \"$2\": $3"$'\n2' "$(refused migrate it tcp:127.0.0.1:1 "--$1" "$2")"
}
for command in "migrate it tcp:127.0.0.1:1 --bandwidth x" "status nobody" "print $work/none"; do
	said=$("$optmig" $command --json 2>/dev/null)
	expect "$command, as JSON" '{"schema_version":1,"result":"failed","error":{"code":' "${said:0:54}"
done
value timeout soon "a number from 0 to 3600000 s"
value timeout 1e11 "a number from 0 to 3600000 s"
value switch-timeout 0 "a number from 1 to 3600000 ms"
value streams 7 "a whole number from 1 to 6"
value streams 1.5 "a whole number from 1 to 6"
value bandwidth x "bytes per second, up to 1024T"
for of in "migrate it" "check it" receive; do
	for address in "" nowhere tcp:127.0.0.1; do
		expect "$of \"$address\"" "optmig: \"$address\" is not an address, which is tcp:HOST:PORT or tcp:[IPV6]:PORT"$'\n2' \
			"$(refused $of "$address")"
	done
done
expect "a heap of nothing" $'optmig: --heap cannot be "big"\n2' "$(refused sign --key k -o i --heap big p)"
expect "no directory of images" "optmig: $work/none: No such file or directory"$'\n1' \
	"$(refused receive tcp:127.0.0.1:1 --image-dir "$work/none")"
expect "unknown command" 2 "$("$optmig" nonsense 2>/dev/null; echo $?)"
exit $((failures != 0))
