"""What the results say: medians, and ratios of times that were taken in the same rounds."""

import statistics

BASELINE = "fixed 32"
COORDINATED = ("coordinated, padding 0", "coordinated, padding 1")
STRATEGIES = ("beta", "alpha", "coordinated", "packed")


def ratio(slow: list[float], fast: list[float]) -> float:
    """Median over rounds of slow's seconds / fast's; of the medians where the rounds are not the same ones."""
    if len(slow) != len(fast):
        return statistics.median(slow) / statistics.median(fast)
    return statistics.median(s / f for s, f in zip(slow, fast))


def rounds_of(points: list[dict]) -> tuple[int, int]:
    """Least and most rounds over the points."""
    counts = []
    for point in points:
        for seconds in (point.get("mixed"), point.get("seconds"), *(w["seconds"] for w in point.get("ways", [])), *(p["mixed"] for p in point.get("points", []))):
            if seconds:
                counts.append(len(seconds))
    return (min(counts), max(counts)) if counts else (0, 0)


def merged_copies(points: list[dict]) -> list[dict]:
    """Figure 8: the rounds of all processes of the same kind together; the memory of the first."""
    found = {}
    for point in points:
        key = tuple(point[k] for k in ("queries", "length", "tasks", "way", "kind"))
        if key in found and "seconds" in point:
            found[key]["seconds"] = found[key].get("seconds", []) + point["seconds"]
        found.setdefault(key, {**point})
    return list(found.values())


def copies(points: list[dict], queries: int, length: int, tasks: int, way: str, kind: str) -> dict | None:
    wanted = {"queries": queries, "length": length, "tasks": tasks, "way": way, "kind": kind}
    return next((p for p in points if all(p[k] == v for k, v in wanted.items())), None)


def way(point: dict, name: str) -> dict | None:
    """A way of figure 12. "coordinated" is the better of its two settings, "best fixed" the fastest of the sizes that were measured."""
    names = [name]
    if name == "coordinated":
        names = COORDINATED
    elif name == "best fixed":
        names = [w["name"] for w in point["ways"] if w["name"].startswith("fixed ")]
    found = [w for w in point["ways"] if w["name"] in names]
    return min(found, key=lambda w: statistics.median(w["seconds"]), default=None)


def times_as_fast(point: dict, name: str, baseline: str = BASELINE) -> float | None:
    found, base = way(point, name), way(point, baseline)
    return ratio(base["seconds"], found["seconds"]) if found and base else None


def padding(point: dict, found: dict) -> float:
    """Share of the computed rows that are padding."""
    return 1 - point["rows"] / found["rows"]


def scheduling_share(found: dict) -> float:
    return statistics.median(s / t for s, t in zip(found["scheduling"], found["seconds"]))
