#!/usr/bin/env bash
# The OCI runtime against runc and crun, each called as an engine calls it, on one busybox bundle:
# run, exec, the whole life of a container, memory, and with many containers about.
# With cgroups and without (--cgroup-manager=disabled, which runc has not got).
# PROA_OCI names another runtime to measure. ROUNDS (30), MANY ("100 1000"). SPDX-License-Identifier: Apache-2.0
set -u
# crun refuses cgroup v1 with a v2 hierarchy beside it: all contenders run where that one is not mounted
if [ -z "${PROA_BENCH_OWN_MOUNTS:-}" ] && [ -d /sys/fs/cgroup/unified ]; then
	export PROA_BENCH_OWN_MOUNTS=yes
	# shellcheck disable=SC2016
	exec unshare -m -- "$BASH" -c 'umount /sys/fs/cgroup/unified; exec "$0"' "$0"
fi
# shellcheck source=bench/common.sh
. "$(dirname "$0")/common.sh"
rounds=${ROUNDS:-30}
read -r -a many <<<"${MANY:-100 1000}"
oci=${PROA_OCI:-$build/proa-oci}
if ! command -v "$oci" >/dev/null; then
	echo "$oci: not here, not measured"
	exit 0
fi

# times of a few milliseconds: no process may be started to read the clock
time_of() {
	local t=$EPOCHREALTIME status=0
	"$@" >/dev/null 2>"$work/stderr" </dev/null || status=$?
	# shellcheck disable=SC2034
	took=$(((${EPOCHREALTIME/./} - ${t/./}) * 1000))
	[ "$status" = 0 ] && return 0
	echo "bench: failed: $*: $(tail -n 1 "$work/stderr")" >&2
	[[ $* != *ours* ]] || exit 1
	return 1
}

# make_bundle DIRECTORY COMMAND…: a bundle of busybox, without resources: what every contender can do
make_bundle() {
	local dir=$1 args
	shift
	printf -v args '"%s",' "$@"
	mkdir -p "$dir/rootfs/bin" "$dir/rootfs/proc" "$dir/rootfs/dev" "$dir/rootfs/sys"
	cp /bin/busybox "$dir/rootfs/bin/"
	ln -sf busybox "$dir/rootfs/bin/true"
	ln -sf busybox "$dir/rootfs/bin/sleep"
	cat >"$dir/config.json" <<-END
		{"ociVersion": "1.0.2", "root": {"path": "rootfs"}, "hostname": "bench",
		 "process": {"args": [${args%,}], "cwd": "/", "user": {"uid": 0, "gid": 0}, "noNewPrivileges": true,
		  "env": ["PATH=/bin"], "capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"],
		  "permitted": ["CAP_KILL"]}},
		 "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
		  {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
		  {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "newinstance",
		   "ptmxmode=0666", "mode=0620"]},
		  {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777"]},
		  {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
		  {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]}],
		 "linux": {"namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}],
		  "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
		  "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]}}
	END
}
make_bundle "$work/true" /bin/true
make_bundle "$work/sleep" /bin/sleep 1000000

ours() { "$oci" --root "$work/ours" "$@"; }
ours_bare() { "$oci" --root "$work/ours-bare" --cgroup-manager=disabled "$@"; }
runc_() { runc --root "$work/runc" "$@"; }
crun_() { crun --root "$work/crun" --cgroup-manager=cgroupfs "$@"; }
crun_bare() { crun --root "$work/crun-bare" --cgroup-manager=disabled "$@"; }

# Which of them work here, with cgroups and without.
with=() without=()
for tool in ours runc_ crun_ ours_bare crun_bare; do
	case $tool in runc_ | crun_*) command -v "${tool%%_*}" >/dev/null || { echo "${tool%%_*}: not here, not measured"; continue; } ;; esac
	if ! "$tool" run -b "$work/true" probe >/dev/null 2>"$work/stderr" </dev/null; then
		echo "${tool/ours/"$oci"}: does not run here, not measured: $(tail -n 1 "$work/stderr")"
		[ "$tool" != ours ] || exit 1
		continue
	fi
	case $tool in *_bare) without+=("$tool") ;; *) with+=("$tool") ;; esac
done
label() {
	case $1 in
	ours*) basename "$oci" ;;
	*) echo "${1%%_*}" ;;
	esac
}
no_cgroups() { case $1 in *_bare) echo ", no cgroups" ;; esac }

# ---- run, exec and the whole life, by turns ------------------------------------------------------------
for tool in "${with[@]}" "${without[@]}"; do
	"$tool" create -b "$work/sleep" "target-$tool" </dev/null >/dev/null 2>&1 && "$tool" start "target-$tool"
	at_end "$tool delete --force target-$tool >/dev/null 2>&1"
	eval "run_start_$tool() { $tool run -b '$work/true' start-$tool; }"
	eval "run_exec_$tool() { $tool exec target-$tool /bin/true; }"
	eval "run_life_$tool() { $tool create -b '$work/sleep' life-$tool && $tool start life-$tool && $tool kill life-$tool KILL && $tool delete --force life-$tool; }"
