"""Writes the Markdown from the results: `report.py RESULTS.json OUT.md` makes it again without measuring."""

import json
import statistics
import sys
from pathlib import Path

import figures
import points
import published

KINDS = {"types": "every type", "lora": "LoRA"}


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(header) + " |", "|" + "---|" * len(header), *("| " + " | ".join(map(str, row)) + " |" for row in rows), ""]


def times(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}x"


def settings(run: dict, figure: str, shape: str) -> list[str]:
    """Where and how one table was measured."""
    machine = run["machine"]
    isa = next((p["isa"] for p in run["points"] if "isa" in p), "")
    least, most = figures.rounds_of(run["points"])
    rounds = "" if most == 0 else f"; medians of {least}" + (f" to {most}" if most != least else "") + f" interleaved round{'' if most == 1 else 's'}"
    lines = [
        f"{points.SHAPES[shape]}, random weights, float32. {run['date']}, {machine['cpu']}{', ' + isa if isa else ''}, {run['threads']} thread{'' if run['threads'] == 1 else 's'},"
        f" {run['processors']} processors{rounds}; {run['minutes']:.1f} minutes, load average"
        f" {run['load']:.1f} before{', a quick run: not to be quoted' if run['quick'] else ''}."
    ]
    if run["left_out"]:
        lines[0] += f" Left out for time: {len(run['left_out'])} points (`benchmarks/paper/run.sh --full --figure {figure} --shape {shape}`)."
    return [*lines, ""]


def figure_7(run: dict) -> list[str]:
    rows = []
    for length_key in points.LENGTHS_7:
        for kind in KINDS:
            for point in run["points"]:
                if (point["queries"], point["length"]) != length_key or point["kind"] != kind:
                    continue
                tokens = point["tasks"] * point["queries"] * point["length"]
                mixed, calls = statistics.median(point["mixed"]), statistics.median(point["calls"])
                papers = [times(published.FIGURE_7[gpu].get(length_key, {}).get(point["tasks"])) for gpu in published.GPUS]
                rows.append(
                    [
                        f"{{{point['queries']}, {point['length']}}}", point["tasks"], KINDS[kind], f"{calls * 1e3:.1f}", f"{mixed * 1e3:.1f}",
                        f"{tokens / mixed:,.0f}", f"**{figures.ratio(point['calls'], point['mixed']):.2f}x**", *papers,
                    ]
                )  # fmt: skip
    header = ["{queries a task, tokens}", "tasks", "PETs", "one call a task, ms", "mixed batch, ms", "tokens/s", "times as fast", *(f"paper, {g}" for g in published.GPUS)]
    return table(header, rows)


def figure_8(run: dict) -> list[str]:
    found = figures.merged_copies(run["points"])
    rows = []
    for queries, length in points.PAPERS_WORKLOADS_8:
        for tasks in (2, 4, 8, 16):
            of = {
                name: figures.copies(found, queries, length, tasks, way, kind)
                for name, way, kind in (
                    ("sequential", "sequential", "lora"), ("parallel", "parallel", "lora"), ("lora", "shared", "lora"), ("types", "shared", "types"),
                )
            }  # fmt: skip
            if not any(of.values()):
                continue

            def rate(name):
                point = of[name]
                if not point:
                    return ""
                return f"{tasks * queries / statistics.median(point['seconds']):.1f}" if "seconds" in point else point["absent"]

            def memory(name):
                return f"{of[name]['resident'] / 1e6:,.0f}" if of[name] and "resident" in of[name] else ""

            def against(name):
                both = of["lora"] and of[name] and "seconds" in of[name]
                return times(figures.ratio(of[name]["seconds"], of["lora"]["seconds"])) if both else ""

            papers = []
            for gpu in published.GPUS:
                paper = published.FIGURE_8[gpu]
                at = paper["tasks"].index(tasks)
                same = (paper["queries"], paper["length"]) == (queries, length)
                papers.append(f"{paper['shared'][at] / paper['sequential'][at]:.2f}x, {paper['shared'][at] / paper['parallel'][at]:.2f}x" if same else "")
            rows.append(
                [
                    f"{{{queries}, {length}}}", tasks, rate("sequential"), rate("parallel"), rate("lora"), rate("types"), against("sequential"),
                    against("parallel"), memory("sequential"), memory("parallel"), memory("lora"), memory("types"), *papers,
                ]
            )  # fmt: skip
    header = [
        "{queries a task, tokens}", "tasks", "sequential copies, queries/s", "parallel copies", "one base, LoRA", "one base, every type", "LoRA against sequential",
        "against parallel", "sequential copies, MB", "parallel copies, MB", "one base, LoRA, MB", "one base, every type, MB",
        *(f"paper, {g}: against sequential, parallel" for g in published.GPUS),
    ]  # fmt: skip
    return table(header, rows)


