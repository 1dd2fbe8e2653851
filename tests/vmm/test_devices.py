# SPDX-License-Identifier: Apache-2.0
"""Every device with real traffic, over both transports: disks that are checked afterwards, TCP and UDP, files shared
with the host, memory given back, sockets, channels."""
import pytest
from guests import Result
from nested import BUILD


@pytest.fixture(params=["mmio", "pci"])
def transport(request):
    return ["--transport", request.param]


def tool():
    """The program that does in the guest what busybox cannot."""
    return {"guest_tool": (0o100755, (BUILD / "tests" / "guest_tool").read_bytes())}


# ---- disks ---------------------------------------------------------------------------------------

def test_file_system(guests, transport):
    """Written, unmounted, checked by e2fsck, and read again by another guest, which may not write."""
    write = """
mount -t ext4 /dev/vda /mnt
for i in 1 2 3 4 5 6 7 8; do dd if=/dev/urandom of=/mnt/$i bs=256k count=16 2>/dev/null; done
for i in $(seq 300); do mkdir -p /mnt/d/$((i % 17)); echo $i >/mnt/d/$((i % 17))/$i; done
rm -r /mnt/d/3; mv /mnt/8 /mnt/eight
cd /mnt; find . -type f | sort | xargs md5sum >/tmp/sums; cp /tmp/sums /mnt/sums; cd /
echo "sum: $(md5sum </tmp/sums)"
umount /mnt
"""
    read = """
echo "read-only: $(cat /sys/block/vda/ro) serial: $(cat /sys/block/vda/serial)"
mount -t ext4 -o ro /dev/vda /mnt
cd /mnt; md5sum -c sums >/dev/null; echo "sum: $(md5sum <sums)"; cd /
dd if=/dev/zero of=/dev/vda count=1 2>/dev/null && echo "written"
umount /mnt
"""
    first = guests.run(write, "--disk", "path=/tmp/fs.img", *transport,
                       before="rm -f /tmp/fs.img; truncate -s 1g /tmp/fs.img; mkfs.ext4 -q /tmp/fs.img",
                       after="e2fsck -fn /tmp/fs.img >/tmp/fsck 2>&1; echo \"fsck: $?\"").ok()
    assert first.lines("fsck:") == ["0"], first.text
    second = guests.run(read, "--disk", "path=/tmp/fs.img,ro,serial=a,,b", *transport, after="rm /tmp/fs.img").ok()
    assert second.lines("sum:") == first.lines("sum:")
    assert second.lines("read-only:") == ["1 serial: a,b"] and "written" not in second.text


def test_whole_disk(guests, transport):
    """Read from one end to the other by two processors at once: the same bytes as on the host."""
    r = guests.run("md5sum /dev/vda >/tmp/a & md5sum /dev/vda >/tmp/b & wait; echo \"sum: $(cut -c1-32 /tmp/a) "
                   "$(cut -c1-32 /tmp/b)\"", "--disk", "path=/tmp/raw.img", "--cpus", 2, *transport,
                   before="dd if=/dev/urandom of=/tmp/raw.img bs=1M count=48 2>/dev/null",
                   after="echo \"host: $(md5sum </tmp/raw.img | cut -c1-32)\"; rm /tmp/raw.img").ok()
    (host,) = r.lines("host:")
    assert r.lines("sum:") == [f"{host} {host}"]


def test_discard(guests):
    """What the guest's file system frees is freed on the host."""
    r = guests.run("mount -t ext4 /dev/vda /mnt; dd if=/dev/urandom of=/mnt/f bs=1M count=24 2>/dev/null; sync\n"
                   "rm /mnt/f; sync; fstrim /mnt; umount /mnt", "--disk", "path=/tmp/trim.img",
                   before="truncate -s 256m /tmp/trim.img; mkfs.ext4 -q /tmp/trim.img",
                   after="echo \"kilobytes: $(du -k /tmp/trim.img | cut -f1)\"; rm /tmp/trim.img").ok()
    assert int(r.lines("kilobytes:")[0]) < 20 * 1024, r.text


def test_erofs(guests):
    guests.run("mount -t erofs -o ro /dev/vda /mnt; echo \"found: $(cat /mnt/a/file)\"; umount /mnt", "--disk",
               "path=/tmp/ro.erofs,ro", before="mkdir -p /tmp/ro/a; echo content >/tmp/ro/a/file; "
               "mkfs.erofs --quiet /tmp/ro.erofs /tmp/ro >/dev/null 2>&1").ok().lines("found:") == ["content"]


