"""Draws the plots from the results: `plot.py RESULTS.json FOLDER` makes them again without measuring."""

import json
import statistics
import sys
from pathlib import Path

import figures
import matplotlib
import points
import published

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

OURS, LIGHT, PALE = "#0b4f8a", "#2f86cf", "#92c5ee"
PAPERS = {"GTX 1080 Ti": "#b5451b", "V100": "#e08a4f"}
GREYS = ("#4d4d4d", "#8a8a8a")


def _bars(axes, groups: list[str], series: list[tuple[str, str, list]], unit: str) -> None:
    """Grouped bars; None leaves its place empty."""
    width = 0.84 / max(len(series), 1)
    for s, (label, colour, values) in enumerate(series):
        places = [g + (s - (len(series) - 1) / 2) * width for g, v in enumerate(values) if v is not None]
        if places:
            axes.bar(places, [v for v in values if v is not None], width * 0.92, color=colour, label=label)
    axes.set_xticks(range(len(groups)), groups, fontsize=8)
    axes.set_ylabel(unit)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)


def _panels(run_of: dict, rows: int = 1, height: float = 4.2):
    figure, panels = plt.subplots(rows * len(run_of), 1, figsize=(13, height * rows * len(run_of) + 0.9), layout="constrained", squeeze=False)
    return figure, [axes for row in panels for axes in row]


def _finish(figure, panels, run_of: dict, path: Path) -> None:
    handles = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels())}
    run = next(iter(run_of.values()))
    quick = ", quick run" if run["quick"] else ""
    figure.suptitle(f"{run['machine']['cpu']}, {run['threads']} thread{'' if run['threads'] == 1 else 's'}, {run['date']}{quick}; paper: BERT-base on its GPUs", fontsize=10)
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=6, fontsize=8)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def figure_7(run_of: dict, path: Path) -> None:
    figure, panels = _panels(run_of)
    for axes, (shape, run) in zip(panels, run_of.items()):
        keys = sorted({(p["queries"], p["length"], p["tasks"]) for p in run["points"]}, key=lambda k: (-k[0] * k[1], k[0], k[2]))
        ratio = {(p["queries"], p["length"], p["tasks"], p["kind"]): figures.ratio(p["calls"], p["mixed"]) for p in run["points"]}
        series = [(f"ours, {name}", colour, [ratio.get((*k, kind)) for k in keys]) for kind, name, colour in (("types", "every PET type", OURS), ("lora", "LoRA", LIGHT))]
        for gpu in published.GPUS:
            series.append((f"paper, {gpu}", PAPERS[gpu], [published.FIGURE_7[gpu].get(k[:2], {}).get(k[2]) for k in keys]))
        _bars(axes, [f"{{{q}, {n}}}\n{t} tasks" for q, n, t in keys], series, "times as fast as one call a task")
        axes.axhline(1, color="black", linewidth=0.8)
        axes.set_title(f"Mixed batches against one call a task, {{queries a task, tokens}}: {points.SHAPES[shape]}", fontsize=10)
    _finish(figure, panels, run_of, path)


def figure_8(run_of: dict, path: Path) -> None:
    figure, panels = plt.subplots(len(run_of), 2, figsize=(14, 4.2 * len(run_of) + 0.9), layout="constrained", squeeze=False)
    bars = (("sequential copies", "sequential", "lora", GREYS[0]), ("parallel copies", "parallel", "lora", GREYS[1]), ("one base, LoRA", "shared", "lora", LIGHT), ("one base, every PET type", "shared", "types", OURS))
    for row, (shape, run) in zip(panels, run_of.items()):
        found = figures.merged_copies(run["points"])
        keys = sorted({(p["queries"], p["length"], p["tasks"]) for p in found}, key=lambda k: (-k[0] * k[1], k[0], k[2]))
        for axes, value, unit, title in (
            (row[0], lambda p: p["tasks"] * p["queries"] / statistics.median(p["seconds"]), "queries/s", "speed"),
            (row[1], lambda p: p["resident"] / 1e6, "MB", "resident memory"),
        ):
            series = []
            for label, way, kind, colour in bars:
                cells = [figures.copies(found, *k, way, kind) for k in keys]
                series.append((label, colour, [value(c) if c and "seconds" in c else None for c in cells]))
            _bars(axes, [f"{{{q}, {n}}}\n{t} tasks" for q, n, t in keys], series, unit)
            axes.set_title(f"{points.SHAPES[shape]}: {title}", fontsize=10)
    _finish(figure, [axes for row in panels for axes in row], run_of, path)


