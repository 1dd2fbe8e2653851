# SPDX-License-Identifier: Apache-2.0
"""What a container or machine may not do, and the escapes that are known."""
import json
import os
import subprocess

import pytest

DEFAULT_CAPS = 0xA80425FB  # Docker's default set


def status(run, *opts):
    out = run("cat", "/proc/self/status", opts=opts).stdout
    return dict(line.split(":\t", 1) for line in out.splitlines() if ":\t" in line)


def test_default_capabilities(run):
    s = status(run)
    for name in ("CapPrm", "CapEff", "CapBnd"):
        assert int(s[name], 16) == DEFAULT_CAPS
    assert int(s["CapInh"], 16) == int(s["CapAmb"], 16) == 0
    assert s["Seccomp"] == "2"
    assert s["NoNewPrivs"] == "0"


def test_user_has_no_capabilities(run):
    s = status(run, "-u", "user")
    assert int(s["CapPrm"], 16) == int(s["CapEff"], 16) == 0
    assert int(s["CapBnd"], 16) == DEFAULT_CAPS


@pytest.mark.parametrize("opts, want", [
    (["--cap-drop", "ALL"], 0),
    (["--cap-drop", "ALL", "--cap-add", "NET_ADMIN"], 1 << 12),
    (["--cap-add", "cap_sys_time", "--cap-drop", "chown"], (DEFAULT_CAPS | 1 << 25) & ~1),
])
def test_capabilities(run, opts, want):
    assert int(status(run, *opts)["CapEff"], 16) == want


def test_privileged(run):
    s = status(run, "--privileged")
    assert bin(int(s["CapEff"], 16)).count("1") >= 38
    assert s["Seccomp"] == "0"
    done = run("sh", "-c", "mount -t tmpfs x /mnt && ls /dev | wc -l", opts=["--privileged"])
    assert done.returncode == 0
    assert int(done.stdout) > 20


def test_no_new_privileges(run):
    script = "cat /proc/self/status | grep NoNewPrivs; suid-id"
    assert run("sh", "-c", script, opts=["-u", "user"]).stdout.split() == ["NoNewPrivs:", "0", "0"]
    out = run("sh", "-c", script, opts=["-u", "user", "--security-opt", "no-new-privileges"]).stdout
    assert out.split() == ["NoNewPrivs:", "1", "1000"]


def test_seccomp_default_refuses(run):
    # unshare(2) of a user namespace needs SYS_ADMIN in Docker's profile
    assert run("unshare", "-U", "true").returncode != 0
    assert run("unshare", "-U", "true", opts=["--security-opt", "seccomp=unconfined"]).returncode == 0


def test_seccomp_file(run, tmp_path):
    profile = tmp_path / "p.json"
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]}))
    done = run("sh", "-c", "mkdir /x; echo after", opts=["--security-opt", f"seccomp={profile}"])
    assert "Not supported" in done.stderr or "not supported" in done.stderr
    assert done.stdout == "after\n"


def test_masked_and_read_only_paths(run):
    done = run("sh", "-c", """
        cat /proc/keys /proc/timer_list 2>/dev/null | wc -c
        ls /sys/firmware | wc -l
        echo 1 > /proc/sys/kernel/panic || echo held
        echo h > /proc/sysrq-trigger || echo held
        mount -o remount,rw /proc/sys || echo held""")
    assert done.stdout.split() == ["0", "0", "held", "held", "held"]


def test_other_devices_cannot_be_used(run):
    # kmsg, 1:11, exists in both kernels and is on nobody's list
    done = run("sh", "-c", "mknod /tmp/kmsg c 1 11 && head -c 1 /tmp/kmsg")
    assert done.returncode != 0
    assert "Operation not permitted" in done.stderr


def test_device_option(proa, image):
    """A device of the host, in a container only: a machine has no host devices (known difference)."""
    done = proa("run", "--rm", "--cap-add", "SYSLOG", "--device", "/dev/kmsg:/dev/log-ring:r", image, "sh", "-c",
                "stat -c %t:%T /dev/log-ring; head -c 1 /dev/log-ring | wc -c; echo x > /dev/log-ring")
    assert done.stdout.split() == ["1:b", "1"]
    assert "not permitted" in done.stderr


