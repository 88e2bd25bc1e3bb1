"""The figures that the project set out to reach, each computed from the results, beside what was to be reached."""

import statistics

import figures
import ways

AT_LEAST, AT_MOST = ">=", "<="


def _row(what: str, precision: str, value: float, sense: str, reach: float | None, against: str = "", form: str = "{:.2f}x") -> list[str]:
    if reach is None:
        return [what, precision, form.format(value), "", "", against]
    reached = value >= reach if sense == AT_LEAST else value <= reach
    return [what, precision, form.format(value), f"{sense} {form.format(reach)}", "yes" if reached else "**no**", against]


def _name(cell: dict) -> str:
    return f"{cell['engine']}, {cell['way']}"


def _equal(model: dict) -> list[dict]:
    return [w for w in model["workloads"] if not w["ragged"] and not w["latency"]]


def _faster(what: str, workload: dict, precision: str, kind: str, of_ways: list[str], reach: float | None) -> list[list[str]]:
    """How many times faster pets' `kind` is than the fastest peer in these ways: a row, or none where one of the two was not measured."""
    pets, peer = figures.pets(workload, precision, kind), figures.fastest(figures.peers(workload, precision, of_ways))
    return [_row(what, precision, figures.ratio(peer, pets), AT_LEAST, reach, _name(peer))] if pets and peer else []


def _base(model: dict, precision: str) -> list[list[str]]:
    """Base alone against the fastest peer's one task, on queries of equal length."""
    reach = {"fp32": 1.20, "bf16": 1.30, "int8": 1.40}.get(precision)
    rows = []
    for workload in _equal(model):
        rows += _faster(f"base alone against one task, {workload['title']}", workload, precision, "base", [ways.ONE_BATCH], reach)
    return rows


def _mixed(model: dict, precision: str) -> list[list[str]]:
    """128 mixed tasks of uneven lengths against the fastest peer's better way, and against PEFT."""
    rows = []
    for workload in model["workloads"]:
        if not (workload["title"].endswith("N(32, 8)") and workload["tasks"] == 128):
            continue
        for kind, label in (("lora", "LoRA"), ("types", "every type")):
            against = [([ways.ONE_BATCH, ways.PER_TASK], {"fp32": 1.5, "bf16": 1.8}.get(precision)), ([ways.BUCKETS], None)]
            if kind == "lora":
                against.append(([ways.MIXED], 3.5))
            for of_ways, reach in against:
                what = f"{workload['title']}, {label}, against the fastest: {' / '.join(of_ways)}"
                rows += _faster(what, workload, precision, kind, of_ways, reach)
    return rows


def _own(model: dict, precision: str) -> list[list[str]]:
    """pets against itself and against the machine, where a figure was set out."""
    rows = []
    for workload in model["workloads"]:
        base, mixed = (figures.pets(workload, precision, kind) for kind in ("base", "types"))
        if workload["latency"] or not base:
            continue
        share = {"1x128x16": 0.91, "4x32x16": 0.93, "2x32x32": 0.93}.get(workload["name"])
        if workload["title"].endswith("N(32, 8)"):
            share = 0.91
        if precision == "fp32" and share:
            what = f"base alone, share of the FMA peak, {workload['title']}"
            rows.append(_row(what, precision, figures.peak_share(workload, base), AT_LEAST, share, form="{:.3f}"))
        if precision != "fp32" and workload["name"] in ("4x32x16", "2x32x32"):
            dot_share = figures.dot_peak_share(workload, base)
            if dot_share:
                reach = {"bf16": 0.87, "int8": 0.65}[precision]
                what = f"base alone, share of the dot-product peak, {workload['title']}"
                rows.append(_row(what, precision, dot_share, AT_LEAST, reach, form="{:.3f}"))
        if mixed and workload["name"] == "2x32x32":
            what = f"every type mixed, base's time / its time, {workload['title']}"
            rows.append(_row(what, precision, figures.ratio(base, mixed), AT_LEAST, 0.97, form="{:.3f}"))
    return rows


def _latency(model: dict, precision: str) -> list[list[str]]:
    rows = []
    for workload in model["workloads"]:
        pets, peer = figures.pets(workload, precision, "lora"), figures.fastest(figures.peers(workload, precision, [ways.ONE_BATCH]))
        if workload["latency"] and pets and peer:
            reach = 0.7 if precision in ("fp32", "bf16") else None
            what = f"{workload['title']}, one LoRA task, time / the peer's without PET"
            rows.append(_row(what, precision, figures.ratio(pets, peer), AT_MOST, reach, _name(peer)))
    return rows


def _footprint(model: dict, precision: str) -> list[list[str]]:
    found, rows = model["footprint"], []
    if not found:
        return rows
    copies = [p for p in found["peers"] if p["precision"] == precision]
    for pets in (p for p in found["pets"] if p["precision"] == precision):
        if copies:
            least = min(copies, key=lambda p: p["copy"])
            what = f"resident memory of {found['tasks']} tasks / of one full copy in the smallest peer"
            rows.append(_row(what, precision, pets["resident"] / least["copy"], AT_MOST, None, f"{least['engine']}, one copy"))
    for start in (s for s in found["start"] if s["precision"] == precision):
        what = f"process start to first answer, {found['tasks']} tasks"
        reach = 60 if found["tasks"] == 128 else None
        rows.append(_row(what, precision, statistics.median(start["seconds"]) * 1e3, AT_MOST, reach, form="{:.0f} ms"))
    return rows


def claims(model: dict) -> list[list[str]]:
    """Rows of: figure, precision, measured, reach, whether reached, against whom."""
    parts = (_base, _mixed, _latency, _own, _footprint)
    return [row for precision in figures.precisions(model) for part in parts for row in part(model, precision)]


SUMMARY_HEADER = [
    "workload", "pets base, ms", "pets LoRA mix, ms", "pets every type, ms", "fastest peer, one task, ms", "LoRA mix against it",
    "every type against it", "against batches by length", "against one call a task", "against PEFT",
]  # fmt: skip


def summary(model: dict, precision: str) -> list[list[str]]:
    """One row a workload: pets' times, and how many times faster its mixes are than the fastest peer without PET and in the other ways.

    The last three columns are of the LoRA mix.
    """
    rows = []
    for workload in model["workloads"]:
        base, lora, types = (figures.pets(workload, precision, kind) for kind in ("base", "lora", "types"))
        one, by_length, per_task, mixed = (
            figures.fastest(figures.peers(workload, precision, [way])) for way in (ways.ONE_BATCH, ways.BUCKETS, ways.PER_TASK, ways.MIXED)
        )

        def faster(peer, pets):
            return f"{figures.ratio(peer, pets):.2f}x" if peer and pets else ""

        times = [milliseconds(figures.median(cell)) if cell else "" for cell in (base, lora, types)]
        fastest = f"{milliseconds(figures.median(one))} ({one['engine']})" if one else ""
        ratios = [faster(one, lora), faster(one, types), faster(by_length, lora), faster(per_task, lora), faster(mixed, lora)]
        rows.append([workload["title"], *times, fastest, *ratios])
    return rows


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.2f}" if seconds < 0.1 else f"{seconds * 1e3:.0f}"
