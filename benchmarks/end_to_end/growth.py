"""Measures how pets' cost grows with tasks, tokens and threads, and writes growth.json, growth.md and growth.png.

    python3 benchmarks/end_to_end/growth.py [--bench build/release/benchmarks/end_to_end/pets-bench] [--threads N] [--rounds N] [--output FOLDER]

Needs matplotlib (build/peers/venv of benchmarks/peers has it). `--from growth.json` draws again without measuring.
"""

import argparse
import datetime
import json
import re
import statistics
import subprocess
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
KINDS = {
    "base": ("one task, no PET", "#0b4f8a", "o"),
    "lora": ("LoRA r=8 tasks mixed", "#2f86cf", "s"),
    "types": ("tasks of every PET type mixed", "#b5451b", "^"),
}
AXES = {
    "tasks": "tasks in 1,024 queries of 16 tokens",
    "tokens": "packed tokens (queries of 32, at most 128 tasks)",
    "threads": "threads (2,048 tokens, 32 tasks)",
}


def microseconds_a_token(point: dict) -> float:
    return statistics.median(point["seconds"]) / point["tokens"] * 1e6


def curve(results: dict, axis: str, kind: str) -> list[dict]:
    return sorted((p for p in results["points"] if p["axis"] == axis and p["kind"] == kind), key=lambda p: p["value"])


def draw(results: dict, path: Path) -> None:
    figure, panels = plt.subplots(1, 3, figsize=(14, 4.6), layout="constrained")
    for axes, (axis, title) in zip(panels, AXES.items()):
        for kind, (label, colour, marker) in KINDS.items():
            points = curve(results, axis, kind)
            if points:
                axes.plot([p["value"] for p in points], [microseconds_a_token(p) for p in points], color=colour, marker=marker, label=label)
        axes.set_xscale("log", base=2)
        values = sorted({p["value"] for p in results["points"] if p["axis"] == axis})
        axes.set_xticks(values, [f"{v:,}" for v in values], rotation=60 if len(values) > 6 else 0, fontsize=8)
        axes.minorticks_off()
        axes.set_xlabel(title)
        axes.set_ylabel("microseconds a token")
        axes.set_ylim(0, 1.1 * max(microseconds_a_token(p) for p in results["points"] if p["axis"] == axis))
        axes.grid(alpha=0.3)
    handles = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels())}
    figure.suptitle(f"MiniLM shape, float32, {results['cpu']} ({results['isa']}), {results['threads']} threads, {results['date']}", fontsize=10)
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def write(results: dict, path: Path) -> None:
    lines = [
        "# How cost grows with tasks, tokens and threads", "",
        f"MiniLM shape with random weights, float32, {results['cpu']} ({results['isa']}), {results['threads']} threads, {results['date']}; medians of"
        f" {results['rounds']} interleaved rounds (`benchmarks/end_to_end/growth.py`). Microseconds a token; the same queries for every number of tasks.",
        "", "![microseconds a token against tasks, tokens and threads](growth.png)", "",
    ]  # fmt: skip
    for axis, title in AXES.items():
        values = sorted({p["value"] for p in results["points"] if p["axis"] == axis})
        kinds = [kind for kind in KINDS if curve(results, axis, kind)]
        lines += [f"| {title} | " + " | ".join(KINDS[kind][0] for kind in kinds) + " |", "|" + "---|" * (1 + len(kinds))]
        for value in values:
            found = {p["kind"]: microseconds_a_token(p) for p in results["points"] if p["axis"] == axis and p["value"] == value}
            lines.append(f"| {value:,} | " + " | ".join(f"{found[kind]:.1f}" if kind in found else "" for kind in kinds) + " |")
        lines.append("")
    path.write_text("\n".join(lines).rstrip() + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", type=Path, default=ROOT / "build/release/benchmarks/end_to_end/pets-bench")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=ROOT / "docs/performance")
    parser.add_argument("--from", type=Path, dest="results", help="results to draw again")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    if options.results:
        results = json.loads(options.results.read_text())
    else:
        command = [options.bench, "growth", "--threads", str(options.threads), "--rounds", str(options.rounds)]
        results = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        cpu = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        results |= {"date": datetime.date.today().isoformat(), "cpu": cpu.group(1) if cpu else "unknown", "rounds": options.rounds}
        (options.output / "growth.json").write_text(json.dumps(results, indent=1) + "\n")
    write(results, options.output / "growth.md")
    draw(results, options.output / "growth.png")


if __name__ == "__main__":
    main()