def test_root_on_a_disk(guests):
    """No initrd: the kernel mounts the disk itself."""
    command = ("timeout 60 /proa/proa-vmm --kernel /fast/vmlinux --memory 192m --disk path=/tmp/root.ext4 "
               "--cmdline 'console=ttyS0 quiet panic=-1 reboot=k root=/dev/vda rw init=/init'")
    r = guests.nested.sh(f"""mkdir -p /tmp/root/bin /tmp/root/proc /tmp/root/dev; cp /bin/busybox /tmp/root/bin/
printf '#!/bin/busybox sh\\necho "root: $(/bin/busybox stat -f -c %%T /)"\\n/bin/busybox poweroff -f\\n' >/tmp/root/init
chmod +x /tmp/root/init; truncate -s 32m /tmp/root.ext4; mkfs.ext4 -q -d /tmp/root /tmp/root.ext4
{command} </dev/null; echo "exit code $?"; rm /tmp/root.ext4""")
    r = Result(r)
    assert r.code == 0 and r.lines("root:") == ["ext2/ext3"], r.text


# ---- networks ------------------------------------------------------------------------------------

TAP = """ip tuntap add tap0 mode tap {flags}; ip addr add 10.9.0.1/24 dev tap0; ip addr add fd09::1/64 dev tap0 nodad
ip link set tap0 up
cat >/tmp/echo.py <<'PY'
import hashlib, socket, sys
tcp = socket.socket(socket.AF_INET6); tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
tcp.bind(("::", 7000)); tcp.listen()
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.bind(("0.0.0.0", 7001)); udp.settimeout(60)
print("serving", flush=True)
tcp.settimeout(60)
for _ in range(2):
    c, _a = tcp.accept(); c.settimeout(60)
    data = b""
    while piece := c.recv(65536):
        data += piece
    c.sendall(hashlib.md5(data).hexdigest().encode() + b"\\n" + data[::-1])
    c.close()
data, peer = udp.recvfrom(2000)
udp.sendto(data.upper(), peer)
PY
python3 /tmp/echo.py >/tmp/echo.log 2>&1 & server=$!
for i in $(seq 100); do grep -q serving /tmp/echo.log && break; sleep 0.1; done
"""
TRAFFIC = """
ip link set lo up; ip link set eth0 up; ip addr add 10.9.0.2/24 dev eth0; ip -6 addr add fd09::2/64 dev eth0
ping -c 3 -i 0.2 10.9.0.1 | grep -c 'bytes from' | sed 's/^/pings: /'
dd if=/dev/urandom of=/tmp/data bs=64k count=64 2>/dev/null
for to in 10.9.0.1 fd09::1; do
	for i in 1 2 3 4 5 6 7 8 9; do ping -c 1 -W 1 $to >/dev/null 2>&1 && break; sleep 0.3; done
	nc $to 7000 </tmp/data >/tmp/back
	[ "$(head -n 1 /tmp/back)" = "$(md5sum </tmp/data | cut -c1-32)" ] && echo "sent: same"
	echo "back: $(($(wc -c </tmp/back) - 33))"
done
echo "udp: $(/guest_tool udp 10.9.0.1 7001 hello)"
"""


@pytest.mark.parametrize("queues", [1, 2])
def test_tap(guests, transport, queues):
    """TCP both ways over IPv4 and IPv6, megabytes of it, and UDP."""
    flags = "multi_queue" if queues > 1 else ""
    r = guests.run(TRAFFIC, "--net", f"tap=tap0,mac=52:54:00:00:00:07,queues={queues}", "--cpus", queues, *transport,
                   files=tool(), before=TAP.format(flags=flags), after="kill $server 2>/dev/null; ip link del tap0; cat /tmp/echo.log").ok()
    assert r.lines("pings:") == ["3"], r.text
    assert r.lines("sent:") == ["same", "same"] and r.lines("back:") == [str(4 << 20)] * 2, r.text
    assert r.lines("udp:") == ["HELLO"], r.text


def test_passt(guests):
    """The stream of frames that passt speaks; the host's loopback is the gateway's address."""
    script = """
ip link set lo up; ip link set eth0 up
ip addr add 10.8.0.2/24 dev eth0; ip route add default via 10.8.0.1
for i in 1 2 3 4 5 6 7 8 9; do nc 10.8.0.1 7000 </dev/null >/tmp/back && break; sleep 0.5; done
echo "sum: $(md5sum </tmp/back | cut -c1-32) $(wc -c </tmp/back)"
"""
    r = guests.run(script, "--net", "stream=/tmp/passt.sock,mac=52:54:00:00:00:08", before="""
dd if=/dev/urandom of=/tmp/page bs=64k count=32 2>/dev/null
ip tuntap add up0 mode tap; ip addr add 192.0.2.1/24 dev up0; ip link set up0 up; ip route add default via 192.0.2.254 dev up0
socat -u FILE:/tmp/page TCP-LISTEN:7000,reuseaddr,fork & server=$!
rm -f /tmp/passt.sock
timeout 100 passt -f -4 --runas 0 -i up0 -s /tmp/passt.sock -a 10.8.0.2 -n 24 -g 10.8.0.1 >/tmp/passt.log 2>&1 & passt=$!
for i in $(seq 50); do [ -S /tmp/passt.sock ] && break; sleep 0.1; done""", after="""
kill $passt $server; ip link del up0; tail -n 3 /tmp/passt.log
echo "host: $(md5sum </tmp/page | cut -c1-32) $(wc -c </tmp/page)" """)
    assert r.ok().lines("sum:") == r.lines("host:"), r.text


