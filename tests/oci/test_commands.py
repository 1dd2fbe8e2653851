# SPDX-License-Identifier: Apache-2.0
"""What the runtime tells: list, ps, events, spec, features, versions; and how it says that something failed."""
import datetime
import json
import os
import re
import subprocess

import pytest
from conftest import TOP

from oci.bundle import refused, wait_for_end


def test_version(runtime):
    """Docker reads these lines: the word "version", "commit: " and "spec: "."""
    lines = runtime("--version", check=True).stdout.splitlines()
    assert re.fullmatch(r"\S+ version \S+", lines[0])
    assert any(line.startswith("commit: ") for line in lines)
    assert any(re.fullmatch(r"spec: 1\.\d+\.\d+.*", line) for line in lines)
    assert runtime("-v", check=True).stdout.splitlines() == lines


def test_help(runtime):
    text = runtime("--help", check=True).stdout
    for verb in ("checkpoint", "create", "delete", "events", "exec", "features", "kill", "list", "pause", "ps", "restore",
                 "resume", "run", "spec", "start", "state", "update"):
        assert verb in text
        assert runtime(verb, "--help").returncode == 0, verb


@pytest.mark.parametrize("args", [["nosuchverb"], ["--nosuchflag", "list"], ["list", "--nosuchflag"],
                                  ["list", "--format", "xml"], ["--log-format", "xml", "list"],
                                  ["events", "--interval", "0s", "x"], ["kill"]])
def test_bad_usage(container_runtime, args):
    assert container_runtime(*args).returncode != 0


# ---- list ----------------------------------------------------------------------------------------

def test_list(idle):
    lines = idle.runtime("list", check=True).stdout.splitlines()
    assert lines[0].split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    row = next(line for line in lines if line.startswith(idle.id)).split()
    assert row[:4] == [idle.id, str(idle.pid), "running", str(idle.path)]
    assert row[5] == "root"


def test_list_json(idle):
    rows = json.loads(idle.runtime("list", "--format", "json", check=True).stdout)
    row = next(row for row in rows if row["id"] == idle.id)
    assert row["pid"] == idle.pid and row["status"] == "running" and row["bundle"] == str(idle.path)
    assert row["rootfs"] == str(idle.rootfs) and row["owner"] == "root"
    assert datetime.datetime.fromisoformat(row["created"][:19])


def test_list_quiet(idle):
    assert idle.id in idle.runtime("list", "-q", check=True).stdout.splitlines()


def test_list_of_an_empty_or_absent_root(container_runtime, oci_dir):
    exe = container_runtime.exe
    for root in (oci_dir / "no-such-root",):
        done = subprocess.run([exe, "--root", root, "list", "-q"], capture_output=True, text=True, timeout=60,
                              check=False)
        assert (done.returncode, done.stdout) == (0, ""), done
        done = subprocess.run([exe, "--root", root, "list", "--format", "json"], capture_output=True, text=True,
                              timeout=60, check=False)
        assert json.loads(done.stdout) in (None, []), done


def test_list_shows_every_status(make_box):
    wanted = {}
    for status in ("created", "running", "paused", "stopped"):
        one = make_box().args("sleep", "1000")
        one.create()
        if status != "created":
            one.start()
        if status == "paused":
            one.runtime("pause", one.id, check=True)
        if status == "stopped":
            one.stop()
        wanted[one.id] = status
    rows = json.loads(one.runtime("list", "-f", "json", check=True).stdout)
    assert {row["id"]: row["status"] for row in rows if row["id"] in wanted} == wanted


# ---- ps ------------------------------------------------------------------------------------------

def test_ps_json(idle):
    pids = json.loads(idle.runtime("ps", "--format", "json", idle.id, check=True).stdout)
    assert idle.pid in pids and all(isinstance(pid, int) for pid in pids)


def test_ps_table(idle_box):
    lines = idle_box.runtime("ps", idle_box.id, check=True).stdout.splitlines()
    assert "PID" in lines[0].split() and "CMD" in lines[0].split()
    assert any(str(idle_box.pid) in line.split() and "trap" in line for line in lines[1:])


def test_ps_options_go_to_ps(idle_box):
    lines = idle_box.runtime("ps", idle_box.id, "-o", "pid,comm", check=True).stdout.splitlines()
    assert lines[0].split() == ["PID", "COMMAND"]
    assert [str(idle_box.pid), "sh"] in [line.split() for line in lines]


# ---- events --------------------------------------------------------------------------------------

