# SPDX-License-Identifier: Apache-2.0
# What somebody would have without OptMig, with the same writer and no enclave, on the same hosts in the same run: CRIU,
# and live migration of a QEMU guest. Where one cannot run, results.json says why. Appends to $out/$plan.peers.

peers_measure()
{
	[ -z "$only" ] || return 0
	[ "$peer_size" != 0 ] || return 0
	# one that was left out is named again by a run that goes on
	peer_is_there CRIU || peer_criu "$peer_size"
	peer_is_there QEMU || peer_qemu "$peer_size"
}

peer_is_there()
{
	grep -q "\"peer\":\"$1\"" "$out/$plan.peers" 2>/dev/null
}

peer_result() # PEER WHAT BYTES DOWNTIME_US TOTAL_US
{
	say "  $1: downtime $(($4 / 1000)) ms, total $(($5 / 1000)) ms"
	jq -nc --arg peer "$1" --arg what "$2" --argjson bytes "$3" --argjson downtime "$4" --argjson total "$5" \
		'{peer: $peer, what: $what, footprint_bytes: $bytes, downtime_us: $downtime, total_us: $total}' \
		>>"$out/$plan.peers"
}

# --- CRIU: dump and restore over memory-backed files, as a stopped move is ------------------------------------

peer_criu() # SIZE
{
	local bytes pid from to why
	bytes=$(bytes_of "$1")
	if ! command -v criu >/dev/null; then
		skipped "peer CRIU" "criu is not installed"
		return
	fi
	if ! why=$(criu check 2>&1); then
		skipped "peer CRIU" "criu $(criu --version | sed -n 's/^Version: //p') does not run here: $(grep -m 1 Error <<<"$why")"
		return
	fi
	say "peer CRIU, $1"
	mkdir -p "$work/criu"
	mount -t tmpfs tmpfs "$work/criu" || return
	setsid "$BUILD/bench/workloads/writer" 127.0.0.1:9 "$bytes" uniform 10000 </dev/null >"$work/criu.log" 2>&1 &
	pid=$!
	disown "$pid"
	wait_for 120 grep -q ready "$work/criu.log" || true
	from=$(now_us)
	if criu dump -t "$pid" -D "$work/criu" --log-file dump.log && criu restore -d -D "$work/criu" --log-file restore.log; then
		to=$(now_us)
		peer_result CRIU "dump to and restore from memory, the program stands still throughout" "$bytes" $((to - from)) $((to - from))
	else
		skipped "peer CRIU" "$(cat "$work"/criu/*.log | grep -m 1 Error)"
	fi
	kill -KILL "$pid" 2>/dev/null
	sleep 0.2
	umount "$work/criu"
}

# --- QEMU: the writer is the guest's only process ----------------------------------------------------------------

qmp() # HOST COMMAND...: the last one's answer
{
	local host=$1; shift
	host_run "$host" timeout 10 bash -c '
		exec 3<>/dev/tcp/127.0.0.1/7502 && read -r -u 3 line || exit
		for command in "{\"execute\":\"qmp_capabilities\"}" "$@"; do
			echo "$command" >&3
			while read -r -u 3 line && [[ $line != *\"return\"* && $line != *\"error\"* ]]; do :; done
		done
		echo "$line"' qmp "$@"
}

qemu_start() # HOST OPTION...
{
	local host=$1; shift
	host_start "$host" "$work/qemu-$host.log" qemu-system-x86_64 -M q35 -accel tcg -cpu max -smp 1 -m "$qemu_memory" \
		-nodefaults -display none -serial "file:$work/console-$host" -kernel "$kernel" -initrd "$work/initrd" \
		-append "console=ttyS0 quiet rdinit=/writer -- 127.0.0.1:9 $qemu_bytes uniform 10000" \
		-qmp tcp:127.0.0.1:7502,server=on,wait=off "$@"
}

qemu_status()
{
	qmp A '{"execute":"query-migrate"}' | jq -r .return.status
}

qemu_is_done()
{
	[[ $(qemu_status) == @(completed|failed|cancelled) ]]
}

# qemu_move LIMIT_MS WHAT
qemu_move()
{
	local source destination answer

	: >"$work/console-A"
	qemu_start A
	source=$host_pid
	if ! wait_for 180 grep -qa ready "$work/console-A"; then
		skipped "peer QEMU" "the guest does not start: $(tail -n 1 "$work/qemu-A.log" | cut -c 1-200)"
		host_signal KILL "$source"
		wait "$source" 2>/dev/null
		return 1
	fi
	qemu_start B -incoming "tcp:${address[B]}:7503"
	destination=$host_pid
	wait_for 20 listens B 7503
	qmp A "{\"execute\":\"migrate-set-parameters\",\"arguments\":{\"max-bandwidth\":100000000000,\"downtime-limit\":$1}}" \
		"{\"execute\":\"migrate\",\"arguments\":{\"uri\":\"tcp:${address[B]}:7503\"}}" >/dev/null
	if wait_for 60 qemu_is_done && [ "$(qemu_status)" = completed ]; then
		answer=$(qmp A '{"execute":"query-migrate"}')
		peer_result QEMU "$2" "$qemu_bytes" "$(jq '.return.downtime * 1000' <<<"$answer")" \
			"$(jq '.return["total-time"] * 1000' <<<"$answer")"
	else
		skipped "peer QEMU, downtime limit $1 ms" "had not converged after 60 s"
	fi
	host_signal KILL "$source"
	host_signal KILL "$destination"
	wait "$source" "$destination" 2>/dev/null
}

peer_qemu() # SIZE
{
	local kernel=${KERNEL:-$BUILD/sources/vmlinuz}

	qemu_bytes=$(bytes_of "$1")
	qemu_memory=$((qemu_bytes * 5 / 4 / 1048576 + 256))M
	if ! command -v qemu-system-x86_64 >/dev/null || ! command -v busybox >/dev/null; then
		skipped "peer QEMU" "needs qemu-system-x86_64 and busybox"
		return
	fi
	if ! [ -n "${KERNEL:-}" ] && ! scripts/fetch-kernel "$kernel" >"$work/kernel.log" 2>&1; then
		skipped "peer QEMU" "no kernel image: $(tail -n 1 "$work/kernel.log")"
		return
	fi
	say "peer QEMU (without hardware virtualisation), $1"
	mkdir -p "$work/root/dev"
	cp "$BUILD/bench/workloads/writer" "$work/root/writer"
	mknod "$work/root/dev/console" c 5 1
	(cd "$work/root" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1) >"$work/initrd"
	qemu_move 300 "live migration of a guest, its default downtime limit (300 ms)" &&
		qemu_move 5 "live migration of a guest, downtime limit 5 ms"
}
