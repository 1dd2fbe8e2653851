#!/usr/bin/env bash
# The boot of the fast kernel (`proa kernel build`) and of the stock cloud kernel, in guest instructions:
# from the machine's reset to the first instruction of init.
#
# QEMU counts (-icount shift=0): one instruction is one nanosecond of the guest's clocks, so the time stamp
# counter, which is zero at reset, is the number of instructions executed so far, and init reads it before
# anything else. The number does not depend on the host, its load or the run. In it are QEMU's firmware, each
# round of a REP instruction as one, and, where the guest would wait, the wait: it is an upper bound.
#
# One wait is left out: QEMU's emulated processor cannot be told a time to interrupt at (TSC deadline; every
# KVM guest can), so the kernel measures the timer of the interrupt controller, 0.1 s by the guest's clock,
# which would count as 100 million instructions in both kernels. nolapic_timer leaves that out; the last
# column has it.
#
# Machine and kernel command line are those of a machine of proa's, read from one while it runs; but for
# tsc_early_khz=, which is that of the counted machine (1 GHz). SPDX-License-Identifier: Apache-2.0
set -u
# shellcheck source=bench/common.sh
. "$(dirname "$0")/common.sh"
if ! command -v qemu-system-x86_64 >/dev/null || ! command -v gcc >/dev/null || ! command -v cpio >/dev/null; then
	echo "qemu-system-x86_64, gcc or cpio: not here, not measured"
	exit 0
fi

# The tests' store keeps a fast kernel from run to run (it takes minutes), named as tests/conftest.py does:
# after the options it has.
kernels=$build/vmm-test-store/kernels
fast=fast-$(grep ^CONFIG_ "$build/kernel-x86_64.config" | sha256sum | cut -c 1-12)
if [ ! -e "$kernels/$fast/vmlinux" ]; then
	PROA_ROOT=$build/vmm-test-store "$proa" kernel build --name "$fast" >/dev/null || exit 1
fi
make_busybox
"$proa" kernel pull >/dev/null 2>"$work/stderr" || { cat "$work/stderr"; exit 1; }

# an init that prints the counter as it was at its first instruction, and ends the machine
mkdir "$work/initramfs"
cat >"$work/init.S" <<'END'
	.globl _start
_start:
	rdtsc
	shl $32, %rdx
	or %rdx, %rax
	lea end-1(%rip), %rsi
	movb $'\n', (%rsi)
	mov $10, %ecx
1:	xor %edx, %edx
	div %rcx
	add $'0', %dl
	dec %rsi
	mov %dl, (%rsi)
	test %rax, %rax
	jnz 1b
	lea end(%rip), %rdx
	sub %rsi, %rdx
	mov $1, %edi		# write(1, …)
	mov $1, %eax
	syscall
	mov $169, %eax		# reboot(LINUX_REBOOT_CMD_RESTART)
	mov $0xfee1dead, %edi
	mov $672274793, %esi
	mov $0x01234567, %edx
	syscall
2:	jmp 2b
	.bss
	.skip 32
end:
END
gcc -nostdlib -static -o "$work/initramfs/init" "$work/init.S" || exit 1
(cd "$work/initramfs" && echo init | cpio -o -H newc 2>/dev/null) >"$work/init.cpio"

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
append=$(value -append | sed 's/ *tsc_early_khz=[0-9]*//')
cpu=$(value -cpu)
[ "$cpu" = host ] && cpu=max

# count KERNEL MIB [WORDS]: instructions to init
count() {
	timeout 120 qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot \
		-M microvm,x-option-roms=off,rtc=on,auto-kernel-cmdline=off -accel tcg -icount shift=0,sleep=off \
		-cpu "$cpu" -smp 1 -m "$2M" -global virtio-mmio.force-legacy=false -kernel "$1" \
		-initrd "$work/init.cpio" -append "$append tsc_early_khz=1000000 ${3-nolapic_timer}" \
		-device virtio-serial-device,max_ports=2 -serial stdio </dev/null 2>/dev/null |
		tr -d '\r' | grep -xE '[0-9]+' | head -n 1
}
millions() { awk -v n="$1" 'BEGIN { printf "%.1f M", n / 1e6 }'; }

status=0
echo "boot to init's first instruction, in guest instructions (target 40 M with 256 MiB)"
for mib in 256 1024; do
	mine=$(count "$kernels/$fast/vmlinux" $mib)
	stock=$(count "$work"/store/kernels/*-cloud-*/vmlinux $mib)
	waiting=$(count "$kernels/$fast/vmlinux" $mib "")
	if [ -z "$mine" ] || [ -z "$stock" ] || [ -z "$waiting" ]; then
		echo "bench: a kernel did not reach init" >&2
		exit 1
	fi
	printf '  %4d MiB: fast kernel %s   %s of the stock kernel (%s)   with the wait %s\n' $mib \
		"$(millions "$mine")" "$(ratio "$mine" "$stock")" "$(millions "$stock")" "$(millions "$waiting")"
	# each page of memory costs some: the target is for the smaller machine
	[ $mib -gt 256 ] || [ "$mine" -le 40000000 ] || status=1
done
printf 'size: %s bytes (target 10000000), stock kernel %s and its modules\n' \
	"$(stat -c %s "$kernels/$fast/vmlinux")" "$(stat -c %s "$work"/store/kernels/*-cloud-*/vmlinux)"
exit $status