def table_5(run_of: dict, path: Path) -> None:
    figure, panels = _panels(run_of, height=3.4)
    for axes, (shape, run) in zip(panels, run_of.items()):
        point = run["points"][0]
        series = [("full copies", GREYS[1], [c for c in point["copies"] for _ in point["rows"]])]
        series.append(("tasks beside one base", OURS, [row["tasks"][m] for m in range(len(point["memory"])) for row in point["rows"]]))
        _bars(axes, [f"{row['kind']}\n{memory / 1e9:g} GB" for memory in point["memory"] for row in point["rows"]], series, "tasks")
        axes.set_yscale("log")
        axes.set_title(f"Tasks that fit into a memory: {points.SHAPES[shape]}", fontsize=10)
    _finish(figure, panels, run_of, path)


def figure_11(run_of: dict, path: Path) -> None:
    figure, panels = _panels(run_of)
    for axes, (shape, run) in zip(panels, run_of.items()):
        found = sorted(run["points"], key=lambda p: (-p["tasks"], p["length"]))
        threads = [at["threads"] for at in found[0]["points"]]
        shades = (PALE, LIGHT, OURS, "#072f52", "#031a2e", "#000000")
        series = []
        for t, count in enumerate(threads):
            values = [figures.ratio(p["points"][0]["mixed"], p["points"][t]["mixed"]) for p in found]
            series.append((f"mixed batch, {count} thread{'' if count == 1 else 's'}", shades[min(t, len(shades) - 1)], values))
        shares = [1 - figures.ratio(p["points"][-1]["base"], p["points"][-1]["mixed"]) for p in found]
        series.append(("share of the time that PETs take, all threads", PAPERS["V100"], shares))
        _bars(axes, [f"{p['tasks']} tasks\n{p['length']} tokens" for p in found], series, "times as fast as by one thread; share")
        axes.set_title(f"One mixed batch of 128 queries by threads: {points.SHAPES[shape]}", fontsize=10)
    _finish(figure, panels, run_of, path)


def figure_12(run_of: dict, path: Path) -> None:
    kinds = [(shape, kind) for shape, run in run_of.items() for kind in ("types", "lora") if any(p["kind"] == kind for p in run["points"])]
    figure, panels = plt.subplots(len(kinds), 1, figsize=(14, 4 * len(kinds) + 0.9), layout="constrained", squeeze=False)
    panels = [row[0] for row in panels]
    for axes, (shape, kind) in zip(panels, kinds):
        found = sorted((p for p in run_of[shape]["points"] if p["kind"] == kind), key=lambda p: (-p["tasks"], p["sigma"]))
        ways = (("fixed 32", "#bdbdbd"), ("best fixed", GREYS[1]), ("beta", PALE), ("alpha", LIGHT), ("coordinated", OURS), ("packed", "#2a7f3a"))
        series = [(name if name != "coordinated" else "coordinated (the better)", colour, [figures.times_as_fast(p, name) for p in found]) for name, colour in ways]
        sizes = [sum(w["name"].startswith("fixed ") for w in p["ways"]) for p in found]
        series[1] = (*series[1][:2], [value if size > 1 else None for value, size in zip(series[1][2], sizes)])
        for gpu in published.GPUS:
            papers = [published.FIGURE_12[gpu].get(p["sigma"], {}).get(p["tasks"]) if kind == "types" and p["queries"] == 1024 else None for p in found]
            if any(papers):
                series.append((f"paper's coordinated, {gpu}", PAPERS[gpu], [p[2] if p else None for p in papers]))
        _bars(axes, [f"{p['tasks']} tasks\nsigma {p['sigma']:g}" for p in found], series, "times as fast as fixed 32")
        axes.axhline(1, color="black", linewidth=0.8)
        what = "every PET type" if kind == "types" else "all LoRA"
        axes.set_title(f"{found[0]['queries']:,} waiting queries of N(32, sigma) tokens, {what}: {points.SHAPES[shape]}", fontsize=10)
    _finish(figure, panels, run_of, path)


DRAWERS = {"7": figure_7, "8": figure_8, "5": table_5, "11": figure_11, "12": figure_12}


def draw(results: dict, folder: Path) -> None:
    for figure, drawer in DRAWERS.items():
        run_of = {shape: results[figure][shape] for shape in points.SHAPES if shape in results.get(figure, {})}
        if run_of:
            drawer(run_of, folder / f"paper-{figure}.png")


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
