# SPDX-License-Identifier: Apache-2.0
# The workloads, started and ended. Two kinds: programs that tell a listener what they do (workloads/meter.h), and
# servers under a client that knows every reply and prints what it saw when it is told to end.
#
#   workload_start WORKLOAD SIZE PATTERN RATE SET_PERCENT    on host A; sets name, program_pid, home, migrate_options
#   client_start, client_end                                 around a move; what was seen is in $work/client.log
#   workload_end

heap_of() # SIZE: with room for what a program has besides, in MB
{
	echo $(($(bytes_of "$1") * 5 / 4 / 1048576 + 64))M
}

image_make() # ELF SIZE
{
	"$OPTMIG" sign --key "$key" --heap "$(heap_of "$2")" --threads 16 -o "$work/$name.signed" "$1"
}

program_start() # ARGUMENT...; without groups, which some servers give up and others must not have
{
	home=A
	host_start A "$work/program.log" env -C "$work" setpriv --clear-groups "$OPTMIG" run --name "$name" "$work/$name.signed" -- "$@"
	sleep 0.2
	program_pid=$(child_of "$host_pid")
	[ -n "$program_pid" ]
}

workload_start()
{
	local workload=$1 size=$2 pattern=$3 rate=$4 set=$5 bytes
	bytes=$(bytes_of "$size")
	name=$workload migrate_options= client= listener_pid=
	: >"$work/client.log"
	case $workload in
	writer)
		listener_start && image_make "$BUILD/bench/workloads/writer" "$size" &&
			program_start "$listen_at" "$bytes" "$pattern" "$rate" "$set" && wait_for 120 listener_heard
		;;
	sqlite)
		listener_start && image_make "$BUILD/bench/workloads/sqlite" "$size" &&
			program_start "$listen_at" "$bytes" && wait_for 300 listener_heard
		;;
	redis)
		server_start "$BUILD/demo/redis/src/redis-server" "$size" 6379 \
			--save "" --bind "$SERVICE" --port 6379 --protected-mode no &&
			host_run client "$BUILD/demo/load" fill "$SERVICE" 6379 --bytes "$bytes" >"$work/fill.log" 2>&1
		client="$BUILD/demo/load run $SERVICE 6379 --rate 4000"
		;;
	memcached)
		server_start "$BUILD/servers/memcached/memcached" "$size" 11211 \
			-l "$SERVICE" -p 11211 -U 0 -u root -t 4 -m $((bytes * 6 / 5 / 1048576)) &&
			host_run client "$TOOLS/ask" memcached-fill "$SERVICE" 11211 "$bytes" >"$work/fill.log" 2>&1
		client="$TOOLS/ask memcached $SERVICE 11211 4000"
		;;
	lighttpd)
		lighttpd_files
		server_start "$BUILD/servers/lighttpd/src/lighttpd" "$size" 8080 -D -f "$work/lighttpd.conf"
		client="$TOOLS/ask http $SERVICE 8080 1000"
		;;
	*)
		[ "$workload" != encryption ] || [ -s "$work/bench.input" ] || head -c 64M /dev/urandom >"$work/bench.input"
		listener_start && image_make "$BUILD/bench/workloads/kernels" "$size" &&
			program_start "$workload" "$listen_at" "$bytes" && wait_for 300 listener_heard
		;;
	esac
}

workload_end()
{
	[ -z "$listener_pid" ] || echo quit >&8
	sleep 0.3
	kill -KILL "$program_pid" 2>/dev/null
	if [ -n "$listener_pid" ]; then
		echo end >&8
		exec 8>&-
		wait "$listener_pid" 2>/dev/null
	fi
	wait_for 10 program_is_gone
	# an address that moved along belongs to whoever had it last
	host_address_del A "$SERVICE/32" 2>/dev/null
	host_address_del B "$SERVICE/32" 2>/dev/null
	return 0
}

program_is_gone()
{
	! [ -e "/proc/$program_pid" ]
}

# --- programs that tell a listener ----------------------------------------------

listener_start()
{
	listen_at=${address[client]}:$LISTEN_PORT
	rm -f "$work/asks"
	mkfifo "$work/asks"
	nsenter --target "${host_init[client]}" --net -- "$TOOLS/listen" $LISTEN_PORT "$work/client.log" <"$work/asks" \
		>"$work/listen.log" 2>&1 &
	listener_pid=$!
	exec 8>"$work/asks"
	wait_for 10 listener_is_up
}

listener_is_up()
{
	host_run client ss -Hlun "sport = :$LISTEN_PORT" | grep -q .
}

listener_heard()
{
	if ! [ -e "/proc/$program_pid" ]; then
		return 0 # and what is done with it fails
	fi
	grep -q beat "$work/client.log"
}

listener_was_answered()
{
	grep -q checked "$work/client.log"
}

# --- servers with a client --------------------------------------------------------

server_answers() # PORT
{
	host_run client timeout 5 bash -c "exec 3<>/dev/tcp/$SERVICE/$1" 2>/dev/null
}

server_start() # ELF SIZE PORT ARGUMENT...
{
	local elf=$1 size=$2 port=$3; shift 3

	migrate_options=--tcp-established
	host_address_add A "$SERVICE/32"
	image_make "$elf" "$size" && program_start "$@" && wait_for 60 server_answers "$port"
}

lighttpd_files()
{
	mkdir -p "$work/files"
	"$TOOLS/ask" files "$work/files"
	cat >"$work/lighttpd.conf" <<-END
		server.modules = ("mod_access", "mod_staticfile")
		server.document-root = "$work/files"
		server.bind = "$SERVICE"
		server.port = 8080
		server.max-keep-alive-requests = 1000000000
		server.errorlog = "$work/error.log"
	END
}

# --- both -------------------------------------------------------------------------

client_start()
{
	if [ -n "$listener_pid" ]; then
		echo new >&8
		return
	fi
	nsenter --target "${host_init[client]}" --net -- $client >"$work/client.log" 2>"$work/client.err" &
	client_pid=$!
	sleep 0.5
}

# After a move to $target. A program that is asked looks at all it holds: that is how each move is verified.
client_end()
{
	if [ -n "$listener_pid" ]; then
		echo check >&8
		if ! wait_for 60 listener_was_answered; then
			echo "the program does not answer after the move. $(tail -n 1 "$work/receive-$target.log")" >"$work/migrate.err"
			return 1
		fi
		sleep 0.1
	else
		kill -TERM "$client_pid"
		wait "$client_pid" # its errors are in what it says
		return 0
	fi
}
