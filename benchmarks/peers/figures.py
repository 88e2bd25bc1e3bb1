"""What the results say: medians, and ratios of times that were taken in the same rounds."""

import statistics

import ways
from rounds import PETS

OF_ONE_TASK = (ways.ONE_BATCH, ways.BUCKETS)


def usable(workload: dict, **wanted) -> list[dict]:
    """Cells with times whose engine, precision, way, ... are as wanted."""
    return [c for c in workload["cells"] if c["seconds"] and all(c[key] == value for key, value in wanted.items())]


def median(cell: dict) -> float:
    return statistics.median(cell["seconds"])


def pets(workload: dict, precision: str, kind: str) -> dict | None:
    return next(iter(usable(workload, engine=PETS, precision=precision, way=kind)), None)


def peers(workload: dict, precision: str, of_ways) -> list[dict]:
    return [c for c in usable(workload, precision=precision) if c["engine"] != PETS and c["way"] in of_ways]


def fastest(cells: list[dict]) -> dict | None:
    return min(cells, key=median, default=None)


def ratio(slow: dict, fast: dict) -> float:
    """Median over rounds of slow's time / fast's; of the medians where one was measured once."""
    if len(slow["seconds"]) != len(fast["seconds"]):
        return median(slow) / median(fast)
    return statistics.median(s / f for s, f in zip(slow["seconds"], fast["seconds"]))


def peak_share(workload: dict, cell: dict) -> float:
    """Median over rounds of the share of the multiply-add peak that the encoder's own operations are."""
    return statistics.median(workload["flops"] / s / 1e9 / p["fma_gflops"] for s, p in zip(cell["seconds"], workload["peaks"]))


def dot_peak_share(workload: dict, cell: dict) -> float | None:
    """The same of the dot-product peak of the cell's precision; None where the CPU has no such instructions."""
    peaks = [p.get(f"{cell['precision']}_gops", 0) for p in workload["peaks"]]
    if not all(peaks):
        return None
    return statistics.median(workload["flops"] / s / 1e9 / p for s, p in zip(cell["seconds"], peaks))


def precisions(model: dict) -> list[str]:
    """Those that pets was measured in, float32 first."""
    found = {c["precision"] for w in model["workloads"] for c in usable(w, engine=PETS)}
    return [p for p in ("fp32", "bf16", "int8") if p in found]
