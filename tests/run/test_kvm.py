# SPDX-License-Identifier: Apache-2.0
"""A true KVM, on any machine: QEMU's software emulation has AMD's virtualisation, so a machine of proa's
whose kernel loads kvm-amd has a /dev/kvm that runs guests. proa runs in it, and finds and uses KVM.
"""
import os
import subprocess

import pytest
from conftest import BUILD

PACKAGES = ("qemu-system-x86,qemu-system-common,erofs-utils,e2fsprogs,kmod,libjansson4,libarchive13,libisal2,"
            "libseccomp2,zstd,lz4,busybox-static")

INNER = r"""
set -e
for m in irqbypass kvm kvm-amd; do insmod $(find /k/modules -name "$m.ko"); done
mknod /dev/kvm c 10 232
export PROA_ROOT=/store PROA_RUN_ROOT=/run/proa
mkdir -p /root-fs/bin
cp /bin/busybox /root-fs/bin/
for a in sh uname id; do ln -s busybox /root-fs/bin/$a; done
tar -C /root-fs -c . | /proa/proa import -q - box
/proa/proa kernel import --name inner --modules /k/modules /k/vmlinux
echo "kvm: $(/proa/proa info --format '{{.Name}} {{.Value}}' | grep ^KVM)"
set +e
# The emulated virtualisation now and then delivers a fault that no processor would, and the innermost
# kernel panics in one of its first interrupts: the start is tried again then (125), nothing else is.
for try in 1 2 3; do
	/proa/proa --verbose run --rm --vm -m 64m --cpus 1 -u 7:8 box sh -c 'echo "inside: $(uname -r) $(id -u)"; exit 7'
	code=$?
	[ $code = 125 ] || break
done
echo "exit code: $code"
"""


@pytest.fixture(scope="module")
def debian(proa):
    """A Debian with what proa needs at run time; kept in the build directory."""
    tar = BUILD / "test-store" / "debian-for-kvm.tar"
    if not tar.exists():
        made = subprocess.run(["mmdebstrap", "--quiet", "--format=tar", "--variant=minbase", f"--include={PACKAGES}",
                               "bookworm", f"{tar}.part"], capture_output=True, text=True, timeout=600, check=False)
        if made.returncode != 0:
            pytest.skip(f"no Debian image can be made: {made.stderr.strip().splitlines()[-1]}")
        os.rename(f"{tar}.part", tar)
    proa("import", "-q", tar, "debian-for-kvm", check=True, timeout=120)
    yield "debian-for-kvm"
    proa("rmi", "debian-for-kvm", check=True)


def test_machine_on_kvm(proa, kernel, debian, store, tmp_path):
    script = tmp_path / "inner.sh"
    script.write_text(INNER)
    installed = (store[0] / "kernels" / "default").resolve()
    done = proa("run", "--rm", "--vm", "--privileged", "-m", "2g", "-v", f"{BUILD}:/proa:ro",
                "-v", f"{installed}:/k:ro", "-v", f"{script}:/inner.sh:ro", debian, "bash", "/inner.sh", timeout=400)
    assert "kvm: KVM usable" in done.stdout, done.stderr
    assert "machine: KVM" in done.stderr
    assert f"inside: {installed.name} 7" in done.stdout, done.stderr
    assert "exit code: 7" in done.stdout
