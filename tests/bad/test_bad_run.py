# SPDX-License-Identifier: Apache-2.0
"""Bad input to run: one line that names the object and the reason, Docker's exit code, nothing left."""
import json
import subprocess

import pytest


def refused(done, code, *words):
    assert done.returncode == code, done.stderr
    lines = done.stderr.strip().split("\n")
    assert lines[0].startswith("proa: ")
    for word in words:
        assert word in lines[0], lines[0]
    assert len([line for line in lines if line.startswith("proa: ")]) == 1, done.stderr


@pytest.fixture(autouse=True)
def nothing_left_behind(proa, store):
    yield
    assert proa("ps", "-aq").stdout == ""
    assert not list(store[1].glob("[0-9a-f]*"))


@pytest.mark.parametrize("command, code, words", [
    (["absent"], 127, ['"absent"', "not in the image"]),
    (["/no/such"], 127, ["/no/such", "no such file"]),
    (["/bin/no-interpreter"], 127, ["/bin/no-interpreter", "interpreter /bin/absent is not in the image"]),
    (["no-interpreter"], 127, ["interpreter /bin/absent is not in the image"]),
    (["/bin/windows-script"], 127, ["interpreter"]),
    (["/bin/dynamic"], 127, ["/bin/dynamic", "interpreter /lib64/ld-linux-x86-64.so.2 is not in the image"]),
    (["/bin/not-a-program"], 126, ["not a program"]),
    (["/bin/empty"], 126, ["empty"]),
    (["/bin/foreign"], 126, ["arm64"]),
    (["/etc/passwd"], 126, ["permission denied"]),
    (["/etc"], 126, ["is a directory"]),
    ([""], 127, ["empty"]),
])
def test_command(run, command, code, words):
    refused(run(*command), code, *words)


@pytest.mark.parametrize("opts, words", [
    (["-u", "nobody"], ["user", '"nobody"', "/etc/passwd"]),
    (["-u", "root:absent"], ["group", '"absent"']),
    (["-w", "relative"], ["-w", "absolute"]),
    (["-w", "/etc/passwd"], ["/etc/passwd"]),
    (["-v", "name:/data"], ["named volumes"]),
    (["-v", "/only-one"], ["SOURCE:TARGET"]),
    (["-v", "/tmp:relative"], ["absolute"]),
    (["-v", "/tmp:/"], ["root itself"]),
    (["-v", "/tmp:/x:bogus"], ["bogus"]),
    (["-v", "/etc:/etc/passwd"], ["/etc/passwd"]),
    (["-v", "/etc/passwd:/etc"], ["/etc"]),
    (["--mount", "type=volume,target=/x"], ["type=volume"]),
    (["--mount", "type=bind,source=/absent/path,target=/x"], ["/absent/path"]),
    (["--mount", "type=bind,target=/x"], ["source"]),
    (["--tmpfs", "relative"], ["--tmpfs", "absolute"]),
    (["--tmpfs", "/x:bogus=1"], ["bogus"]),
    (["--cap-add", "NET_ADMINN"], ["NET_ADMINN", "did you mean NET_ADMIN"]),
    (["--ulimit", "nofil=1"], ["nofil", "did you mean nofile"]),
    (["--ulimit", "nofile=200:100"], ["above"]),
    (["--memory", "lots"], ["--memory", "512m"]),
    (["--memory", "1m"], ["too little", "6MiB"]),
    (["--cpus", "none"], ["--cpus"]),
    (["--pids-limit", "-7"], ["--pids-limit"]),
    (["--network", "bridge"], ["bridge", "--network none"]),
    (["--name", "a/b"], ["--name", "a/b"]),
    (["--name", "x"], ["--name"]),
    (["--isolation", "jail"], ["container or vm"]),
    (["--security-opt", "apparmor=x"], ["apparmor=x"]),
    (["--security-opt", "seccomp=/absent.json"], ["/absent.json"]),
    (["--env-file", "/absent.env"], ["/absent.env"]),
    (["-e", "=x"], ["name"]),
    (["--hostname", "x" * 70], ["--hostname"]),
    (["--userns", "keep"], ["--userns", "auto or host"]),
    (["--userns", "auto", "--privileged"], ["--privileged"]),
    (["--bogus"], ["--bogus"]),
    (["--entrypont", "x"], ["did you mean --entrypoint"]),
])
def test_option(run, opts, words):
    refused(run("true", opts=opts), 125, *words)