def test_namespaces_are_new(run):
    own = {n: os.readlink(f"/proc/self/ns/{n}") for n in ("pid", "mnt", "net", "ipc", "uts", "cgroup")}
    out = run("sh", "-c", "cd /proc/self/ns; for n in pid mnt net ipc uts cgroup; do echo $n $(readlink $n); done").stdout
    for line in out.splitlines():
        name, target = line.split()
        assert target != own[name]


def test_network_none_has_loopback_only(run):
    done = run("sh", "-c", "ls /sys/class/net; ping -c 1 -W 1 127.0.0.1 > /dev/null && echo lo-works")
    assert done.stdout.split() == ["lo", "lo-works"]


def test_network_host(proa, image):
    """Container only; a machine refuses it with the reason (tests/bad)."""
    out = proa("run", "--rm", "--network", "host", image, "readlink", "/proc/self/ns/net").stdout
    assert out.strip() == os.readlink("/proc/self/ns/net")


def kernel_has_mapped_layers():
    major, minor = (int(n) for n in os.uname().release.split(".")[:2])
    return (major, minor) >= (6, 13)


needs_mapped_layers = pytest.mark.skipif(not kernel_has_mapped_layers(), reason="id-mapped overlay layers need Linux 6.13")


@needs_mapped_layers
def test_user_namespace(proa, image, tmp_path):
    """Container only: root inside is nobody on the host; owners of files look the same."""
    (tmp_path / "mine").write_text("x")
    (tmp_path / "users").write_text("x")
    os.chown(tmp_path / "users", 1000, 1000)
    done = proa("run", "--rm", "--userns", "auto", "-v", f"{tmp_path}:/data", image, "sh", "-c",
                "id -u; stat -c '%n %u' /data/* /bin/busybox; touch /data/made /made; head -c 1 /dev/zero | wc -c; "
                "cat /proc/self/uid_map; wc -c < /proc/keys")
    assert done.stderr == ""
    lines = done.stdout.split("\n")
    assert lines[:4] == ["0", "/data/mine 0", "/data/users 1000", "/bin/busybox 0"]
    inside, outside, count = (int(n) for n in lines[5].split())
    assert inside == 0 and outside >= 65536 and count == 65536
    assert lines[6] == "0"
    assert (tmp_path / "made").stat().st_uid == 0


@needs_mapped_layers
def test_user_namespace_on_the_host(proa, image):
    from conftest import Background
    with Background(proa, "run", "--rm", "--name", "mapped", "--userns", "auto", image, "sh", "-c",
                    "echo ready; while :; do sleep 0.05; done"):
        pid = proa("inspect", "-f", "{{.State.Pid}}", "mapped").stdout.strip()
        assert os.stat(f"/proc/{pid}").st_uid >= 65536
        assert proa("exec", "mapped", "id", "-u").stdout == "0\n"
        assert proa("exec", "-u", "user", "mapped", "id", "-u").stdout == "1000\n"


# ---- escapes -----------------------------------------------------------------------------------

def test_own_executable_cannot_be_written(run):
    """CVE-2019-5736: a command that is /proc/self/exe, and a write to whatever runs as process 1."""
    done = run("/proc/self/exe", "--help")
    assert done.returncode != 0
    done = run("sh", "-c", "cp /bin/busybox /tmp/x; (echo hacked > /proc/1/exe) 2>&1; echo rc=$?", opts=["--init"])
    assert "rc=0" not in done.stdout


def test_no_descriptors_leak(run):
    """CVE-2024-21626: nothing but 0, 1 and 2 (3 is ls reading the directory)."""
    assert run("ls", "/proc/self/fd").stdout.split() == ["0", "1", "2", "3"]


@pytest.mark.parametrize("fd", range(3, 12))
def test_working_directory_through_a_descriptor(proa, image, fd):
    """CVE-2024-21626: -w /proc/self/fd/N must not land on the host."""
    done = proa("run", "--rm", "-w", f"/proc/self/fd/{fd}", image, "sh", "-c", "cd ../../../..; ls; pwd")
    assert done.returncode != 0 or "proa-init" not in done.stdout


def test_inherited_descriptors_are_closed(proa, image, tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        done = proa("run", "--rm", image, "ls", "/proc/self/fd", pass_fds=[fd])
        assert done.stdout.split() == ["0", "1", "2", "3"]
    finally:
        os.close(fd)


def test_started_in_a_chroot(proa, image, tmp_path):
    """There the container's root is not the root of its mount namespace, and exec would land on the host."""
    (tmp_path / "jail").mkdir()
    script = f"mount --rbind / {tmp_path}/jail && exec chroot {tmp_path}/jail {' '.join(proa.argv('run', '--rm', image, 'true'))}"
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, env=proa.env, timeout=60)
    assert done.returncode == 125
    assert "chroot" in done.stderr


