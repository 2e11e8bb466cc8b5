# SPDX-License-Identifier: Apache-2.0
# What the end-to-end tests share, to be sourced first. Hosts A and B run
# programs, host M is in the middle: it asks them, and can be the wire between
# them (relay). Everything ends with the test, however that ends.

set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build}")
OPTMIG=${OPTMIG:-$BUILD/optmig}
PROGRAMS=$BUILD/tests/programs
RELAY=$BUILD/tests/e2e/relay
WITNESS=$BUILD/tests/e2e/witness
PORT=9000         # programs are asked here
MIGRATE_PORT=7447

. demo/hosts.sh

skip()
{
	echo "$*"
	exit 77
}
[ "$(id -u)" -eq 0 ] || skip "needs root, for namespaces"
unshare --net --mount --pid --fork true 2>/dev/null || skip "this kernel or container allows no namespaces"
command -v jq >/dev/null || skip "needs jq"

declare -A address=([A]=$HOSTS_NET.1 [B]=$HOSTS_NET.2 [M]=$HOSTS_NET.3)
declare -A program_pid=() receiver_pid=()

# fail TEXT: with the logs, for nobody sees this run again; TEXT comes last, where a log is looked at first
fail()
{
	local log

	for log in "$hosts_dir"/*.log "$hosts_dir"/*.json; do
		[ -s "$log" ] || continue
		echo "--- $(basename "$log")"
		tail -n 15 "$log" | cut -c 1-400
	done
	echo "FAILED: $*"
	exit 1
}

# wait_for SECONDS WHAT COMMAND...: until it succeeds
wait_for()
{
	local deadline=$((SECONDS + $1)) what=$2; shift 2

	until "$@" 2>/dev/null; do
		[ "$SECONDS" -lt "$deadline" ] || fail "waited in vain for: $what"
		sleep 0.05
	done
}

three_hosts()
{
	hosts_begin && host_add A 1 && host_add B 2 && host_add M 3 || fail "hosts did not come up"
	work=$hosts_dir/work # shared by all hosts, as storage is
	images=$hosts_dir/images
	mkdir "$work" "$images"
}

# program_start HOST NAME [ARGUMENT...]: NAME.signed, under that name
program_start()
{
	local host=$1 name=$2; shift 2

	cp "$PROGRAMS/$name.signed" "$images/"
	: >"$hosts_dir/run-$name.log" # of an earlier run
	host_start "$host" "$hosts_dir/run-$name.log" "$OPTMIG" run --name "$name" "$images/$name.signed" -- "$@"
	program_pid[$name]=$host_pid
	wait_for 30 "$name to be ready" grep -q ready "$hosts_dir/run-$name.log"
}

listens()
{
	host_run "$1" ss -Hltn "sport = :$2" | grep -q .
}

# receiver_start HOST [OPTION...]
receiver_start()
{
	local host=$1; shift

	host_start "$host" "$hosts_dir/receive-$host.log" \
		"$OPTMIG" receive "tcp:${address[$host]}:$MIGRATE_PORT" --image-dir "$images" "$@"
	receiver_pid[$host]=$host_pid
	wait_for 20 "the receiver on $host" listens "$host" "$MIGRATE_PORT"
}

# move NAME FROM TO [OPTION...]: status of `optmig migrate`; what it said is in move.json, move.err
move()
{
	local name=$1 from=$2 to=$3; shift 3

	[ -n "${receiver_pid[$to]-}" ] || receiver_start "$to"
	host_run "$from" timeout 50 "$OPTMIG" migrate "$name" "tcp:${address[$to]}:$MIGRATE_PORT" --json "$@" \
		>"$hosts_dir/move.json" 2>"$hosts_dir/move.err.log"
}

must_move()
{
	# On a busy machine a thread may wait long for its processor: that is not what these tests are about.
	move "$@" --switch-timeout 10000 || fail "migrate $* failed"
	[ "$(said .result)" = completed ] || fail "migrate $* ended with $(said .result)"
}

# leave_behind NAME FROM TO [OPTION...]: begins a move that leaves the pages behind; they follow slowly unless the program needs
# them. Returns when it runs on B; $mover is what waits for the rest.
leave_behind()
{
	local name=$1 from=$2 to=$3; shift 3

	host_run "$from" timeout 100 "$OPTMIG" migrate "$name" "tcp:${address[$to]}:$MIGRATE_PORT" --json --mode postcopy \
		--switch-timeout 10000 --bandwidth 1M "$@" >"$hosts_dir/move.json" 2>"$hosts_dir/move.err.log" &
	mover=$!
	wait_for 60 "$name to run on B" deferred_on_b "$name" '> 1000'
}

# deferred_on_b NAME CONDITION: of the pages that are still to come
deferred_on_b()
{
	[ "$(host_run B "$OPTMIG" status "$1" --json | jq ".pages_deferred $2")" = true ]
}

# said FILTER: of the last object migrate printed
said()
{
	tail -n 1 "$hosts_dir/move.json" | jq -r "$1"
}

# ask HOST COMMAND: the one-line answer of the program there
ask()
{
	host_run M timeout 30 bash -c "exec 3<>/dev/tcp/${address[$1]}/$PORT && echo '$2' >&3 && read -r -u 3 a && echo \"\$a\"" \
		2>"$hosts_dir/ask.log"
}

must_be_ok()
{
	local answer

	answer=$(ask "$1" check) || fail "the program on host $1 does not answer"
	case $answer in
	ok\ *) ;;
	*) fail "the program on host $1 found: $answer" ;;
	esac
}

# process_count HOST NAME-PATTERN
process_count()
{
	host_run "$1" pgrep -f -c "$2"
}

# Nothing of a program or a move is left on HOST: no process, socket, file.
must_be_clean()
{
	local left

	wait_for 10 "processes on host $1 to end" no_processes "$1"
	left=$(host_run "$1" find /run/optmig -type s -o -type f 2>/dev/null)
	[ -z "$left" ] || fail "left on host $1: $left"
}

no_processes()
{
	! host_run "$1" pgrep -f "$OPTMIG" >/dev/null
}

receiver_stop()
{
	host_signal TERM "${receiver_pid[$1]}"
	wait "${receiver_pid[$1]}" 2>/dev/null
	unset "receiver_pid[$1]"
}

# relay_start [OPTION...]: the wire from M to B; moves then go to host M
relay_start()
{
	: >"$hosts_dir/relay.log" # of an earlier one
	host_start M "$hosts_dir/relay.log" "$RELAY" "$@" "$MIGRATE_PORT" "${address[B]}" "$MIGRATE_PORT"
	relay_pid=$host_pid
	receiver_pid[M]=$relay_pid
	wait_for 10 "the relay" grep -q listening "$hosts_dir/relay.log"
}

clients=()
# client_start HOST ADDRESS NUMBER: of the program echo; one connection, a line at a time, until $work/stop exists
client_start()
{
	host_start "$1" "$hosts_dir/client-$3.log" bash -c "
		exec 3<>/dev/tcp/$2/$PORT || exit
		touch $work/connected-$3
		for ((i = 0; ; i++)); do
			echo \"line \$i\" >&3 && read -r -t 10 -u 3 answer || { echo \"broken at \$i\"; exit 1; }
			[ \"\$answer\" = \"line \$i\" ] || { echo \"\$i: \$answer\"; exit 1; }
			[ -e $work/stop ] && break
			sleep 0.002
		done
		echo \"fine \$i\""
	clients+=("$host_pid")
	wait_for 10 "client $3 to be connected" test -e "$work/connected-$3"
}

# Ends them: each had every line back, in order, on the connection it began with.
clients_must_be_fine()
{
	local pid log

	touch "$work/stop"
	for pid in "${clients[@]}"; do
		wait "$pid" || fail "a client's connection broke"
	done
	for log in "$hosts_dir"/client-*.log; do
		grep -q fine "$log" || fail "$log: $(tail -n 1 "$log")"
	done
	rm "$work"/*
	clients=()
}

sent_on_wire()
{
	host_run "$1" cat /sys/class/net/eth0/statistics/tx_bytes
}
