# SPDX-License-Identifier: Apache-2.0
"""What only machines do: their end in every way, their size, exec from outside, the kernel store."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import pytest

from conftest import BUILD, LIMIT_S, Background, Proa

pytestmark = pytest.mark.usefixtures("kernel")


@pytest.fixture
def vm(proa, image):
    def call(*command, opts=(), **kw):
        return proa("run", "--rm", "--vm", *opts, image, *command, **kw)

    return call


@pytest.fixture
def machine(proa, image):
    """machine(name, script): a running machine whose script says "ready"."""

    def call(name, script, opts=(), **kw):
        return Background(proa, "run", "--rm", "--vm", "--name", name, *opts, image, "sh", "-c", script, **kw)

    return call


def machine_dir(proa):
    """The volatile directory of the one machine that runs."""
    (socket,) = proa.run_root.glob("*/agent.sock")
    return socket.parent


def helpers(proa):
    """The pids that the machine's owner recorded: the hypervisor first, then virtiofsd."""
    return [int(line.split()[0]) for line in (machine_dir(proa) / "machine").read_text().splitlines()]


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_gone(pid, limit_s=10):
    deadline = time.monotonic() + limit_s
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not alive(pid)


# ---- the kernel inside, and its size ---------------------------------------------------------------


def test_own_kernel(vm):
    assert vm("uname", "-r").stdout.strip() != os.uname().release


def test_cpus_and_memory(vm):
    out = vm("sh", "-c", "grep -c ^processor /proc/cpuinfo; free -m | awk '/Mem/{print $2}'",
             opts=["--cpus", "1", "-m", "200m"]).stdout.split()
    assert out[0] == "1"
    assert 200 <= int(out[1]) < 400


def test_clock_is_the_hosts(vm):
    assert abs(float(vm("date", "+%s").stdout) - time.time()) < LIMIT_S / 4
    before = time.time()
    inside = float(vm("date", "+%s").stdout)
    assert before - 1 <= inside <= time.time() + 1


def test_small_limit_is_enough(vm):
    assert vm("echo", "fits", opts=["-m", "8m"]).stdout == "fits\n"


# ---- the end, in every way -------------------------------------------------------------------------


def test_limit_of_the_command(vm):
    done = vm("dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1", opts=["-m", "32m"])
    assert done.returncode == 137
    assert "more memory than its limit of 32" in done.stderr


def test_machine_out_of_memory(proa, image):
    done = proa("run", "--rm", "--vm", "--tmpfs", "/big:size=8g", image, "dd", "if=/dev/zero", "of=/big/x",
                "bs=1M", timeout=120)
    assert done.returncode in (125, 137)
    assert "memory" in done.stderr


def test_panic(vm):
    done = vm("sh", "-c", "echo c > /proc/sysrq-trigger; sleep 30", opts=["--privileged"])
    assert done.returncode == 125
    assert "the guest's kernel panicked: sysrq triggered crash" in done.stderr
    assert "last lines of its console" in done.stderr


def test_dead_hypervisor(proa, machine):
    with machine("dies", "echo ready; sleep 60") as m:
        os.kill(helpers(proa)[0], signal.SIGKILL)
        assert m.wait() == 125
        assert b" was killed (did the host run out of memory?)" in m.errors


def test_owner_killed_takes_the_machine_along(proa, machine, tmp_path):
    with machine("orphan", "echo ready; sleep 60", opts=["-v", f"{tmp_path}:/data"]) as m:
        pids = helpers(proa)
        assert len(pids) == 2
        m.process.kill()
        m.process.wait()
        assert all(wait_gone(pid) for pid in pids)
    proa("rm", "-f", "orphan")
    assert not list(proa.run_root.glob("*/agent.sock"))


def test_kill_of_a_hanging_guest(proa, machine):
    with machine("hangs", "echo ready; sleep 60") as m:
        os.kill(helpers(proa)[0], signal.SIGSTOP)
        start = time.monotonic()
        assert proa("kill", "hangs").returncode == 0
        assert m.wait() == 137
        assert time.monotonic() - start < 20


def test_written_files_outlive_the_machine(proa, image):
    try:
        proa("run", "--vm", "--name", "keeps", image, "sh", "-c", "echo kept > /root/file", check=True)
        (disk,) = proa.root.glob("containers/*/disk.ext4")
        out = subprocess.run(["debugfs", "-R", "cat /upper/root/file", disk], capture_output=True, text=True,
                             timeout=LIMIT_S, check=True)
        assert out.stdout == "kept\n"
        check = subprocess.run(["e2fsck", "-fn", disk], capture_output=True, text=True, timeout=LIMIT_S)
        assert check.returncode == 0, check.stdout
    finally:
        proa("rm", "-f", "keeps")


# ---- from outside ----------------------------------------------------------------------------------


def test_many_execs_at_once(proa, machine):
    with machine("busy", "echo ready; sleep 60"):
        execs = [proa.popen("exec", "-i", "busy", "sh", "-c", f"cat; exit {i}", stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE) for i in range(8)]
        data = os.urandom(300_000)
        for i, e in enumerate(execs):
            out, _ = e.communicate(data, timeout=LIMIT_S)
            assert (out == data, e.returncode) == (True, i)