def test_vm_and_container_contradict(proa, image):
    refused(proa("run", "--vm", "--isolation", "container", image), 125, "contradicts")


def test_kernel_needs_vm(proa, image):
    refused(proa("run", "--kernel", "x", image), 125, "--kernel", "--vm")


def test_unknown_image(proa):
    refused(proa("run", "no-such-image"), 125, "no-such-image")


def test_bad_image_name(proa):
    refused(proa("run", "UPPER/Case:!"), 125, "UPPER/Case:!")


def test_no_image(proa):
    refused(proa("run"), 125, "run")


def test_terminal_without_one(proa, image):
    refused(proa("run", "--rm", "-it", image), 125, "terminal")


def test_seccomp_profile_that_is_none(proa, image, tmp_path):
    bad = tmp_path / "bad.json"
    bad.write_text("{")
    refused(proa("run", "--rm", "--security-opt", f"seccomp={bad}", image, "true"), 125, "bad.json", "JSON")
    bad.write_text(json.dumps({"defaultAction": "SCMP_ACT_NOTIFY_ME"}))
    refused(proa("run", "--rm", "--security-opt", f"seccomp={bad}", image, "true"), 125, "SCMP_ACT_NOTIFY_ME")


def test_ulimit_above_the_host(proa, image):
    refused(proa("run", "--rm", "--ulimit", "nofile=10:99999999999", image, "true"), 125, "nofile")


def test_device_that_is_none(proa, image):
    refused(proa("run", "--rm", "--device", "/etc/passwd", image, "true"), 125, "/etc/passwd", "not a device")
    refused(proa("run", "--rm", "--device", "/dev/absent", image, "true"), 125, "/dev/absent")


@pytest.mark.parametrize("opts, words", [
    (["--network", "host"], ["host"]),
    (["--device", "/dev/kmsg"], ["--device", "/dev/kmsg"]),
    (["--cpus", "4096"], ["4096"]),
    (["--userns", "auto"], ["--userns"]),
    (["--kernel", "absent"], ["absent"]),
    (["--kernel", "/etc/passwd"], ["/etc/passwd"]),
])
def test_machine(proa, image, kernel, opts, words):
    refused(proa("run", "--rm", "--vm", *opts, image, "true"), 125, *words)


def test_unknown_container(proa):
    for command in (["exec", "nobody-here", "true"], ["stop", "nobody-here"], ["kill", "nobody-here"],
                    ["rm", "nobody-here"], ["logs", "nobody-here"]):
        done = proa(*command)
        assert done.returncode in (1, 125)
        assert "nobody-here" in done.stderr


def test_store_that_cannot_be_written(proa, image):
    done = proa("--root", "/proc/proa-store", "images")
    refused(done, 125, "/proc/proa-store")


def test_unknown_command(proa):
    done = proa("imagse")
    assert done.returncode == 125
    assert 'did you mean "images"' in done.stderr


def test_full_disk(proa, image, store, tmp_path):
    """A store on a file system with no room left: an error, and nothing that a later command trips over."""
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "small", str(small)], check=True)
    try:
        from conftest import Proa
        full = Proa(small / "store", tmp_path / "run")
        archive = tmp_path / "image.tar"
        proa("save", "-o", archive, "busybox", check=True)
        done = full("load", "-i", archive)
        refused(done, done.returncode, "space")
        assert done.returncode != 0
        assert full("images", "-q").returncode == 0
        assert not list((small / "store").glob("tmp/*"))
    finally:
        subprocess.run(["umount", str(small)], check=True)
