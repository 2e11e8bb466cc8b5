# SPDX-License-Identifier: Apache-2.0
# The schema of results.json: `jq -f bench/schema.jq results.json` gives an array of what is not as it must be.
# Figures that could not be measured are null, never absent.

def number: type == "number";
def figure: number or . == null;
def text: type == "string";
def flag: type == "boolean";
def objects: type == "array" and all(.[]; type == "object");

# faults of an object: a member for each name, of which its test is true
def check(where; tests): . as $o | [tests | . as [$name, $right, $there] |
	if $there then (if $right then empty else "\(where): \($name) is \($o[$name] | tojson)" end)
	else "\(where): \($name) is missing" end];
def member(name; test): [name, (.[name] | test), has(name)];

def run_faults(where): check(where;
	member("workload"; text), member("footprint_bytes"; number), member("mode"; text),
	(if .workload == "writer" then member("write_pages_per_s"; number or . == "max"), member("write_pattern"; text),
		member("write_set_percent"; number) else empty end),
	member("schema_version"; . == 1), member("result"; . == "completed"), member("error"; . == null),
	member("page_size"; number), member("setup_us"; number), member("total_us"; number), member("downtime_us"; number),
	member("downtime_destination_us"; number), member("park_us"; number), member("switchover_bytes"; number),
	member("rounds"; objects and length > 0), member("bytes_sent"; number), member("pages_total"; number),
	member("pages_staged"; number), member("pages_deferred"; number), member("postcopy_faults"; number),
	member("postcopy_us"; number), member("converged"; flag), member("leaves"; type == "object"),
	member("source_enclave"; text), member("destination_enclave"; text),
	member("client_silence_us_max"; figure), member("client_silence_us_max_undisturbed"; figure),
	member("heartbeat_gap_us_max"; figure), member("heartbeat_gap_us_max_undisturbed"; figure),
	member("throughput_before"; figure), member("throughput_during"; figure), member("throughput_after"; figure),
	member("throughput_worst_100ms"; figure), member("back_to_90_percent_us"; figure),
	member("lost_work_s"; figure), member("migration_cpu_s"; figure), member("lost_work_ratio"; figure),
	member("forecast"; . == null or (.downtime_us | number) and (.total_us | number) and (.postcopy_us | number)),
	member("client_errors"; number), member("client_reconnects"; number), member("wrong"; figure));

. as $r | check("results"; member("schema_version"; . == 1), member("plan"; text), member("machine"; type == "object"),
	member("runs"; objects), member("tracking"; objects), member("bounds"; type == "object"), member("peers"; objects),
	member("skipped"; objects))
+ (.machine // {} | check("machine"; member("cpu"; text), member("cores"; number), member("memory_bytes"; number),
	member("kernel"; text), member("sgx"; text), member("date"; text)))
+ (.bounds // {} | check("bounds"; member("memory_copy_gb_per_s"; number), member("gcm_gb_per_s"; number),
	member("tcp_gb_per_s"; number), member("tcp_gcm_gb_per_s"; number),
	member("tcp_gcm_new_memory_gb_per_s"; number), member("late_us_max"; number), member("round_trip_us"; number),
	member("park_us"; number)))
+ [range(.runs | length) as $i | $r.runs[$i] | run_faults("run \($i)")[]]
+ [range(.tracking | length) as $i | $r.tracking[$i] | check("tracking \($i)"; member("workload"; text),
	member("ratio_idle"; number))[]]
+ [range(.skipped | length) as $i | $r.skipped[$i] | check("skipped \($i)"; member("what"; text), member("reason"; text))[]]
