# SPDX-License-Identifier: Apache-2.0
"""Files: volumes, tmpfs, the read-only root, ownership, and that nothing outside is reached."""
import hashlib
import os

import pytest


@pytest.fixture
def shared(tmp_path):
    """A host directory with files of several owners and modes."""
    d = tmp_path / "shared"
    d.mkdir(mode=0o755)
    (d / "root-file").write_text("of root\n")
    (d / "user-file").write_text("of user\n")
    os.chown(d / "user-file", 1000, 1000)
    (d / "private").write_text("private\n")
    os.chmod(d / "private", 0o600)
    (d / "sub").mkdir()
    (d / "link").symlink_to("root-file")
    return d


def test_volume_reads_and_writes(run, shared):
    done = run("sh", "-c", "cat /data/root-file; echo new > /data/sub/made; ls /data", opts=["-v", f"{shared}:/data"])
    assert done.stdout.split("\n")[:1] == ["of root"]
    assert done.stdout.split()[2:] == ["link", "private", "root-file", "sub", "user-file"]
    assert (shared / "sub" / "made").read_text() == "new\n"


def test_volume_ownership_is_the_same(run, shared):
    out = run("sh", "-c", "cd /data; stat -c '%n %u %g %a' *; echo x > by-user", opts=["-v", f"{shared}:/data"]).stdout
    assert "user-file 1000 1000 644" in out
    assert "private 0 0 600" in out
    done = run("sh", "-c", "cat /data/private; cat /data/user-file; echo mine >> /data/user-file; touch /data/nope",
               opts=["-u", "user", "-v", f"{shared}:/data"])
    assert done.stdout == "of user\n"
    assert done.stderr.count("ermission denied") == 2
    assert (shared / "user-file").read_text() == "of user\nmine\n"
    assert (shared / "by-user").stat().st_uid == 0


def test_volume_owner_of_new_files(run, shared):
    os.chmod(shared, 0o777)
    run("sh", "-c", "touch /data/f; mkdir /data/d; ln -s f /data/l; ln /data/f /data/hard; chmod 640 /data/f",
        opts=["-u", "1000:10", "-v", f"{shared}:/data"])
    for name in ("f", "d", "l"):
        st = os.lstat(shared / name)
        assert (st.st_uid, st.st_gid) == (1000, 10), name
    assert os.stat(shared / "f").st_mode & 0o777 == 0o640
    assert os.stat(shared / "f").st_nlink == 2


def test_volume_read_only(run, shared):
    done = run("sh", "-c", "cat /data/root-file && ! touch /data/x && ! rm /data/root-file && echo held",
               opts=["-v", f"{shared}:/data:ro"])
    assert done.stdout == "of root\nheld\n"
    assert not (shared / "x").exists()


def test_volume_of_one_file(run, shared):
    done = run("sh", "-c", "cat /etc/one; echo changed > /etc/one", opts=["-v", f"{shared}/root-file:/etc/one"])
    assert (done.returncode, done.stdout) == (0, "of root\n")
    assert (shared / "root-file").read_text() == "changed\n"


def test_volumes_inside_each_other(run, shared, tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "deep").write_text("deep\n")
    # given in the wrong order on purpose: parents are mounted first
    out = run("sh", "-c", "cat /data/sub/deep /data/root-file", opts=["-v", f"{inner}:/data/sub", "-v", f"{shared}:/data"]).stdout
    assert out == "deep\nof root\n"


def test_volume_missing_source_is_made(run, tmp_path):
    done = run("sh", "-c", "echo x > /data/file", opts=["-v", f"{tmp_path}/made/here:/data"])
    assert done.returncode == 0
    assert (tmp_path / "made/here/file").read_text() == "x\n"


def test_volume_changes_are_seen_while_running(background, shared, proa):
    script = "echo ready; until test -e /data/go; do sleep 0.05; done; cat /data/go; echo back > /data/answer"
    with background(script, opts=["-v", f"{shared}:/data"]) as b:
        (shared / "go.tmp").write_text("went\n")
        (shared / "go.tmp").rename(shared / "go")
        assert b.wait() == 0
        assert "went" in b.output.decode()
    assert (shared / "answer").read_text() == "back\n"


