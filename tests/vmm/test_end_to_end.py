# SPDX-License-Identifier: Apache-2.0
"""proa in the nested machine: it finds KVM usable, and runs machines on proa-vmm by itself. All end-to-end tests of
machines run there once more, the same bodies that this host runs with QEMU."""
import re

from nested import BUILD

SELECTION = "vm and not fast_kernel and not cgroup_v2 and not tests/vmm"


def test_end_to_end(nested):
    done = nested.sh(f"""mkdir -p /var/tmp/w/store; cd /src
export PROA_TEST_STORE=/var/tmp/w/store PROA_BUILD=/proa
PROA_ROOT=/var/tmp/w/store PROA_RUN_ROOT=/run/proa /proa/proa kernel import --name fast /fast/vmlinux
PROA_ROOT=/var/tmp/w/store PROA_RUN_ROOT=/run/proa /proa/proa info | grep -E 'KVM|hypervisor'
python3 -m pytest -rsfE --tb=short --basetemp=/var/tmp/base tests/run tests/bad -k '{SELECTION}'""", timeout=2400)
    assert re.search(r"KVM +usable", done.stdout) and re.search(r"hypervisor +proa-vmm, on KVM", done.stdout), done.stdout
    summary = done.stdout.strip().splitlines()[-1]
    assert done.returncode == 0 and "failed" not in summary, done.stdout[-8000:]
    passed = int(re.search(r"(\d+) passed", summary).group(1))
    assert passed > 150, summary
    # tools/check counts them
    (BUILD / "nested-passed").write_text(f"{passed}\n")


def test_hypervisor_of_choice(nested):
    """On one KVM, with one image: proa-vmm, QEMU on KVM, QEMU without."""
    done = nested.sh("""export PROA_ROOT=/var/tmp/choice PROA_RUN_ROOT=/run/choice
mkdir -p /tmp/choice/bin; cp /bin/busybox /tmp/choice/bin/; ln -sf busybox /tmp/choice/bin/sh
tar -C /tmp/choice -c . | /proa/proa import -q - box >/dev/null
/proa/proa kernel import --name fast /fast/vmlinux
for h in auto proa-vmm qemu emulation nonsense; do
	/proa/proa --verbose run --rm --vm --hypervisor $h -m 64m -u 7:8 box sh -c 'echo "in $0: $(busybox id -u)"; exit 9' $h
	echo "$h: $?"
done
/proa/proa run --rm --hypervisor qemu box true; echo "container: $?"
rm -rf /var/tmp/choice""", timeout=240)
    for choice, machine in (("auto", "proa-vmm, KVM"), ("proa-vmm", "proa-vmm, KVM"), ("qemu", "qemu, KVM"),
                            ("emulation", "qemu, software emulation")):
        assert f"in {choice}: 7" in done.stdout and f"{choice}: 9" in done.stdout, done.stdout
        assert f"machine: {machine}" in done.stdout, done.stdout
    assert 'no hypervisor "nonsense"' in done.stdout and "nonsense: 125" in done.stdout, done.stdout
    assert "--hypervisor needs --vm" in done.stdout and "container: 125" in done.stdout, done.stdout


def test_without_kvm(proa, image, kernel):
    """Where KVM is not usable, proa-vmm is refused with the reason."""
    del kernel
    info = proa("info", "--format", "{{.Name}}: {{.Value}}", check=True).stdout
    done = proa("run", "--rm", "--vm", "--hypervisor", "proa-vmm", image, "true")
    if "KVM: usable" in info:
        assert done.returncode == 0, done.stderr
    else:
        reason = re.search(r"^KVM: (.*)$", info, re.M).group(1)
        assert done.returncode == 125 and "proa-vmm needs KVM" in done.stderr and reason in done.stderr
