# SPDX-License-Identifier: Apache-2.0
# What bench/run measures, a line each, the most telling first:
#   WORKLOAD SIZE PATTERN RATE SET_PERCENT MOVES MOVES_OTHER [MOVES_WHOLE]
# PATTERN, RATE (pages a second) and SET_PERCENT are the microbenchmark's; MOVES are those of hybrid mode, MOVES_OTHER
# those of each other mode. MOVES_WHOLE: those of hybrid mode after the first so many are for the downtime only, without
# forecast and throughput.

KERNELS="btree hash-join bfs pagerank lookup blockchain svm encryption sqlite"

plan_settings()
{
	case $1 in
	tiny) time_limit_s=0 before_s=1 move_limit_s=60 bounds_bytes=$((64 << 20)) park_stops=20 peer_size=0 ;;
	quick) time_limit_s=480 before_s=1.5 move_limit_s=40 bounds_bytes=$((1 << 30)) park_stops=100 peer_size=256M ;;
	short) time_limit_s=4200 before_s=1.5 move_limit_s=120 bounds_bytes=$((1 << 30)) park_stops=200 peer_size=256M ;;
	full) time_limit_s=0 before_s=5 move_limit_s=300 bounds_bytes=$((4 << 30)) park_stops=300 peer_size=1G ;;
	esac
}

plan_lines()
{
	local size rate pattern workload

	case $1 in
	tiny)
		echo writer 32M uniform 1000 100 1 1
		;;
	quick)
		for rate in 0 10000 max; do echo "writer 256M uniform $rate 100 2 1"; done
		echo writer 1G uniform max 10 2 1
		echo redis 1G - - - 2 1
		echo writer 1G uniform 10000 100 2 1
		for workload in $KERNELS memcached; do echo "$workload 256M - - - 1 1"; done
		echo lighttpd 32M - - - 1 1
		;;
	short)
		# each goal that does not take a night
		for rate in 0 10000 max; do echo "writer 256M uniform $rate 100 15 1 2"; done
		for rate in 0 max; do echo "writer 1G uniform $rate 100 15 1 2"; done
		echo writer 1G uniform max 10 2 1
		for rate in 100000 200000; do echo "writer 1G uniform $rate 100 15 1 2"; done
		for workload in $KERNELS memcached; do echo "$workload 1G - - - 1 1"; done
		echo lighttpd 32M - - - 1 1
		echo redis 4G - - - 3 1
		for rate in 0 max; do echo "writer 4G uniform $rate 100 7 1 2"; done
		for rate in 0 max; do echo "writer 8G uniform $rate 100 7 0 1"; done
		echo redis 1G - - - 3 1
		echo writer 1G uniform 10000 100 300 1 10
		;;
	full)
		# downtime over size: quiet, paced and at memory speed; 300 moves at 1 GB for the 99th percentile
		for size in 256M 1G 2G 4G 8G; do
			for rate in 0 10000 max; do
				echo "writer $size uniform $rate 100 15 3"
			done
			echo "redis $size - - - 15 3"
		done
		# over write rate, and for each habit of writing
		for pattern in uniform zipf sequential; do
			for rate in 0 1000 10000 100000 200000 max; do
				[ "$pattern $rate" = "uniform 0" ] || echo "writer 1G $pattern $rate 100 15 3"
			done
		done
		# a working set of a tenth
		echo writer 1G uniform max 10 15 3
		for workload in $KERNELS memcached; do echo "$workload 1G - - - 5 3"; done
		# what was promised of stop-copy is at 4 GB
		for workload in $KERNELS memcached; do echo "$workload 4G - - - 3 1"; done
		# holds nothing but what is under way: its files are the host's
		echo lighttpd 32M - - - 15 3
		echo writer 1G uniform 10000 100 300 3 30
		;;
	esac
}
