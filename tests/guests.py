# SPDX-License-Identifier: Apache-2.0
"""Guests of proa-vmm in the nested machine: the fast kernel with busybox, and a script of the test's as process 1."""
import itertools
import pathlib
import re
import shlex

INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /mnt /tmp
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev 2>/dev/null
/bin/busybox --install -s /bin
export PATH=/bin
trap 'echo "guest: failed in line $LINENO"; sync; poweroff -f' EXIT
set -e
. /test.sh
trap - EXIT
echo "guest: done"
sync
poweroff -f
"""

counter = itertools.count()


def cpio(files):
    """A newc archive of {path: (mode, bytes)}."""
    out = bytearray()

    def add(name, mode, data):
        name = name.encode() + b"\0"
        fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
        head = b"070701" + b"".join(b"%08x" % f for f in fields) + name
        out.extend(head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4))

    for name, (mode, data) in files.items():
        add(name, mode, data)
    add("TRAILER!!!", 0, b"")
    return bytes(out)


class Result:
    def __init__(self, done):
        text = done.stdout.replace("\r", "")
        found = re.search(r"^exit code (\d+)$", text, re.M)
        self.code = int(found.group(1)) if found else None
        self.text = text

    def lines(self, prefix):
        """What follows the prefix, of the lines that have it."""
        return [line[len(prefix):].strip() for line in self.text.splitlines() if line.startswith(prefix)]

    def ok(self):
        assert self.code == 0 and "guest: done" in self.text, self.text[-4000:]
        return self


class Guests:
    """Starts guests: guests.run(script, options…)."""

    def __init__(self, nested):
        self.nested = nested
        busybox = pathlib.Path("/bin/busybox").read_bytes()
        (nested.work / "base.cpio").write_bytes(cpio({
            "bin": (0o40755, b""), "dev": (0o40755, b""), "bin/busybox": (0o100755, busybox),
            "dev/console": (0o20600, b""), "init": (0o100755, INIT.encode())}))

    def initrd(self, script, files=None):
        """The path, in the nested machine, of an initrd with this script."""
        name = f"{next(counter)}.cpio"
        more = {"test.sh": (0o100644, script.encode()), **(files or {})}
        (self.nested.work / name).write_bytes((self.nested.work / "base.cpio").read_bytes() + cpio(more))
        return f"/t/{name}"

    def command(self, script, *options, kernel="/fast/vmlinux", memory="192m", cmdline="", files=None,
                console="ttyS0"):
        """The shell words that run a guest."""
        words = ["/proa/proa-vmm", "-v", "--kernel", kernel, "--initrd", self.initrd(script, files), "--memory", memory,
                 "--cmdline", f"console={console} quiet panic=-1 reboot=k 8250.nr_uarts=1 cryptomgr.notests {cmdline}",
                 *map(str, options)]
        return shlex.join(words)

    def run(self, script, *options, before="", after="", timeout=90, **how):
        """Runs a guest between two scripts in the nested machine."""
        command = self.command(script, *options, **how)
        return Result(self.nested.sh(f"{before}\n{command} </dev/null\necho \"exit code $?\"\n{after}",
                                     timeout=timeout))
