# SPDX-License-Identifier: Apache-2.0
"""Docker: what its defaults keep from a container, and the options that give it back; devices; remapped users."""
import pathlib
import subprocess

import pytest

from engines.engine import Daemon, sweep
from engines.conftest import CGROUP_PARENT, Docker, _docker_ready, need


@pytest.fixture
def dock(dockers, container_only):
    return dockers[container_only]


def status(text, field):
    return next(line.split()[1] for line in text.splitlines() if line.startswith(field + ":"))


def test_defaults(docker):
    """Docker's capabilities, its seccomp profile in force, masked and read-only paths; in both kinds."""
    script = ("cat /proc/self/status; unshare -U true && echo unshared; mount -t tmpfs x /mnt && echo mounted;"
              "head -c 1 /proc/kcore | wc -c; echo 1 >/proc/sys/kernel/panic && echo written;"
              "ls /sys/firmware /proc/acpi 2>/dev/null; mknod /tmp/d b 1 1 && head -c 1 /tmp/d && echo read")
    done = docker.run("sh", "-c", script)
    for word in ("unshared", "mounted", "written", "read"):
        assert f"\n{word}" not in done.stdout, (word, done)
    assert status(done.stdout, "CapEff") == "00000000a80425fb" and status(done.stdout, "CapBnd") == "00000000a80425fb"
    assert status(done.stdout, "Seccomp") == "2"
    assert "Operation not permitted" in done.stderr
    assert "\n0\n" in done.stdout


def test_no_new_privileges(docker):
    done = docker.run("sh", "-c", "grep NoNewPrivs /proc/self/status; suid-id",
                      opts=["-u", "1000", "--security-opt", "no-new-privileges"])
    assert done.stdout.split() == ["NoNewPrivs:", "1", "1000"], done


def test_set_uid_works_without_it(dock):
    assert dock.run("suid-id", opts=["-u", "1000"]).stdout == "0\n"


def test_seccomp_unconfined(dock):
    out = dock.run("sh", "-c", "grep Seccomp: /proc/self/status; unshare -U true && echo unshared",
                   opts=["--security-opt", "seccomp=unconfined"]).stdout.split()
    assert out == ["Seccomp:", "0", "unshared"]


def test_own_seccomp_profile(dock, tmp_path):
    profile = tmp_path / "profile.json"
    profile.write_text('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"],'
                       ' "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}')
    done = dock.run("mkdir", "/x", opts=["--security-opt", f"seccomp={profile}"])
    assert done.returncode != 0 and "No space left" in done.stderr


def test_privileged(docker, needs):
    needs("capabilities-that-cannot-be-granted")
    script = "grep -E 'CapEff|Seccomp:' /proc/self/status; mount -t tmpfs x /mnt && echo mounted; echo 1 >/proc/sys/kernel/panic && echo written"
    done = docker.run("sh", "-c", script, opts=["--privileged"])
    assert "mounted" in done.stdout and "written" in done.stdout, done
    assert int(status(done.stdout, "CapEff"), 16) & 1 << 21
    assert status(done.stdout, "Seccomp") == "0"


def test_device(dock):
    """The node is made under the name, and only what was given is allowed."""
    if not pathlib.Path("/dev/kmsg").exists():
        pytest.skip("no /dev/kmsg is here")
    script = "ls -l /dev/given; : >/dev/given && echo written; : </dev/given && echo read"
    done = dock.run("sh", "-c", script, opts=["--device", "/dev/kmsg:/dev/given:w"])
    assert "1,  11" in done.stdout and "written" in done.stdout and "read" not in done.stdout, done
    assert "written" not in dock.run("sh", "-c", "mknod /dev/given c 1 11; " + script).stdout


def test_device_cgroup_rule(dock):
    script = "mknod /tmp/m c 1 11; : >/tmp/m && echo opened"
    assert "opened" not in dock.run("sh", "-c", script).stdout
    assert "opened" in dock.run("sh", "-c", script, opts=["--device-cgroup-rule", "c 1:11 rwm"]).stdout


def test_sysctl(docker):
    assert docker.run("cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start",
                      opts=["--sysctl", "net.ipv4.ip_unprivileged_port_start=77"]).stdout == "77\n"


def test_shared_namespaces(dock):
    host = {n: str(pathlib.Path(f"/proc/self/ns/{n}").readlink()) for n in ("pid", "uts", "ipc")}
    out = dock.run("sh", "-c", "for n in pid uts ipc; do readlink /proc/self/ns/$n; done",
                   opts=["--pid", "host", "--uts", "host", "--ipc", "host"]).stdout.split()
    assert out == [host[n] for n in ("pid", "uts", "ipc")]


def test_bind_propagation(dock, tmp_path):
    for mode, word in (("rprivate", None), ("rslave", "master:"), ("rshared", "shared:")):
        subprocess.run(["mount", "--bind", tmp_path, tmp_path], check=True)
        subprocess.run(["mount", "--make-shared", tmp_path], check=True)
        try:
            done = dock.run("grep", " /v ", "/proc/self/mountinfo", opts=["-v", f"{tmp_path}:/v:{mode}"])
            fields = done.stdout.split(" - ")[0]
            assert (word in fields) if word else ("shared:" not in fields and "master:" not in fields), done
        finally:
            subprocess.run(["umount", tmp_path], check=True)


def test_remapped_users(engine_dir, containerd, archive, kinds, container_only, ordinary_user):
    """A daemon of its own with --userns-remap: root of the container is nobody on the host."""
    need("docker", "dockerd")
    directory = engine_dir / "u"
    (directory / "cfg").mkdir(parents=True)
    daemon = Daemon(["dockerd", "--data-root", directory / "data", "--exec-root", directory / "x", "--pidfile",
                     directory / "pid", "-H", f"unix://{directory}/s", "--containerd", containerd / "s",
                     "--containerd-namespace", "remap", "--bridge=none", "--ip-forward=false", "--iptables=false", "--ip6tables=false",
                     f"--userns-remap={ordinary_user}", f"--add-runtime=proa-container={kinds[container_only]}"],
                    directory / "log", lambda: _docker_ready(directory))
    try:
        docker = Docker(directory, "proa-container")
        docker("load", "-i", archive, check=True)
        done = docker.run("sh", "-c", "cat /proc/self/uid_map; touch /x && stat -c %u /x; echo x >/proc/sys/kernel/panic")
        inside, outside, count = done.stdout.splitlines()[0].split()
        assert inside == "0" and int(outside) > 0 and int(count) > 1000, done
        assert done.stdout.splitlines()[1] == "0" and done.returncode != 0
        name = docker.detached("sleep", "1000")
        assert docker("exec", name, "id", "-u").stdout == "0\n"
        docker("rm", "-f", name, check=True)
    finally:
        daemon.end()
        sweep(directory, [f"{CGROUP_PARENT}-docker"])
