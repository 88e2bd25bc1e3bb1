#!/usr/bin/env python3
"""What the compiler made of the inner loops of the tiles, and what llvm-mca says of them.

Disassembles the kernels of build folders and finds in every function that is a tile (a template whose name ends in `tile`) the
innermost loop with the most multiply-adds. Fails if such a loop stores to or loads from the stack, a sum that did not get a register,
and if a tile has no such loop.

usage: tile_loops.py BUILD... [--write FILE] [--mca PROGRAM] [--spills-only] | --self-test
  BUILD    a build folder with compile_commands.json whose target pets_kernels is built, native or cross
  --write  puts the report into FILE, a Markdown document, between its marker lines
  --mca    llvm-mca; the newest that is installed is taken
  --spills-only   looks for spills and leaves llvm-mca out
  --self-test     a planted spill is found, what a function restores before it returns is none
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
    "aarch64": re.compile(r"^(fmla|bfdot|bfmmla|bfmlal[bt]|[su]dot|usdot|[su]mmla|usmmla|smull2?|smlal2?|sadalp)\b"),
    "x86_64": re.compile(r"^(vfmadd\d+ps|vdpbf16ps|vpdpbusds?|vpdpwssds?|vpmaddwd|vpmaddubsw)\b"),
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


def disassembly(entry, machine):
    """What objdump makes of the object of one entry of compile_commands.json, names demangled."""
    command = shlex.split(entry["command"])
    built = Path(entry["directory"]) / command[command.index("-o") + 1]
    if not built.exists():
        sys.exit(f"{built}: not there; build the target pets_kernels first")
    program = shutil.which(f"{machine}-linux-gnu-objdump") or "objdump"
    result = run([program, "-d", "-C", "--no-show-raw-insn", str(built)])
    if result.returncode != 0:
        sys.exit(f"{built}: {result.stderr}")
    return result.stdout.splitlines()


def functions(lines):
    """(name, its lines as assembly, with labels where its branches go) of every tile in a disassembly."""
    name, found = None, []
    for line in [*lines, ""]:
        if head := re.match(r"[0-9a-f]+ <(.*)>:$", line):
            name, found = head.group(1) if TILE.search(head.group(1)) and "[clone" not in head.group(1) else None, []
        elif name and (code := re.match(r"\s*([0-9a-f]+):\s+(.*)", line)):
            found.append((code.group(1), code.group(2)))
        elif name and found and not line:
            yield name, labelled(found)
            name = None


def labelled(code):
    """Lines of assembly from [(address, instruction)]."""
    goes = re.compile(r"([0-9a-f]+) <.*>")
    lines, targets = [], set()
    for _, line in code:
        done = operation(line)
        to = goes.search(done[1]) if done and BRANCH.match(done[0]) else None
        targets |= {to.group(1)} if to else set()
        lines.append("\t" + (f"{done[0]}\t{done[1][: to.start()]}.L{to.group(1)}" if to else line))
    return [each for (address, _), line in zip(code, lines) for each in ([f".L{address}:"] if address in targets else []) + [line]]


def operation(line):
    """(mnemonic, operands) of a line, or None where it is a label, a directive or empty."""
    line = re.split(r"\s//|\s#\s", line.strip())[0]
    if not line or line[0] in ".#" or line.endswith(":"):
        return None
    mnemonic, *operands = line.split(maxsplit=1)
    return mnemonic, operands[0] if operands else ""


BRANCH = re.compile(r"(b|b\.\w+|b[a-z]{2}|cbn?z|tbn?z|j[a-z]+)$")
# Of these the next line is not reached.
AWAY = re.compile(r"(b|jmp|ret\w*|br|brk|ud2|bti?raa)$")


def blocks(body):
    """[begin, end) lines of the basic blocks, and the blocks that may come after each."""
    labels = {line[:-1]: i for i, line in enumerate(body) if re.match(r"\.L\w+:$", line)}
    cuts = {0, len(body), *labels.values()}
    cuts |= {i + 1 for i, line in enumerate(body) if (done := operation(line)) and (BRANCH.match(done[0]) or AWAY.match(done[0]))}
    cuts = sorted(cuts)
    spans = list(zip(cuts, cuts[1:]))
    number = {begin: i for i, (begin, _) in enumerate(spans)}
    after = []
    for i, (begin, end) in enumerate(spans):
        done = next((done for line in reversed(body[begin:end]) if (done := operation(line))), None)
        to = set()
        if done and BRANCH.match(done[0]) and (at := labels.get(re.split(r"[,\s]+", done[1])[-1])) is not None:
            to.add(number[at])
        if not (done and AWAY.match(done[0])) and i + 1 < len(spans):
            to.add(i + 1)
        after.append(to)
    return spans, after


def loops(body):
    """The lines of each innermost loop: what runs between a place that must be passed (its dominator) and a branch back to it.

    Cold code that stands after its function's end and jumps up into an epilogue is no loop: nothing leads back down to it.
    """
    spans, after = blocks(body)
    everything = set(range(len(spans)))
    before = [{i for i in everything if b in after[i]} for b in everything]
    reached, wait = {0}, [0]
    while wait:
        new = after[wait.pop()] - reached
        reached |= new
        wait += new
    dominators = [{0} if b == 0 else set(reached) for b in everything]
    changed = True
    while changed:
        changed = False
        for b in sorted(reached - {0}):
            new = {b} | set.intersection(*(dominators[i] for i in before[b] & reached))
            changed |= new != dominators[b]
            dominators[b] = new
    found = {}
    for tail in reached:
        for head in after[tail] & dominators[tail]:
            inside, wait = found.setdefault(head, {head}), [tail]
            while wait:
                if (b := wait.pop()) not in inside:
                    inside.add(b)
                    wait += before[b] & reached
    innermost = [inside for head, inside in found.items() if not any(other in inside for other in found if other != head)]
    return [[line for b in sorted(inside) for line in body[slice(*spans[b])]] for inside in innermost]


def stack_accesses(loop, body, machine):
    """The lines of the loop that touch the function's stack frame."""
    if machine == "aarch64":
        frame = any(re.match(r"\s*(mov|add)\tx29, sp", line) for line in body)
        base = r"\[(sp|x29)\b" if frame else r"\[sp\b"
    else:
        frame = any(re.match(r"\s*movq?\s+%rsp,\s*%rbp", line) for line in body)
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
    arguments = re.sub(r"pets::kernels::(\w+::|\(anonymous namespace\)::)*", "", match.group(2))
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
    for name, body in functions(disassembly(entry, machine)):
        counted = [(count, loop) for loop in loops(body) if (count := len(multiply_adds(loop, machine))) > 0]
        if not counted:
            sys.exit(f"{entry['file']}: {short(name)}: no loop with multiply-adds: MULTIPLY_ADD lacks its instructions, or it is no tile")
        most = max(count for count, _ in counted)
        stack = [line for _, loop in counted for line in stack_accesses(loop, body, machine)]
        # Of loops that differ only in what they ask into the caches, the one that does more.
        loop = max((loop for count, loop in counted if count == most), key=len)
        records.append({"tile": short(name), "loop": loop, "count": most, "stack": stack, "loops": len(counted)})
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


