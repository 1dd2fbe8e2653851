#!/usr/bin/env bash
# Start of a machine: `run --vm --rm /bin/true` against bare QEMU with the same kernel whose initramfs
# only powers off. Bare QEMU runs twice: as one would type it, and with every option that proa uses
# (processor, kernel command line), which are read from a machine of proa's while it runs.
# SPDX-License-Identifier: Apache-2.0
set -u
# shellcheck source=bench/common.sh
. "$(dirname "$0")/common.sh"
rounds=${ROUNDS:-15}
if ! command -v qemu-system-x86_64 >/dev/null || ! command -v musl-gcc >/dev/null; then
	echo "qemu-system-x86_64 or musl-gcc: not here, not measured"
	exit 0
fi
make_busybox
"$proa" kernel pull >/dev/null 2>"$work/stderr" || { cat "$work/stderr"; exit 1; }

# an initramfs that only powers off
mkdir "$work/initramfs"
printf '#include <sys/reboot.h>\n#include <unistd.h>\nint main(void) { reboot(RB_AUTOBOOT); for (;;) pause(); }\n' >"$work/off.c"
musl-gcc -static -Os -o "$work/initramfs/init" "$work/off.c"
(cd "$work/initramfs" && echo init | cpio -o -H newc 2>/dev/null) >"$work/off.cpio"

# what proa gives QEMU
"$proa" run --vm --rm --network none --name probe bench /bin/busybox sleep 60 &
owner=$!
at_end "kill $owner 2>/dev/null; wait $owner 2>/dev/null"
for ((i = 0; i < 300; i++)); do
	"$proa" exec probe true 2>/dev/null && break
	read -r -t 0.1 <> <(:) || true
done
mapfile -d '' -t args <"/proc/$(awk 'NR == 1 { print $1 }' "$work"/run/*/machine)/cmdline"
"$proa" kill probe >/dev/null
wait "$owner"
value() {
	local i
	for ((i = 0; i < ${#args[@]}; i++)); do [ "${args[i]}" = "$1" ] && echo "${args[i + 1]}" && return; done
}
kernel=$(value -kernel) append=$(value -append) accel=$(value -accel) machine=$(value -M)
khz=$(grep -o 'tsc_early_khz=[0-9]*' <<<"$append")

bare() {
	timeout 60 qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot -M "$machine" \
		-accel "$accel" -smp "$(value -smp)" -m "$(value -m)" -kernel "$kernel" -initrd "$work/off.cpio" \
		-serial stdio "$@"
}
run_proa() { "$proa" run --vm --rm --network none bench /bin/true; }
# the counter's rate belongs to both: without it this kernel sometimes hangs under emulation
run_plain() { bare -cpu "${cpu:-max}" -append "console=ttyS0 quiet panic=-1 reboot=t $khz"; }
run_tuned() { bare -cpu "$(value -cpu)" -append "$append"; }
[ "${accel%%,*}" = kvm ] && cpu=host

race "$rounds" proa plain tuned
mine=$(median_of proa)
echo "machine start ($accel, $(value -smp) CPU, $(value -m)), median of $rounds rounds"
line "  proa run --vm --rm true" "$mine" "1.25" "bare QEMU" "$(median_of plain)"
line "  proa run --vm --rm true" "$mine" "-" "bare QEMU with proa's options" "$(median_of tuned)"
