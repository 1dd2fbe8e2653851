#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# How long it takes until an image archive is unpacked and ready to run: proa, docker, podman.
#
#     bench/bench_load.sh [ARCHIVE]
#
# ARCHIVE is what `docker save` writes; without it a Debian minbase is made (mmdebstrap). The tools
# take turns, each into a store of its own, so that all meet the same machine; ROUNDS (7) turns, the
# first of which does not count. Prints the medians and proa's share of each. With docker the daemon
# is started for the time of the measurement if none answers. Needs root.
set -euo pipefail

build=${PROA_BUILD:-$(cd "$(dirname "$0")/.." && pwd)/build}
rounds=${ROUNDS:-7}
work=$(mktemp -d "${TMPDIR:-/tmp}/proa-bench-load-XXXXXX")
dockerd_pid=
export PROA_ROOT=$work/proa PROA_RUN_ROOT=$work/run

finish() {
	if [ -n "$dockerd_pid" ]; then
		kill "$dockerd_pid" 2>/dev/null || true
		wait "$dockerd_pid" 2>/dev/null || true
	fi
	podman_ system reset --force >/dev/null 2>&1 || true
	rm -rf "$work"
}
trap finish EXIT

docker_() { timeout 300 docker -H "${docker_host:-unix:///var/run/docker.sock}" "$@"; }
podman_() { timeout 300 podman --root "$work/podman" --runroot "$work/prun" "$@"; }

archive=${1:-}
if [ -z "$archive" ]; then
	echo "making a Debian minbase (mmdebstrap) …" >&2
	mmdebstrap --quiet --variant=minbase bookworm "$work/root.tar"
	"$build/proa" import -q "$work/root.tar" bench:load >/dev/null
	archive=$work/image.tar
	"$build/proa" save -q -o "$archive" bench:load
	"$build/proa" rmi bench:load >/dev/null
	rm "$work/root.tar"
fi

tools=(proa)
if command -v dockerd >/dev/null; then
	if ! docker_ info >/dev/null 2>&1; then
		docker_host=unix://$work/docker.sock
		dockerd --data-root "$work/docker" --exec-root "$work/dexec" --pidfile "$work/docker.pid" \
			-H "$docker_host" --bridge none --iptables=false >"$work/dockerd.log" 2>&1 &
		dockerd_pid=$!
		for _ in $(seq 100); do
			docker_ info >/dev/null 2>&1 && break
			sleep 0.1
		done
	fi
	if docker_ info >/dev/null 2>&1; then
		tools+=(docker)
	else
		echo "docker: not measured: its daemon does not start" >&2
	fi
else
	echo "docker: not measured: not installed" >&2
fi
if command -v podman >/dev/null; then
	tools+=(podman)
else
	echo "podman: not measured: not installed" >&2
fi

load() {
	case $1 in
	proa) "$build/proa" load -q -i "$archive" ;;
	docker) docker_ load -q -i "$archive" ;;
	podman) podman_ load -q -i "$archive" ;;
	esac
}
unload() {
	case $1 in
	proa) "$build/proa" rmi -f "$2" ;;
	docker) docker_ rmi -f "$2" ;;
	podman) podman_ rmi -f "$2" ;;
	esac
}

declare -A times
for round in $(seq "$rounds"); do
	for tool in "${tools[@]}"; do
		sync
		start=$(date +%s%N)
		name=$(load "$tool" | sed -n 's/^Loaded image[^:]*: //p' | head -n 1)
		end=$(date +%s%N)
		unload "$tool" "$name" >/dev/null
		[ "$round" -gt 1 ] && times[$tool]+=" $(((end - start) / 1000))"
	done
done

median() { tr ' ' '\n' | grep . | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
ours=$(median <<<"${times[proa]}")
printf 'load of %s, %d rounds, medians\n' "$(du -h "$archive" | cut -f 1)" $((rounds - 1))
for tool in "${tools[@]}"; do
	m=$(median <<<"${times[$tool]}")
	awk -v t="$tool" -v m="$m" -v o="$ours" \
		'BEGIN { printf "%-8s %8.3f s   proa takes %.2f of it\n", t, m / 1e6, o / m }'
done

"$build/proa" load -q -i "$archive" >/dev/null
image=$("$build/proa" images -q | head -n 1)
start=$(date +%s%N)
"$build/proa-image" erofs "$image" >/dev/null
end=$(date +%s%N)
awk -v t=$((end - start)) 'BEGIN { printf "erofs    %8.3f s   once for each image\n", t / 1e9 }'
