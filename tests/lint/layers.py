#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Which way includes may point: a room may use those below it, and nothing else (docs/architecture.md).

Prints each include that points the wrong way, and exits 1 if there is one.
"""
import pathlib
import re
import sys

ALLOWED = {
    "util": set(),
    "oci": {"util"},
    "plan": {"oci", "util"},
    "store": {"oci", "util"},
    "image": {"store", "oci", "util"},
    "seccomp": {"plan", "util"},
    "systemd": {"util"},
    "container": {"plan", "util"},
    "vm": {"plan", "util", "guest"},
    "vmm": {"util"},
    "guest": {"container", "plan", "util"},
    "relay": {"plan", "util"},
    "ocivm": {"relay", "vm", "container", "plan", "oci", "util", "guest"},
    "runtime": {"container", "plan", "util"},
    "engine": {"relay", "container", "vm", "image", "store", "plan", "oci", "util"},
    "cli": {"engine", "vm", "image", "store", "plan", "oci", "util"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)


def room_of(include, own, top):
    """The room an include leads to: "room/file.h", or a plain name (the own room, or guest/)."""
    if "/" in include:
        return include.split("/")[0]
    return "guest" if (top / "guest" / include).exists() and own != "guest" else own


def main():
    top = pathlib.Path(__file__).resolve().parents[2]
    bad = []
    files = sorted([*(top / "src").rglob("*.[ch]"), *(top / "guest").glob("*.[ch]")])
    for path in files:
        parts = path.relative_to(top).parts
        own = parts[1] if parts[0] == "src" else "guest"
        if own not in ALLOWED:
            bad.append(f"{path.relative_to(top)}: the room \"{own}\" is not in tests/lint/layers.py")
            continue
        for include in INCLUDE.findall(path.read_text()):
            room = room_of(include, own, top)
            if room != own and room in ALLOWED and room not in ALLOWED[own]:
                bad.append(f"{path.relative_to(top)}: includes \"{include}\": {own} must not use {room}")
    print("\n".join(bad) if bad else f"layers: {len(files)} files, every include points down")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
