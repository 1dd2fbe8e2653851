# SPDX-License-Identifier: Apache-2.0
"""compare, info, doctor, help, completion, and an installation."""
import json
import os
import re
import shutil
import subprocess

import pytest
from conftest import BUILD, TOP, Proa

COMMANDS = ["compare", "doctor", "exec", "history", "images", "import", "info", "inspect", "kill", "load", "logs",
            "ps", "rm", "rmi", "run", "save", "stop", "tag"]


@pytest.fixture(scope="module")
def compared(proa, image, kernel, tmp_path_factory):
    page = tmp_path_factory.mktemp("compare") / "page.html"
    done = proa("compare", "--runs", "2", "--json", "--html", page, image, "--", "sh", "-c", "exit 3", check=True)
    return json.loads(done.stdout), page.read_text()


def test_compare_measures_both(compared):
    result, _ = compared
    assert (result["image"], result["runs"]) == ("busybox", 2)
    for side in ("container", "vm"):
        s = result[side]
        assert s["not_measured"] is None
        assert len(s["start"]["all_ns"]) == 2
        assert 0 < s["start"]["min_ns"] <= s["start"]["median_ns"] <= s["start"]["max_ns"]
        assert s["command_exit_code"] == 3
        assert s["command"]["median_ns"] > s["start"]["median_ns"] / 2
        for work in ("cpu", "memory", "disk", "syscalls", "processes"):
            assert s["work"][work]["median_ns"] > 0
        assert s["memory_bytes"] > 10000
        assert s["disk_bytes"] > 1000000


def test_compare_tells_the_kernels_apart(compared):
    result, _ = compared
    assert result["container"]["kernel"] == os.uname().release
    assert not result["container"]["own_kernel"]
    assert result["vm"]["own_kernel"]
    assert result["vm"]["memory_bytes"] > result["container"]["memory_bytes"]


def test_compare_page_stands_alone(compared):
    _, page = compared
    assert page.startswith("<!doctype html>")
    assert page.rstrip().endswith("</html>")
    assert not re.search(r"(src|href)=|https?:|@import|<script", page)
    assert page.count("<svg") == page.count("</svg>") == 5


def test_compare_table_says_what_was_not_measured(proa, image, kernel):
    out = proa("compare", "--runs", "1", image, check=True).stdout
    row = next(line for line in out.splitlines() if line.startswith("The command "))
    assert row.count("not measured") == 2


def test_compare_without_a_kernel(proa, image, store, tmp_path):
    """The machine's side cannot be had: the container's is still measured, and the reason is shown."""
    archive = tmp_path / "image.tar"
    proa("save", "-q", "-o", archive, image, check=True)
    other = Proa(tmp_path / "store", store[1] / "other")
    other("load", "-q", "-i", archive, check=True)
    done = other("compare", "--runs", "1", image)
    assert done.returncode == 0
    assert "proa kernel pull" in done.stdout
    assert "Start to first instruction" in done.stdout


@pytest.mark.parametrize("args, words", [
    (["absent-image"], "absent-image"),
    (["--runs", "0", "busybox"], "--runs"),
    (["--html", "/absent/dir/page.html", "--runs", "1", "busybox"], "/absent/dir/page.html"),
])
def test_compare_refuses(proa, image, kernel, args, words):
    done = proa("compare", *args)
    assert done.returncode == 125
    assert words in done.stderr


def test_info(proa):
    facts = {f["Name"]: f for f in json.loads(proa("info", "--json", check=True).stdout)}
    assert facts["kernel"]["Value"].startswith(os.uname().release)
    assert facts["cgroups"]["State"] == "fine"
    assert facts["KVM"]["State"] in ("fine", "slower")
    # a KVM that cannot be used is said with its reason
    assert facts["KVM"]["State"] == "fine" or len(facts["KVM"]["Value"]) > 10
    for fact in facts.values():
        assert (fact["State"] == "fine") == (fact["Advice"] == "")


def test_doctor(proa, kernel):
    done = proa("doctor")
    assert done.returncode == 0, done.stdout
    assert "guest kernel" in done.stdout


def test_doctor_without_a_kernel(tmp_path):
    done = Proa(tmp_path / "store", tmp_path / "run")("doctor")
    assert done.returncode == 1
    assert "proa kernel pull" in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_help(proa, command):
    done = proa(command, "--help", check=True)
    assert done.stdout.startswith(f"Usage:  proa {command} ")
    assert "\nExamples:\n" in done.stdout
    assert done.stderr == ""


def test_help_lists_every_command(proa):
    out = proa("--help", check=True).stdout
    for command in COMMANDS + ["kernel"]:
        assert re.search(rf"^  {command} ", out, re.M), command


def test_manual_pages_name_every_option(proa):
    """An option that --help knows and no page mentions is a page out of date."""
    pages = {"run": "proa-run", "exec": "proa-run", "compare": "proa-compare", "ps": "proa-containers",
             "logs": "proa-containers", "stop": "proa-containers", "rm": "proa-containers"}
    for command, page in pages.items():
        text = (TOP / "docs" / "man" / f"{page}.1.scd").read_text()
        for line in proa(command, "--help").stdout.splitlines():
            match = re.match(r"  (?:-(\w), |    )--([a-z-]+)", line)
            if match:
                letter, name = match.groups()
                assert f"--{name}" in text or (letter and f"-{letter}" in text), f"{command} --{name}"


def test_completion(proa, image):
    script = f"""source {TOP}/docs/man/proa.bash
        COMP_WORDS=(proa r) COMP_CWORD=1; _proa; echo "${{COMPREPLY[@]}}"
        COMP_WORDS=(proa run --isol) COMP_CWORD=2; _proa; echo "${{COMPREPLY[@]}}"
        COMP_WORDS=(proa run --isolation v) COMP_CWORD=3; _proa; echo "${{COMPREPLY[@]}}"
        COMP_WORDS=(proa run busy) COMP_CWORD=2; _proa; echo "${{COMPREPLY[@]}}" """
    env = dict(proa.env, PATH=f"{BUILD}:{os.environ['PATH']}")
    out = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=env, timeout=30).stdout.splitlines()
    assert set(out[0].split()) == {"run", "rm", "rmi"}
    assert out[1:] == ["--isolation", "vm", "busybox:latest"]


def test_installation(proa, image, tmp_path, store):
    """make install below DESTDIR: the helpers are found relative to the executable."""
    env = dict(os.environ, DESTDIR=str(tmp_path))
    subprocess.run(["meson", "install", "--no-rebuild", "-C", str(BUILD)], env=env, capture_output=True, check=True, timeout=60)
    installed = next(tmp_path.rglob("bin/proa"))
    other = Proa(*store)
    other.exe = installed
    shutil.rmtree(store[0] / "seccomp", ignore_errors=True)  # so that proa-seccomp is needed
    done = other("run", "--rm", image, "echo", "installed")
    assert (done.returncode, done.stdout) == (0, "installed\n"), done.stderr
    assert list(tmp_path.rglob("man1/proa-run.1"))
