# SPDX-License-Identifier: Apache-2.0
"""`proa kernel build` with what it cannot build from: one line that says what is wrong, soon, and nothing left."""
import os
import pathlib
import shutil
import signal
import subprocess
import tarfile
import time

import pytest
from conftest import add_file

TOOLS = ("make", "gcc", "ld", "objcopy", "flex", "bison", "bc", "tar", "xz", "gzip", "awk", "sed", "find")


@pytest.fixture(autouse=True)
def nothing_left_behind(proa):
    yield
    kernels = proa.root / "kernels"
    assert not kernels.exists() or not list(kernels.glob(".[bn]*"))


@pytest.fixture
def build(proa):
    def call(*args, **kw):
        return proa("kernel", "build", *args, **kw)

    return call


def refused(done, *words):
    assert done.returncode == 125, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("proa: ")][-1:]
    for word in words:
        assert word in done.stderr[done.stderr.index(line):], done.stderr


@pytest.fixture
def needs_tools():
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing or not pathlib.Path("/usr/include/gelf.h").exists():
        pytest.skip(f"not installed: {missing or 'libelf-dev'}")


@pytest.mark.parametrize("args, words", [
    (["--bogus"], ["--bogus"]),
    (["argument"], ["argument"]),
    (["--jobs", "many"], ["--jobs", "many"]),
    (["--name", "../up"], ["../up", "cannot be the name"]),
    (["--name", "default"], ["default", "cannot be the name"]),
    (["--config", "/absent"], ["/absent", "No such file"]),
    (["--config", "/etc/passwd"], ["/etc/passwd", "line 1", "CONFIG_NAME=value"]),
    (["--config", "/dev/null"], ["has no option"]),
    (["--keep", "/etc"], ["/etc", "empty"]),
    (["--keep", "/absent/build"], ["/absent/build"]),
])
def test_arguments(build, args, words):
    refused(build(*args), *words)


def test_name_that_is_taken(proa, build, kernel):
    taken = proa("kernel", "ls", "-q", check=True).stdout.split()[0]
    refused(build("--name", taken), taken, "already", "kernel rm")


@pytest.mark.parametrize("make, words", [
    (lambda path: None, ["No such file"]),
    (lambda path: path.mkdir(), ["not the source of a Linux", "Makefile"]),
    (lambda path: path.write_text("text"), ["unpack", "tar archive", "--keep"]),
    (lambda path: tarfile.open(path, "w").close(), ["not the source of a Linux"]),
])
def test_source_that_is_none(build, needs_tools, tmp_path, make, words):
    source = tmp_path / "source"
    make(source)
    refused(build("--source", source), *words)


def test_missing_tools(proa, tmp_path):
    """Hidden in a mount namespace: the search goes on in /usr/bin whatever PATH says."""
    if os.geteuid() != 0:
        pytest.skip("needs root: a mount namespace")
    (tmp_path / "absent.h").write_text("#error absent\n")
    script = """
        for t in flex bison; do p=$(command -v $t) && mount --bind /dev/null "$p"; done
        [ ! -e /usr/include/gelf.h ] || mount --bind "$1" /usr/include/gelf.h
        shift
        exec "$@"
    """
    done = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", tmp_path / "absent.h", *proa.argv("kernel", "build")],
                          capture_output=True, text=True, env=proa.env, timeout=60, check=False)
    refused(done, "flex", "bison", "gelf.h", "apt-get install flex bison libelf-dev")


def fake_source(path, makefile):
    """What looks like the source of a Linux, with a Makefile of ours in it."""
    with tarfile.open(path, "w") as tar:
        for name, text in (("Makefile", makefile), ("Kconfig", ""), ("arch/x86/Makefile", ""),
                           ("scripts/kconfig/Makefile", "")):
            add_file(tar, f"linux/{name}", text.encode(), 0o644)
    return path


CONFIGURES = "allnoconfig:\n\tcp $(KCONFIG_ALLCONFIG) $(O)/.config\n"


def test_option_that_does_not_exist(build, needs_tools, tmp_path):
    fragment = tmp_path / "fragment"
    fragment.write_text("CONFIG_SMP=y\nCONFIG_NO_SUCH_OPTION=y\n# CONFIG_MODULES is not set\n")
    source = fake_source(tmp_path / "linux.tar", "allnoconfig:\n\techo CONFIG_SMP=y >$(O)/.config\n")
    refused(build("--source", source, "--config", fragment), str(fragment), "did not take effect",
            "CONFIG_NO_SUCH_OPTION=y (it is n)")


def test_build_that_fails(build, needs_tools, tmp_path):
    source = fake_source(tmp_path / "linux.tar", CONFIGURES +
                         "vmlinux:\n\t@echo 'x.c:1: error: no such thing'; for i in 1 2 3 4 5; do echo $$i; done; exit 1\n")
    refused(build("--source", source, "--name", "broken"), "compiling the kernel failed", "x.c:1: error: no such thing",
            "Error 1", "--keep DIR")
    keep = tmp_path / "keep"
    refused(build("--source", source, "--name", "broken", "--keep", keep), str(keep / "build.log"))
    assert "no such thing" in (keep / "build.log").read_text()


def test_what_is_built_is_no_kernel(build, needs_tools, tmp_path):
    source = fake_source(tmp_path / "linux.tar", CONFIGURES + "vmlinux:\n\techo text >$(O)/vmlinux\n")
    refused(build("--source", source, "--name", "broken"), "not a kernel that can be loaded")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_broken_off(proa, needs_tools, tmp_path, number):
    mark = tmp_path / "late"
    source = fake_source(tmp_path / "linux.tar", CONFIGURES + f"vmlinux:\n\t(sleep 4; echo >{mark}) & wait\n")
    process = proa.popen("kernel", "build", "--source", source, "--name", "broken", stderr=subprocess.PIPE, text=True)
    assert any("compiling" in line for line in process.stderr)
    time.sleep(0.5)
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 128 + number, errors
    assert "interrupted" in errors
    time.sleep(4)
    assert not mark.exists()


def test_leftovers_of_a_killed_build_go(proa, build, needs_tools, tmp_path):
    source = fake_source(tmp_path / "linux.tar", CONFIGURES + "vmlinux:\n\tsleep 5\n")
    process = proa.popen("kernel", "build", "--source", source, "--name", "broken", stderr=subprocess.PIPE, text=True)
    assert any("compiling" in line for line in process.stderr)
    process.kill()
    process.wait(20)
    process.stderr.close()
    assert list((proa.root / "kernels").glob(".build-*"))
    refused(build("--source", "/absent"), "/absent")
    assert not list((proa.root / "kernels").glob(".build-*"))
