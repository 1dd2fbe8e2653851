# SPDX-License-Identifier: Apache-2.0
"""config.json as such: what is missing, wrong or unknown in it; annotations; the root."""
import json

import pytest

from oci.bundle import refused


def test_unknown_properties_are_ignored(bundle):
    """The spec's rule of extensibility."""
    bundle.config["futureProperty"] = {"a": [1]}
    bundle.process["futureProperty"] = bundle.linux["futureProperty"] = bundle.config["root"]["future"] = "x"
    bundle.config["mounts"][0]["future"] = 1
    bundle.linux["resources"]["future"] = {"x": 1}
    bundle.config["windows"] = {"layerFolders": ["C:\\"]}
    bundle.config["solaris"] = {"milestone": "x"}
    assert bundle.out("echo fine") == "fine\n"


def test_annotations(box):
    box.config["annotations"] = {"a": "1", "org.example/b": "ä \"quoted\"", "empty": ""}
    box.create()
    shown = box.state()["annotations"]
    assert {key: shown[key] for key in box.config["annotations"]} == box.config["annotations"]


def test_annotations_do_not_switch_anything(box):
    """No key of an engine's user may change how the container is isolated."""
    box.config["annotations"] = {"run.oci.keep_original_groups": "1", "org.criu.config": "/etc/passwd"}
    assert box.run().returncode == 0


def test_a_minimal_config(box):
    """Not even /proc is mounted."""
    box.runtime.needs("root-without-proc")
    box.config = {"ociVersion": "1.0.0", "root": {"path": "rootfs"}, "process": {
        "user": {"uid": 0, "gid": 0}, "args": ["/bin/echo", "minimal"], "cwd": "/"},
        "linux": {"namespaces": [{"type": "mount"}], "cgroupsPath": f"/{box.cgroup}"}}
    assert box.run().stdout == "minimal\n"


def test_no_process_in_the_config(box):
    """Allowed for create, as long as nothing is started."""
    del box.config["process"]
    done = box.create(check=False)
    assert done.returncode != 0 or box.start(check=False).returncode != 0


def test_absolute_root_path(box):
    box.config["root"]["path"] = str(box.rootfs)
    assert box.run().returncode == 0


def drop(*path):
    def change(config):
        for key in path[:-1]:
            config = config[key]
        del config[path[-1]]
    return change


def put(value, *path):
    def change(config):
        for key in path[:-1]:
            config = config[key]
        config[path[-1]] = value
    return change


BAD = {
    "no root": (drop("root"), []),
    "no root path": (drop("root", "path"), []),
    "absent root": (put("absent-dir", "root", "path"), ["absent-dir"]),
    "root is a file": (put("config.json", "root", "path"), []),
    "no args": (drop("process", "args"), ["args"]),
    "empty args": (put([], "process", "args"), ["args"]),
    "no cwd": (drop("process", "cwd"), ["cwd"]),
    "args is a string": (put("true", "process", "args"), []),
    "env is an object": (put({"A": "b"}, "process", "env"), []),
    "uid is a string": (put("root", "process", "user", "uid"), []),
    "uid is negative": (put(-1, "process", "user", "uid"), []),
    "uid is too large": (put(2 ** 40, "process", "user", "uid"), []),
    "mounts is an object": (put({}, "mounts"), []),
    "a mount without a destination": (drop("mounts", 0, "destination"), []),
    "namespaces is a string": (put("pid", "linux", "namespaces"), []),
    "terminal is a number": (put(1, "process", "terminal"), []),
    "hostname is a number": (put(5, "hostname"), []),
    "memory limit is a string": (put({"limit": "1G"}, "linux", "resources", "memory"), []),
    "rlimit without a type": (put([{"soft": 1, "hard": 1}], "process", "rlimits"), []),
    "hooks is a list": (put([], "hooks"), []),
}


@pytest.mark.parametrize("change, words", BAD.values(), ids=BAD.keys())
def test_bad_config(box, change, words):
    change(box.config)
    refused(box.create(check=False), *words)
    assert box.status == "gone"
    assert not box.cgroup_dir("pids").exists()


STRICT = {
    "no version": (drop("ociVersion"), ["version"]),
    "version of another planet": (put("banana", "ociVersion"), ["banana"]),
    "version two": (put("2.0.0", "ociVersion"), ["2.0.0"]),
    "a nul in an argument": (put(["echo", "a\0b"], "process", "args"), []),
    "a nul in the environment": (put(["A=\0"], "process", "env"), []),
    "relative mount destination": (put("../proc", "mounts", 0, "destination"), []),
    "env without an equals sign": (put(["NOVALUE"], "process", "env"), ["NOVALUE"]),
}


@pytest.mark.parametrize("change, words", STRICT.values(), ids=STRICT.keys())
def test_what_runc_lets_pass(box, change, words):
    box.runtime.needs("strict-config")
    change(box.config)
    refused(box.create(check=False), *words)
    assert box.status == "gone"


@pytest.mark.parametrize("version", ["1.0.0", "1.0.2", "1.1.0", "1.2.0", "1.0.2-dev"])
def test_versions(box, version):
    box.config["ociVersion"] = version
    assert box.run().returncode == 0


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\"x\"", "{\"ociVersion\": \"1.0.0\"} trailing", "\x00",
                                  "{\"a\": \"\\ud800\"}", "[" * 100000, "{\"process\": " * 20000],
                         ids=["empty", "brace", "list", "null", "string", "trailing", "nul", "surrogate", "deep", "deeper"])
def test_not_a_config(box, text):
    if text == "null":
        box.runtime.needs("strict-config")  # runc crashes
    box.write()
    (box.path / "config.json").write_text(text)
    refused(box.create(check=False, write=False))
    assert box.status == "gone"


def test_no_config_and_no_bundle(box):
    refused(box.create(check=False, write=False), "config.json")
    refused(box.runtime("create", "--bundle", "/absent/bundle", "x"), "/absent/bundle")


def test_a_large_config(box):
    """Ten thousand variables and a thousand mounts."""
    box.process["env"] += [f"V{n}={'x' * 50}" for n in range(10000)]
    for n in range(300):
        box.mount(f"/mnt/m{n}", type="tmpfs", source="tmpfs", options=["size=4k"])
    assert box.out("env | wc -l; grep -c /mnt/m /proc/mounts").split()[1] == "300"


def test_state_is_not_changed_by_a_later_config(box):
    box.runtime.needs("config-is-kept")
    box.idle()
    (box.path / "config.json").write_text("broken")
    assert box.status == "running"
    assert box.exec("echo", "x").stdout == "x\n"
    assert json.loads(box.runtime("events", "--stats", box.id).stdout)["id"] == box.id
