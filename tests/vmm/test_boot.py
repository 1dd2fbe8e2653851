# SPDX-License-Identifier: Apache-2.0
"""Each kind of kernel, several processors, every way to end, and what cannot be booted."""
import gzip
import lzma
import os
import pathlib
import re
import shlex
import shutil
import struct
import subprocess
import tempfile

import pytest
from guests import Result
from nested import BUILD

CPUS = 'echo "cpus: $(grep -c ^processor /proc/cpuinfo)"; echo "memory: $(grep MemTotal /proc/meminfo)"'


def bzimage(payload, appended=b""):
    """The least of a bzImage that holds this payload (Documentation/x86/boot.rst)."""
    head = bytearray(1024)
    head[0x1f1] = 1
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", head, 0x206, 0x20f)
    struct.pack_into("<II", head, 0x248, 0, len(payload) + len(appended))
    return bytes(head) + payload + appended


def packed(tool, data):
    return subprocess.run(tool, input=data, capture_output=True, check=True).stdout


@pytest.fixture(scope="module")
def packed_kernels(nested):
    vmlinux = (nested.fast / "vmlinux").read_bytes()
    size = struct.pack("<I", len(vmlinux))  # Kbuild puts it behind, but for gzip, which has its own
    made = {"gzip": bzimage(gzip.compress(vmlinux, 1)),
            "xz": bzimage(lzma.compress(vmlinux, preset=0, check=lzma.CHECK_CRC32), size),
            "lz4": bzimage(packed(["lz4", "-l", "-c"], vmlinux), size),
            "zstd": bzimage(packed(["zstd", "-1", "-c"], vmlinux), size)}
    for name, data in made.items():
        (nested.work / f"bzImage-{name}").write_bytes(data)
    yield made
    for name in made:
        (nested.work / f"bzImage-{name}").unlink()


@pytest.fixture(scope="module")
def vmlinuz(nested):
    """Debian's own bzImage, which unpacks itself."""
    kept = BUILD / f"vmlinuz-{nested.stock.name}"
    if not kept.exists():
        with tempfile.TemporaryDirectory() as work:
            got = subprocess.run(["apt-get", "download", "-q", f"linux-image-{nested.stock.name}"], cwd=work,
                                 capture_output=True, text=True, timeout=300, check=False)
            if got.returncode != 0:
                pytest.skip(f"Debian's kernel package cannot be had: {got.stderr.strip().splitlines()[-1]}")
            (package,) = pathlib.Path(work).glob("*.deb")
            subprocess.run(["dpkg", "-x", package, work], check=True, timeout=120)
            (image,) = pathlib.Path(work).glob("boot/vmlinuz-*")
            shutil.copy(image, f"{kept}.part")
            os.rename(f"{kept}.part", kept)
    shutil.copy(kept, nested.work / "vmlinuz")
    return "/t/vmlinuz"


@pytest.mark.parametrize("cpus", [1, 2, 4])
@pytest.mark.parametrize("vmlinux", ["/fast/vmlinux", "/k/vmlinux"], ids=["fast", "stock"])
def test_kernel(guests, vmlinux, cpus):
    r = guests.run(CPUS, "--cpus", cpus, kernel=vmlinux).ok()
    assert r.lines("cpus:") == [str(cpus)]


def test_linux_protocol(guests):
    assert guests.run(CPUS, "--boot", "linux", "--cpus", 2).ok().lines("cpus:") == ["2"]


def test_self_unpacking(guests, vmlinuz):
    guests.run(CPUS, "--boot", "linux", kernel=vmlinuz).ok()


@pytest.mark.parametrize("packing", ["gzip", "xz", "lz4", "zstd"])
def test_packed(guests, packed_kernels, packing):
    """Unpacked once, and kept under its hash."""
    kept = "ls /var/cache/proa/kernels 2>/dev/null | wc -l"
    before = int(guests.nested.sh(kept).stdout)
    guests.run(CPUS, kernel=f"/t/bzImage-{packing}").ok()
    assert int(guests.nested.sh(kept).stdout) == before + 1
    guests.run(CPUS, kernel=f"/t/bzImage-{packing}").ok()
    assert int(guests.nested.sh(kept).stdout) == before + 1


def test_memory_above_4_gib(guests):
    (line,) = guests.run(CPUS, memory="5g").ok().lines("memory:")
    assert int(re.search(r"(\d+) kB", line).group(1)) > 4.5 * 1024 * 1024


@pytest.mark.parametrize("how,code,event", [
    ("poweroff -f", 0, "power-off"), ("reboot -f", 10, "reset"), ("echo c >/proc/sysrq-trigger", 11, "panic"),
    ("halt -f", 13, "halt")])
