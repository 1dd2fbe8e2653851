# SPDX-License-Identifier: Apache-2.0
"""The runtime as an ordinary user: with a user namespace of one id, and of a range by newuidmap."""
import json
import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile

import pytest

from oci.bundle import CONFIG, LIMIT_S, refused


class Rootless:
    """A bundle, a state directory and commands that belong to the user."""

    def __init__(self, runtime, user, template, directory):
        self.runtime, self.user, self.path = runtime, pwd.getpwnam(user), pathlib.Path(directory)
        self.root, self.rootfs = self.path / "state", self.path / "rootfs"
        subprocess.run(["cp", "-a", template, self.rootfs], check=True)
        self.root.mkdir()
        self.config = json.loads(json.dumps(CONFIG))
        linux = self.config["linux"]
        linux["namespaces"] = [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "user")]
        linux.pop("resources")
        self.map(0, self.user.pw_uid, 1)
        self.config["mounts"] = [m for m in self.config["mounts"] if m["type"] not in ("cgroup", "sysfs")]
        for mount in self.config["mounts"]:
            mount["options"] = [o for o in mount.get("options", []) if not o.startswith("gid=")]
        self.config["mounts"].append({"destination": "/sys", "type": "none", "source": "/sys",
                                      "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]})
        subprocess.run(["chown", "-R", f"{self.user.pw_uid}:{self.user.pw_gid}", self.path], check=True)

    def map(self, *ranges):
        triples = [ranges[i:i + 3] for i in range(0, len(ranges), 3)]
        self.config["linux"]["uidMappings"] = [dict(containerID=a, hostID=b, size=c) for a, b, c in triples]
        self.config["linux"]["gidMappings"] = [dict(containerID=a, hostID=b if b != self.user.pw_uid else self.user.pw_gid,
                                                    size=c) for a, b, c in triples]

    def call(self, *args, **kw):
        (self.path / "config.json").write_text(json.dumps(self.config))
        kw.setdefault("stdin", subprocess.DEVNULL)
        kw.setdefault("capture_output", True)
        environment = {"PATH": os.environ["PATH"], "HOME": self.user.pw_dir, "XDG_RUNTIME_DIR": str(self.path)}
        return subprocess.run([self.runtime.exe, "--root", self.root, *args], text=True, timeout=LIMIT_S, check=False,
                              cwd=self.path, env=environment, user=self.user.pw_uid, group=self.user.pw_gid,
                              extra_groups=[], **kw)

    def out(self, script):
        self.config["process"]["args"] = ["sh", "-c", script]
        done = self.call("run", "c")
        assert done.returncode == 0, done
        return done.stdout


@pytest.fixture
def rootless(container_runtime, ordinary_user, template):
    path = pathlib.Path(tempfile.mkdtemp(prefix="prl", dir="/tmp"))
    path.chmod(0o755)
    if pathlib.Path("/proc/sys/user/max_user_namespaces").read_text().strip() == "0":
        pytest.skip("this host has no user namespaces for users")
    one = Rootless(container_runtime, ordinary_user, template, path)
    yield one
    one.call("delete", "--force", "c")
    shutil.rmtree(path, ignore_errors=True)


def ranges(user, kind):
    for line in open(f"/etc/sub{kind}"):
        name, first, count = line.strip().split(":")
        if name == user:
            return int(first), int(count)
    pytest.skip(f"the user has no range in /etc/sub{kind}")


def test_run(rootless):
    out = rootless.out("id -u; cat /proc/self/uid_map; hostname; touch /new; stat -c %u /new; echo $$").split()
    assert out == ["0", "0", str(rootless.user.pw_uid), "1", "bundle", "0", "1"]
    assert (rootless.rootfs / "new").stat().st_uid == rootless.user.pw_uid


def test_exit_code_and_streams(rootless):
    rootless.config["process"]["args"] = ["sh", "-c", "echo out; echo err >&2; exit 9"]
    done = rootless.call("run", "c")
    assert (done.returncode, done.stdout, done.stderr) == (9, "out\n", "err\n")


def test_life(rootless):
    rootless.config["process"]["args"] = ["sleep", "1000"]
    done = rootless.call("create", "c", capture_output=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert done.returncode == 0
    assert json.loads(rootless.call("state", "c").stdout)["status"] == "created"
    assert rootless.call("start", "c").returncode == 0
    done = rootless.call("exec", "c", "id", "-u")
    assert done.stdout == "0\n", done
    assert rootless.call("list", "-q").stdout == "c\n"
    assert rootless.call("kill", "c", "KILL").returncode == 0
    assert rootless.call("delete", "--force", "c").returncode == 0
    assert rootless.call("list", "-q").stdout == ""


def test_spec_of_the_runtime_runs(rootless):
    done = rootless.call("spec", "--rootless", "--bundle", "state")
    assert done.returncode == 0, done
    rootless.config = json.loads((rootless.root / "config.json").read_text())
    (rootless.root / "config.json").unlink()
    rootless.config["process"].update(terminal=False, args=["id", "-u"])
    rootless.config["root"]["readonly"] = False
    done = rootless.call("run", "c")
    assert done.stdout == "0\n", done


def test_a_range_of_ids(rootless):
    if not shutil.which("newuidmap"):
        pytest.skip("newuidmap is not installed")
    first, count = ranges(rootless.user.pw_name, "uid")
    ranges(rootless.user.pw_name, "gid")
    rootless.map(0, rootless.user.pw_uid, 1, 1, first, count)
    out = rootless.out("cat /proc/self/uid_map; touch /x; chown 5:5 /x; stat -c %u:%g /x; cat /proc/self/setgroups")
    assert [line.split() for line in out.splitlines()[:2]] == [["0", str(rootless.user.pw_uid), "1"],
                                                              ["1", str(first), str(count)]]
    assert out.splitlines()[2:] == ["5:5", "allow"]
    assert (rootless.rootfs / "x").stat().st_uid == first + 4
    subprocess.run(["rm", "-f", rootless.rootfs / "x"], check=True)


def test_another_user_of_a_range(rootless):
    if not shutil.which("newuidmap"):
        pytest.skip("newuidmap is not installed")
    first, count = ranges(rootless.user.pw_name, "uid")
    ranges(rootless.user.pw_name, "gid")
    rootless.map(0, rootless.user.pw_uid, 1, 1, first, count)
    rootless.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    assert rootless.out("id -u; id -G").split() == ["1000", "1000"]
    rootless.runtime.needs("rootless-groups")
    rootless.config["process"]["user"]["additionalGids"] = [7]
    assert rootless.out("id -u; id -G").split() == ["1000", "1000", "7"]


@pytest.mark.parametrize("change", ["foreign ids", "no user namespace", "groups"])
def test_what_a_user_may_not(rootless, change):
    if change == "foreign ids":
        rootless.map(0, 0, 1)
    elif change == "no user namespace":
        rootless.config["linux"]["namespaces"].pop()
    else:
        rootless.config["process"]["user"]["additionalGids"] = [0, 27]
    rootless.config["process"]["args"] = ["cat", "/etc/shadow"]
    done = rootless.call("run", "c")
    assert done.returncode != 0 and done.stderr, done
    assert rootless.call("list", "-q").stdout == ""


def test_files_of_the_host_stay_closed(rootless, oci_dir):
    secret = oci_dir / "secret"
    secret.write_text("secret\n")
    secret.chmod(0o600)
    rootless.config["mounts"].append({"destination": "/secret", "type": "bind", "source": str(oci_dir), "options": ["rbind"]})
    rootless.config["process"]["args"] = ["cat", "/secret/secret"]
    done = rootless.call("run", "c")
    assert "secret\n" not in done.stdout and done.returncode != 0
    secret.unlink()


def test_limits_need_rights_to_the_cgroup(rootless):
    """--rootless=true lets a container start without what cannot be limited; with limits it is an error."""
    rootless.config["linux"]["resources"] = {"memory": {"limit": 64 << 20}}
    rootless.config["process"]["args"] = ["true"]
    refused(rootless.call("run", "c"))
    rootless.config["linux"].pop("resources")
    assert rootless.call("--rootless", "true", "run", "c").returncode == 0
