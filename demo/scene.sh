# SPDX-License-Identifier: Apache-2.0
# Redis in an enclave on host A, a client on a third host, and moves between A
# and B: what the demo, the benchmark and the tests have in common. To be sourced
# from the root of the tree, after demo/hosts.sh.
#
#   scene_begin SIZE              hosts, Redis, SIZE bytes of data in it
#   scene_move MODE OUT [UNDISTURBED_S]   moves it to the other host under load; OUT: one JSON object
#   scene_verify                  all of the data is still there
#
# With SCENE_FORECAST set, each move is forecast before, and the object has .forecast.
#
# Logs lie in $scene_dir; scene_notice TEXT tells the reader what goes on.

BUILD=$(realpath "${BUILD:-build}")
OPTMIG=${OPTMIG:-$BUILD/optmig}
REDIS_IMAGE=${REDIS_IMAGE:-$BUILD/demo/redis.signed}
LOAD=$BUILD/demo/load
SERVICE=$HOSTS_NET.100
SERVICE_PORT=6379
MIGRATE_PORT=7447

declare -A scene_address=([A]=$HOSTS_NET.1 [B]=$HOSTS_NET.2)
declare -A scene_receiver=()
scene_home=A # where Redis is

scene_notice()
{
	printf '%s\n' "$*" >&2
}

# scene_fail TEXT LOG: what went wrong, and the end of the log that says why.
scene_fail()
{
	scene_notice "error: $1; the log ends with:"
	tail -n 12 "$2" | sed 's/^/    /' >&2
	return 1
}

# scene_wait SECONDS COMMAND...: until it succeeds.
scene_wait()
{
	local deadline=$((SECONDS + $1)); shift
	until "$@"; do
		[ "$SECONDS" -lt "$deadline" ] || return 1
		sleep 0.1
	done
}

scene_redis_answers()
{
	host_run client timeout 5 bash -c \
		"exec 3<>/dev/tcp/$SERVICE/$SERVICE_PORT && echo PING >&3 && read -r -u 3 a && [[ \$a == +PONG* ]]" 2>/dev/null
}

scene_receiver_listens()
{
	host_run "$1" ss -Hltn "sport = :$MIGRATE_PORT" | grep -q .
}

scene_begin()
{
	scene_size=$1
	hosts_begin && host_add A 1 && host_add B 2 && host_add client 3 || return
	scene_dir=$hosts_dir
	# a half-open handshake can only be completed by the other host if it uses cookies
	host_run A sysctl -qw net.ipv4.tcp_syncookies=2
	host_run B sysctl -qw net.ipv4.tcp_syncookies=2
	host_address_add A "$SERVICE/32"

	scene_notice "starting Redis in an enclave on host A ($SERVICE port $SERVICE_PORT)"
	host_start A "$scene_dir/redis.log" "$OPTMIG" run --name redis "$REDIS_IMAGE" -- \
		--save "" --bind "$SERVICE" --port "$SERVICE_PORT" --protected-mode no
	scene_wait 120 scene_redis_answers || scene_fail "Redis does not answer" "$scene_dir/redis.log" || return
	scene_notice "filling it with $scene_size of data that does not compress"
	host_run client "$LOAD" fill "$SERVICE" "$SERVICE_PORT" --bytes "$scene_size" 2>&1 |
		tee "$scene_dir/fill.log" | scene_show
	[ "${PIPESTATUS[0]}" -eq 0 ] || scene_fail "Redis could not be filled" "$scene_dir/fill.log"
}

# Lines that say how far something is: one after the other on a terminal, each over the one before.
scene_show()
{
	local line

	while read -r line; do
		if [ -t 2 ]; then
			printf '\r\033[K  %s' "$line" >&2
		else
			scene_notice "  $line"
		fi
	done
	[ ! -t 2 ] || printf '\r\033[K' >&2
}

