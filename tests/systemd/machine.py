# SPDX-License-Identifier: Apache-2.0
"""A Debian with systemd as process 1, under QEMU's emulation, for what only systemd can test.

The root file system is made once and kept in the build directory; what changes from run to run (our programs
and the shell script) is on a second, small disk. The script's steps report over the serial console:

    @@@ begin NAME
    (what the step prints)
    @@@ end NAME EXITCODE

so one start of the machine serves any number of steps. To add some, write them into a list like that of
test_systemd.py, and give the files they need to run().
"""
import hashlib
import os
import pathlib
import re
import shutil
import subprocess

FORMAT = "3"  # counts what root_disk() does differently
PACKAGES = "systemd,systemd-sysv,dbus,libpam-systemd,dbus-user-session,busybox-static,procps,libjansson4,libseccomp2,criu,iproute2"
MODULES = ("virtio_mmio", "virtio_blk", "crc32c_generic", "ext4", "overlay",
           # what criu asks for
           "unix_diag", "tcp_diag", "udp_diag", "netlink_diag", "af_packet_diag", "tun", "veth", "nf_tables",
           "nf_conntrack_netlink")
# What takes long in emulation and is not needed, or needs devices that are not there.
MASKED = ("systemd-udevd.service", "systemd-udev-trigger.service", "systemd-udevd-control.socket",
          "systemd-udevd-kernel.socket", "systemd-timesyncd.service", "systemd-random-seed.service",
          "systemd-update-utmp.service", "systemd-modules-load.service", "systemd-sysctl.service",
          "systemd-binfmt.service", "systemd-firstboot.service", "systemd-sysusers.service",
          "systemd-hwdb-update.service", "ldconfig.service", "systemd-machine-id-commit.service",
          "systemd-journal-flush.service", "systemd-journal-catalog-update.service", "getty.target",
          "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer",
          "systemd-remount-fs.service", "dev-hugepages.mount", "dev-mqueue.mount", "sys-kernel-debug.mount",
          "sys-kernel-tracing.mount", "systemd-pstore.service", "modprobe@.service", "kmod-static-nodes.service",
          "systemd-tmpfiles-setup-dev.service", "systemd-boot-system-token.service")
TARGET = """[Unit]
Description=Tests of proa
Requires=basic.target dbus.socket proa-test.service
After=basic.target dbus.socket
"""
SERVICE = """[Unit]
Description=The steps of a test of proa
After=basic.target dbus.socket
[Service]
Type=oneshot
StandardInput=null
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
ExecStart=/bin/sh /proa/steps.sh
"""
INIT = """#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
for m in $(/bin/busybox cat /modules/order); do /bin/busybox insmod /modules/$m; done
/bin/busybox mkdir -p /a /b
/bin/busybox mount -t ext4 /dev/vda /a
/bin/busybox mount -t ext4 /dev/vdb /b
root=/a other=/b
[ -e /b/etc/debian_version ] && root=/b other=/a
/bin/busybox mount --move $other $root/proa
/bin/busybox umount /proc
exec /bin/busybox switch_root $root /lib/systemd/systemd
echo "the machine has no root"
"""
COMMAND_LINE = ("console=ttyS0 quiet panic=-1 reboot=t cryptomgr.notests tsc=reliable 8250.nr_uarts=1 audit=0 "
                "random.trust_cpu=on mitigations=off init_on_alloc=0 no_timer_check "
                "systemd.show_status=0 systemd.unit=proa-test.target")
HIERARCHIES = {
    "unified": "systemd.unified_cgroup_hierarchy=1",
    "hybrid": "systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=0",
    "legacy": "systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=1",
}