def table_5(run: dict) -> list[str]:
    lines = []
    for point in run["points"]:
        header = ["tasks of this kind", "kB a task"]
        for memory, copies in zip(point["memory"], point["copies"]):
            header += [f"tasks in {memory / 1e9:g} GB", f"by {copies} full copies"]
        header.append("tried: limit, fits, one more")
        rows = []
        for row in point["rows"]:
            cells = [row["label"], f"{row['task_bytes'] / 1e3:.1f}"]
            for tasks, copies in zip(row["tasks"], point["copies"]):
                cells += [f"{tasks:,}", f"{tasks / copies:,.0f}x" if copies else ""]
            tried = row["check"]
            verdict = f"{tried['predicted']} load" if tried["loads"] else f"**{tried['predicted']} do not load**: {tried['error']}"
            more = "refused" if tried["one_more_refused"] else f"**not refused** {tried['refusal']}"
            cells.append(f"{tried['limit'] / 1e6:.1f} MB: {verdict}, {tried['predicted'] + 1} {more}")
            rows.append(cells)
        lines += table(header, rows)
        lines += [f"A full copy has {point['copy_bytes'] / 1e6:.1f} MB; one session's arena of {point['arena_bytes'] / 1e6:.1f} MB is counted once on both sides.", ""]
    return lines


def figure_11(run: dict) -> list[str]:
    rows = []
    for point in sorted(run["points"], key=lambda p: (-p["tasks"], p["length"])):
        one = point["points"][0]
        for at in point["points"]:
            mixed, base = statistics.median(at["mixed"]), statistics.median(at["base"])
            faster = times(figures.ratio(one["mixed"], at["mixed"]))
            rows.append([point["tasks"], point["length"], at["threads"], f"{mixed * 1e3:.1f}", f"{base * 1e3:.1f}", faster, f"{1 - figures.ratio(at['base'], at['mixed']):.2f}"])
    for tasks, _ in published.FIGURE_11["V100"].items():
        rows.append([tasks, "4 to 64", "GPU streams, 1 to 32", "waits for a device", "", "", ""])
    header = ["tasks", "tokens a query", "threads", "mixed batch, ms", "without PETs, ms", "times as fast as by one thread", "share of the time that PETs take"]
    return table(header, rows)


def figure_12(run: dict) -> list[str]:
    lines = []
    for kind, label in KINDS.items():
        found = sorted((p for p in run["points"] if p["kind"] == kind), key=lambda p: (-p["tasks"], p["sigma"]))
        if not found:
            continue
        rows = []
        for point in found:
            papers = []
            for gpu in published.GPUS:
                paper = published.FIGURE_12[gpu].get(point["sigma"], {}).get(point["tasks"]) if kind == "types" and point["queries"] == 1024 else None
                papers.append(", ".join(f"{v:.2f}" for v in paper) if paper else "")
            best = figures.way(point, "best fixed")
            rows.append(
                [
                    point["tasks"], f"{point['sigma']:g}", f"{statistics.median(figures.way(point, figures.BASELINE)['seconds']):.2f}",
                    f"{times(figures.times_as_fast(point, 'best fixed'))} ({best['name'].split()[1]})" if len([w for w in point["ways"] if "fixed" in w["name"]]) > 1 else "",
                    *(times(figures.times_as_fast(point, name)) for name in ("beta", "alpha", *figures.COORDINATED, "packed")),
                    times(figures.times_as_fast(point, "packed", "coordinated")), len(point["ways"][0]["seconds"]), *papers,
                ]
            )  # fmt: skip
        queries = found[0]["queries"]
        lines += [f"#### {queries:,} queries, tasks {'of every PET type' if kind == 'types' else 'all LoRA'}: times as fast as batches of 32 in the order of arrival", ""]
        header = [
            "tasks", "sigma", "fixed 32, s", "best fixed (queries)", "beta", "alpha", "coordinated to the letter", "coordinated, padding priced", "packed",
            "packed against the better coordinated", "rounds", *(f"paper, {g}: beta, alpha, coordinated" for g in published.GPUS),
        ]  # fmt: skip
        lines += table(header, rows)
    header = ["PETs", "tasks", "sigma", "way", "seconds", "batches", "padding", "scheduling, ms", "share of the time", "foretold / measured", "times as fast as fixed 32"]
    rows = []
    for point in sorted(run["points"], key=lambda p: (p["kind"], -p["tasks"], p["sigma"])):
        for w in point["ways"]:
            seconds = statistics.median(w["seconds"])
            rows.append(
                [
                    KINDS[point["kind"]], point["tasks"], f"{point['sigma']:g}", w["name"], f"{seconds:.3f}", w["batches"], f"{figures.padding(point, w):.3f}",
                    f"{statistics.median(w['scheduling']) * 1e3:.2f}", f"{figures.scheduling_share(w):.4f}", f"{w['predicted'] / seconds:.2f}",
                    times(figures.times_as_fast(point, w["name"])),
                ]
            )  # fmt: skip
    return [*lines, "<details><summary>Every way of every point</summary>", "", *table(header, rows), "</details>", ""]