# ---- files ---------------------------------------------------------------------------------------

def test_shared_directory(guests, transport):
    """Owners, modes, links, renames and contents in both directions, at once."""
    script = """
mount -t virtiofs share /mnt
echo "from the host: $(cat /mnt/host) $(stat -c %u:%g:%a /mnt/host)"
echo guest >/mnt/guest; chown 1234:5678 /mnt/guest; chmod 640 /mnt/guest
ln -s guest /mnt/link; mkdir /mnt/dir; mv /mnt/dir /mnt/renamed
dd if=/dev/urandom of=/mnt/large bs=64k count=64 2>/dev/null
echo "sum: $(md5sum </mnt/large)"
cat /mnt/../test.sh >/dev/null; ls /mnt/.. | grep -q bin && echo "parent: the guest's"
umount /mnt
"""
    r = guests.run(script, "--fs", "tag=share,socket=/tmp/fs.sock", *transport, before="""
rm -rf /tmp/share /tmp/fs.sock; mkdir -p /tmp/share; echo hello >/tmp/share/host; chown 77:88 /tmp/share/host; chmod 604 /tmp/share/host
/usr/lib/qemu/virtiofsd --socket-path=/tmp/fs.sock -o source=/tmp/share,cache=auto,xattr >/tmp/fsd.log 2>&1 & server=$!
for i in $(seq 50); do [ -S /tmp/fs.sock ] && break; sleep 0.1; done""", after="""
echo "on the host: $(cat /tmp/share/guest) $(stat -c %u:%g:%a /tmp/share/guest) $(readlink /tmp/share/link) $(ls -d /tmp/share/renamed)"
echo "host sum: $(md5sum </tmp/share/large)"
kill $server 2>/dev/null; true""").ok()
    assert r.lines("from the host:") == ["hello 77:88:604"]
    assert r.lines("on the host:") == ["guest 1234:5678:640 guest /tmp/share/renamed"], r.text
    assert r.lines("sum:") == r.lines("host sum:") and "parent: the guest's" in r.text


# ---- the others ----------------------------------------------------------------------------------

def test_rng(guests, transport):
    r = guests.run('for i in 1 2; do echo "random: $(head -c 64 /dev/hwrng | md5sum)"; done', "--rng", *transport).ok()
    assert len(set(r.lines("random:"))) == 2


def test_memory_goes_back(guests):
    """What the guest frees leaves the monitor's memory by itself; a target takes more, and gives it back."""
    command = guests.command("""
mount -t tmpfs t /tmp
dd if=/dev/zero of=/tmp/f bs=1M count=150 2>/dev/null; echo filled; read go </dev/ttyS0 || sleep 1
rm /tmp/f; echo freed
sleep 60""", "--balloon", "--control", "/tmp/b.sock", memory="384m")
    r = Result(guests.nested.sh(f"""mkfifo /tmp/b.in 2>/dev/null
{command} </tmp/b.in >/tmp/b.out & p=$!
exec 9>/tmp/b.in
wait_for() {{ for i in $(seq 300); do grep -q "$1" /tmp/b.out && return; sleep 0.1; done; }}
rss() {{ awk '/^RssAnon/ {{ print int($2 / 1024) }}' /proc/$(pgrep -P $p)/status; }}
ask() {{ echo "$1" | socat -t 5 - UNIX-CONNECT:/tmp/b.sock; }}
wait_for filled; full=$(rss); echo go >&9; wait_for freed
for i in $(seq 200); do [ $(rss) -lt $((full - 120)) ] && break; sleep 0.1; done
echo "full: $full"; echo "freed: $(rss)"
ask 'balloon 128m'
for i in $(seq 200); do ask balloon | grep -q 'given=134217728' && break; sleep 0.1; done
ask balloon
kill $p; wait $p; echo "exit code $?"; exec 9>&-""", timeout=120))
    (full,), (freed,) = r.lines("full:"), r.lines("freed:")
    assert int(full) > 150 and int(freed) < int(full) - 120, r.text
    assert "ok given=134217728" in r.text and r.code == 2, r.text


