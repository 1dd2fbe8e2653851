# SPDX-License-Identifier: Apache-2.0
"""Propagation of mounts, attributes that reach the mounts below, id-mapped mounts."""
import subprocess

import pytest

from oci.bundle import refused
from oci.test_mounts import info, mountinfo


def mount(*args):
    subprocess.run(["mount", *map(str, args)], check=True)


@pytest.fixture
def shared(oci_dir):
    """A shared tmpfs with another one below it."""
    path = oci_dir / "shared"
    path.mkdir()
    mount("-t", "tmpfs", "top", path)
    mount("--make-rshared", path)
    (path / "sub").mkdir()
    mount("-t", "tmpfs", "below", path / "sub")
    yield path
    subprocess.run(["umount", "-R", path], check=True)
    path.rmdir()


PROPAGATION = [("private", set()), ("rprivate", set()), ("shared", {"shared"}), ("rshared", {"shared"}),
               ("slave", {"master"}), ("rslave", {"master"}), ("unbindable", {"unbindable"}),
               ("runbindable", {"unbindable"})]


@pytest.mark.parametrize("option, wanted", PROPAGATION)
def test_propagation(box, shared, option, wanted):
    """As the fields of mountinfo tell it; the recursive kinds hold for the mounts below as well."""
    text = mountinfo(box.bind(shared, "/mnt", "rbind", option))
    for target in ["/mnt", "/mnt/sub"] if option.startswith("r") else ["/mnt"]:
        _, fields, _, _ = info(text, target)
        kinds = {f.split(":")[0] for f in fields} - {"propagate_from"}
        # a mount may be shared within the container and a slave of the host
        assert kinds == wanted or (wanted == {"shared"} and kinds == {"shared", "master"}), text


def test_private_is_the_default(box, shared):
    text = mountinfo(box.bind(shared, "/mnt", "rbind"))
    assert "shared" not in {f.split(":")[0] for f in info(text, "/mnt")[1]}


def test_a_slave_sees_mounts_of_the_host(box, shared):
    (shared / "later").mkdir()
    box.bind(shared, "/slave", "rbind", "rslave").bind(shared, "/private", "rbind", "rprivate").idle()
    mount("-t", "tmpfs", "later", shared / "later")
    (shared / "later/file").touch()
    assert box.exec("ls", "/slave/later").stdout == "file\n"
    assert box.exec("ls", "/private/later").stdout == ""


def test_a_shared_mount_goes_out(box, shared):
    """With a root that is not a slave itself, which is what Docker asks for then."""
    box.linux["rootfsPropagation"] = "shared"
    box.capabilities("CAP_SYS_ADMIN").bind(shared, "/mnt", "rbind", "rshared")
    (shared / "out").mkdir()
    box.sh("mount -t tmpfs x /mnt/out && touch /mnt/out/seen; echo done; exec sleep 1000").up()
    box.expect("done")
    assert (shared / "out/seen").exists()


def test_a_slave_does_not_go_out(box, shared):
    box.capabilities("CAP_SYS_ADMIN").bind(shared, "/mnt", "rbind", "rslave")
    (shared / "out").mkdir()
    box.sh("mount -t tmpfs x /mnt/out && touch /mnt/out/seen; echo done; exec sleep 1000").up()
    box.expect("done")
    assert not (shared / "out/seen").exists()


@pytest.mark.parametrize("value, wanted", [("private", set()), ("slave", {"master"}), ("shared", {"shared"}),
                                           ("unbindable", {"unbindable"}), ("rprivate", set())])
def test_propagation_of_the_root(box, value, wanted):
    if value in ("shared", "unbindable"):
        box.runtime.needs("root-propagation")
    box.linux["rootfsPropagation"] = value
    _, fields, _, _ = info(mountinfo(box), "/")
    kinds = {f.split(":")[0] for f in fields} - {"propagate_from"}
    assert kinds == wanted or (value == "slave" and not kinds)  # whether it has a master is the host's affair


def test_bad_propagation_of_the_root(box):
    box.linux["rootfsPropagation"] = "bogus"
    refused(box.create(check=False), "bogus")


# ---- recursion -----------------------------------------------------------------------------------------

def test_bind_and_rbind(box, shared):
    (shared / "sub/file").touch()
    box.bind(shared, "/bind").bind(shared, "/rbind", "rbind")
    assert box.out("ls /bind/sub | wc -l; ls /rbind/sub").split() == ["0", "file"]


def test_ro_is_for_the_top_only(box, shared):
    box.bind(shared, "/mnt", "rbind", "ro")
    assert box.out("touch /mnt/x 2>/dev/null || echo refused; touch /mnt/sub/x && echo written").split() == ["refused", "written"]


