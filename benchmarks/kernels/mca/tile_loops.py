#!/usr/bin/env python3
"""What the compiler made of the inner loops of the tiles, and what llvm-mca says of them.

Compiles the kernel sources of configured build folders to assembly, with each build's own compiler and flags, and finds in every
function that is a tile (a template whose name ends in `tile`) the innermost loop with the most multiply-adds. Fails if such a loop
stores to or loads from the stack: a sum that did not get a register.

usage: tile_loops.py BUILD... [--write FILE] [--mca PROGRAM] [--spills-only]
  BUILD    a build folder with compile_commands.json, native or cross
  --write  puts the report into FILE, a Markdown document, between its marker lines
  --mca    llvm-mca; the newest that is installed is taken
  --spills-only   looks for spills and leaves llvm-mca out
"""

import argparse
import json
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BEGIN, END = "<!-- tile_loops.py writes from here -->", "<!-- to here -->"
SOURCES = re.compile(r"kernels/(?:cpu/kernels|gemm/dot)_(?!portable|reference)(\w+)\.cc$")
TILE = re.compile(r"(?:^|[ :])(\w*tile)<(.*)>\(")
ITERATIONS = 200
# The table shows the tiles that a whole panel is split into; the check for spills takes all of them.
PANEL_COLUMNS = 16

MULTIPLY_ADD = {
    "aarch64": re.compile(r"^(fmla|bfdot|bfmmla|bfmlal[bt]|[su]dot|usdot|[su]mmla|usmmla)\b"),
    "x86_64": re.compile(r"^(vfmadd\d+ps|vdpbf16ps|vpdpbusds?|vpdpwssds?|vpmaddwd)\b"),
}
# CPUs as llvm-mca knows them: those that the variants are for. Where a loop needs what a CPU lacks, the CPU has no row.
CPUS = {
    "aarch64": ("cortex-a78", "neoverse-n1", "neoverse-v2"),
    "x86_64": ("znver3", "skylake-avx512"),
}


def run(command, text=None):
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def newest_mca():
    found = [path for version in range(99, 13, -1) if (path := shutil.which(f"llvm-mca-{version}"))]
    return found[0] if found else shutil.which("llvm-mca")