SECTIONS = {
    "7": (
        "Figure 7: mixed batches against one call a task",
        [
            "Every task's queries in one packed batch, against a call for every task on the same session. The paper's figure 7 (section 6.2.2) sets so many",
            "tasks beside a single one, which is the same; its range over both axes is 1.73 to 1.96 times on the GTX 1080 Ti. A GPU is far from filled by the",
            "128 tokens of a call, and each operator is a launch; a CPU reaches most of its rate with 128 tokens already, so there is less to win here,",
            "and most where calls are small: {1, 16} is not the paper's and shows that.",
        ],
    ),
    "8": (
        "Figure 8: one base against full copies",
        [
            "Sequential: every task a full model in memory of its own (`ModelOptions::copy`), one after another by all threads. Parallel: each by one thread, as",
            "many at once as there are threads. One base: a mixed batch of all tasks. Every way in a process of its own; MB is what loading and running add to",
            "its resident memory. The paper (section 6.2.3) has 1.57 times sequential copies with 16 tasks {2, 32} on the GTX 1080 Ti, where parallel copies",
            "are level with it in speed, until memory runs out.",
        ],
    ),
    "5": (
        "Table 5: tasks until memory runs out",
        [
            "From `pets::plan`, which counts every byte before any is used: what a task adds, and how many fit into a memory beside one base, against full copies.",
            "4 and 8 GB are two sizes of a Jetson Orin Nano; what its system takes is not deducted on either side. Then a small limit for real: a bundle of the",
            "predicted tasks under `ModelOptions::memory_limit`, and one task more. The paper: up to 26 times as many tasks as full copies, over its four PET types",
            "mixed (abstract); the cells of its table 5 were not at hand. How many fit depends on the PETs' sizes, which are stated here.",
        ],
    ),
    "11": (
        "Figure 11: scheduling of PET operators",
        [
            "The paper launches each task's PET operators on one of 1 to 32 streams and schedules them. This engine on a CPU has no such launches: a task's",
            "operators are applied to its rows within the shared product, in one parallel region, and running a layer task by task is not something that it can do.",
            "So this is not the paper's experiment. What is comparable: the same batch (128 queries of random tasks, every PET type) by threads, and beside it the",
            "same rows without PETs: the share of the time that PETs take is all that any schedule of them could win. The paper (section 6.3.3): the best number of",
            "streams is "
            + "; ".join(
                f"{g} " + ", ".join(f"{a:.2f} to {b:.2f} times with {t} tasks" for t, (a, b) in published.FIGURE_11[g].items()) for g in published.GPUS
            )
            + " one stream's speed.",
        ],
    ),
    "12": (
        "Figure 12: strategies of batching",
        [
            "All queries wait at once: lengths N(32, sigma), each of a random task, as in the paper's artifact. Every strategy plans with the server's own scheduler and",
            "one cost model, and its batches run on one session, padded to their longest query where the strategy pads (packed does not). Seconds hold the",
            "scheduling. `coordinated` twice: to the paper's letter, whose first step sees only the tasks' operators, and with padding priced there",
            "(runtime/serving/padded_batching.h); the better of both is the one to beat. The baseline is the paper's, 32 queries in the order of arrival;",
            "other sizes show whether that is a fair one here.",
        ],
    ),
}  # fmt: skip
WRITERS = {"7": figure_7, "8": figure_8, "5": table_5, "11": figure_11, "12": figure_12}


def write(results: dict, path: Path) -> None:
    lines = [
        "# The PetS paper's experiments on this runtime", "",
        f"{published.PAPER}; its figures 7, 8, 11 and 12 and table 5 on the CPU backend (`benchmarks/paper/run.sh`), beside the paper's own numbers.",
        f"Those are from its abstract ({published.ABSTRACT}) and, by bar, read off the plots of {published.ARTIFACT}: BERT-base on GPUs of 2017. Ratios",
        "of one machine say little of another: what is to be compared is what each engine wins by the same idea.", "",
    ]  # fmt: skip
    for figure in points.FIGURES:
        title, text = SECTIONS[figure]
        lines += [f"## {title}", "", *text, ""]
        plot = path.parent / f"paper-{figure}.png"
        if plot.exists():
            lines += [f"![{title}]({plot.name})", ""]
        if not results.get(figure):
            lines += ["Not measured yet.", ""]
        for shape in points.SHAPES:
            run = results.get(figure, {}).get(shape)
            if run:
                lines += [f"### {points.SHAPES[shape]}", "", *settings(run, figure, shape), *WRITERS[figure](run)]
    path.write_text("\n".join(lines).rstrip() + "\n")


if __name__ == "__main__":
    write(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
