#!/usr/bin/env bash
# Runs in the nested machine of bench/bench_vmm.sh. SPDX-License-Identifier: Apache-2.0
set -u
rounds=$1
for m in irqbypass kvm kvm-amd tun; do insmod "$(find /k/modules -name "$m.ko")"; done
[ -e /dev/kvm ] || mknod /dev/kvm c 10 232
mkdir -p /dev/net /w/bin /w/dev
[ -e /dev/net/tun ] || mknod /dev/net/tun c 10 200
ip link set lo up
cd /w || exit 1

words() { printf '%s\n' "$@"; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }
ms() { awk -v us="$1" 'BEGIN { printf "%.1f ms", us / 1000 }'; }
compare() { # LABEL OURS THEIRS TARGET
	printf '  %-44s %12s  %5s of QEMU microvm (%s; target %s)\n' "$1" "$(ms "$2")" "$(ratio "$2" "$3")" "$(ms "$3")" "$4"
}
qemu_words() { # KERNEL [WORDS…]
	local kernel=$1
	shift
	words /usr/bin/qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot -serial stdio \
		-M microvm,x-option-roms=off,rtc=on,pit=off,pic=off,auto-kernel-cmdline=off -accel kvm -cpu host \
		-m 192 -global virtio-mmio.force-legacy=false -kernel "$kernel" "$@"
}
race() { # TEXT: medians into $ours and $theirs
	/t/first_byte "$rounds" "$1" ours theirs >result || exit 1
	ours=$(awk '$2 == "ours" { print $1 }' result)
	theirs=$(awk '$2 == "theirs" { print $1 }' result)
}

# an initrd whose init says one line, and then what the test gives it
cp /bin/busybox bin/
mknod dev/console c 5 1 2>/dev/null
printf '#!/bin/busybox sh\n/bin/busybox echo "init is here"\nexport PATH=/bin\n/bin/busybox --install -s /bin\nmkdir -p /proc /sys; mount -t proc p /proc; mount -t sysfs s /sys; mount -t devtmpfs d /dev 2>/dev/null\n[ -e /test.sh ] && . /test.sh\nsleep 1000\n' >init
chmod +x init
pack() { (cd /w && find bin dev init ${1:+test.sh} | busybox cpio -o -H newc 2>/dev/null) >"/w/$2"; }
: >test.sh
pack "" plain.cpio
append="console=ttyS0 quiet panic=-1 8250.nr_uarts=1 tsc=reliable pci=off"

echo "start, median of $rounds rounds"
words /proa/proa-vmm --kernel /t/tiny --memory 192m >ours
qemu_words /t/tiny >theirs
race X
compare "exec to the guest's first instruction" "$ours" "$theirs" 0.125
words /proa/proa-vmm --no-sandbox --kernel /t/tiny --memory 192m >ours
race X
compare "  the same without the sandbox" "$ours" "$theirs" -
words /proa/proa-vmm --kernel /fast/vmlinux --initrd plain.cpio --memory 192m --cmdline "$append reboot=k" >ours
qemu_words /fast/vmlinux -initrd plain.cpio -append "$append" >theirs
race "init is here"
compare "exec to init's first line" "$ours" "$theirs" 0.50

# private memory of the monitor, without the guest's: every mapping but the run that is as long as it
beside() { # PID
	awk -v want=$((192 << 20)) '
		function hex(s,  i, n) { n = 0; for (i = 1; i <= length(s); i++) n = n * 16 + index("0123456789abcdef", substr(s, i, 1)) - 1; return n }
		/^[0-9a-f]+-[0-9a-f]+ / { split($1, a, "-"); s = hex(a[1]); e = hex(a[2]); if (s != end) { run++ } end = e; length_of[run] += e - s }
		/^Pss:/ { pss[run] += $2 }
		END { for (r in pss) if (length_of[r] < want) t += pss[r]; print t }' "/proc/$1/smaps"
}
memory_of() { # FILE-WITH-WORDS PATTERN: KiB
	mapfile -t argv <"$1"
	"${argv[@]}" </dev/null >out 2>/dev/null &
	local pid=$! child i
	for ((i = 0; i < 600; i++)); do grep -q "init is here" out && break; sleep 0.1; done
	child=$(pgrep -P $pid)
	beside "${child:-$pid}"
	kill $pid; wait $pid 2>/dev/null
}
echo "memory beside the guest's own (Pss)"
printf '  proa-vmm %s KiB (target 3072), QEMU microvm %s KiB\n' "$(memory_of ours)" "$(memory_of theirs)"
printf '  proa-vmm is a file of %s KB\n' "$(($(stat -c %s /proa/proa-vmm) / 1000))"