def test_events_stats(idle):
    event = json.loads(idle.runtime("events", "--stats", idle.id, check=True).stdout)
    assert (event["type"], event["id"]) == ("stats", idle.id)
    data = event["data"]
    usage = data["cpu"]["usage"]
    assert usage["total"] > 0 and {"kernel", "user"} <= usage.keys()
    assert {"periods", "throttledPeriods", "throttledTime"} & data["cpu"].get("throttling", {}).keys() or \
        data["cpu"].get("throttling") == {}
    memory = data["memory"]
    assert memory["usage"]["usage"] > 0 and memory["usage"]["limit"] > 0
    assert {"usage", "max", "failcnt", "limit"} >= memory["usage"].keys() - {"limit"}
    assert isinstance(memory["raw"], dict) and memory["raw"]
    assert data["pids"]["current"] >= 1
    assert "blkio" in data and isinstance(data["blkio"], dict)


def test_events_stats_has_the_limits(box):
    box.linux["resources"].update(memory={"limit": 64 << 20}, pids={"limit": 50})
    data = json.loads(box.idle().runtime("events", "--stats", box.id, check=True).stdout)["data"]
    assert data["memory"]["usage"]["limit"] == 64 << 20
    assert data["pids"]["limit"] == 50


def test_events_come_at_intervals(idle_box):
    child = idle_box.runtime.popen("events", "--interval", "100ms", idle_box.id, stdout=subprocess.PIPE, text=True)
    try:
        first, second = (json.loads(child.stdout.readline()) for _ in range(2))
        assert first["type"] == second["type"] == "stats"
        assert second["data"]["cpu"]["usage"]["total"] >= first["data"]["cpu"]["usage"]["total"]
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def test_events_oom(box):
    box.linux["resources"]["memory"] = {"limit": 16 << 20, "swap": 16 << 20}
    box.sh("echo ready; read x; tail -c 100m /dev/zero >/dev/null; echo survived; exec sleep 1000")
    reader, writer = os.pipe()
    try:
        box.create(stdin=reader)
        box.start()
        box.expect("ready")
        child = box.runtime.popen("events", "--interval", "100ms", box.id, stdout=subprocess.PIPE, text=True)
        try:
            assert json.loads(child.stdout.readline())["type"] == "stats"
            os.write(writer, b"go\n")
            for line in child.stdout:
                if json.loads(line)["type"] == "oom":
                    break
            else:
                raise AssertionError("no oom event")
        finally:
            child.kill()
            child.wait()
            child.stdout.close()
    finally:
        os.close(reader)
        os.close(writer)


def test_events_end_with_the_container(box):
    box.idle()
    child = box.runtime.popen("events", "--interval", "50ms", box.id, stdout=subprocess.PIPE, text=True)
    try:
        child.stdout.readline()
        box.kill("KILL")
        wait_for_end(box.pid)
        box.delete()
        child.communicate(timeout=30)
    finally:
        child.kill()
        child.wait()


# ---- spec and features ---------------------------------------------------------------------------

def test_spec_runs(box):
    config = box.path / "config.json"
    box.runtime("spec", "--bundle", box.path, check=True)
    spec = json.loads(config.read_text())
    assert spec["process"]["args"] == ["sh"] and spec["process"]["terminal"] is True
    assert spec["root"]["readonly"] is True
    assert {ns["type"] for ns in spec["linux"]["namespaces"]} >= {"pid", "network", "ipc", "uts", "mount"}
    assert "/proc/kcore" in spec["linux"]["maskedPaths"] and "/proc/sys" in spec["linux"]["readonlyPaths"]
    spec["process"].update(terminal=False, args=["echo", "it runs"])
    box.config = spec
    assert box.run().stdout == "it runs\n"


def test_spec_does_not_overwrite(box):
    box.write()
    before = (box.path / "config.json").read_text()
    refused(box.runtime("spec", "--bundle", box.path), "config.json")
    assert (box.path / "config.json").read_text() == before


def test_spec_rootless(box):
    box.runtime("spec", "--rootless", cwd=box.path, check=True)
    spec = json.loads((box.path / "config.json").read_text())
    kinds = {ns["type"] for ns in spec["linux"]["namespaces"]}
    assert "user" in kinds and "network" not in kinds
    assert len(spec["linux"]["uidMappings"]) == 1 and len(spec["linux"]["gidMappings"]) == 1
    assert spec["linux"]["uidMappings"][0]["size"] == 1
    assert spec["linux"].get("resources") is None
    sysfs = next(m for m in spec["mounts"] if m["destination"] == "/sys")
    assert sysfs["type"] == "none" and "rbind" in sysfs["options"]