def test_slow_reader_blocks_nobody(proa, machine):
    with machine("slow", "echo ready; sleep 60"):
        slow = proa.popen("exec", "slow", "sh", "-c", "yes | head -c 10000000", stdout=subprocess.PIPE)
        try:
            slow.stdout.read(1)
            assert proa("exec", "slow", "echo", "through").stdout == "through\n"
            assert len(slow.stdout.read()) == 9_999_999
        finally:
            slow.kill()
            slow.wait()
            slow.stdout.close()


def test_exec_killed_outside_leaves_the_machine(proa, machine):
    with machine("stays", "echo ready; sleep 60"):
        e = proa.popen("exec", "stays", "sleep", "60", stdout=subprocess.DEVNULL)
        time.sleep(0.5)
        e.kill()
        e.wait()
        assert proa("exec", "stays", "echo", "here").stdout == "here\n"


def test_strangers_on_the_socket(proa, machine):
    """Garbage, and frames that are not allowed, end their connection and nothing else."""
    import socket
    with machine("guarded", "echo ready; sleep 60"):
        path = str(machine_dir(proa) / "agent.sock")
        for junk in (b"\xff" * 64, b"\4\0\0\0\3\0\0\0\0\0\0\0", b"\0\0\0\0\6\0\5\0",
                     b"\10\0\0\0\12\0\0\0\1\0\0\0\1\0\0\0"):
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(10)
                s.connect(path)
                s.sendall(junk)
                assert s.recv(100) == b""
        assert os.stat(path).st_mode & 0o777 == 0o600
        assert proa("exec", "guarded", "echo", "fine").stdout == "fine\n"


# ---- what a machine cannot do ----------------------------------------------------------------------


@pytest.mark.parametrize("opts, words", [
    (["--device", "/dev/kmsg"], "does not have the host's devices"),
    (["--cpus", "999"], "CPU"),
    (["--kernel", "absent"], "no kernel \"absent\""),
    (["--kernel", "/absent/vmlinux"], "/absent/vmlinux"),
])
def test_refused(vm, opts, words):
    done = vm("true", opts=opts)
    assert done.returncode == 125
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.fixture
def other_run_root():
    path = pathlib.Path("/run/proa-test-other")
    yield path
    shutil.rmtree(path, ignore_errors=True)


def test_no_kernel(tmp_path, busybox_archive, other_run_root):
    other = Proa(tmp_path / "store", other_run_root)
    other("import", busybox_archive, "busybox", check=True)
    done = other("run", "--rm", "--vm", "busybox", "true")
    assert done.returncode == 125
    assert "proa kernel pull" in done.stderr
    assert not [p for p in (tmp_path / "store" / "containers").glob("**/*") if p.name != "names"]


# ---- proa kernel -----------------------------------------------------------------------------------


@pytest.fixture
def kernels(tmp_path, other_run_root):
    """A store of its own, for kernels that are only looked at."""
    return Proa(tmp_path / "store", other_run_root)


def elf_kernel(path, version="9.9.9-test"):
    path.write_bytes(b"\x7fELF\x02\x01\x01".ljust(64, b"\0") + b"Linux version " + version.encode() + b" (x)\0")
    return path


def test_kernel_life(kernels, tmp_path):
    image = elf_kernel(tmp_path / "vmlinux")
    assert kernels("kernel", "import", image).stdout == "9.9.9-test\n"
    assert kernels("kernel", "import", "--name", "second", image).stdout == "second\n"
    listed = json.loads(kernels("kernel", "ls", "--json").stdout)
    assert [(k["Name"], k["Version"], k["Default"]) for k in listed] == [
        ("9.9.9-test", "9.9.9-test", True), ("second", "9.9.9-test", False)]
    assert kernels("kernel", "default", "second").returncode == 0
    assert kernels("kernel", "ls", "-q").stdout == "9.9.9-test\nsecond\n"
    assert kernels("kernel", "rm", "second").stdout == "second\n"
    # the default went with it
    assert not any(k["Default"] for k in json.loads(kernels("kernel", "ls", "--json").stdout))


@pytest.mark.parametrize("args, words", [
    (["import", "/etc/passwd"], "neither a kernel"),
    (["import", "/absent.deb"], "/absent.deb"),
    (["import", "--name", "../x", "VMLINUX"], "cannot be the name"),
    (["import", "--name", "default", "VMLINUX"], "cannot be the name"),
    (["import", "--modules", "/absent", "VMLINUX"], "modules"),
    (["rm", "absent"], "no kernel \"absent\""),
    (["default", "absent"], "no kernel \"absent\""),
    (["improt", "x"], "did you mean \"import\""),
])
def test_kernel_errors(kernels, tmp_path, args, words):
    image = elf_kernel(tmp_path / "vmlinux")
    done = kernels("kernel", *[str(image) if a == "VMLINUX" else a for a in args])
    assert done.returncode == 125
    assert words in done.stderr
    left = kernels.root / "kernels"
    assert not left.exists() or not list(left.iterdir())


def test_kernel_of_the_same_name(kernels, tmp_path):
    image = elf_kernel(tmp_path / "vmlinux")
    kernels("kernel", "import", image, check=True)
    done = kernels("kernel", "import", image)
    assert done.returncode == 125 and "already" in done.stderr


def test_info_says_which_accelerator(proa):
    out = proa("info", "--json", timeout=LIMIT_S).stdout if (BUILD / "proa").exists() else ""
    assert "kvm" in out.lower()
