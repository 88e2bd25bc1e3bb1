#!/usr/bin/env python3
"""Reports the line coverage of the parsers after the tests of a PETS_COVERAGE build ran.

usage: coverage.py BUILD_DIR SOURCE_DIR [MINIMUM_PERCENT]

A line that no input can reach carries a comment `unreachable: why`; it does not count, and the report names it.
Exits with 1 where the parsers together stay below the minimum.
"""

import collections
import json
import subprocess
import sys
from pathlib import Path

MARK = "unreachable:"


def line_counts(build: Path, source: Path) -> dict[Path, dict[int, int]]:
    """file -> line -> executions, summed over all objects that hold the line."""
    counts: dict[Path, dict[int, int]] = collections.defaultdict(lambda: collections.defaultdict(int))
    for data in sorted(build.rglob("*.gcda")):
        run = subprocess.run(["gcov", "--json-format", "--stdout", str(data)], capture_output=True, text=True, check=True, cwd=build)
        for document in run.stdout.splitlines():
            for file in json.loads(document)["files"]:
                path = Path(build, file["file"]).resolve()
                if path.suffix != ".cc" or not path.is_relative_to(source):
                    continue
                for line in file["lines"]:
                    counts[path][line["line_number"]] += line["count"]
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
    if len(sys.argv) not in (3, 4):
        print(__doc__, file=sys.stderr)
        return 2
    build, source = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    minimum = float(sys.argv[3]) if len(sys.argv) == 4 else 0.0
    counts = line_counts(build, source)
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