def _run(*argv, timeout=600, **kw):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=timeout, check=False, **kw)
    if done.returncode != 0:
        raise RuntimeError(f"{argv[0]}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def root_disk(cache):
    """The Debian as an ext4 image; made when it is absent or when what goes into it has changed."""
    key = hashlib.sha256("".join((FORMAT, PACKAGES, *MASKED, TARGET, SERVICE)).encode()).hexdigest()[:16]
    image = cache / f"root-{key}.ext4"
    if image.exists():
        return image
    for old in cache.glob("root-*.ext4"):
        old.unlink()
    tree = cache / "root"
    shutil.rmtree(tree, ignore_errors=True)
    try:
        _run("mmdebstrap", "--quiet", "--format=directory", "--variant=minbase", f"--include={PACKAGES}", "bookworm",
             tree)
        units = tree / "etc/systemd/system"
        for name in MASKED:
            (units / name).unlink(missing_ok=True)
            (units / name).symlink_to("/dev/null")
        (units / "proa-test.target").write_text(TARGET)
        (units / "proa-test.service").write_text(SERVICE)
        (tree / "proa").mkdir()
        (tree / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
        with open(tree / "etc/passwd", "a", encoding="utf-8") as f:
            f.write("user:x:1000:1000::/home/user:/bin/sh\n")
        with open(tree / "etc/group", "a", encoding="utf-8") as f:
            f.write("user:x:1000:\n")
        with open(tree / "etc/shadow", "a", encoding="utf-8") as f:
            f.write("user:*:19000:0:99999:7:::\n")
        home = tree / "home/user"
        home.mkdir()
        os.chown(home, 1000, 1000)
        for big in ("usr/share/doc", "usr/share/locale", "usr/share/man", "var/cache/apt", "var/lib/apt/lists"):
            shutil.rmtree(tree / big, ignore_errors=True)
        _run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", tree, f"{image}.part", "512M")
        os.rename(f"{image}.part", image)
    finally:
        shutil.rmtree(tree, ignore_errors=True)
        pathlib.Path(f"{image}.part").unlink(missing_ok=True)
    return image


def _module_paths(kernel):
    """The files of MODULES with what they need, in the order in which they can be loaded."""
    needs, by_name, order = {}, {}, []
    for line in (kernel / "modules/modules.dep").read_text().splitlines():
        path, _, rest = line.partition(":")
        needs[path] = rest.split()
        by_name[pathlib.Path(path).name.split(".")[0].replace("-", "_")] = path

    def add(path):
        for other in needs[path]:
            add(other)
        if path not in order:
            order.append(path)

    for name in MODULES:
        if name in by_name:  # others are built in
            add(by_name[name])
    return order


def tsc_khz():
    """The rate of this processor's time stamp counter, about: the emulated one is that, and the guest's clock."""
    found = re.search(r"^cpu MHz\s*: (\d+)", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    return int(found.group(1)) * 1000 if found else 2000000


def initramfs(kernel, directory):
    tree = directory / "initramfs"
    for name in ("bin", "dev", "proc", "modules"):
        (tree / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", tree / "bin/busybox")
    order = []
    for path in _module_paths(kernel):
        shutil.copy(kernel / "modules" / path, tree / "modules")
        order.append(pathlib.Path(path).name)
    (tree / "modules/order").write_text("\n".join(order) + "\n")
    (tree / "init").write_text(INIT)
    (tree / "init").chmod(0o755)
    names = "\n".join(str(p.relative_to(tree)) for p in sorted(tree.rglob("*")))
    image = directory / "initramfs.cpio"
    with open(image, "wb") as out:
        subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], input=names.encode(), stdout=out, cwd=tree, check=True)
    return image


def script(steps):
    """The shell script of (name, commands) pairs. Each step is a shell of its own, and has a time limit."""
    out = ["exec 2>&1", "export SYSTEMD_PAGER= SYSTEMD_COLORS=0 LC_ALL=C.UTF-8", "mount -t tmpfs tmpfs /tmp"]
    for number, (name, commands) in enumerate(steps):
        out += [f"cat >/tmp/step-{number} <<'END_OF_STEP'", commands.strip("\n"), "END_OF_STEP",
                f"echo '@@@ begin {name}'", f"timeout -k 5 60 sh /tmp/step-{number} </dev/null",
                f"echo \"@@@ end {name} $?\""]
    return "\n".join([*out, "echo '@@@ all'", "sync", "busybox reboot -f", ""])


class Result:
    def __init__(self, console):
        self.console = console.replace("\r", "")
        self.steps = {m[1]: (m[2], int(m[3])) for m in
                      re.finditer(r"^@@@ begin (\S+)\n(.*?)^@@@ end \1 (\d+)$", self.console, re.M | re.S)}


def run(kernel, cache, directory, steps, files=(), hierarchy="unified", limit_s=300):
    """Starts a machine that carries the steps out, and waits for its end. @files go to /proa."""
    disk = root_disk(cache)
    tree = directory / "proa"
    tree.mkdir()
    for path in files:
        shutil.copy(path, tree)
    (tree / "steps.sh").write_text(script(steps))
    own = directory / "proa.ext4"
    _run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", tree, own, "64M")
    argv = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-M",
            "microvm,x-option-roms=off,rtc=on,auto-kernel-cmdline=off", "-accel", "tcg,thread=multi", "-cpu",
            "max,-erms,-la57", "-smp", "1", "-m", "768M", "-global", "virtio-mmio.force-legacy=false", "-kernel",
            kernel / "vmlinux", "-initrd", initramfs(kernel, directory), "-append",
            f"{COMMAND_LINE} {HIERARCHIES[hierarchy]} tsc_early_khz={tsc_khz()}", "-chardev",
            "stdio,id=console,signal=off", "-serial", "chardev:console",
            "-drive", f"file={disk},if=none,id=root,format=raw,snapshot=on", "-device", "virtio-blk-device,drive=root",
            "-drive", f"file={own},if=none,id=own,format=raw", "-device", "virtio-blk-device,drive=own"]
    with subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as machine:
        try:
            console = machine.communicate(timeout=limit_s)[0]
        except subprocess.TimeoutExpired:
            machine.kill()
            console = machine.communicate()[0] + b"\n(ended by its time limit)\n"
    return Result(console.decode(errors="replace"))