@pytest.mark.parametrize("option, wanted", [("rro", "ro"), ("rnosuid", "nosuid"), ("rnodev", "nodev"),
                                            ("rnoexec", "noexec"), ("rnoatime", "noatime"), ("rnosymfollow", "nosymfollow"),
                                            ("rnodiratime", "nodiratime")])
def test_recursive_attributes(box, shared, option, wanted):
    text = mountinfo(box.bind(shared, "/mnt", "rbind", option))
    assert wanted in info(text, "/mnt")[0] and wanted in info(text, "/mnt/sub")[0], text


def test_recursive_attributes_can_be_taken_away(box, shared):
    mount("-o", "remount,bind,noexec", shared / "sub")
    text = mountinfo(box.bind(shared, "/mnt", "rbind", "rexec"))
    assert "noexec" not in info(text, "/mnt/sub")[0]


# ---- id maps -------------------------------------------------------------------------------------------

@pytest.fixture
def owned(oci_dir):
    """A directory with files of 0, 5 and 1000."""
    path = oci_dir / "owned"
    path.mkdir(exist_ok=True)
    for uid in (0, 5, 1000):
        (path / str(uid)).touch()
        subprocess.run(["chown", f"{uid}:{uid}", path / str(uid)], check=True)
    yield path
    subprocess.run(["rm", "-rf", path], check=True)


def mapped(first, second, count):
    return [{"containerID": first, "hostID": second, "size": count}]


SHOW = "cd /mnt; stat -c '%n %u:%g' 0 5 1000"


def test_id_map_of_a_mount(box, owned):
    box.runtime.needs("idmap-mounts")
    box.mount("/mnt", type="bind", source=str(owned), options=["bind", "idmap"], uidMappings=mapped(0, 3000, 10),
              gidMappings=mapped(0, 4000, 10))
    lines = box.out(SHOW).splitlines()
    assert lines[0] == "0 3000:4000" and lines[1] == "5 3005:4005"
    assert lines[2] == "1000 65534:65534"


def test_writes_through_an_id_map(box, owned):
    box.runtime.needs("idmap-mounts")
    owned.chmod(0o777)
    box.process["user"] = {"uid": 3007, "gid": 4007}
    box.mount("/mnt", type="bind", source=str(owned), options=["bind", "idmap"], uidMappings=mapped(0, 3000, 10),
              gidMappings=mapped(0, 4000, 10))
    box.out("touch /mnt/mine")
    made = (owned / "mine").stat()
    assert (made.st_uid, made.st_gid) == (7, 7)


@pytest.mark.parametrize("option, below", [("idmap", "0:0"), ("ridmap", "3000:3000")])
def test_id_map_of_mounts_below(box, owned, option, below):
    box.runtime.needs("idmap-mounts")
    (owned / "sub").mkdir()
    mount("-t", "tmpfs", "below", owned / "sub")
    try:
        box.mount("/mnt", type="bind", source=str(owned), options=["rbind", option], uidMappings=mapped(0, 3000, 10),
                  gidMappings=mapped(0, 3000, 10))
        assert box.out("stat -c %u:%g /mnt/0 /mnt/sub").split() == ["3000:3000", below]
    finally:
        subprocess.run(["umount", owned / "sub"], check=True)


def test_id_map_of_the_container(box, owned):
    """"idmap" without mappings of its own takes those of the user namespace."""
    box.runtime.needs("idmap-mounts")
    box.linux["namespaces"].append({"type": "user"})
    box.linux["uidMappings"] = box.linux["gidMappings"] = mapped(0, 100000, 65536)
    box.config["mounts"] = [m for m in box.config["mounts"] if m["type"] != "cgroup"]
    subprocess.run(["chown", "-R", "100000:100000", box.rootfs], check=True)
    box.mount("/mnt", type="bind", source=str(owned), options=["bind", "idmap"])
    assert box.out(SHOW).splitlines() == ["0 0:0", "5 5:5", "1000 1000:1000"]


@pytest.mark.parametrize("fields, words", [
    (dict(type="tmpfs", source="tmpfs", options=["idmap"], uidMappings=mapped(0, 1, 1), gidMappings=mapped(0, 1, 1)), ["/mnt"]),
    (dict(type="bind", source="/etc", options=["bind", "idmap"], uidMappings=mapped(0, 1, 1)), ["mapping"]),
])
def test_bad_id_maps(box, fields, words):
    box.runtime.needs("idmap-mounts")
    refused(box.mount("/mnt", **fields).create(check=False), *words)
