"""Makes figures.md and figures.json out of what run.sh's steps have printed.

usage: report.py WORK OUTPUT      WORK: device.txt, `steps` (name|seconds|limit|result a line) and NAME.txt of each step

figures.json holds every table of figures.md as columns and rows, numbers where a cell is one, and the paper's points as pets-bench printed them.
"""

import json
import re
import statistics
import sys
from pathlib import Path

TESTS = ("kernel-tests", "engine-tests", "random-batches", "golden-tests", "memcheck", "racecheck")
TITLES = {
    "mixed-32": "## Mixed batches: 32 tasks", "mixed-128": "## Mixed batches: 128 tasks", "mixed-large": "## Mixed batches: 32 tasks, 32 queries each",
    "mixed-bf16": "## Mixed batches: bfloat16", "mixed-int8": "## Mixed batches: int8", "mixed-fp32": "## Mixed batches: float32",
    "minilm": "## Mixed batches: MiniLM's shape",
}  # fmt: skip


def median_ms(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1e3:.2f}" if seconds else "-"


def table(columns: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def json_lines(path: Path) -> list[dict]:
    points = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            points.append(json.loads(line))
        except json.JSONDecodeError:
            continue  # a step that was ended in the middle of a line
    return points


def figure_7(points: list[dict]) -> str:
    rows = [
        [p["kind"], str(p["tasks"]), f"{p['queries']} x {p['length']}", median_ms(p["mixed"]), median_ms(p["calls"]),
         f"{statistics.median(p['calls']) / statistics.median(p['mixed']):.2f}"]
        for p in points if "calls" in p
    ]  # fmt: skip
    columns = ["PET types", "tasks", "queries x tokens a task", "mixed batch, ms", "one call a task, ms", "times"]
    return "## Figure 7 of the paper: a mixed batch against one call a task\n\n" + table(columns, rows) if rows else ""


def figure_8(points: list[dict]) -> str:
    copies = [p for p in points if "way" in p]
    rows = []
    for key in sorted({(p["queries"], p["length"], p["tasks"]) for p in copies}):
        ways = {p["way"]: p for p in copies if (p["queries"], p["length"], p["tasks"]) == key}
        row = [str(key[2]), f"{key[0]} x {key[1]}"]
        for way in ("sequential", "parallel", "shared"):
            p = ways.get(way, {})
            row += [median_ms(p.get("seconds", [])), f"{p['device_bytes'] / 1e9:.2f}" if "device_bytes" in p else "-"]
        rows.append(row)
    columns = ["tasks", "queries x tokens a task", "copies in turn, ms", "GB", "copies at once, ms", "GB", "one base, ms", "GB"]
    note = "\nGB of device memory as the engine counts it: without what CUDA and cuBLAS take for themselves.\n"
    return "## Figure 8 of the paper: full copies on the device against one base\n\n" + table(columns, rows) + note if rows else ""


def figure_11(points: list[dict]) -> str:
    found = [p for p in points if "streams" in p]
    if not found:
        return ""
    names = [way["way"] for way in found[0]["streams"]]
    text = "## Figure 11 of the paper: PET operators on streams, beside grouped launches\n\n"
    for title, value in (
        ("Mixed batch, ms", lambda way: median_ms(way["mixed"])),
        ("Mixed batch less the same rows without PETs, ms", lambda way: f"{(statistics.median(way['mixed']) - statistics.median(way['base'])) * 1e3:.2f}"),
        ("Host until all is queued, us (mean of both kinds of batch)", lambda way: f"{way['host_seconds'] * 1e6:.0f}"),
    ):
        rows = [[str(p["tasks"]), f"{p['queries']} x {p['length']}", *map(value, p["streams"])] for p in found]
        text += f"{title}; numbers are streams:\n\n" + table(["tasks", "queries x tokens", *names], rows) + "\n"
    return text


def table_5(points: list[dict]) -> str:
    text = ""
    for p in points:
        columns = ["PET type", "MB a task", *(f"tasks in {memory / 1e9:g} GB" for memory in p["memory"])]
        rows = [[r["label"], f"{r['task_bytes'] / 1e6:.2f}", *map(str, r["tasks"])] for r in p["rows"]]
        rows.append(["full copies", f"{p['copy_bytes'] / 1e6:.2f}", *map(str, p["copies"])])
        text += "## Table 5 of the paper: tasks that fit into device memory\n\n" + table(columns, rows)
    return text


def against_peft(work: Path) -> str:
    """The same batches by this engine, from other steps of the run: LoRA of rank 8 at query and value, fp16, BERT-base's shape."""
    rows = []
    for queries, step in ((2, "mixed-32"), (32, "mixed-large")):
        ours = re.search(r"^\| \d+ x LoRA r=8 q,v \| ([\d.]+) \|", text_of(work, step), re.M)
        for way in ("eager", "torch.compile"):
            theirs = re.search(rf"^\| \d+ x {queries} queries, {re.escape(way)}: mixed batch by adapter_names \| ([\d.]+) \|", text_of(work, "peft"), re.M)
            if ours and theirs:
                rows.append([f"{queries} queries a task, {way}", theirs[1], ours[1], f"{float(theirs[1]) / float(ours[1]):.1f}"])
    columns = ["32 LoRA tasks, 32 tokens a query", "PyTorch + PEFT, ms", "pets, ms", "times"]
    return "\n\n" + table(columns, rows) if rows else ""


def text_of(work: Path, name: str) -> str:
    path = work / f"{name}.txt"
    return path.read_text() if path.exists() else ""


def section(name: str, work: Path) -> str:
    """What a step adds to figures.md."""
    if name in TESTS:
        found = re.findall(r"^.*largest (?:difference|error).*$|^.*batches, .*seeds from.*$|^.*ERROR SUMMARY.*$", (work / f"{name}.txt").read_text(), re.M)
        return "\n".join(f"- {name}: {line.strip()}" for line in found)
    if name == "figures-7-8":
        points = json_lines(work / f"{name}.txt")
        return "\n".join(filter(None, (figure_7(points), figure_8(points))))
    if name == "figure-11":
        return figure_11(json_lines(work / f"{name}.txt"))
    if name == "table-5":
        return table_5(json_lines(work / f"{name}.txt"))
    text = text_of(work, name).strip()
    if name in TITLES and text:
        text = f"{TITLES[name]}\n\n{text}"
    if name == "peft":
        text += against_peft(work)
    return text


def cell(text: str):
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        return text


def tables_of(markdown: str) -> list[dict]:
    """Every table under its heading."""
    found, title, open_table = [], "", None
    for line in markdown.splitlines():
        if line.startswith("#"):
            title = line.lstrip("# ")
        if not line.startswith("|"):
            open_table = None
            continue
        cells = [part.strip() for part in line.strip().strip("|").split("|")]
        if open_table is None:
            open_table = {"title": title, "columns": cells, "rows": []}
            found.append(open_table)
        elif not all(set(c) <= set("-") and c for c in cells):
            open_table["rows"].append([cell(c) for c in cells])
    return found


def main() -> None:
    work, out = Path(sys.argv[1]), Path(sys.argv[2])
    device = (work / "device.txt").read_text().strip()
    steps = [line.split("|") for line in (work / "steps").read_text().splitlines()]
    parts = [f"# Figures on {device}\n", table(["step", "s", "limit", "result"], steps)]
    parts += [text + "\n" for name, *_ in steps if (text := section(name, work))]
    markdown = "\n".join(parts)
    (out / "figures.md").write_text(markdown)
    named = [dict(zip(("name", "seconds", "limit", "result"), map(cell, step))) for step in steps]
    points = [point for name in ("figures-7-8", "figure-11", "table-5") for point in json_lines(work / f"{name}.txt")]
    (out / "figures.json").write_text(json.dumps({"device": device, "steps": named, "tables": tables_of(markdown), "paper": points}, indent=1) + "\n")


if __name__ == "__main__":
    main()
