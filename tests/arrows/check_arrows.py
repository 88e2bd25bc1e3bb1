#!/usr/bin/env python3
"""Fails where an #include breaks the one-way arrows between the folders (docs/architecture.md has the map).

usage: check_arrows.py ROOT          check a tree
       check_arrows.py --self-test   prove that violations are caught
"""

import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

TOP_FOLDERS = ("schema", "kernels", "runtime", "converter", "examples", "tests", "benchmarks")
SOURCES = {".h", ".cc", ".cu", ".cuh", ".inc"}
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:<([^>]+)>|"([^"]+)")')
STANDARD = re.compile(r"[a-z0-9_]+")  # <vector>, <cstdint>: no slash, no suffix

TOOL_LIBRARIES = ("nlohmann/", "CLI/", "fmt/", "yaml-cpp/")
GENERATED = "bundle_generated.h"


@dataclass(frozen=True)
class Rule:
    """What the files under `folder` may include of this project, and what of others they may not."""

    folder: str
    ours: tuple[str, ...]
    not_ours: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    standard_only: bool = False


# The first rule whose folder fits decides.
RULES = (
    Rule("schema/", ("schema/",), forbidden=TOOL_LIBRARIES),
    Rule("kernels/", ("kernels/",), forbidden=TOOL_LIBRARIES + ("flatbuffers/",)),
    Rule("runtime/include/pets/", ("pets/",), standard_only=True),
    Rule("runtime/cli/", ("pets/", "runtime/"), forbidden=("yaml-cpp/", "flatbuffers/")),
    Rule("runtime/", ("pets/", "runtime/", "kernels/", "schema/"), not_ours=("runtime/cli/",), forbidden=TOOL_LIBRARIES),
    Rule("converter/", ("pets/", "converter/", "runtime/", "kernels/", "schema/"), not_ours=("runtime/cli/",)),
    Rule("examples/", ("pets/",)),
)


def is_ours(path: str) -> bool:
    return path.startswith("pets/") or path.split("/")[0] in TOP_FOLDERS or path.endswith(GENERATED)


def problem_of(file: str, included: str, quoted: bool) -> str | None:
    """Why `file` may not include `included`, or None where it may."""
    rule = next((r for r in RULES if file.startswith(r.folder)), None)
    if quoted and not is_ours(included):
        return "a quoted include is a path from the root of the project"
    if rule is None:
        return None
    if is_ours(included):
        if included.endswith(GENERATED):
            allowed = "schema/" in rule.ours
        else:
            allowed = included.startswith(rule.ours) and not included.startswith(rule.not_ours or ("\0",))
        return None if allowed else f"{rule.folder} may include only {', '.join(rule.ours)}"
    if rule.standard_only and not STANDARD.fullmatch(included):
        return f"{rule.folder} may include only the standard library and pets/"
    if included.startswith(rule.forbidden or ("\0",)):
        return f"{rule.folder} may not use this library"
    return None


def check(root: Path) -> tuple[list[str], int]:
    problems = []
    files = 0
    for folder in TOP_FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix not in SOURCES or not path.is_file():
                continue
            files += 1
            name = path.relative_to(root).as_posix()
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                found = INCLUDE.match(line)
                if not found:
                    continue
                reason = problem_of(name, found[1] or found[2], found[2] is not None)
                if reason:
                    problems.append(f"{name}:{number}: {line.strip()}: {reason}")
    return problems, files


# (file, line, is it a violation)
CASES = (
    ("kernels/gemm/a.cc", '#include "kernels/strip.h"', False),
    ("kernels/gemm/a.cc", "#include <hwy/highway.h>", False),
    ("kernels/gemm/a.cc", '#include "pets/status.h"', True),
    ("kernels/gemm/a.cu", '#include "runtime/platform/check.h"', True),
    ("kernels/gemm/a.h", "  #  include <runtime/platform/check.h>", True),
    ("schema/a.h", '#include "kernels/strip.h"', True),
    ("runtime/engine/a.cc", '#include "kernels/strip.h"', False),
    ("runtime/engine/a.cc", '#include "schema/bundle_generated.h"', False),
    ("runtime/engine/a.cc", '#include "converter/safetensors.h"', True),
    ("runtime/engine/a.cc", '#include "runtime/cli/options.h"', True),
    ("runtime/engine/a.cc", "#include <nlohmann/json.hpp>", True),
    ("runtime/engine/a.cc", "#include <fmt/format.h>", True),
    ("runtime/cli/a.cc", "#include <fmt/format.h>", False),
    ("runtime/cli/a.cc", '#include "converter/safetensors.h"', True),
    ("runtime/include/pets/a.h", "#include <vector>", False),
    ("runtime/include/pets/a.h", "#include <flatbuffers/flatbuffers.h>", True),
    ("runtime/include/pets/a.h", "#include <xxhash.h>", True),
    ("runtime/include/pets/a.h", '#include "runtime/platform/check.h"', True),
    ("converter/a.cc", '#include "runtime/bundle/bundle_file.h"', False),
    ("converter/a.cc", '#include "runtime/cli/options.h"', True),
    ("converter/a.cc", '#include "safetensors.h"', True),
    ("examples/a/main.cc", "#include <pets/pets.h>", False),
    ("examples/a/main.cc", '#include "runtime/platform/check.h"', True),
    ("tests/a/b.cc", '#include "../../converter/a.h"', True),
    ("tests/a/b.cc", '#include "converter/a.h"', False),
)


def self_test() -> int:
    wrong = []
    for file, line, violation in CASES:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / file
            path.parent.mkdir(parents=True)
            path.write_text(f"// a file\n{line}\n", encoding="utf-8")
            problems, files = check(Path(folder))
            if files != 1 or (len(problems) == 1) != violation:
                wrong.append(f"{file}: {line}: expected {'a violation' if violation else 'none'}, found {problems}")
    print("\n".join(wrong) or f"{len(CASES)} cases as expected")
    return 1 if wrong else 0


def main() -> int:
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    problems, files = check(Path(sys.argv[1]))
    print("\n".join(problems) or f"{files} files keep the arrows")
    return 1 if problems or files == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
