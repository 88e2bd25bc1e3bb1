#!/usr/bin/env python3
"""clang-tidy over the sources of a build, several files in one run.

usage: tidy.py CLANG_TIDY BUILD_DIR[,BUILD_DIR...] WORK_DIR JOBS FILE...      a file is checked as the first build that has it compiles it

A check looks at every declaration that a file includes: 8 of the 9 seconds that one file takes go to headers. So files that are compiled
alike are checked as one that includes them. Files that define helpers of one name go apart; where the check finds anything, halves are
checked, down to each file alone, and that result counts.
"""

import collections
import concurrent.futures
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

GROUP = 12
# The one includes sources, which is what it is for.
UNITY_CHECKS = "--checks=-bugprone-suspicious-include"


def commands(builds: list[Path]) -> dict[Path, str]:
    """file -> its compiler options, without the file, and the output"""
    found = {}
    for build in builds:
        for entry in json.loads((build / "compile_commands.json").read_text(encoding="utf-8")):
            found.setdefault(Path(entry["file"]).resolve(), re.sub(r"^\S+|-o \S+ -c \S+$", "", entry["command"]))
    return found


# What a file defines at its outermost level: types, functions, constants.
DEFINED = re.compile(r"^(?:(?:struct|class|enum class|enum) (\w+)|using (\w+) =|[A-Za-z][\w:<>,&* ]*?[ *&](\w+)(?:\(|\[\w*\] =| =|\{))", re.MULTILINE)


def group_apart(files: list[Path]) -> list[list[Path]]:
    groups: list[tuple[list[Path], set[str]]] = []
    for file in files:
        names = {name for match in DEFINED.findall(file.read_text(encoding="utf-8")) for name in match if name}
        for members, taken in groups:
            if len(members) < GROUP and not names & taken:
                members.append(file)
                taken |= names
                break
        else:
            groups.append(([file], names))
    return [members for members, _ in groups]


def main() -> int:
    if len(sys.argv) < 6:
        print(__doc__, file=sys.stderr)
        return 2
    tidy, work, jobs = sys.argv[1], Path(sys.argv[3]), int(sys.argv[4])
    known = commands([Path(build) for build in sys.argv[2].split(",")])
    work.mkdir(parents=True, exist_ok=True)
    alike = collections.defaultdict(list)
    for file in [Path(name).resolve() for name in sys.argv[5:]]:
        if file not in known:
            print(f"{file}: not part of the build, not checked")
            return 1
        alike[known[file]].append(file)

    groups = [(options, group) for options, files in alike.items() for group in group_apart(files)]

    def run(file: Path, options: str, *checks: str) -> subprocess.CompletedProcess:
        return subprocess.run([tidy, "--quiet", *checks, str(file), "--", *shlex.split(options)], capture_output=True, text=True)

    def check(options: str, group: list[Path]) -> tuple[int, str]:
        if len(group) == 1:
            alone = run(group[0], options)
            return alone.returncode, alone.stdout
        one = work / f"{group[0].stem}-{len(group)}.cc"
        one.write_text("".join(f'#include "{file}"\n' for file in group), encoding="utf-8")
        if run(one, options, UNITY_CHECKS).returncode == 0:
            return 0, ""
        halves = [check(options, group[: len(group) // 2]), check(options, group[len(group) // 2 :])]
        return max(status for status, _ in halves), "".join(text for _, text in halves)

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        results = list(pool.map(lambda group: check(*group), groups))
    print("".join(text for _, text in results), end="")
    print(f"{sum(len(group) for _, group in groups)} files in {len(groups)} groups")
    return max((status for status, _ in results), default=0)


if __name__ == "__main__":
    sys.exit(main())