def test_end(guests, how, code, event):
    command = guests.command(f"trap - EXIT\n{how}\nsleep 60", "--control", "fd=5")
    script = f"""python3 - <<'PY'
import os, shlex, socket, subprocess
ours, theirs = socket.socketpair()
os.dup2(theirs.fileno(), 5)
theirs.close()
p = subprocess.Popen(shlex.split({command!r}), pass_fds=[5], stdin=subprocess.DEVNULL)
os.close(5)
code = p.wait(60)
text = b""
while piece := ours.recv(4096):
    text += piece
print(text.decode())
print("exit code", code)
PY"""
    r = Result(guests.nested.sh(script, timeout=90))
    assert r.code == code, r.text
    assert r.lines("event") == ["running", f"ended {event}"], r.text


def test_triple_fault(guests):
    r = guests.run("trap - EXIT\nreboot -f", cmdline="reboot=t")
    assert r.code == 12 and "triple fault" in r.text


def test_killed(guests):
    """SIGTERM ends it with 2; SIGKILL of the waiter takes the machine with it."""
    command = guests.command("echo up; sleep 60")
    done = guests.nested.sh(f"{command} </dev/null >/tmp/killed & p=$!\n"
                            "for i in $(seq 300); do grep -q up /tmp/killed && break; sleep 0.1; done\n"
                            "kill $p; wait $p; echo \"exit code $?\"\n"
                            f"{command} </dev/null >/tmp/killed & p=$!\n"
                            "for i in $(seq 300); do grep -q up /tmp/killed && break; sleep 0.1; done\n"
                            "kill -9 $p; wait $p\n"
                            "for i in $(seq 50); do pgrep -x proa-vmm >/dev/null || break; sleep 0.1; done\n"
                            "pgrep -x proa-vmm >/dev/null || echo gone")
    r = Result(done)
    assert r.code == 2 and "gone" in r.text, r.text


def test_pause(guests):
    """A paused guest does nothing, and goes on; its clock goes on as well."""
    command = guests.command("i=0; while [ $i -lt 600 ]; do i=$((i+1)); echo tick; sleep 0.1; done",
                             "--control", "/tmp/pause.sock")
    r = guests.nested.sh(f"""{command} </dev/null >/tmp/ticks & p=$!
ask() {{ echo "$1" | socat -t 5 - UNIX-CONNECT:/tmp/pause.sock; }}
ticks() {{ grep -c tick /tmp/ticks; }}
for i in $(seq 300); do [ "$(ticks)" -gt 3 ] && break; sleep 0.1; done
ask pause; ask status; sleep 0.3
a=$(ticks); sleep 2; b=$(ticks)
echo "during the pause: $((b - a))"
ask resume; ask status
for i in $(seq 100); do [ "$(ticks)" -gt $((b + 5)) ] && break; sleep 0.1; done
echo "after it: $(($(ticks) - b))"
ask nonsense; ask kill
wait $p; echo "exit code $?"
""", timeout=120)
    r = Result(r)
    assert "ok paused" in r.text and "ok running" in r.text and "error no such request" in r.text, r.text
    assert r.lines("during the pause:") == ["0"] and int(r.lines("after it:")[0]) > 5, r.text
    assert r.code == 2


def test_fifty_boots(guests):
    command = guests.command("true")
    done = guests.nested.sh("good=0\nfor i in $(seq 50); do\n"
                            f"timeout 30 {command} </dev/null >/tmp/boot.log 2>&1\n"
                            "c=$?; if [ $c = 0 ] && grep -q 'guest: done' /tmp/boot.log; then good=$((good+1)); "
                            "else echo \"boot $i: $c\"; tail -n 5 /tmp/boot.log; fi\ndone\necho \"good: $good\"",
                            timeout=400)
    assert "good: 50" in done.stdout, done.stdout[-3000:]


