# SPDX-License-Identifier: Apache-2.0
"""cgroup v2 on a host that has v1: the unit tests of groups, linked statically, in a machine of proa's.

One machine for all of it, for an emulated one is slow to start. The test programs' TAP is judged line by line.
"""
import re

import pytest
from conftest import BUILD

# The container's own group becomes one without processes, as the groups above a container's must be.
SCRIPT = """
cd /sys/fs/cgroup || exit 1
mkdir init
for p in $(cat cgroup.procs); do echo $p > init/cgroup.procs; done
echo "processes left: $(cat cgroup.procs | wc -l)"
for t in test_cgroup test_cgroup_limits; do
	/unit/${t}_static
	echo "exit code: $?"
done
echo "groups left: $(ls -d proa-unit-* 2>/dev/null)."
"""


@pytest.fixture(scope="module")
def output(proa, image, kernel):
    done = proa("run", "--rm", "--vm", "--privileged", "-m", "512m", "-v", f"{BUILD / 'tests/unit'}:/unit:ro", image,
                "sh", "-c", SCRIPT, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_is_v2(output):
    assert "processes left: 0\n" in output
    assert re.search(r"^ok 1 - cgroup v2: the group of this test$", output, re.M), output


def test_all_pass(output):
    failed = [line for line in output.split("\n") if line.startswith("not ok")]
    assert not failed, output
    assert output.count("exit code: 0\n") == 2, output


def test_none_is_lost(output):
    planned = sum(map(int, re.findall(r"^1\.\.(\d+)$", output, re.M)))
    assert planned > 200
    assert len(re.findall(r"^ok \d+", output, re.M)) == planned


@pytest.mark.parametrize("line", [
    "device 1:5",
    "exceptions both ways",
    "a burst above what the quota was",
    "kill one that forks all the time",
    "a limit below what is in use is refused",
    "owner of cgroup.procs",
    "unified limits",
])
def test_v2_only_or_difficult(output, line):
    """Each of these ran, and was not skipped."""
    assert re.search(rf"^ok \d+ - {re.escape(line)}$", output, re.M), output


def test_nothing_left(output):
    assert "groups left: .\n" in output
