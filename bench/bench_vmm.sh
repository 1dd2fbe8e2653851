#!/usr/bin/env bash
# proa-vmm against QEMU's microvm on the same KVM, with the same kernel, initrd and disk: in a nested machine, for
# QEMU's emulation has an AMD processor with virtualisation (tests/nested.py), so absolute times are those of an
# emulated computer; ratios are what counts. What is measured is in bench/vmm_inside.sh.
# SPDX-License-Identifier: Apache-2.0
set -u
# shellcheck source=bench/common.sh
. "$(dirname "$0")/common.sh"
here=$(realpath "$(dirname "$0")")
kernels=$build/vmm-test-store/kernels
fast=$kernels/fast-$(grep ^CONFIG_ "$build/kernel-x86_64.config" | sha256sum | cut -c 1-12)
tar=$build/debian-for-kvm.tar
if [ ! -e "$fast/vmlinux" ] || [ ! -e "$tar" ]; then
	echo "the tests' fast kernel and Debian image are not there (make check makes them): not measured"
	exit 0
fi
mkdir "$work/t"
gcc -O2 -static -D_GNU_SOURCE -o "$work/t/first_byte" "$here/first_byte.c" || exit 1
gcc -m32 -nostdlib -static -Wl,-Ttext=0x1000000,--build-id=none -o "$work/tiny32" "$here/tiny_guest.S" || exit 1
# a 64-bit ELF with 32-bit code in it, as a kernel is
objcopy -I elf32-i386 -O elf64-x86-64 "$work/tiny32" "$work/t/tiny"
PROA_ROOT=$work/store "$proa" import -q "$tar" bench-kvm >/dev/null || exit 1
PROA_ROOT=$work/store "$proa" kernel pull >/dev/null 2>&1 || exit 1
stock=$(realpath "$work/store/kernels/default")
timeout 1200 "$proa" run --rm --vm --hypervisor emulation --privileged -m 3g --cpus 1 -v "$build:/proa:ro" -v "$here:/bench:ro" \
	-v "$stock:/k:ro" -v "$fast:/fast:ro" -v "$work/t:/t" bench-kvm bash /bench/vmm_inside.sh "${ROUNDS:-15}"