done
run_start_unshare() { unshare -fpmuin --mount-proc true; }
run_start_true() { /bin/true; }

for verb in start exec life; do
	contenders=()
	for tool in "${with[@]}" "${without[@]}"; do contenders+=("${verb}_$tool"); done
	[ "$verb" != start ] || contenders+=(start_unshare start_true)
	race "$rounds" "${contenders[@]}"
done

echo "OCI runtime $(basename "$oci"), median of $rounds rounds"
show() { # show WHAT VERB MINE TARGET PEER…
	local what=$1 verb=$2 mine=$3 target=$4 peer
	shift 4
	[ -s "$work/${verb}_$mine.median" ] || return 0
	for peer in "$@"; do
		[ -s "$work/${verb}_$peer.median" ] || continue
		line "  $what" "$(median_of "${verb}_$mine")" "$target" "$(label "$peer")$(no_cgroups "$peer")" "$(median_of "${verb}_$peer")"
	done
}
show "run true" start ours "-" runc_ crun_
show "run true, no cgroups" start ours_bare "-" crun_bare
show "run true" start ours "-" unshare true
show "exec true" exec ours "-" runc_ crun_
show "exec true, no cgroups" exec ours_bare "-" crun_bare
show "create to delete" life ours "-" runc_ crun_
show "create to delete, no cgroups" life ours_bare "-" crun_bare

# ---- peak memory of the runtime's own processes ----------------------------------------------------------
exe_of() { case $1 in ours*) echo "$oci" ;; *) echo "${1%%_*}" ;; esac }
options_of() {
	case $1 in
	ours) echo "--root $work/ours" ;;
	ours_bare) echo "--root $work/ours-bare --cgroup-manager=disabled" ;;
	runc_) echo "--root $work/runc" ;;
	crun_) echo "--root $work/crun --cgroup-manager=cgroupfs" ;;
	crun_bare) echo "--root $work/crun-bare --cgroup-manager=disabled" ;;
	esac
}
peak() { # peak TOOL ARGUMENT…: kB
	local tool=$1
	shift
	# shellcheck disable=SC2046
	{ /usr/bin/time -f %M "$(exe_of "$tool")" $(options_of "$tool") "$@" >/dev/null </dev/null; } 2>&1 | tail -n 1
}
echo "peak memory of the largest process"
for tool in "${with[@]}" "${without[@]}"; do
	printf '  %-32s run %7s kB   exec %7s kB\n' "$(label "$tool")$(no_cgroups "$tool")" \
		"$(peak "$tool" run -b "$work/true" "start-$tool")" "$(peak "$tool" exec "target-$tool" /bin/true)"
done

# ---- many containers ----------------------------------------------------------------------------------------
# one_more TOOL ID: creates and starts a container that stays
one_more() { "$1" create -b "$work/sleep" "$2" && "$1" start "$2"; }
echo "one more container (create and start) when there are already …"
for tool in "${with[@]}"; do
	made=0 sample=20
	at_end "$tool list -q 2>/dev/null | grep '^many' | xargs -r -n 1 -P 4 $(exe_of "$tool") $(options_of "$tool") delete --force"
	for count in "${many[@]}"; do
		while [ "$made" -lt "$count" ]; do
			made=$((made + 1))
			one_more "$tool" "many$made" >/dev/null 2>"$work/stderr" </dev/null || { cat "$work/stderr"; exit 1; }
		done
		: >"$work/more.times"
		for ((i = 1; i <= sample; i++)); do
			time_of one_more "$tool" "many-$count-$i" && echo "$took" >>"$work/more.times"
		done
		median "$work/more.times" >"$work/more_${tool}_$count.median"
		time_of "$tool" list -q && listed=$took
		printf '  %-10s %5s: %10s each   list %s\n' "$(label "$tool")" "$count" \
			"$(ms "$(median_of "more_${tool}_$count")")" "$(ms "$listed")"
	done
	first=${many[0]} last=${many[-1]}
	printf '  %-10s with %s it takes %s of what it takes with %s\n' "$(label "$tool")" "$last" \
		"$(ratio "$(median_of "more_${tool}_$last")" "$(median_of "more_${tool}_$first")")" "$first"
	t=$EPOCHREALTIME
	# shellcheck disable=SC2046
	"$tool" list -q | grep '^many' | xargs -r -n 1 -P 4 "$(exe_of "$tool")" $(options_of "$tool") delete --force
	printf '  %-10s deleting them: %s each\n' "$(label "$tool")" \
		"$(ms $((($(date +%s%N) - ${t/./} * 1000) / (made + sample * ${#many[@]}))))"
done
for tool in "${with[@]:1}"; do
	for count in "${many[@]}"; do
		line "  one more with $count" "$(median_of "more_ours_$count")" "-" "$(label "$tool")" "$(median_of "more_${tool}_$count")"
	done
done