def test_vsock(guests, transport):
    """A connection each way, a quarter of a megabyte each."""
    script = """
/guest_tool serve 5000 >/tmp/served &
for i in $(seq 100); do grep -q listening /tmp/served && break; sleep 0.1; done
echo listening
wait
dd if=/dev/urandom of=/tmp/d bs=64k count=4 2>/dev/null
echo "sum: $(md5sum </tmp/d)"
/guest_tool connect 6000 </tmp/d
"""
    command = guests.command(script, "--vsock", "cid=7,socket=/tmp/vs/v.sock", *transport,
                             files=tool())
    r = Result(guests.nested.sh(f"""rm -rf /tmp/vs; mkdir -p /tmp/vs; chmod 777 /tmp/vs
cat >/tmp/vs.py <<'PY'
import hashlib, os, socket, threading, time
back = socket.socket(socket.AF_UNIX); back.bind("/tmp/vs/v.sock_6000"); os.chmod("/tmp/vs/v.sock_6000", 0o777); back.listen()
back.settimeout(60)
deadline = time.monotonic() + 60
while "listening" not in open("/tmp/vs.out").read() and time.monotonic() < deadline:
    time.sleep(0.1)
c = socket.socket(socket.AF_UNIX); c.settimeout(60); c.connect("/tmp/vs/v.sock"); c.sendall(b"CONNECT 5000\\n")
line = b""
while not line.endswith(b"\\n"):
    line += c.recv(1)
print("answer:", line.decode().split()[0])
data = os.urandom(256 << 10)
threading.Thread(target=lambda: (c.sendall(data), c.shutdown(socket.SHUT_WR))).start()
got = b""
while piece := c.recv(65536):
    got += piece
print("echo:", got == data)
g, _ = back.accept(); g.settimeout(60)
sent = b""
while piece := g.recv(65536):
    sent += piece
g.sendall(b"host sum: " + hashlib.md5(sent).hexdigest().encode() + b"  -\\n"); g.close()
PY
: >/tmp/vs.out
python3 /tmp/vs.py & helper=$!
timeout 80 {command} </dev/null >/tmp/vs.out; echo "exit code $?"; wait $helper; cat /tmp/vs.out"""))
    r.ok()
    assert r.lines("answer:") == ["OK"] and r.lines("echo:") == ["True"], r.text
    assert r.lines("sum:") == r.lines("host sum:"), r.text


def test_port_and_terminal(guests, transport):
    """A named channel with a megabyte each way, and the console as hvc0."""
    script = """
p=$(grep -l org.test /sys/class/virtio-ports/*/name | cut -d/ -f5)
head -c 1048576 /dev/$p >/tmp/got
echo "sum: $(md5sum </tmp/got)"
cat /tmp/got >/dev/$p
read line; echo "typed: $line"
"""
    command = guests.command(script, "--port", "name=org.test,fd=5", "--console", "virtio", *transport, console="hvc0")
    r = Result(guests.nested.sh(f"""python3 - <<'PY'
import hashlib, os, shlex, socket, subprocess, threading
ours, theirs = socket.socketpair(); ours.settimeout(60)
os.dup2(theirs.fileno(), 5); theirs.close()
p = subprocess.Popen(shlex.split({command!r}), pass_fds=[5], stdin=subprocess.PIPE)
os.close(5)
data = os.urandom(1 << 20)
threading.Thread(target=ours.sendall, args=(data,)).start()
got = b""
while len(got) < len(data):
    piece = ours.recv(65536)
    if not piece:
        break
    got += piece
p.stdin.write(b"from outside\\n"); p.stdin.flush()
print("back:", got == data)
print("host sum:", hashlib.md5(data).hexdigest(), " -")
print("exit code", p.wait(60))
PY""", timeout=120))
    r.ok()
    assert r.lines("back:") == ["True"] and r.lines("sum:") == r.lines("host sum:"), r.text
    assert r.lines("typed:") == ["from outside"], r.text


def test_power_button(guests):
    script = "echo waiting; head -c 24 /dev/input/event0 >/dev/null; echo pressed"
    command = guests.command(script, "--control", "/tmp/power.sock")
    r = Result(guests.nested.sh(f"""{command} </dev/null >/tmp/power.out & p=$!
for i in $(seq 300); do grep -q waiting /tmp/power.out && break; sleep 0.1; done
echo power | socat -t 5 - UNIX-CONNECT:/tmp/power.sock
wait $p; echo "exit code $?"; cat /tmp/power.out""", timeout=90))
    assert "pressed" in r.ok().text
