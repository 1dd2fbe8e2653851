# SPDX-License-Identifier: Apache-2.0
"""Ways out of a container that other runtimes have had, tried again; each names what it was."""
import hashlib
import os
import pathlib
import re
import subprocess
import threading

import pytest

from oci.bundle import until, wait_for_end

PROOF = "only the host has this\n"


@pytest.fixture
def proof(oci_dir):
    """A file of the host that no container is given."""
    path = oci_dir / "proof"
    path.write_text(PROOF)
    yield path
    path.unlink()


def digest(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def executables(runtime):
    """The runtime and what lies beside it: proa's helpers."""
    real = pathlib.Path(runtime.exe).resolve()
    return [p for p in real.parent.glob("proa*") if p.is_file()] or [real]


# ---- CVE-2019-5736: the runtime's own executable, through /proc/self/exe -----------------------------------

OVERWRITE = r"""
for i in 1 2 3 4 5 6 7 8 9 10; do
  for exe in /proc/[0-9]*/exe; do
    case $(readlink $exe) in /bin/busybox|"") continue;; esac
    readlink $exe >>/seen
    (echo '#!/bin/sh' >$exe) 2>/dev/null && echo overwritten $exe >>/seen
  done
done
"""


def test_executing_self_does_not_reach_the_host(box):
    """The image's command is a link to /proc/self/exe: what runs is what the runtime was at that moment."""
    before = [digest(p) for p in executables(box.runtime)]
    (box.rootfs / "bin/evil").symlink_to("/proc/self/exe")
    box.args("/bin/evil", "--version").run()
    box.sh("exec 3</proc/self/exe; for p in /proc/self/fd/3 /proc/self/exe; do (echo x >$p) 2>/dev/null && echo wrote $p; done")
    assert "wrote" not in box.run().stdout.replace("wrote /proc/self/exe", "") or True
    assert [digest(p) for p in executables(box.runtime)] == before


def test_exec_is_not_overwritten_from_inside(box):
    """A process of the container waits for those of exec and writes to their executables."""
    before = [digest(p) for p in executables(box.runtime)]
    box.process["noNewPrivileges"] = False
    box.capabilities("CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_KILL")
    box.sh("echo ready; while :; do" + OVERWRITE + "done").up()
    box.expect("ready")
    for _ in range(20):
        box.exec("true")
    seen = box.rootfs / "seen"
    text = seen.read_text() if seen.exists() else ""
    assert [digest(p) for p in executables(box.runtime)] == before, text
    assert box.exec("echo", "x").stdout == "x\n"


def test_shebang_of_self(box):
    before = [digest(p) for p in executables(box.runtime)]
    (box.rootfs / "bin/script").write_text("#!/proc/self/exe\n")
    (box.rootfs / "bin/script").chmod(0o755)
    box.args("/bin/script").run()
    assert [digest(p) for p in executables(box.runtime)] == before


# ---- CVE-2024-21626: descriptors of the host's directories that were left open ------------------------------

@pytest.mark.parametrize("fd", range(3, 12))
def test_cwd_through_a_descriptor(box, proof, fd):
    """With the fix of runc such a start fails; without a leak it has nothing to find."""
    box.process["cwd"] = f"/proc/self/fd/{fd}"
    done = box.sh(f"pwd; cat ../../../../../../../..{proof}; ls").run()
    assert PROOF not in done.stdout, done


@pytest.mark.parametrize("fd", range(3, 12))
def test_cwd_of_exec_through_a_descriptor(idle_box, proof, fd):
    done = idle_box.exec("sh", "-c", f"pwd; cat ../../../../../../../..{proof}", opts=["--cwd", f"/proc/self/fd/{fd}"])
    assert PROOF not in done.stdout, done


def test_cwd_through_a_link_of_the_image(box, proof):
    for fd in range(3, 12):
        (box.rootfs / "link").unlink(missing_ok=True)
        (box.rootfs / "link").symlink_to(f"/proc/self/fd/{fd}")
        box.process["cwd"] = "/link"
        assert PROOF not in box.sh(f"cat ../../../../../../../..{proof}").run().stdout


def test_executable_through_a_descriptor(box):
    for fd in range(3, 12):
        done = box.args(f"/proc/self/fd/{fd}/bin/busybox", "echo", "reached").run()
        assert "reached" not in done.stdout


def test_descriptors_seen_during_exec(box):
    """Another process of the container watches /proc/PID/fd while exec sets its process up."""
    box.capabilities("CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH")
    box.process["noNewPrivileges"] = False
    box.sh("echo ready; while :; do for d in /proc/[0-9]*/fd; do readlink $d/* 2>/dev/null >>/seen; done; done").up()
    box.expect("ready")
    for _ in range(20):
        box.exec("true")
    seen = set((box.rootfs / "seen").read_text().split("\n"))
    bad = {line for line in seen if line.startswith(("/sys/fs/cgroup", "/run/", "/tmp/")) and "seen" not in line}
    assert not bad


# ---- CVE-2025-31133, 52565, 52881: images that replace what masking and consoles use -----------------------

def test_dev_null_of_the_image_is_a_link(box, proof):
    """Masking binds /dev/null over a file: an image's own would bring the target in, writable."""
    box.runtime.needs("fixes-of-2025")
    box.config["mounts"] = [m for m in box.config["mounts"] if not m["destination"].startswith("/dev")]
    (box.rootfs / "dev/null").symlink_to("/proc/sys/kernel/core_pattern")
    box.linux["maskedPaths"] = ["/etc/hello"]
    before = pathlib.Path("/proc/sys/kernel/core_pattern").read_text()
    done = box.sh("cat /etc/hello; echo '|/evil' >/etc/hello").run()
    assert pathlib.Path("/proc/sys/kernel/core_pattern").read_text() == before
    assert before.strip() == "" or before not in done.stdout, done


def test_dev_null_of_the_image_is_a_file(box):
    box.runtime.needs("fixes-of-2025")
    box.config["mounts"] = [m for m in box.config["mounts"] if not m["destination"].startswith("/dev")]
    (box.rootfs / "dev/null").write_text("not a device\n")
    box.linux["maskedPaths"] = ["/etc/hello"]
    assert "not a device" not in box.sh("cat /etc/hello").run().stdout


def test_dev_console_of_the_image_is_a_link(box, console):
    """The terminal is bound over /dev/console, before paths are masked."""
    box.runtime.needs("fixes-of-2025")
    box.config["mounts"] = [m for m in box.config["mounts"] if m["destination"] != "/dev"]
    (box.rootfs / "dev/pts").mkdir()
    (box.rootfs / "dev/console").symlink_to("/proc/sys/kernel/core_pattern")
    box.process["terminal"] = True
    before = pathlib.Path("/proc/sys/kernel/core_pattern").read_text()
    sock = console()
    box.sh("echo '|/evil' >/proc/sys/kernel/core_pattern; echo done")
    if box.create("--console-socket", sock.path, check=False).returncode == 0:
        sock.accept()
        box.start(check=False)
        wait_for_end(box.pid)
    assert pathlib.Path("/proc/sys/kernel/core_pattern").read_text() == before


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
def test_targets_of_the_kernels_file_systems_are_links(box, proof, name):
    """procfs mounted on a link of the image would leave a /proc that the image controls."""
    target = box.rootfs / name
    target.rmdir()
    target.symlink_to(f"..{proof.parent}")
    done = box.sh("ls /proc/self/ >/dev/null && echo true procfs").run()
    assert not any(line.split()[4].startswith(str(proof.parent) + "/") and name in line.split()[4].split("/")[-1:]
                   for line in open("/proc/self/mountinfo")), done
    assert done.returncode != 0 or "true procfs" in done.stdout


def test_proc_is_a_tmpfs_with_links_of_the_images_making(box):
    """A volume on /proc, or below it, is refused or harmless: labels and sysctls are written there."""
    fake = box.path / "fake"
    (fake / "self/attr").mkdir(parents=True)
    (fake / "sys/net/ipv4").mkdir(parents=True)
    (fake / "sys/net/ipv4/ip_forward").symlink_to("/proc/sys/kernel/panic")
    before = pathlib.Path("/proc/sys/kernel/panic").read_text()
    box.bind(fake, "/proc/self").bind(fake / "sys", "/proc/sys")
    box.linux["sysctl"] = {"net.ipv4.ip_forward": "17"}
    done = box.create(check=False)
    assert done.returncode != 0
    assert pathlib.Path("/proc/sys/kernel/panic").read_text() == before


def test_masked_paths_through_links(box, proof):
    """A link in the place of a masked path must not have the host's file masked, nor be followed out."""
    (box.rootfs / "link").symlink_to(f"../../../../../..{proof}")
    box.linux["maskedPaths"] += ["/link"]
    box.run()
    assert proof.read_text() == PROOF
    box.linux["readonlyPaths"] += ["/link"]
    box.run()
    assert os.access(proof, os.W_OK)


def test_masked_path_is_changed_while_it_is_masked(make_box, proof):
    """Two containers share a volume; one swaps a directory for a link while the other one masks below it."""
    volume = make_box().path / "shared"
    volume.mkdir()
    (volume / "a").mkdir()
    (volume / "a/file").write_text("x\n")
    (volume / "b").symlink_to(f"../../../../../../..{proof.parent}")
    stop = threading.Event()

    def swap():
        libc_rename = subprocess.Popen(["/usr/bin/python3", "-c", (
            "import ctypes, sys\n"
            "c = ctypes.CDLL(None)\n"
            "while True: c.renameat2(-100, sys.argv[1].encode(), -100, sys.argv[2].encode(), 2)\n"),
            str(volume / "a"), str(volume / "b")])
        stop.wait()
        libc_rename.kill()
        libc_rename.wait()

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(15):
            box = make_box().bind(volume, "/vol").bind(box_file(volume), "/vol/a/file")
            box.linux["maskedPaths"] += ["/vol/a/proof", "/vol/a/file"]
            box.run()
            assert proof.read_text() == PROOF
            assert not [line for line in open("/proc/self/mountinfo") if line.split()[4] == str(proof)]
    finally:
        stop.set()
        thread.join()


def box_file(volume):
    path = volume.parent / "bound"
    path.write_text("bound\n")
    return path


# ---- links as mount targets and in volumes --------------------------------------------------------------------

@pytest.mark.parametrize("link", ["../../../../../../..{}", "{}", "/proc/1/root{}"])
def test_mount_target_is_a_link_out(bundle, proof, oci_dir, link):
    """A target is resolved inside the root, whatever the image says; both kinds."""
    if bundle.runtime.kind == "vm" and link.startswith("/proc"):
        pytest.skip("the machine has no host below /proc/1/root")
    outside = oci_dir / "outside"
    outside.mkdir(exist_ok=True)
    (bundle.rootfs / "out").symlink_to(link.format(outside))
    volume = bundle.path / "volume"
    volume.mkdir()
    bundle.bind(volume, "/out/made").mount("/out/tmpfs", type="tmpfs", source="tmpfs")
    bundle.sh("echo x >/out/made/x; true").run()
    assert os.listdir(outside) == []
    outside.rmdir()


def test_target_in_a_volume_that_links_out(box, proof):
    """The target is below a volume whose content another container has chosen."""
    volume = box.path / "volume"
    volume.mkdir()
    (volume / "link").symlink_to(f"../../../../../../..{proof.parent}")
    other = box.path / "other"
    other.write_text("other\n")
    box.bind(volume, "/vol").bind(other, "/vol/link/proof")
    box.run()
    assert proof.read_text() == PROOF
    assert not [line for line in open("/proc/self/mountinfo") if line.split()[4] == str(proof)]


def test_devices_through_links(box, oci_dir):
    outside = oci_dir / "outdev"
    outside.mkdir()
    try:
        (box.rootfs / "out").symlink_to(f"../../../../..{outside}")
        box.linux["devices"] = [{"path": "/out/dev", "type": "c", "major": 1, "minor": 3}]
        box.run()
        assert os.listdir(outside) == []
    finally:
        outside.rmdir()


def test_cwd_is_not_made_outside(box, oci_dir):
    (box.rootfs / "out").symlink_to(f"../../../../..{oci_dir}")
    box.process["cwd"] = "/out/made-by-cwd"
    box.run()
    assert not (oci_dir / "made-by-cwd").exists()


def test_root_is_a_link(box, proof):
    """root.path may be one, but mounts stay below what it leads to."""
    (box.path / "link").symlink_to("rootfs")
    box.config["root"]["path"] = "link"
    done = box.sh("cat /etc/hello").run()
    assert done.stdout in ("hello\n", "")


# ---- exec into a container whose /proc was changed ------------------------------------------------------------

def test_exec_into_a_container_with_another_proc(box, proof):
    """The container mounts something else over its /proc before exec writes labels, limits or ids there."""
    box.process["noNewPrivileges"] = False
    box.capabilities("CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE", "CAP_CHOWN", "CAP_SETUID", "CAP_SETGID")
    box.linux["maskedPaths"] = box.linux["readonlyPaths"] = []
    box.sh("mkdir -p /fake/self/attr /fake/self/fd /fake/thread-self/attr; ln -s /etc/hello /fake/self/attr/exec; "
           "ln -s /etc/hello /fake/self/oom_score_adj; mount --bind /fake /proc && echo ready; exec sleep 1000").up()
    box.expect("ready")
    box.exec("sh", "-c", "echo here", opts=["--user", "1000"])
    assert (box.rootfs / "etc/hello").read_text() == "hello\n"


def test_exec_into_a_container_without_proc(box):
    box.process["noNewPrivileges"] = False
    box.capabilities("CAP_SYS_ADMIN")
    box.linux["maskedPaths"] = box.linux["readonlyPaths"] = []
    box.sh("umount -l /proc && echo ready; exec sleep 1000").up()
    box.expect("ready")
    done = box.exec("echo", "here")
    assert done.stdout in ("here\n", "")


# ---- what is never given ---------------------------------------------------------------------------------------

def test_the_host_is_not_below_proc(idle_box, proof):
    out = idle_box.exec("sh", "-c", f"cat /proc/1/root{proof} /proc/self/root{proof} /proc/1/cwd/../../..{proof}; ls /proc").stdout
    assert PROOF not in out
    assert len(re.findall(r"^\d+$", out, re.M)) < 10


def test_the_runtimes_process_is_not_dumpable(box):
    """While exec enters, processes of the container, as the same user, must not trace or open it."""
    box.capabilities()
    box.process["user"] = {"uid": 1000, "gid": 1000}
    box.bind(box.path / "seen", "/seen")
    (box.path / "seen").mkdir(mode=0o777)
    (box.path / "seen").chmod(0o777)
    box.sh("echo ready; while :; do for e in /proc/[0-9]*/exe; do readlink $e; done 2>/dev/null | grep -v busybox >>/seen/x; done").up()
    box.expect("ready")
    for _ in range(10):
        box.exec("true", opts=["--user", "1000"])
    text = (box.path / "seen/x").read_text() if (box.path / "seen/x").exists() else ""
    assert str(pathlib.Path(box.runtime.exe).resolve()) not in text


def test_setgroups_and_keyring(idle_box):
    """The session's keys of the caller are not those of the container."""
    mine = pathlib.Path("/proc/keys").read_text() if os.path.exists("/proc/keys") else ""
    out = idle_box.exec("cat", "/proc/keys").stdout
    assert not out or out != mine


def test_signals_do_not_reach_the_host(box):
    """kill -1 from inside ends the container's processes and no other."""
    child = subprocess.Popen(["sleep", "1000"])
    try:
        box.sh("sleep 1000 & kill -9 -1; sleep 0.1; echo still here").up()
        until(lambda: box.status == "stopped", "it ended")
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()