def test_mount_bind(run, shared):
    opts = ["--mount", f"type=bind,source={shared},target=/data,readonly"]
    assert run("sh", "-c", "cat /data/link; touch /data/x || echo held", opts=opts).stdout == "of root\nheld\n"


def test_mount_tmpfs(run):
    opts = ["--mount", "type=tmpfs,target=/scratch,tmpfs-size=1m,tmpfs-mode=700"]
    out = run("sh", "-c", "stat -c %a /scratch; head -c 2000000 /dev/zero > /scratch/f || stat -c %s /scratch/f", opts=opts).stdout
    assert out.split() == ["700", str(1 << 20)]


def test_tmpfs(run):
    out = run("sh", "-c", "stat -c %a /t /tmp; grep ' /t ' /proc/mounts", opts=["--tmpfs", "/t:size=64k,exec", "--tmpfs", "/tmp"]).stdout
    assert out.startswith("1777\n1777\n")
    options = out.split()[5].split(",")
    assert {"nosuid", "nodev", "size=64k"} <= set(options)
    assert "noexec" not in options


def test_read_only_root(run):
    done = run("sh", "-c", "touch /x /etc/y; echo in > /tmp/z && cat /tmp/z; echo dev > /dev/shm/d && cat /dev/shm/d",
               opts=["--read-only", "--tmpfs", "/tmp"])
    assert done.stdout == "in\ndev\n"
    assert done.stderr.count("Read-only file system") == 2


def test_writes_do_not_reach_the_image(run):
    assert run("sh", "-c", "echo changed > /etc/passwd; rm /bin/cat; cat /etc/passwd 2>&1 | head -1").returncode == 0
    assert run("cat", "/etc/passwd").stdout.startswith("root:")


def test_large_write_and_read_back(run):
    out = run("sh", "-c", "head -c 20000000 /dev/zero | tr '\\0' x > /big; sync; md5sum < /big; stat -c %s /big").stdout
    assert out.split() == [hashlib.md5(b"x" * 20000000).hexdigest(), "-", "20000000"]


def test_written_layer_stays_without_rm(proa, image, backend):
    """Not removed: it is listed with its exit code, and removed by rm."""
    name = f"stays-{backend}"
    try:
        done = proa("run", "--name", name, f"--isolation={backend}", image, "sh", "-c", "echo x > /kept; exit 3")
        assert done.returncode == 3
        row = proa("ps", "-a", "--filter", f"name={name}", "--format", "{{.Status}}|{{.Isolation}}").stdout
        assert row.startswith("Exited (3)") and row.strip().endswith(f"|{backend}")
    finally:
        assert proa("rm", name).returncode == 0
    assert name not in proa("ps", "-a").stdout


def test_device_nodes(run):
    out = run("sh", "-c", "cd /dev; stat -c '%n %t:%T %a' null zero full random urandom tty; for l in fd stdin ptmx; do readlink $l; done").stdout
    assert "null 1:3 666" in out and "zero 1:5 666" in out and "tty 5:0 666" in out
    assert out.split("\n")[-4:-1] == ["/proc/self/fd", "/proc/self/fd/0", "pts/ptmx"]


def test_mounts_are_the_same_in_both(proa, image, kernel):
    """What a program sees of the mounts differs only where the table of known differences says so."""
    seen = {}
    for backend in ("container", "vm"):
        out = proa("run", "--rm", f"--isolation={backend}", image, "cat", "/proc/mounts", check=True).stdout
        rows = [line.split() for line in out.splitlines()]
        seen[backend] = {(r[1], r[2], frozenset(o for o in r[3].split(",") if "=" not in o and o != "inode64")) for r in rows
                         if not r[1].startswith(("/sys/fs/cgroup", "/proc/", "/sys/firmware", "/sys/devices"))}
    assert seen["container"] == seen["vm"]
