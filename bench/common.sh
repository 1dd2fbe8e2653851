# shellcheck shell=bash
# What the benchmarks share. SPDX-License-Identifier: Apache-2.0
#
# Every figure is paired: the contenders run by turns, round after round, in one run of the script, so
# that what else the machine does hits all of them alike. What is printed are medians and ratios.

build=$(realpath "${PROA_BUILD:-build}")
work=$(mktemp -d)
proa=$build/proa
# a path short enough for Unix sockets
export PROA_ROOT=$work/store PROA_RUN_ROOT=$work/run

declare -a ends=() # commands to run at the end, last first
at_end() { ends=("$*" "${ends[@]}"); }
at_exit() {
	local e
	for e in "${ends[@]}"; do eval "$e"; done
	rm -rf "$work"
}
trap at_exit EXIT

now_ns() { date +%s%N; }

# time_of COMMAND…: its wall time in nanoseconds into $took. False when it failed; ours must not fail.
time_of() {
	local t status=0
	t=$(now_ns)
	"$@" >/dev/null 2>"$work/stderr" || status=$?
	# shellcheck disable=SC2034
	took=$(($(now_ns) - t))
	[ "$status" = 0 ] && return 0
	echo "bench: failed: $*: $(tail -n 1 "$work/stderr")" >&2
	[[ $* != *proa* ]] || exit 1
	return 1
}

median() { sort -n "$1" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
ms() { awk -v ns="$1" 'BEGIN { printf "%.1f ms", ns / 1e6 }'; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }

# race ROUNDS NAME…: for each round and name calls run_NAME, timed; medians go to $work/NAME.median.
race() {
	local rounds=$1 name i
	shift
	for name in "$@"; do
		"run_$name" >/dev/null 2>&1 || true # warm: page cache, connections
		: >"$work/$name.times"
	done
	for ((i = 0; i < rounds; i++)); do
		for name in "$@"; do
			if time_of "run_$name"; then echo "$took" >>"$work/$name.times"; fi
		done
	done
	for name in "$@"; do median "$work/$name.times" >"$work/$name.median"; done
}
median_of() { cat "$work/$1.median"; }

# line LABEL MEDIAN TARGET-RATIO PEER-NAME PEER-MEDIAN
line() {
	printf '%-34s %12s   %5s of %s (%s; target %s)\n' "$1" "$(ms "$2")" "$(ratio "$2" "$5")" "$4" "$(ms "$5")" "$3"
}

# Starts dockerd for this benchmark, if it is installed and none answers. False: no docker.
have_docker() {
	command -v dockerd >/dev/null && command -v docker >/dev/null || return 1
	export DOCKER_HOST=unix://$work/docker.sock
	dockerd --data-root "$work/docker" --exec-root "$work/docker-run" --pidfile "$work/docker.pid" \
		-H "$DOCKER_HOST" --iptables=false --bridge=none >"$work/dockerd.log" 2>&1 &
	local pid=$! i
	at_end "kill $pid 2>/dev/null; wait $pid 2>/dev/null"
	for ((i = 0; i < 100; i++)); do
		docker version >/dev/null 2>&1 && return 0
		kill -0 "$pid" 2>/dev/null || break
		read -r -t 0.2 <> <(:) || true
	done
	return 1
}

# podman with a storage and a configuration of its own.
have_podman() {
	command -v podman >/dev/null && command -v runc >/dev/null || return 1
	printf '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n' \
		>"$work/containers.conf"
	export CONTAINERS_CONF=$work/containers.conf
	at_end "umount '$work/podman/overlay' 2>/dev/null || true"
	podman_() { podman --root "$work/podman" --runroot "$work/podman-run" "$@"; }
}

# A busybox image in $work/busybox.tar (docker-archive) and in proa's store.
make_busybox() {
	mkdir -p "$work/root/bin"
	cp /bin/busybox "$work/root/bin/"
	ln -s busybox "$work/root/bin/true"
	ln -s busybox "$work/root/bin/sh"
	tar -C "$work/root" -c . | "$proa" import -q --change 'CMD ["/bin/true"]' - bench >/dev/null
	"$proa" save -q -o "$work/busybox.tar" bench
}
