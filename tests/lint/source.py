#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Rules of the house that a script can see: file and function length, licence lines, unfinished words."""
import pathlib
import re
import subprocess
import sys

FILE_MAX = 1000
FUNCTION_MAX = 100
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")


def functions(lines):
    """(name, first line, length) of each function body that opens with "{" in column one."""
    start = None
    for number, line in enumerate(lines, 1):
        if line.startswith("{") and start is None:
            start = number
        elif line.startswith("}") and start is not None:
            yield start - 1, number - start
            start = None


def main():
    top = pathlib.Path(__file__).resolve().parents[2]
    out = subprocess.run(["git", "-C", top, "ls-files", "-co", "--exclude-standard"],
                         capture_output=True, text=True, check=True).stdout
    bad = []
    count = 0
    for name in out.split("\n"):
        path = top / name
        if not name or not path.is_file() or path.suffix not in (".c", ".h", ".py", ".sh"):
            continue
        count += 1
        text = path.read_text()
        lines = text.split("\n")
        if len(lines) > FILE_MAX:
            bad.append(f"{name}: {len(lines)} lines, more than {FILE_MAX}")
        if path.suffix in (".c", ".h"):
            if "SPDX-License-Identifier: Apache-2.0" not in lines[0]:
                bad.append(f"{name}: the first line is not the licence line")
            for line, length in functions(lines):
                if length > FUNCTION_MAX:
                    bad.append(f"{name}:{line}: a function of {length} lines, more than {FUNCTION_MAX}")
        if "lint" not in name and UNFINISHED.search(text):
            bad.append(f"{name}: has a word that stands over unfinished work")
    print("\n".join(bad) if bad else f"source: {count} files keep the rules")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
