# SPDX-License-Identifier: Apache-2.0
# Hosts on one machine, to be sourced. A host is a network, a mount and a PID
# namespace; all hosts hang on one bridge, which lives in a namespace of its own
# too. None of them has a name: a host is its first process, and ending that
# process (or this shell, however it ends) ends all there is of it.
#
#   hosts_begin                 the bridge; also sets the trap that ends everything
#   host_add NAME NUMBER        a host at $HOSTS_NET.NUMBER
#   host_run NAME COMMAND...    in the foreground
#   host_start NAME LOG COMMAND...   in the background; sets host_pid (as this shell sees it)
#   host_address_add|del NAME ADDRESS/BITS
#   hosts_end

HOSTS_NET=10.77.0
declare -A host_init=()  # first process of each host
declare -A host_outer=() # and its parent, which ends with it
hosts_dir=

hosts_end()
{
	local name
	trap - EXIT
	{ # bash would tell of every job that is lost here
		for name in "${!host_init[@]}"; do
			kill -KILL "${host_init[$name]}"
		done
		# whatever this shell has in the background: an nsenter that was stopped with its command would stay
		kill -KILL $(jobs -p)
		wait
		jobs
	} >/dev/null 2>&1
	for name in "${!host_outer[@]}"; do
		while [ -e "/proc/${host_outer[$name]}" ]; do sleep 0.01; done
	done
	host_init=() host_outer=()
	[ -z "$hosts_dir" ] || rm -rf "$hosts_dir"
	hosts_dir=
}

# The first process reaps what its children leave behind. --kill-child and the
# death signal tie it to this shell even when that one is killed by -9.
hosts_namespace()
{
	local name=$1 ready="$hosts_dir/$1.ready" parent line

	mkfifo "$ready"
	setpriv --pdeathsig KILL unshare --net --mount --pid --mount-proc --fork --kill-child sh -c '
		mount -t tmpfs tmpfs /run && mount -t sysfs sysfs /sys && ip link set lo up || exit
		echo ready >"$0"
		while :; do sleep 1000000 & wait; done' "$ready" </dev/null 2>"$hosts_dir/$name.err" &
	parent=$!
	disown "$parent" # bash would tell of its end
	host_outer[$name]=$parent
	if ! read -r -t 20 line <>"$ready"; then
		cat "$hosts_dir/$name.err" >&2
		echo "host $name did not come up: network, mount and PID namespaces need root" >&2
		return 1
	fi
	host_init[$name]=$(<"/proc/$parent/task/$parent/children")
	host_init[$name]=${host_init[$name]% }
}

hosts_begin()
{
	hosts_dir=$(mktemp -d "${TMPDIR:-/tmp}/optmig-hosts.XXXXXX")
	trap hosts_end EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	hosts_namespace switch &&
		host_run switch ip link add bridge type bridge &&
		host_run switch ip link set bridge up
}

host_add()
{
	local name=$1 number=$2

	hosts_namespace "$name" || return
	# the other host's process is named by its number out here: only the network of the switch is entered
	nsenter --target "${host_init[switch]}" --net \
		ip link add "port$number" type veth peer name eth0 netns "${host_init[$name]}" &&
		host_run switch ip link set "port$number" master bridge up &&
		host_run "$name" ip address add "$HOSTS_NET.$number/24" dev eth0 &&
		host_run "$name" ip link set eth0 up
}

host_run()
{
	local init=${host_init[$1]}; shift
	nsenter --target "$init" --net --mount --pid --wdns="$PWD" -- "$@"
}

# Not through host_run: a function in the background is one more shell, and
# host_signal must find the command right below.
host_start()
{
	local init=${host_init[$1]} log=$2; shift 2
	nsenter --target "$init" --net --mount --pid --wdns="$PWD" -- "$@" </dev/null >"$log" 2>&1 &
	host_pid=$!
}

# host_signal SIGNAL PID: to the command itself; nsenter does not pass signals on.
host_signal()
{
	local child
	child=$(<"/proc/$2/task/$2/children") 2>/dev/null
	[ -z "$child" ] || kill "-$1" ${child% } 2>/dev/null
}

host_address_add()
{
	host_run "$1" ip address add "$2" dev eth0
}

host_address_del()
{
	host_run "$1" ip address del "$2" dev eth0
}
