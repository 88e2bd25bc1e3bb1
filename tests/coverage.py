#!/usr/bin/env python3
"""Reports the line coverage of the parsers after the tests of a PETS_COVERAGE build ran.

usage: coverage.py BUILD_DIR SOURCE_DIR MINIMUM_PERCENT [GCOV...]
GCOV is the compiler's own tool: gcov (the default), or `llvm-cov gcov` for clang.

A line that no input can reach carries a comment `unreachable: why`; it does not count, and the report names it.
Exits with 1 where the parsers together stay below the minimum.
"""

import collections
import re
import subprocess
import sys
from pathlib import Path

MARK = "unreachable:"


# "  count*:  number:text" as gcov and llvm-cov print it; "-" counts nothing, "#####" and "=====" stand for 0
LINE = re.compile(r"\s*(#####|=====|\d+)\*?:\s*(\d+):")
SOURCE = re.compile(r"\s*-:\s*0:Source:(.*)")


def line_counts(build: Path, source: Path, gcov: list[str]) -> dict[Path, dict[int, int]]:
    """file -> line -> executions, summed over all objects that hold the line."""
    counts: dict[Path, dict[int, int]] = collections.defaultdict(lambda: collections.defaultdict(int))
    for data in sorted(build.rglob("*.gcda")):
        run = subprocess.run([*gcov, "--stdout", str(data)], capture_output=True, text=True, check=True, cwd=build)
        path = None
        for text in run.stdout.splitlines():
            if (named := SOURCE.match(text)) is not None:
                path = Path(build, named[1]).resolve()
            elif path is not None and path.suffix == ".cc" and path.is_relative_to(source) and (line := LINE.match(text)) is not None:
                counts[path][int(line[2])] += int(line[1]) if line[1].isdigit() else 0
    return counts


def ranges(numbers: list[int]) -> str:
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def main() -> int:
    if len(sys.argv) < 4:
        print(__doc__, file=sys.stderr)
        return 2
    build, source = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    minimum = float(sys.argv[3])
    counts = line_counts(build, source, sys.argv[4:] or ["gcov"])
    if not counts:
        print("no coverage data: run the tests of a build with PETS_COVERAGE=ON first", file=sys.stderr)
        return 1
    total = covered = 0
    unreachable = []
    print(f"{'parser':<40} {'lines':>6} {'covered':>8}  not covered")
    for path, lines in sorted(counts.items()):
        text = path.read_text(encoding="utf-8").splitlines()
        name = path.relative_to(source).as_posix()
        marked = {n for n in lines if n <= len(text) and MARK in text[n - 1]}
        unreachable += [f"{name}:{n}: {text[n - 1].split(MARK, 1)[1].strip()}" for n in sorted(marked) if lines[n] == 0]
        counted = {n: c for n, c in lines.items() if n not in marked or c > 0}
        missed = [n for n, c in counted.items() if c == 0]
        total += len(counted)
        covered += len(counted) - len(missed)
        share = 100.0 * (len(counted) - len(missed)) / max(1, len(counted))
        print(f"{name:<40} {len(counted):>6} {share:>7.1f}%  {ranges(missed)}")
    share = 100.0 * covered / max(1, total)
    print(f"{'all':<40} {total:>6} {share:>7.1f}%")
    for line in unreachable:
        print(f"unreachable {line}")
    if share < minimum:
        print(f"below the minimum of {minimum:.0f}%", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