def assembly(entry):
    """The assembly of one entry of compile_commands.json, names demangled."""
    command = shlex.split(entry["command"])
    if Path(command[0]).name == "ccache":
        command = command[1:]
    out = command.index("-o")
    del command[out : out + 2]
    command[command.index("-c")] = "-S"
    result = subprocess.run([*command, "-g0", "-o", "-"], cwd=entry["directory"], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit(f"{entry['file']}: does not compile\n{result.stderr}")
    return run(["c++filt"], result.stdout).stdout.splitlines()


def functions(lines):
    """(name, its lines) of every tile in an assembly text."""
    name, body = None, []
    for line in lines:
        if name is None:
            if line and not line[0].isspace() and line.endswith(":") and TILE.search(line) and "[clone" not in line:
                name, body = line[:-1], []
        elif re.match(r"\s*\.size\s", line):
            yield name, body
            name = None
        else:
            body.append(line)


def operation(line):
    """(mnemonic, operands) of a line, or None where it is a label, a directive or empty."""
    line = re.split(r"\s//|\s#\s", line.strip())[0]
    if not line or line.startswith(".") or line.endswith(":"):
        return None
    mnemonic, _, operands = line.partition("\t")
    return mnemonic, operands


def loops(body):
    """[first, last] lines of the innermost loops: from a label to the branch back to it, with no such pair inside."""
    labels = {line[:-1]: i for i, line in enumerate(body) if re.match(r"\.L\w+:$", line)}
    found = []
    for i, line in enumerate(body):
        done = operation(line)
        if not done or not re.match(r"(b|b\.\w+|b[a-z]{2}|cbn?z|tbn?z|j[a-z]+)$", done[0]):
            continue
        begin = labels.get(done[1].split(",")[-1].strip())
        if begin is not None and begin < i:
            found.append((begin, i))
    return [(a, b) for a, b in found if not any((c, d) != (a, b) and a <= c and d <= b for c, d in found)]


def stack_accesses(loop, body, machine):
    """The lines of the loop that touch the function's stack frame."""
    if machine == "aarch64":
        frame = any(re.match(r"\s*(mov|add)\tx29, sp", line) for line in body)
        base = r"\[(sp|x29)\b" if frame else r"\[sp\b"
    else:
        frame = any(re.match(r"\s*movq\t%rsp, %rbp", line) for line in body)
        base = r"\(%(rsp|rbp)\b" if frame else r"\(%rsp\b"
    return [line.strip() for line in loop if operation(line) and re.search(base, line)]


def mca(program, machine, cpu, lines):
    """(cycles an iteration, block's reciprocal throughput), or None where the CPU lacks an instruction or llvm-mca does not know it."""
    triple = f"{machine}-linux-gnu"
    result = run([program, f"-mtriple={triple}", f"-mcpu={cpu}", f"-iterations={ITERATIONS}"], "\n".join(lines) + "\n")
    if "is not a recognized processor" in result.stderr:
        return None
    if result.returncode != 0:
        missing = re.search(r"instruction requires|not currently enabled|unsupported instruction", result.stderr)
        if missing:
            return None
        sys.exit(f"{program} -mcpu={cpu}: {result.stderr}")
    cycles = int(re.search(r"Total Cycles:\s+(\d+)", result.stdout).group(1)) / ITERATIONS
    return cycles, float(re.search(r"Block RThroughput:\s+([\d.]+)", result.stdout).group(1))


def short(name):
    """`tile<3, 8>` of a demangled name."""
    match = TILE.search(name)
    arguments = re.sub(r"pets::kernels::(\w+::)*", "", match.group(2))
    return f"{match.group(1)}<{arguments}>"


def shape(tile):
    """(what tells its template and strips, columns): the last number of the template's arguments is its columns."""
    numbers = list(re.finditer(r"(?<![\w])\d+(?![\w])", tile))
    last = numbers[-1]
    return tile[: last.start()] + tile[last.end() :], int(last.group())


def multiply_adds(loop, machine):
    return [line for line in loop if (done := operation(line)) and MULTIPLY_ADD[machine].match(done[0])]


def memory_accesses(loop):
    return [line for line in loop if (done := operation(line)) and re.search(r"\[[swx]|\(", done[1]) and not re.match(r"prfm|prefetch|lea|nop", done[0])]


def tiles(entry, machine):
    """One record a tile of a source: its name, the loop with the most multiply-adds, how many, what touches the stack."""
    records = []
    for name, body in functions(assembly(entry)):
        counted = [(len(multiply_adds(body[a : b + 1], machine)), a, b) for a, b in loops(body)]
        counted = [each for each in counted if each[0] > 0]
        if not counted:
            continue
        most = max(each[0] for each in counted)
        stack = [line for count, a, b in counted for line in stack_accesses(body[a : b + 1], body, machine)]
        # Of loops that differ only in what they ask into the caches, the one that does more.
        _, a, b = max((each for each in counted if each[0] == most), key=lambda each: each[2] - each[1])
        records.append({"tile": short(name), "loop": body[a : b + 1], "count": most, "stack": stack, "loops": len(counted)})
    return records


def machine_of(command):
    compiler = next(word for word in shlex.split(command) if Path(word).name != "ccache")
    return run([compiler, "-dumpmachine"]).stdout.split("-")[0]


def rows_of(program, machine, variant, records):
    rows = []
    widest = {}
    for record in records:
        kind, columns = shape(record["tile"])
        widest[kind] = max(widest.get(kind, 0), columns)
    for record in sorted(records, key=lambda record: shape(record["tile"])):
        kind, columns = shape(record["tile"])
        pieces = -(-PANEL_COLUMNS // widest[kind])
        if columns not in (PANEL_COLUMNS // pieces, -(-PANEL_COLUMNS // pieces)):
            continue
        adds, memory = multiply_adds(record["loop"], machine), len(memory_accesses(record["loop"]))
        for cpu in CPUS[machine]:
            whole, alone = mca(program, machine, cpu, record["loop"]), mca(program, machine, cpu, adds)
            if whole is None or alone is None:
                continue
            per, limit = whole[0] / record["count"], alone[1] / record["count"]
            rows.append(f"| {variant} | `{record['tile']}` | {record['count']} | {memory} | {len(record['stack'])} | {cpu} | {per:.3f} | "
                        f"{limit:.3f} | {limit / per:.2f} |")
    return rows


def report(program, builds):
    entries = []
    for build in builds:
        commands = json.loads((build / "compile_commands.json").read_text(encoding="utf-8"))
        found = [entry for entry in commands if SOURCES.search(entry["file"])]
        if not found:
            sys.exit(f"{build}: no kernel sources in compile_commands.json")
        entries += [(machine_of(entry["command"]), entry) for entry in sorted(found, key=lambda entry: entry["file"])]
    with ThreadPoolExecutor(max_workers=2) as pool:
        records = list(pool.map(lambda each: tiles(each[1], each[0]), entries))
    rows, spills, checked = [], [], 0
    for (machine, entry), found in zip(entries, records):
        variant = f"{machine} {SOURCES.search(entry['file']).group(1)}"
        checked += sum(record["loops"] for record in found)
        spills += [f"{entry['file']}: {record['tile']}: {line}" for record in found for line in record["stack"]]
        rows += rows_of(program, machine, variant, found) if program else []
    looked = f"{checked} loops of tiles looked at, {len(spills)} spills in them."
    if not program:
        return [looked], spills, checked
    compilers = sorted({run([next(w for w in shlex.split(e["command"]) if Path(w).name != "ccache"), "--version"]).stdout.splitlines()[0]
                        for _, e in entries})
    version = re.search(r"LLVM version (\S+)", run([program, "--version"]).stdout).group(1)
    head = ["| variant | tile | multiply-adds a step | loads and stores a step | of them spills | CPU | cycles a multiply-add | limit of its ports | reached |",
            "|---|---|---|---|---|---|---|---|---|"]
    text = [f"llvm-mca {version}; compilers: {'; '.join(compilers)}. {looked}", "",
            *head, *rows]
    return text, spills, checked


def write(file, text):
    old = file.read_text(encoding="utf-8")
    if BEGIN not in old or END not in old:
        sys.exit(f"{file}: no lines '{BEGIN}' and '{END}'")
    before, after = old[: old.index(BEGIN)], old[old.index(END) :]
    file.write_text(before + BEGIN + "\n\n" + "\n".join(text) + "\n\n" + after, encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description="llvm-mca on the inner loops of the tiles; fails on spills")
    parser.add_argument("builds", nargs="+", type=Path)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--mca", default=newest_mca())
    parser.add_argument("--spills-only", action="store_true")
    arguments = parser.parse_args()
    if arguments.spills_only:
        arguments.mca = None
    elif not arguments.mca:
        sys.exit("llvm-mca is not installed: it is part of the package llvm")
    text, spills, checked = report(arguments.mca, arguments.builds)
    print("\n".join(text))
    if arguments.write and not arguments.spills_only:
        write(arguments.write, text)
    if spills:
        sys.exit("sums that did not get a register:\n" + "\n".join(spills))
    if checked == 0:
        sys.exit("no loop of a tile was found")


if __name__ == "__main__":
    main()
