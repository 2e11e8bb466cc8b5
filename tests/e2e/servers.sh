# SPDX-License-Identifier: Apache-2.0
# A server under a client that checks every answer, moved back and forth between hosts A and B with its connections. To be
# sourced after lib.sh.
#
#   server_hosts                  three hosts, A with the address $SERVICE
#   server_start NAME PORT IMAGE [ARGUMENT...]   the server, on A
#   load_begin KIND PORT          its client, on M
#   server_shuttle NAME COUNT     COUNT moves, by turns in each of $MODES, the client at work in between
#   server_downtimes              of the moves so far
#   load_end                      the client ends; it must have seen nothing wrong

SERVICE=$HOSTS_NET.100
LOAD=$BUILD/servers/load
MODES=${MODES:-hybrid precopy hybrid stop-copy postcopy}
SEED=${SEED:-$$}

# anew, each time
server_hosts()
{
	hosts_end
	receiver_pid=()
	server_home=A
	downtimes=()
	three_hosts
	# a half-open handshake can only be completed by the other host if it uses cookies
	host_run A sysctl -qw net.ipv4.tcp_syncookies=2
	host_run B sysctl -qw net.ipv4.tcp_syncookies=2
	host_address_add A "$SERVICE/32"
	firewall A
	firewall B
}

# As most hosts have one: what belongs to a connection it knows comes in, and what begins one; what fits none is dropped.
firewall()
{
	host_run "$1" sh -c 'iptables -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT &&
		iptables -A INPUT -i lo -j ACCEPT && iptables -A INPUT -p icmp -j ACCEPT &&
		iptables -A INPUT -p tcp --syn -j ACCEPT && iptables -P INPUT DROP &&
		iptables -A OUTPUT -m conntrack --ctstate INVALID -j DROP' || fail "no firewall on host $1"
}

# server_start NAME PORT IMAGE [ARGUMENT...]
server_start()
{
	local name=$1 port=$2 image=$3; shift 3

	[ -e "$image" ] || skip "needs $image"
	cp "$image" "$images/"
	# no groups beside root's: some servers give up what they have, see README
	host_start A "$hosts_dir/run-$name.log" setpriv --clear-groups \
		"$OPTMIG" run --name "$name" "$images/$(basename "$image")" -- "$@"
	program_pid[$name]=$host_pid
	wait_for 60 "$name to listen" listens A "$port"
}

# load_begin KIND PORT
load_begin()
{
	host_start M "$hosts_dir/load.log" "$LOAD" "$1" "$SERVICE" "$2" --seed "$SEED"
	load_pid=$host_pid
	wait_for 30 "the client's connections" grep -q ready "$hosts_dir/load.log"
}

load_must_be_fine()
{
	! grep -q ^load: "$hosts_dir/load.log" || fail "the client saw errors (seed $SEED)"
	[ -e "/proc/$load_pid" ] || fail "the client is gone"
}

# server_shuttle NAME COUNT
server_shuttle()
{
	local modes=($MODES) there i

	for ((i = 0; i < $2; i++)); do
		there=B
		[ "$server_home" = A ] || there=A
		must_move "$1" "$server_home" "$there" --tcp-established --mode "${modes[i % ${#modes[@]}]}"
		downtimes+=("$(said .downtime_us)")
		server_home=$there
		load_must_be_fine
		sleep "0.$((RANDOM % 4))"
	done
}

# server_downtimes: of the moves so far
server_downtimes()
{
	printf '%d moves, downtime %s us\n' "${#downtimes[@]}" "$(printf '%s\n' "${downtimes[@]}" | sort -n |
		awk '{ v[NR] = $1 } END { print "median " v[int((NR + 1) / 2)] ", worst " v[NR] }')"
}

load_end()
{
	host_signal TERM "$load_pid"
	wait "$load_pid" || fail "the client saw errors (seed $SEED)"
	tail -n 1 "$hosts_dir/load.log" | jq -e '.failed == 0 and .operations_min > 0' >/dev/null ||
		fail "a connection did nothing (seed $SEED)"
	printf '%s, ' "$(server_downtimes)"
	tail -n 1 "$hosts_dir/load.log"
}
