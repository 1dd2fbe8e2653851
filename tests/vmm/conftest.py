# SPDX-License-Identifier: Apache-2.0
"""proa-vmm on a true KVM: one nested machine for all tests (tests/nested.py), and guests in it (tests/guests.py)."""
import pytest
from guests import Guests
from nested import Nested, debian_tar


@pytest.fixture(scope="session")
def nested(proa, kernel, fast_kernel, tmp_path_factory):
    stock = (proa.root / "kernels" / "default").resolve()
    work = tmp_path_factory.mktemp("nested")
    proa("import", "-q", debian_tar(), "debian-for-kvm", check=True, timeout=120)
    with Nested(proa, "debian-for-kvm", {"stock": stock, "fast": proa.root / "kernels" / fast_kernel}, work) as machine:
        yield machine
        proa("kill", machine.name)
        machine.wait()
    proa("rmi", "debian-for-kvm", check=True)


@pytest.fixture(scope="session")
def guests(nested):
    return Guests(nested)
