"""Writes the Markdown from the results: `report.py RESULTS.json OUT.md` makes it again without measuring."""

import json
import statistics
import sys
from pathlib import Path

import figures
import ways
from claims import SUMMARY_HEADER, claims, milliseconds, summary
from rounds import DROPPED_AT, PETS

NOT_SETTINGS = ("engine", "precision", "mapped_bytes", "model_bytes", "arena_bytes", "tasks")
KINDS = {"base": "one task, no PET", "lora": "all tasks LoRA", "types": "tasks of every PET type"}


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(header) + " |", "|" + "---|" * len(header), *("| " + " | ".join(row) + " |" for row in rows), ""]


def _spread(workload: dict, peak: str) -> str:
    """Median and range: a wide one says that neighbours were busy."""
    values = [p[peak] for p in workload["peaks"]]
    return f"{statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f})"


def _workload(workload: dict) -> list[str]:
    rows = []
    base = {p: figures.pets(workload, p, "base") for p in ("fp32", "bf16", "int8")}
    for cell in sorted(workload["cells"], key=lambda c: (c["precision"] != "fp32", c["precision"], c["engine"] != PETS)):
        way = KINDS.get(cell["way"], cell["way"])
        if not cell["seconds"]:
            rows.append([cell["engine"], cell["precision"], way, f"failed: {cell['failed']}", "", "", ""])
            continue
        seconds = figures.median(cell)
        beside = base.get(cell["precision"])
        rows.append(
            [
                cell["engine"], cell["precision"], way, milliseconds(seconds) + (" (once)" if cell["dropped"] else ""),
                f"{workload['tokens'] / seconds:,.0f}", f"{figures.ratio(cell, beside):.2f}" if beside else "",
                f"{figures.peak_share(workload, cell):.2f}" if cell["engine"] == PETS and not workload["latency"] else "",
            ]
        )  # fmt: skip
    text = f"{workload['tokens']:,} tokens in {workload['queries']:,} " + ("query" if workload["queries"] == 1 else "queries")
    if workload["ragged"]:
        text += f", {workload['padded_tokens']:,} when padded in one batch"
    text += f". The machine's peaks in these rounds: {_spread(workload, 'fma_gflops')} GFLOP/s float32, {_spread(workload, 'read_gbs')} GB/s read."
    header = ["engine", "precision", "way", "ms", "tokens/s", "time / pets' base", "share of float32 FMA peak"]
    return [f"### {workload['title']}", "", text, "", *table(header, rows)]


def _footprint(model: dict) -> list[str]:
    found = model["footprint"]
    rows = []
    for pets in found["pets"]:
        rows.append([f"pets, {found['tasks']} LoRA tasks, everything", pets["precision"], f"{pets['resident'] / 1e6:.0f}", ""])
    for peer in found["peers"]:
        many = f"{found['tasks'] * peer['copy'] / 1e6:,.0f}"
        rows.append([f"{peer['engine']}, one full copy", peer["precision"], f"{peer['copy'] / 1e6:.0f}", many])
    lines = table(["resident memory", "precision", "MB", f"MB, {found['tasks']} copies (computed)"], rows)
    for pets in found["pets"]:
        lines += [
            f"pets {pets['precision']}: the bundle has {pets['bundle'] / 1e6:.1f} MB; {pets['arena_bytes'] / 1e6:.0f} MB of the resident memory"
            f" are the arena, for batches of {pets['max_batch_tokens']:,} tokens.",
            "",
        ]
    lines += ["A peer's figure is what loading and one batch of 8 x 32 tokens add to the process; its program and libraries are not counted.", ""]
    if found["capacity"]:
        lines += ["Tasks in the memory where full copies fit 4:", "", found["capacity"].strip(), ""]
    return lines


def _settings(results: dict) -> list[str]:
    lines, seen = ["## Settings", ""], set()
    for model in results["models"].values():
        for entry in model["settings"]:
            values = {k: v for k, v in entry.items() if k not in NOT_SETTINGS}
            line = f"- **{entry['engine']} {entry['precision']}**: " + ", ".join(f"{k} {v}" for k, v in values.items())
            if line not in seen:
                seen.add(line)
                lines.append(line)
    lines.append("")
    for model in results["models"].values():
        for entry in model["absent"]:
            line = f"- absent: {entry['engine']} {entry['precision']}, {model['title']}: {entry['why']}"
            lines.append(line)
    return [*lines, ""]


