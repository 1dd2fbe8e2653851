#!/usr/bin/env bash
# Start of a container: `run --rm /bin/true` by proa, docker and podman, by turns.
# SPDX-License-Identifier: Apache-2.0
set -u
# shellcheck source=bench/common.sh
. "$(dirname "$0")/common.sh"
rounds=${ROUNDS:-20}
make_busybox

run_proa() { "$proa" run --rm --network none bench /bin/true; }
run_docker() { docker run --rm --network none bench /bin/true; }
run_podman() { podman_ run --rm --network none bench /bin/true; }
run_unshare() { unshare -fpmuin --mount-proc true; }

contenders=(proa unshare)
if have_docker && docker load -q -i "$work/busybox.tar" >/dev/null; then contenders+=(docker); else echo "docker: not here, not measured"; fi
if have_podman && podman_ load -q -i "$work/busybox.tar" >/dev/null 2>&1; then contenders+=(podman); else echo "podman: not here, not measured"; fi
race "$rounds" "${contenders[@]}"

mine=$(median_of proa)
echo "container start, median of $rounds rounds"
[ -f "$work/docker.median" ] && line "  proa run --rm true" "$mine" "1/15 = 0.07" "docker run" "$(median_of docker)"
[ -f "$work/podman.median" ] && line "  proa run --rm true" "$mine" "1/5 = 0.20" "podman run" "$(median_of podman)"
line "  proa run --rm true" "$mine" "-" "bare unshare" "$(median_of unshare)"
# too short for a shell's clock: hyperfine starts it without one
hyperfine -N -w 5 -r 100 --export-csv "$work/version.csv" "$proa --version" >/dev/null 2>&1
printf '  %-32s %12s   (target: under 3 ms)\n' "proa --version" "$(awk -F, 'NR == 2 { printf "%.1f ms", $4 * 1000 }' "$work/version.csv")"

# peak memory of proa's processes: the owner and the stage, which is small
peak=$( { /usr/bin/time -f %M "$proa" run --rm --network none bench /bin/true; } 2>&1 | tail -n 1)
printf '  %-32s %9s kB   (target: under 6 MB)\n' "peak memory of proa run" "$peak"

strip -o "$work/proa.stripped" "$proa"
printf '  %-32s %9s kB   (target: under 1 MB)\n' "proa, stripped" "$(($(stat -c %s "$work/proa.stripped") / 1000))"
printf '  %-32s %9s kB   (target: under 400 kB, static)\n' "proa-init" "$(($(stat -c %s "$build/proa-init") / 1000))"
