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
gcc -O2 -o "$work/pair" "$(dirname "$0")/pair.c" || exit 1

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

# words_of TOOL: sets words to what a call of it begins with
words_of() {
	case $1 in
	ours) words=("$oci" --root "$work/ours") ;;
	ours_bare) words=("$oci" --root "$work/ours-bare" --cgroup-manager=disabled) ;;
	runc) words=(runc --root "$work/runc") ;;
	crun) words=(crun --root "$work/crun" --cgroup-manager=cgroupfs) ;;
	crun_bare) words=(crun --root "$work/crun-bare" --cgroup-manager=disabled) ;;
	esac
}
call() { # call TOOL ARGUMENT…
	local words
	words_of "$1"
	shift
	"${words[@]}" "$@"
}

# Which of them work here, with cgroups and without.
with=() without=()
for tool in ours runc crun ours_bare crun_bare; do
	words_of "$tool"
	command -v "${words[0]}" >/dev/null || { echo "${words[0]}: not here, not measured"; continue; }
	if ! call "$tool" run -b "$work/true" probe >/dev/null 2>"$work/stderr" </dev/null; then
		echo "$tool: does not run here, not measured: $(tail -n 1 "$work/stderr")"
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
run_words=() exec_words=() life_words=()
for tool in "${with[@]}" "${without[@]}"; do
	call "$tool" create -b "$work/sleep" "target-$tool" </dev/null >/dev/null 2>&1 && call "$tool" start "target-$tool"
	at_end "call $tool delete --force target-$tool >/dev/null 2>&1"
	words_of "$tool"
	run_words+=("${words[@]}" run -b "$work/true" "start-$tool" ::)
	exec_words+=("${words[@]}" exec "target-$tool" /bin/true ::)
	life_words+=("${words[@]}" create -b "$work/sleep" "life-$tool" :+ "${words[@]}" start "life-$tool" :+
		"${words[@]}" kill "life-$tool" KILL :+ "${words[@]}" delete --force "life-$tool" ::)
done
# The floor: the same namespaces and no more, and a program alone.
run_words+=(unshare -fpmuin --mount-proc true :: /bin/true)

# pair_up VERB NAME…: medians of the contenders in VERB_words, which have these names
pair_up() {
	local verb=$1 tool median
	local -n all=${1}_words
	shift
	[ "${all[-1]}" != :: ] || unset 'all[-1]'
	"$work/pair" "$rounds" "${all[@]}" >"$work/medians" || exit 1
	for tool in "$@"; do
		read -r median
		[ "$median" = failed ] || echo "$median" >"$work/${verb}_$tool.median"
	done <"$work/medians"
}
pair_up run "${with[@]}" "${without[@]}" unshare true
pair_up exec "${with[@]}" "${without[@]}"
pair_up life "${with[@]}" "${without[@]}"

echo "OCI runtime $(basename "$oci"), median of $rounds rounds"
show() { # show WHAT VERB MINE PEER TARGET
	if [ ! -s "$work/$2_$3.median" ] || [ ! -s "$work/$2_$4.median" ]; then return; fi
	line "  $1" "$(median_of "$2_$3")" "$5" "$(label "$4")$(no_cgroups "$4")" "$(median_of "$2_$4")"
}
show "run true" run ours runc 0.25
show "run true" run ours crun 0.50
show "run true, no cgroups" run ours_bare crun_bare 0.50
show "run true, no cgroups" run ours_bare unshare 2
show "run true" run ours unshare 2
show "exec true" exec ours runc 0.25
show "exec true" exec ours crun 0.50
show "exec true, no cgroups" exec ours_bare crun_bare 0.50
show "create, start, kill, delete" life ours runc 0.25
show "create, start, kill, delete" life ours crun 0.50
show "the same, no cgroups" life ours_bare crun_bare 0.50

# ---- peak memory of the runtime's own processes ----------------------------------------------------------
peak() { # peak TOOL ARGUMENT…: kB
	local words
	words_of "$1"
	shift
	{ /usr/bin/time -f %M "${words[@]}" "$@" >/dev/null </dev/null; } 2>&1 | tail -n 1
}
echo "peak memory of the largest process (target of ours: 1536 kB)"
for tool in "${with[@]}" "${without[@]}"; do
	printf '  %-32s run %7s kB   exec %7s kB\n' "$(label "$tool")$(no_cgroups "$tool")" \
		"$(peak "$tool" run -b "$work/true" "start-$tool")" "$(peak "$tool" exec "target-$tool" /bin/true)"
done

# ---- many containers ----------------------------------------------------------------------------------------
delete_many() {
	local words
	words_of "$1"
	"${words[@]}" list -q | grep '^many' | xargs -r -n 1 -P 4 "${words[@]}" delete --force
}
# one_more TOOL ID: creates and starts a container that stays
one_more() { call "$1" create -b "$work/sleep" "$2" && call "$1" start "$2"; }
echo "one more container (create and start) when there are already …"
for tool in "${with[@]}"; do
	made=0 sample=20
	at_end "delete_many $tool 2>/dev/null"
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
		time_of call "$tool" list -q && listed=$took
		printf '  %-10s %5s: %10s each   list %s\n' "$(label "$tool")" "$count" \
			"$(ms "$(median_of "more_${tool}_$count")")" "$(ms "$listed")"
	done
	first=${many[0]} last=${many[-1]}
	printf '  %-10s with %s it takes %s of what it takes with %s\n' "$(label "$tool")" "$last" \
		"$(ratio "$(median_of "more_${tool}_$last")" "$(median_of "more_${tool}_$first")")" "$first"
	t=$EPOCHREALTIME
	delete_many "$tool"
	printf '  %-10s deleting them: %s each\n' "$(label "$tool")" \
		"$(ms $((($(date +%s%N) - ${t/./} * 1000) / (made + sample * ${#many[@]}))))"
done
for tool in "${with[@]:1}"; do
	for count in "${many[@]}"; do
		line "  one more with $count" "$(median_of "more_ours_$count")" "-" "$(label "$tool")" "$(median_of "more_${tool}_$count")"
	done
done
