#!/usr/bin/env python3
"""What the CUDA kernels take on every architecture: registers, shared memory, spills, from ptxas's report in a build's output.

usage: resources.py BUILD-LOG     a table; fails where a kernel spills, or where the log names no kernel
       resources.py --self-test   proves that a spill is seen
"""

import re
import subprocess
import sys
from pathlib import Path

ENTRY = re.compile(r"Compiling entry function '(\S+)' for '(\S+)'")
FRAME = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers")


def kernels_of(log: str):
    """(architecture, mangled name, registers, stack frame, spilled bytes) of every kernel."""
    name = architecture = None
    frame = spilled = 0
    for line in log.splitlines():
        if found := ENTRY.search(line):
            name, architecture = found.groups()
            frame = spilled = 0
        elif found := FRAME.search(line):
            frame, stores, loads = map(int, found.groups())
            spilled = stores + loads
        elif (found := USED.search(line)) and name:
            yield architecture, name, int(found[1]), frame, spilled
            name = None


def demangled(names: list[str]) -> list[str]:
    plain = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True).stdout.splitlines()
    return [re.sub(r"^void |\(.*$", "", n.replace("pets::kernels::cuda::", "").replace("(anonymous namespace)::", "")) for n in plain]


def report(log: str) -> int:
    found = list(kernels_of(log))
    if not found:
        print("the log names no kernel")
        return 1
    rows = sorted((a, n, r, f, s) for (a, _, r, f, s), n in zip(found, demangled([name for _, name, *_ in found])))
    print("| architecture | kernel | registers | stack frame, bytes | spilled, bytes |\n|---|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")
    spilling = [row for row in rows if row[3] or row[4]]
    print(f"{len(rows)} kernels, {len(spilling)} spill")
    for architecture, name, registers, frame, spilled in spilling:
        print(f"spills: {architecture} {name}: {registers} registers, {frame} bytes of stack, {spilled} bytes moved")
    return 1 if spilling else 0


def self_test() -> int:
    good = "ptxas info : Compiling entry function '_Z1fv' for 'sm_87'\n 0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\nUsed 8 registers\n"
    bad = good.replace("0 bytes spill stores", "4 bytes spill stores")
    wrong = (report(good), report(bad), report("")) != (0, 1, 1)
    print("self-test failed" if wrong else "self-test passed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(self_test() if sys.argv[1] == "--self-test" else report(Path(sys.argv[1]).read_text(encoding="utf-8", errors="replace")))