# The JSON lines of `optmig migrate` as text, one for each phase and round, on a terminal all of them.
scene_progress()
{
	local line now last=

	while read -r line; do
		[[ $line =~ \"phase\":\"([a-z]+)\",\"round\":([0-9]+),.*\"bytes_sent\":([0-9]+),\"elapsed_us\":([0-9]+) ]] || continue
		now="${BASH_REMATCH[1]} ${BASH_REMATCH[2]}"
		[ "$now" != "$last" ] || [ -t 2 ] || continue
		last=$now
		echo "$now: $((BASH_REMATCH[3] / 1048576)) MiB sent, $((BASH_REMATCH[4] / 1000)) ms"
	done
}

scene_verify()
{
	host_run client "$LOAD" verify "$SERVICE" "$SERVICE_PORT" --bytes "$scene_size" 2>"$scene_dir/verify.log" ||
		scene_fail "the data is not what was written" "$scene_dir/verify.log"
}

# scene_receive HOST: it waits for enclaves from now on.
scene_receive()
{
	[ -z "${scene_receiver[$1]-}" ] || return 0
	host_start "$1" "$scene_dir/receive-$1.log" "$OPTMIG" receive \
		"tcp:${scene_address[$1]}:$MIGRATE_PORT" --image-dir "$(dirname "$REDIS_IMAGE")"
	scene_receiver[$1]=$host_pid
	scene_wait 20 scene_receiver_listens "$1" ||
		scene_fail "optmig receive does not listen on host $1" "$scene_dir/receive-$1.log"
}

# One object from what migrate said (last line of its output) and what the client saw: the run's own
# silence between start and end, and that of a stretch of the same length right before.
scene_summary()
{
	local mode=$1 start_us=$2 end_us=$3

	[ -n "${SCENE_FORECAST-}" ] || echo null >"$scene_dir/forecast.json"
	jq -n --arg mode "$mode" --argjson from "$start_us" --argjson to "$end_us" \
		--argjson size "$(numfmt --from=iec "$scene_size")" \
		--slurpfile said "$scene_dir/migrate.json" --slurpfile load "$scene_dir/load.json" \
		--slurpfile check "$scene_dir/forecast.json" '
		$said[-1] as $m | $load[0] as $l | $l.timeline as $t
		| def index(us): [((us - $t.start_us) / $t.interval_us | floor), 0] | max;
		def silence(a; b): [$t.silence_us_max[index(a):index(b) + 1][], 0] | max;
		def rate(a; b): $t.replies[index(a) + 1:index(b)] as $r
			| if $r | length > 0 then ($r | add) * 1000000 / ($t.interval_us * ($r | length)) | round else null end;
		{
			mode: $mode, size_bytes: $size, downtime_us: $m.downtime_us,
			client_silence_us_max: silence($from; $to + 1000000),
			client_silence_us_max_undisturbed: silence($from - ($to - $from) - 1000000; $from - $t.interval_us),
			client_errors: ($l.errors + $l.wrong), client_reconnects: $l.reconnects,
			total_us: $m.total_us, bytes_sent: $m.bytes_sent,
			requests: $l.requests, acknowledged_writes: $l.acknowledged_writes,
			throughput_before: rate($from - ($to - $from) - 1000000; $from),
			throughput_during: rate($from; $to), throughput_after: rate($to; $to + 2000000),
			forecast: ($check[0].forecast // [] | map(select(.mode == $mode))[0]), migrate: $m
		}'
}

scene_now_us()
{
	echo "${EPOCHREALTIME/[.,]/}"
}

# scene_forecast HOST: what a move there, under the load there is, would be like.
scene_forecast()
{
	sleep 1
	host_run "$scene_home" "$OPTMIG" check redis "tcp:${scene_address[$1]}:$MIGRATE_PORT" --tcp-established --json \
		>"$scene_dir/forecast.json" 2>"$scene_dir/check.log" || scene_fail "optmig check failed" "$scene_dir/check.log"
}

scene_move()
{
	local mode=$1 out=$2 undisturbed_s=${3:-10} target=B load_pid load_rc start_us end_us

	[ "$scene_home" = A ] || target=A
	scene_receive "$target" || return
	nsenter --target "${host_init[client]}" --net --mount --pid -- "$LOAD" run "$SERVICE" "$SERVICE_PORT" \
		--rate "${SCENE_RATE:-4000}" >"$scene_dir/load.json" 2>"$scene_dir/load.log" &
	load_pid=$!
	scene_notice "client load for $undisturbed_s s undisturbed, then $mode from host $scene_home to host $target"
	[ -z "${SCENE_FORECAST-}" ] || scene_forecast "$target" || return
	sleep "$undisturbed_s"

	start_us=$(scene_now_us)
	host_run "$scene_home" "$OPTMIG" migrate redis "tcp:${scene_address[$target]}:$MIGRATE_PORT" --mode "$mode" \
		--tcp-established --switch-timeout 5000 --json 2>"$scene_dir/migrate.log" |
		tee "$scene_dir/migrate.json" | scene_progress | scene_show
	[ "${PIPESTATUS[0]}" -eq 0 ] || scene_fail "optmig migrate failed" "$scene_dir/migrate.log" || return
	end_us=$(scene_now_us)
	scene_home=$target
	sleep 2.5
	host_signal TERM "$load_pid"
	wait "$load_pid"
	load_rc=$?
	[ -s "$scene_dir/load.json" ] || scene_fail "the client gave up" "$scene_dir/load.log" || return
	scene_summary "$mode" "$start_us" "$end_us" >"$out" || return
	[ "$load_rc" -eq 0 ] || scene_fail "the client saw errors" "$scene_dir/load.log"
}