def _how(results: dict) -> list[str]:
    copies = ", ".join(f"{m['title']} {m['copies']}" for m in results["models"].values())
    rest = max(m["busiest_rest"] for m in results["models"].values())
    return [
        "## How it was measured", "",
        "- Token ids in, logits out on every side; batches are padded, and converted to an engine's own form, before the clock starts. The peers",
        "  are called from Python, pets from C++: a call of Python is some tens of microseconds.",
        f"- {results['rounds']} rounds, in each every row of a table once, in rotated order. A time is the median; a ratio is the median of the rounds'",
        "  ratios. Runs under 0.1 s are the median of several in a row, after one that is not counted.",
        f"- Between two engines all threads rest; the busiest rest used {rest:.2f} of one processor.",
        f"- A peer's way that is {DROPPED_AT:g} times slower than the fastest of its precision is measured once and marked so.",
        f"- One call a task: the tasks' full copies have LoRA merged into them. Of different copies there are {copies}, used in turn: enough that none",
        "  is still in a cache when its turn comes again, so that more would only take memory. Merged copies have one shape for every PET type, so the",
        "  same figure stands beside the mix of types; adapters cannot be merged, and would cost a peer more.",
        "- Compiled PyTorch is measured on MiniLM with three workloads only, since every shape takes long to compile; the lengths N(32, 1), N(32, 2)",
        "  and N(32, 4) with OpenVINO only; batches by length with OpenVINO and ONNX Runtime only.",
        f"- `{ways.BUCKETS}`: the queries sorted by length, 64 a batch, which is how a user of one task would avoid padding.",
        "- pets' LoRA tasks are written by PEFT, packed by `pets-convert`, and answered by PEFT and by the merged copies too. The mix of types takes in",
        "  turn LoRA r=8 (query, value), BitFit, diff-pruning 1 %, MaskBert 5 % and Houlsby adapters of 64.",
        "- Before any timing all logits are compared with PyTorch's, or PEFT's (the largest difference as a part of the largest logit):", "",
        *table(
            ["engine", "precision", "against", "difference"],
            [[f"{c['engine']}, {m['title']}", c["precision"], c["against"], f"{c['error']:.1e}"] for m in results["models"].values() for c in m["checks"]],
        ),
    ]  # fmt: skip


def write(results: dict, path: Path) -> None:
    machine = results["machine"]
    quick = " This was a quick run: fewer workloads and rounds." if results["quick"] else ""
    lines = [
        "# pets beside its peers", "",
        f"Measured {results['date']} on {machine['cpu']}, {', '.join(machine['flags'])}, last cache {machine['last_cache_bytes'] >> 20} MiB, Linux"
        f" {machine['kernel']}, {results['threads']} threads for every engine, all in one run of {results['seconds'] / 60:.0f} minutes"
        f" (`benchmarks/peers/run.sh`).{quick}", "",
        "![tokens a second by engine](peers.png)", "",
    ]  # fmt: skip
    for model in results["models"].values():
        lines += [f"## {model['title']}: the figures that were set out to be reached", ""]
        lines += table(["figure", "precision", "measured", "reach", "", "against"], claims(model))
        for precision in figures.precisions(model):
            lines += [f"## {model['title']}, {precision}: mixed tasks beside one task without PET in the fastest peer", ""]
            lines += table(SUMMARY_HEADER, summary(model, precision))
    for model in results["models"].values():
        if model["footprint"]:
            lines += [f"## {model['title']}: memory", "", *_footprint(model)]
        lines += [f"## {model['title']}: every workload", ""]
        for workload in model["workloads"]:
            lines += _workload(workload)
    lines += _how(results) + _settings(results)
    path.write_text("\n".join(lines).rstrip() + "\n")


if __name__ == "__main__":
    write(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
