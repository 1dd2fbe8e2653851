# SPDX-License-Identifier: Apache-2.0
"""A true KVM, on any machine: QEMU's software emulation has AMD's virtualisation, so a machine of proa's whose
kernel loads kvm-amd has a /dev/kvm that runs guests (docs/vmm.md). It has one processor: with several the
emulation itself gets stuck now and then.

What is shared with it: /proa (the build), /src (the sources), /k (the stock kernel's directory in the store),
/fast (that of the fast kernel), /t (a directory of the tests' own).
"""
import os
import pathlib
import subprocess

import pytest
from conftest import BUILD, TOP, Background

PACKAGES = ("qemu-system-x86,qemu-system-common,erofs-utils,e2fsprogs,kmod,libjansson4,libarchive13,libisal2,"
            "libseccomp2,zstd,lz4,xz-utils,busybox-static,python3-pytest,procps,iproute2,socat,passt")

SETUP = r"""
set -e
for m in irqbypass kvm kvm-amd tun; do insmod "$(find /k/modules -name "$m.ko")"; done
[ -e /dev/kvm ] || mknod /dev/kvm c 10 232
mkdir -p /dev/net && { [ -e /dev/net/tun ] || mknod /dev/net/tun c 10 200; }
ip link set lo up
mkdir -p /var/cache/proa
echo ready
exec sleep 100000
"""


def debian_tar(name="debian-for-kvm", packages=PACKAGES):
    """A Debian with these packages (by default what proa and the tests need at run time); kept in the build directory."""
    tar = BUILD / f"{name}.tar"
    if not tar.exists():
        made = subprocess.run(["mmdebstrap", "--quiet", "--format=tar", "--variant=minbase", f"--include={packages}",
                               "bookworm", f"{tar}.part"], capture_output=True, text=True, timeout=900, check=False)
        if made.returncode != 0:
            pytest.skip(f"no Debian image can be made: {made.stderr.strip().splitlines()[-1]}")
        os.rename(f"{tar}.part", tar)
    return tar


class Nested(Background):
    """The machine with a KVM; commands run in it by `proa exec`."""

    def __init__(self, proa, image, kernels, work, memory="3g"):
        self.work, self.name = pathlib.Path(work), "nested"
        self.stock, self.fast = kernels["stock"], kernels["fast"]
        shares = [f"{BUILD}:/proa:ro", f"{TOP}:/src:ro", f"{kernels['stock']}:/k:ro", f"{kernels['fast']}:/fast:ro",
                  f"{work}:/t"]
        options = [word for share in shares for word in ("-v", share)]
        super().__init__(proa, "run", "--rm", "--vm", "--hypervisor", "emulation", "--privileged", "--init", "--name", self.name,
                         "-m", memory, "--cpus", "1", *options, image, "bash", "-c", SETUP)

    def sh(self, script, timeout=120):
        """Runs a script in it, to its end: a CompletedProcess, output and errors in one text."""
        done = self.proa("exec", self.name, "timeout", str(timeout - 5), "bash", "-c", f"exec 2>&1\n{script}",
                         timeout=timeout)
        done.stdout += done.stderr
        return done