# A loop, an epilogue after it and cold code after that, which jumps up into the epilogue: {} is a line of the loop.
SAMPLE = """
0000000000000000 <void pets::tile<1, 2>(pets::Tile const&)>:
   0:	stp	d8, d9, [sp, #-64]!
   4:	cbz	x2, 2c <void pets::tile<1, 2>(pets::Tile const&)+0x2c>
   8:	ldr	q0, [x0], #16
   c:	{}
  10:	fmla	v1.4s, v0.4s, v2.s[0]
  14:	subs	x2, x2, #0x1
  18:	b.ne	8 <void pets::tile<1, 2>(pets::Tile const&)+0x8>  // b.any
  1c:	tbz	w3, #0, 2c <void pets::tile<1, 2>(pets::Tile const&)+0x2c>
  20:	str	q1, [x1]
  24:	ldp	d8, d9, [sp], #64
  28:	ret
  2c:	str	q1, [sp, #32]
  30:	fmla	v1.4s, v0.4s, v2.s[1]
  34:	b	20 <void pets::tile<1, 2>(pets::Tile const&)+0x20>
"""
SAMPLE_X86 = """
0000000000000000 <void pets::half_strip_tile<3, 4>(pets::Tile const&)>:
   0:	push   %rbp
   1:	mov    %rsp,%rbp
   8:	vmovaps (%rdi),%ymm0
   c:	{}
  10:	vfmadd231ps %ymm0,%ymm1,%ymm2
  14:	add    $0x20,%rdi
  18:	jne    8 <void pets::half_strip_tile<3, 4>(pets::Tile const&)+0x8>
  1c:	vmovaps %ymm2,-0x30(%rbp)
  20:	ret
"""


def self_test():
    for machine, sample, spill in (("aarch64", SAMPLE, "ldr	q2, [sp, #48]"), ("x86_64", SAMPLE_X86, "vmovaps -0x50(%rbp),%ymm1")):
        for line, expected in (("nop", []), (spill, [spill])):
            (name, body), = functions(sample.format(line).splitlines())
            loop, = loops(body)
            found = stack_accesses(loop, body, machine)
            if len(multiply_adds(loop, machine)) != 1 or found != expected or not TILE.search(name):
                sys.exit(f"{machine}: of a loop with '{line}' found {found}, expected {expected}:\n" + "\n".join(loop))
    print("a planted spill is found, an epilogue is none")


def main():
    parser = argparse.ArgumentParser(description="llvm-mca on the inner loops of the tiles; fails on spills")
    parser.add_argument("builds", nargs="*", type=Path)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--mca", default=newest_mca())
    parser.add_argument("--spills-only", action="store_true")
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()
    if arguments.self_test:
        self_test()
        return
    if not arguments.builds:
        parser.error("no build folder")
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