@pytest.mark.parametrize("words,message", [
    (["--kernel", "/etc/passwd"], "is not a kernel: neither an ELF nor a bzImage"),
    (["--kernel", "/nowhere"], 'open the kernel "/nowhere": No such file or directory'),
    (["--kernel", "/proa/proa"], "is a program, not a kernel"),
    (["--kernel", "/fast/vmlinux", "--initrd", "/t/large"], "does not fit into 64 MiB of memory"),
    (["--kernel", "/fast/vmlinux", "--memory", "1m"], "must be between 16 MiB and 1 TiB"),
    (["--kernel", "/fast/vmlinux", "--memory", "16m"], "does not fit into the machine's memory"),
    (["--kernel", "/fast/vmlinux", "--cpus", "1000"], "--cpus must be between 1 and 64"),
    (["--kernel", "/fast/vmlinux", "--disk", "path=/nowhere"], 'disk "/nowhere": No such file or directory'),
    (["--kernel", "/fast/vmlinux", "--disk", "path=/tmp"], "is a directory"),
    (["--kernel", "/fast/vmlinux", "--disk", "path=/t/large,colour=red"], '--disk has no part "colour"'),
    (["--kernel", "/fast/vmlinux", "--net", "tap=a,streamfd=1"], "--net needs one of"),
    (["--kernel", "/fast/vmlinux", "--fs", "tag=x,socket=/nowhere"], "connect"),
    (["--kernel", "/fast/vmlinux", "--cgroup", "/nowhere"], 'join the cgroup "/nowhere"'),
    ([], "--kernel is needed"),
])
def test_refused(guests, words, message):
    """Before the guest starts, in one line, with 125."""
    (guests.nested.work / "large").write_bytes(bytes(80 << 20))
    words = ["/proa/proa-vmm", *words] + ([] if "--memory" in words else ["--memory", "64m"])
    r = Result(guests.nested.sh(f"timeout 20 {shlex.join(words)} </dev/null\necho \"exit code $?\""))
    assert r.code == 125 and message in r.text, r.text
    assert len(r.text.strip().splitlines()) == 2, r.text


def test_disk_in_use(guests):
    command = guests.command("echo up; sleep 60", "--disk", "path=/tmp/disk.img")
    r = guests.nested.sh(f"""truncate -s 1m /tmp/disk.img
{command} </dev/null >/tmp/first & p=$!
for i in $(seq 300); do grep -q up /tmp/first && break; sleep 0.1; done
{command} </dev/null; echo "exit code $?"
kill $p; wait $p""")
    r = Result(r)
    assert r.code == 125 and 'disk "/tmp/disk.img": in use' in r.text, r.text


def test_kvm_not_for_everybody(guests):
    r = Result(guests.nested.sh("chmod 600 /dev/kvm; "
                                "setpriv --reuid 1000 --regid 1000 --clear-groups /proa/proa-vmm --kernel /fast/vmlinux; "
                                'echo "exit code $?"; chmod 660 /dev/kvm'))
    assert r.code == 125 and "add yourself to the group kvm" in r.text, r.text


@pytest.mark.parametrize("user", [0, 1000])
def test_sandbox(guests, user):
    """What the process still has and may, once the guest runs; an ordinary user needs /dev/kvm and nothing else."""
    command = guests.command("echo up; sleep 60")
    r = guests.nested.sh(f"""chmod 666 /dev/kvm; rm -f /tmp/boxed; chmod 755 /t; chmod 644 /t/*.cpio
setpriv --reuid {user} --regid {user} --clear-groups {command} </dev/null >/tmp/boxed & p=$!
for i in $(seq 300); do grep -q up /tmp/boxed && break; sleep 0.1; done
child=$(pgrep -P $p)
grep -E '^(Cap(Eff|Prm|Bnd)|NoNewPrivs|Seccomp|Uid):' /proc/$child/status
for t in /proc/$child/task/*; do grep -H ^Seccomp: $t/status | sed 's/.*Seccomp/thread/'; done
echo "root: $(ls -A /proc/$child/root/ | wc -l)"
for n in user mnt pid net ipc uts cgroup; do
	[ "$(readlink /proc/$child/ns/$n)" != "$(readlink /proc/self/ns/$n)" ] && echo "own $n"
done
ls -l /proc/$child/fd | awk '{{ print "fd:", $NF }}' | sort | uniq
kill $p; wait $p; chmod 660 /dev/kvm""")
    text = r.stdout
    for zero in ("CapEff:\t0000000000000000", "CapPrm:\t0000000000000000"):
        assert zero in text, text
    assert "NoNewPrivs:\t1" in text and "root: 0" in text, text
    assert text.count("thread:\t2") >= 2 and "thread:\t0" not in text, text
    assert text.count("own ") == 7, text
    uid = re.search(r"Uid:\s+(\d+)", text).group(1)
    assert uid == ("65534" if user == 0 else "1000"), text
    allowed = re.compile(r"fd: (anon_inode:\S+|/dev/(kvm|null)|\[?(eventfd|eventpoll|signalfd|timerfd)\]?|pipe:\S+|socket:\S+"
                         r"|/tmp/boxed|kvm-\S+|\S*anon_inode\S*|\d*)$")
    assert [line for line in text.splitlines() if line.startswith("fd:") and not allowed.match(line)] == [], text