# throughput: the guest says how many MB/s it saw
helper=: # what must run before each machine; its pid in $helper_pid
helper_pid=""
rate() { # FILE-WITH-WORDS: the number behind "rate:"
	mapfile -t argv <"$1"
	$helper
	timeout 100 "${argv[@]}" </dev/null >out 2>/dev/null &
	local pid=$! i
	for ((i = 0; i < 900; i++)); do grep -q "rate:" out && break; sleep 0.1; done
	kill $pid; wait $pid 2>/dev/null
	[ -z "$helper_pid" ] || kill "$helper_pid" 2>/dev/null
	sed -n 's/.*rate: //p' out | tr -d '\r'
}
# by turns, the median of five each
throughput() { # LABEL
	local i a b
	: >a; : >b
	for i in 1 2 3 4 5; do rate ours >>a; rate theirs >>b; done
	a=$(sort -n a | sed -n 3p) b=$(sort -n b | sed -n 3p)
	printf '  %-44s %9s MB/s  %5s of QEMU microvm (%s MB/s; target 1)\n' "$1" "$a" "$(ratio "${a:-0}" "${b:-1}")" "$b"
}
# expanded by the guest's shell
# shellcheck disable=SC2016
timed='now() { cut -d" " -f1 /proc/uptime; }; a=$(now)'
# shellcheck disable=SC2016
done_='b=$(now); echo "rate: $(awk -v a=$a -v b=$b -v n=$bytes "BEGIN { printf \"%.1f\", n / 1e6 / (b - a) }")"'
echo "throughput"
truncate -s 1g disk.img
dd if=/dev/urandom of=disk.img bs=1M count=64 conv=notrunc 2>/dev/null
run_disk() { # LABEL SCRIPT
	printf '%s\n%s\n%s\n' "$timed" "$2" "$done_" >test.sh
	pack test disk.cpio
	words /proa/proa-vmm --kernel /fast/vmlinux --initrd disk.cpio --memory 192m --disk path=disk.img --cmdline "$append" >ours
	qemu_words /fast/vmlinux -initrd disk.cpio -append "$append" \
		-blockdev driver=file,node-name=d,filename=disk.img,aio=threads -device virtio-blk-device,drive=d >theirs
	throughput "$1"
}
# shellcheck disable=SC2016
run_disk "blk: read, 1 MiB at a time" 'dd if=/dev/vda of=/dev/null bs=1M count=64 iflag=direct 2>/dev/null; bytes=67108864'
run_disk "blk: read, 4 KiB at a time" 'dd if=/dev/vda of=/dev/null bs=4k count=2000 iflag=direct 2>/dev/null; bytes=8192000'
run_disk "blk: write, 1 MiB at a time" 'dd if=/dev/zero of=/dev/vda bs=1M count=64 oflag=direct 2>/dev/null; bytes=67108864'

# the file server is the same, virtiofsd, in both; a new one for each machine
mkdir -p share
dd if=/dev/urandom of=share/file bs=1M count=64 2>/dev/null
start_virtiofsd() {
	local i
	rm -f fs.sock
	/usr/lib/qemu/virtiofsd --socket-path=/w/fs.sock -o source=/w/share,cache=auto,no_flock,no_posix_lock >/dev/null 2>&1 &
	helper_pid=$!
	for ((i = 0; i < 100; i++)); do [ -S fs.sock ] && break; sleep 0.05; done
}
helper=start_virtiofsd
# shellcheck disable=SC2016
printf 'mkdir -p /mnt; mount -t virtiofs share /mnt\n%s\n%s\n%s\n' "$timed" \
	'dd if=/mnt/file of=/dev/null bs=1M 2>/dev/null; bytes=67108864' "$done_" >test.sh
pack test fs.cpio
words /proa/proa-vmm --kernel /fast/vmlinux --initrd fs.cpio --memory 192m --fs tag=share,socket=fs.sock --cmdline "$append" >ours
qemu_words /fast/vmlinux -initrd fs.cpio -append "$append" -object memory-backend-memfd,id=mem,size=192M,share=on \
	-machine memory-backend=mem -chardev socket,id=c,path=fs.sock -device vhost-user-fs-device,chardev=c,tag=share >theirs
throughput "fs: read, through virtiofsd"
helper=: helper_pid=""

ip tuntap add tap0 mode tap vnet_hdr
ip addr add 10.9.0.1/24 dev tap0
ip link set tap0 up
socat -u OPEN:/dev/zero,rdonly TCP-LISTEN:7000,reuseaddr,fork 2>/dev/null &
sources=$!
socat -u TCP-LISTEN:7001,reuseaddr,fork OPEN:/dev/null 2>/dev/null &
sinks=$!
run_net() {
	printf 'ip link set eth0 up; ip addr add 10.9.0.2/24 dev eth0; ping -c 1 -W 5 10.9.0.1 >/dev/null\n%s\n%s\n%s\n' "$timed" "$2" "$done_" >test.sh
	pack test net.cpio
	words /proa/proa-vmm --kernel /fast/vmlinux --initrd net.cpio --memory 192m --net tap=tap0 --cmdline "$append" >ours
	qemu_words /fast/vmlinux -initrd net.cpio -append "$append" -netdev tap,id=n,ifname=tap0,script=no,downscript=no,vhost=off \
		-device virtio-net-device,netdev=n >theirs
	throughput "$1"
}
run_net "net: TCP to the guest" 'nc 10.9.0.1 7000 </dev/null | dd of=/dev/null bs=64k count=1000 iflag=fullblock 2>/dev/null; bytes=65536000'
run_net "net: TCP from the guest" 'dd if=/dev/zero bs=64k count=1000 2>/dev/null | nc 10.9.0.1 7001; bytes=65536000'
kill $sources $sinks