def test_volume_target_through_a_link_stays_inside(run, tmp_path):
    """The image has out-link -> /../../../../../../etc: what is mounted there lands in the image's /etc."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "mark").write_text("inside\n")
    done = run("sh", "-c", "cat /etc/landed/mark", opts=["-v", f"{tmp_path}/d:/out-link/landed"])
    assert done.stdout == "inside\n"
    assert not os.path.exists("/etc/landed")


def test_volume_with_a_hostile_link(run, tmp_path):
    """A volume whose content is a link to the host's root, and a second one mounted through it."""
    hostile = tmp_path / "hostile"
    hostile.mkdir()
    (hostile / "evil").symlink_to("/../../../../../../../../")
    (tmp_path / "payload").mkdir()
    before = set(os.listdir("/"))
    done = run("ls", "/", opts=["-v", f"{hostile}:/vol", "-v", f"{tmp_path}/payload:/vol/evil/landed"])
    assert set(os.listdir("/")) == before
    assert "landed" in done.stdout.split()


def test_dev_null_of_the_image_is_not_trusted(proa, busybox_archive, tmp_path):
    """CVE-2025-31133: an image with a link at /dev/null must not turn masking into a mount of its target."""
    import tarfile
    from conftest import add_dir, add_file
    evil = tmp_path / "evil.tar"
    evil.write_bytes(busybox_archive.read_bytes())
    with tarfile.open(evil, "a") as tar:
        add_dir(tar, "dev")
        add_file(tar, "dev/null", type=tarfile.SYMTYPE, linkname="/proc/sysrq-trigger")
    proa("import", evil, "evil-null", check=True)
    done = proa("run", "--rm", "evil-null", "sh", "-c", "stat -c %t:%T /dev/null; cat /proc/keys | wc -c; echo x > /proc/keys; echo ok")
    assert done.stdout.split() == ["1:3", "0", "ok"]


def test_cannot_look_into_the_stage(proa, image):
    """A process in the container tries to read what joins it by exec, for as long as it can."""
    from conftest import Background
    script = ("echo ready; n=0; while [ $n -lt 400 ]; do for p in /proc/[0-9]*; do "
              "readlink $p/exe 2>/dev/null | grep -v busybox; ls $p/fd 2>/dev/null | grep -E '^[1-9][0-9]'; done; n=$((n+1)); done")
    with Background(proa, "run", "--rm", "--name", "watcher", image, "sh", "-c", script) as b:
        for _ in range(10):
            proa("exec", "watcher", "true")
        proa("stop", "-t", "0", "watcher")
        b.wait()
        seen = [line for line in b.output.decode().split("\n") if line and line != "ready"]
        assert not [line for line in seen if "/" in line and "memfd" not in line and "deleted" not in line]


def test_memory_limit(run):
    done = run("sh", "-c", "a=x; while :; do a=$a$a; done", opts=["-m", "160m" if run.backend == "vm" else "20m"])
    assert done.returncode == 137
    assert "memory" in done.stderr


def test_pids_limit(run):
    done = run("sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; echo started", opts=["--pids-limit", "5"])
    assert "can't fork" in done.stderr
    assert "started" not in done.stdout


def test_cpus(run):
    out = run("sh", "-c", "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cut -d' ' -f1 /sys/fs/cgroup/cpu.max",
              opts=["--cpus", "0.5"]).stdout
    assert out.strip() == "50000"


def test_cpuset(run):
    assert run("sh", "-c", "grep Cpus_allowed_list /proc/self/status", opts=["--cpuset-cpus", "0"]).stdout.split()[1] == "0"


def test_ulimit(run):
    assert run("sh", "-c", "ulimit -n; ulimit -Hn; ulimit -c", opts=["--ulimit", "nofile=100:200", "--ulimit", "core=0"]).stdout.split() == ["100", "200", "0"]


def test_own_kernel_or_not(run):
    own = os.uname().release
    inside = run("uname", "-r").stdout.strip()
    assert (inside == own) == (run.backend == "container")
