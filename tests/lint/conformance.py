#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every test that docs/conformance.md names has to exist."""
import pathlib
import re
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]


def main():
    named = re.findall(r"(?:(tests/\w+)/)?\b(test_\w+)(?:::(test_\w+))", (TOP / "docs/conformance.md").read_text())
    bad = []
    for folder, file, test in named:
        path = TOP / (folder or "tests/oci") / f"{file}.py"
        if not path.exists() or not re.search(rf"^def {test}\(", path.read_text(), re.M):
            bad.append(f"docs/conformance.md: {path.relative_to(TOP)} has no {test}")
    print("\n".join(bad) if bad else f"conformance: {len(named)} tests named, all there")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