def test_features(runtime):
    features = json.loads(runtime("features", check=True).stdout)
    assert features["ociVersionMin"] == "1.0.0" and features["ociVersionMax"].startswith("1.")
    assert {"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"} == \
        set(features["hooks"])
    assert {"bind", "rbind", "ro", "rro", "rprivate", "rshared", "rslave", "nosuid", "tmpcopyup"} <= \
        set(features["mountOptions"])
    linux = features["linux"]
    assert {"cgroup", "ipc", "mount", "network", "pid", "user", "uts"} <= set(linux["namespaces"])
    assert "CAP_SYS_ADMIN" in linux["capabilities"]
    assert linux["cgroup"]["v1"] is True and linux["cgroup"]["v2"] is True
    assert linux["seccomp"]["enabled"] is True
    assert {"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_NOTIFY"} <= \
        set(linux["seccomp"]["actions"])
    assert {"SCMP_CMP_EQ", "SCMP_CMP_MASKED_EQ"} <= set(linux["seccomp"]["operators"])
    assert "SCMP_ARCH_X86_64" in linux["seccomp"]["archs"]


def test_features_tell_the_truth(box):
    """Every mount option that is listed is accepted."""
    features = json.loads(box.runtime("features", check=True).stdout)
    options = [o for o in features["mountOptions"] if o not in (
        "bind", "rbind", "remount", "defaults", "tmpcopyup", "acl", "noacl", "mand", "nomand", "idmap", "ridmap", "copy-symlink",
        "src-nofollow", "dest-nofollow", "iversion", "noiversion")]
    for number, option in enumerate(options):
        box.mount(f"/mnt/{number}", type="tmpfs", source="tmpfs", options=[option])
    done = box.run()
    assert done.returncode == 0, done


# ---- how failures are told -----------------------------------------------------------------------

def _fail(box, *globals):
    return box.args("absent-command").run(globals=globals)


def test_an_error_is_one_line(box):
    line = refused(_fail(box), "absent-command")
    assert "\x1b" not in line


def test_log_file_as_text(box):
    log = box.path / "log"
    refused(_fail(box, "--log", log), "absent-command")
    text = log.read_text()
    assert "level=error" in text and "absent-command" in text and text.count("\n") >= 1


def test_log_file_as_json(box):
    """The last error's message is what Docker and Podman show."""
    log = box.path / "log.json"
    refused(_fail(box, "--log", log, "--log-format", "json"), "absent-command")
    errors = [entry for entry in map(json.loads, log.read_text().splitlines()) if entry["level"] == "error"]
    assert '"absent-command"' in errors[-1]["msg"] and "executable file not found in $PATH" in errors[-1]["msg"]
    assert datetime.datetime.fromisoformat(errors[-1]["time"].replace("Z", "+00:00")).tzinfo


def test_log_file_is_appended_to(box):
    log = box.path / "log"
    log.write_text("before\n")
    _fail(box, "--log", log)
    assert log.read_text().startswith("before\n")
    assert len(log.read_text().splitlines()) >= 2


def test_log_file_stays_empty_when_all_is_well(box):
    log = box.path / "log"
    assert box.run(globals=["--log", log, "--log-format=json"]).returncode == 0
    assert not log.exists() or log.read_text() == ""


def test_json_on_standard_error(box):
    lines = [json.loads(line) for line in _fail(box, "--log-format", "json").stderr.splitlines() if line.startswith("{")]
    assert any(line["level"] == "error" for line in lines)


def test_debug_goes_to_the_log(box):
    log = box.path / "log"
    done = box.args("echo", "out").run(globals=["--debug", "--log", log, "--log-format", "json"])
    assert (done.returncode, done.stdout) == (0, "out\n")
    assert any(json.loads(line)["level"] == "debug" for line in log.read_text().splitlines())


def test_a_log_file_that_cannot_be_opened(box):
    refused(box.run(globals=["--log", "/absent/dir/log"]), "/absent/dir/log")


def test_options_may_have_an_equals_sign(box):
    box.args("echo", "out").write()
    argv = [box.runtime.exe, f"--root={box.runtime.root}", "--log-format=json", f"--log={box.path}/log", "run",
            f"--bundle={box.path}", box.id]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "out\n", done


def test_completion(container_runtime):
    script = f"""source {TOP}/docs/man/proa-oci.bash
        exe={container_runtime.exe}
        COMP_WORDS=($exe st) COMP_CWORD=1; _proa_oci; echo "${{COMPREPLY[@]}}"
        COMP_WORDS=($exe --root /x kill --a) COMP_CWORD=4; _proa_oci; echo "${{COMPREPLY[@]}}" """
    container_runtime.needs("strict-config")
    out = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30, check=True).stdout
    assert out == "start state\n--all\n"


def test_the_manual_page_names_every_option(container_runtime):
    container_runtime.needs("strict-config")
    text = (TOP / "docs/man/proa-oci.8.scd").read_text()
    for verb in ("create", "run", "exec", "kill", "delete", "ps", "list", "events", "spec"):
        for option in re.findall(r"--[a-z-]+", container_runtime(verb, "--help").stdout):
            assert option in text, (verb, option)
