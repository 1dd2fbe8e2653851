# SPDX-License-Identifier: Apache-2.0
"""The kernel that `proa kernel build` makes: small, without modules, and all there that a container or a
container engine in the machine needs. Compiled once per build directory (the fixture), which takes minutes."""
import gzip
import io
import re

import pytest
from conftest import BUILD, Background
from nested import debian_tar

SIZE_MAX = 10_000_000


@pytest.fixture
def fast(proa, image, fast_kernel):
    def call(*command, opts=(), **kw):
        return proa("run", "--rm", "--vm", "--kernel", fast_kernel, *opts, image, *command, **kw)

    return call


def output(done):
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_small_and_without_modules(proa, fast, fast_kernel):
    directory = proa.root / "kernels" / fast_kernel
    assert (directory / "vmlinux").stat().st_size < SIZE_MAX
    assert not (directory / "modules").exists()
    assert output(fast("uname", "-r")).strip().endswith("-proa")
    (plain,) = directory.glob("initramfs-*-plain")
    assert plain.stat().st_size < (BUILD / "proa-init").stat().st_size + 4096


def test_has_all_that_the_fragment_asks_for(fast):
    done = fast("cat", "/proc/config.gz", text=False)
    assert done.returncode == 0, done.stderr
    have = set(gzip.open(io.BytesIO(done.stdout), "rt").read().splitlines())
    wanted = [line for line in (BUILD / "kernel-x86_64.config").read_text().splitlines() if line.startswith("CONFIG_")]
    assert len(wanted) > 200
    assert [line for line in wanted if line not in have] == []


def test_options_mean_the_same(fast, tmp_path):
    tmp_path.chmod(0o755)
    (tmp_path / "file").write_text("shared")
    out = output(fast("sh", "-c", "cat /v/file; echo; id -u; pwd; cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max; nproc",
                      opts=["-v", f"{tmp_path}:/v", "-u", "1000", "-w", "/tmp", "-m", "64m", "--pids-limit", "50",
                            "--cpus", "2"]))
    assert out.split() == ["shared", "1000", "/tmp", str(64 << 20), "50", "2"]
    assert fast("sh", "-c", "exit 7").returncode == 7
    done = fast("sh", "-c", "head -c 200m /dev/zero | tail", opts=["-m", "32m"])
    assert done.returncode == 137, done.stderr


def test_exec(proa, image, fast_kernel):
    with Background(proa, "run", "--rm", "--vm", "--kernel", fast_kernel, "--name", "fast", image,
                    "sh", "-c", "echo ready; sleep 60"):
        done = proa("exec", "fast", "uname", "-r")
        assert done.stdout.strip().endswith("-proa"), done.stderr


def test_cgroups_and_namespaces(fast):
    out = output(fast("sh", "-c", "cat /sys/fs/cgroup/cgroup.controllers; ls /proc/self/ns", opts=["--privileged"]))
    assert {"cpuset", "cpu", "io", "memory", "pids"} <= set(out.split())
    assert {"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"} <= set(out.split())


@pytest.mark.parametrize("kind", ["bridge", "dummy", "ifb", "veth"])
def test_links(fast, kind):
    """What networks of containers are made of; ifb is one that nobody needs: the test tells them apart."""
    done = fast("ip", "link", "add", "test0", "type", kind, opts=["--privileged"])
    assert (done.returncode == 0) == (kind != "ifb"), done.stderr


def test_no_link_that_nobody_made(fast):
    out = output(fast("ip", "-o", "link", opts=["--privileged"]))
    assert re.findall(r"^\d+: ([^:@]+)", out, re.M) == ["lo"]


def test_file_systems(fast):
    """Those that are mounted without a disk; ext4, erofs and overlay are what the machine itself stands on."""
    script = """
        set -e
        mkdir -p /tmp/a /tmp/b /tmp/w /tmp/m
        mount -t tmpfs none /tmp/a; mkdir /tmp/a/l /tmp/a/u /tmp/a/w
        mount -t overlay -o lowerdir=/tmp/a/l,upperdir=/tmp/a/u,workdir=/tmp/a/w none /tmp/m
        mount -t mqueue none /tmp/b; umount /tmp/b
        mount -t hugetlbfs none /tmp/b; umount /tmp/b
        mount -t binfmt_misc none /tmp/b; umount /tmp/b
        grep -wE 'ext4|erofs|squashfs|xfs|fuse|virtiofs' /proc/filesystems
    """
    out = output(fast("sh", "-c", script, opts=["--privileged"]))
    assert {"ext4", "erofs", "squashfs", "xfs", "fuse", "virtiofs"} <= set(out.split())


# ---- a container engine in the machine -----------------------------------------------------------------

ENGINE_PACKAGES = "podman,crun,netavark,aardvark-dns,iptables,nftables,busybox-static"

# As in any container that starts containers with limits: nothing may run in the group whose controllers are
# handed down (cgroup v2), and overlay layers do not stand on an overlay, but on the tmpfs of the test.
INNER = r"""
set -e
mkdir /sys/fs/cgroup/init
for p in $(cat /sys/fs/cgroup/cgroup.procs); do echo $p >/sys/fs/cgroup/init/cgroup.procs || true; done
for c in $(cat /sys/fs/cgroup/cgroup.controllers); do echo +$c >/sys/fs/cgroup/cgroup.subtree_control; done
mkdir -p /etc/containers /r/bin
cat >/etc/containers/containers.conf <<END
[network]
network_backend = "netavark"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
[containers]
log_driver = "k8s-file"
END
cp /bin/busybox /r/bin/
for a in sh echo cat ip; do ln -s busybox /r/bin/$a; done
tar -C /r -c . | podman import -q - box >/dev/null
echo "driver: $(podman info --format '{{.Store.GraphDriverName}}')"
podman run -d --name web -m 32m --pids-limit 20 -p 8080:80 box busybox httpd -f -p 80 -h /bin >/dev/null
echo "memory: $(podman exec web cat /sys/fs/cgroup/memory.max)"
echo "pids: $(podman exec web cat /sys/fs/cgroup/pids.max)"
echo "address: $(podman exec web ip -4 -o addr show eth0)"
echo "published: $(busybox wget -q -O - http://127.0.0.1:8080/sh | wc -c)"
iptables-legacy -t nat -S >/dev/null && echo "legacy: yes"
podman rm -f -t 0 web >/dev/null
"""


@pytest.fixture(scope="module")
def engine_image(proa):
    """A Debian with Podman."""
    tar = debian_tar("debian-with-podman", ENGINE_PACKAGES)
    proa("import", "-q", tar, "debian-with-podman", check=True, timeout=120)
    yield "debian-with-podman"
    proa("rmi", "debian-with-podman", check=True)


def test_podman_in_the_machine(proa, fast_kernel, engine_image, tmp_path):
    (tmp_path / "inner.sh").write_text(INNER)
    done = proa("run", "--rm", "--vm", "--privileged", "--kernel", fast_kernel, "-m", "1g", "--tmpfs", "/var/lib/containers",
                "-v", f"{tmp_path}/inner.sh:/inner.sh:ro", engine_image, "bash", "/inner.sh", timeout=300)
    found = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    assert done.returncode == 0, done.stdout + done.stderr
    assert found["driver"] == "overlay"
    assert found["memory"] == str(32 << 20)
    assert found["pids"] == "20"
    assert "10.88.0." in found["address"]
    assert int(found["published"]) > 100_000
    assert found["legacy"] == "yes"
