"""Draws the plot from the results: `plot.py RESULTS.json OUT.png` makes it again without measuring."""

import json
import sys
from pathlib import Path

import figures
import matplotlib
import ways

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

# Label, colour, and the cell of a workload and precision.
BARS = [
    ("pets, one task, no PET", "#0b4f8a", lambda w, p: figures.pets(w, p, "base")),
    ("pets, tasks mixed, LoRA", "#2f86cf", lambda w, p: figures.pets(w, p, "lora")),
    ("pets, tasks mixed, every type", "#92c5ee", lambda w, p: figures.pets(w, p, "types")),
    ("fastest peer, one task, no PET, one batch", "#b5451b", lambda w, p: figures.fastest(figures.peers(w, p, [ways.ONE_BATCH]))),
    ("fastest peer, one task, no PET, batches by length", "#e08a4f", lambda w, p: figures.fastest(figures.peers(w, p, [ways.BUCKETS]))),
    ("fastest peer, one call a task, full copies", "#f2c9a1", lambda w, p: figures.fastest(figures.peers(w, p, [ways.PER_TASK]))),
    ("PyTorch + PEFT, mixed batch, LoRA", "#8a8a8a", lambda w, p: figures.fastest(figures.peers(w, p, [ways.MIXED]))),
]
SHORT = {
    "OpenVINO": "OpenVINO", "ONNX Runtime": "ONNX RT", "PyTorch": "PyTorch", "PyTorch compiled": "compiled", "CTranslate2": "CTranslate2",
    "PyTorch + PEFT": "PEFT", "pets": "pets",
}  # fmt: skip


def _wrapped(title: str) -> str:
    return title.replace(", ", ",\n", 2).replace(" tasks x ", " tasks x\n").replace(" of ", " of\n")


def _panel(axes, workloads: list[dict], precision: str, value, unit: str) -> None:
    """Grouped bars, one group a workload; a peer's bar carries its name."""
    width = 0.8 / len(BARS)
    for b, (label, colour, pick) in enumerate(BARS):
        found = [(g, pick(w, precision)) for g, w in enumerate(workloads)]
        found = [(g, cell) for g, cell in found if cell]
        if not found:
            continue
        places = [g + (b - (len(BARS) - 1) / 2) * width for g, _ in found]
        heights = [value(workloads[g], figures.median(cell)) for g, cell in found]
        axes.bar(places, heights, width * 0.92, color=colour, label=label)
        for place, height, (_, cell) in zip(places, heights, found):
            if cell["engine"] != "pets":
                axes.annotate(SHORT[cell["engine"]], (place, height), (0, 3), textcoords="offset points", rotation=90, ha="center", fontsize=6.5)
    axes.set_xticks(range(len(workloads)), [_wrapped(w["title"]) for w in workloads], fontsize=8)
    axes.set_ylabel(unit)
    axes.margins(y=0.28)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)


def draw(results: dict, path: Path) -> None:
    panels = []
    for model in results["models"].values():
        for precision in figures.precisions(model):
            batches = [w for w in model["workloads"] if not w["latency"]]
            single = [w for w in model["workloads"] if w["latency"]]
            panels.append((f"{model['title']}, {precision}", batches, single, precision))
    figure = plt.figure(figsize=(15, 3.9 * len(panels) + 1.6), layout="constrained")
    grid = figure.add_gridspec(len(panels), 2, width_ratios=[3, 1])
    handles = {}
    for row, (title, batches, single, precision) in enumerate(panels):
        for column, workloads, value, unit in (
            (0, batches, lambda w, s: w["tokens"] / s, "tokens/s (more is better)"),
            (1, single, lambda w, s: s * 1e3, "ms (less is better)"),
        ):
            if not workloads:
                continue
            axes = figure.add_subplot(grid[row, column])
            _panel(axes, workloads, precision, value, unit)
            axes.set_title(f"{title}: " + ("throughput" if column == 0 else "latency of one query"), fontsize=10)
            for handle, label in zip(*axes.get_legend_handles_labels()):
                handles.setdefault(label, handle)
    figure.suptitle(f"{results['machine']['cpu']}, {results['threads']} threads, {results['date']}, medians of {results['rounds']} rounds", fontsize=11)
    order = [label for label, _, _ in BARS if label in handles]
    figure.legend([handles[label] for label in order], order, loc="outside lower center", ncols=4, fontsize=9)
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
