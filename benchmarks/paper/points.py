"""What is measured, in the order in which it is: where the time does not suffice, the last points of a figure are left out."""

from dataclasses import dataclass, field

SHAPES = {"minilm": "MiniLM-L6 shape", "bert-base": "BERT-base shape"}
FIGURES = ("7", "8", "5", "11", "12")  # "5" is table 5
NAMES = {"7": "figure 7", "8": "figure 8", "5": "table 5", "11": "figure 11", "12": "figure 12"}
ROUNDS, QUICK_ROUNDS = 3, 1
# Minutes of the whole run; with the bundles and a build that is mostly cached under 25. A machine that is faster measures more in them.
MINUTES = {
    "minilm": {"7": 1.5, "8": 1.0, "5": 0.2, "11": 0.7, "12": 6.5},
    "bert-base": {"7": 3.0, "8": 2.0, "5": 0.7, "11": 1.0, "12": 4.5},
}
LENGTHS_7 = ((1, 128), (2, 64), (4, 32), (1, 16))  # the last is not the paper's: the shortest, where a call is least filled
TASKS_7 = (16, 32, 64)
PAPERS_WORKLOADS_8 = ((1, 128), (2, 32))
MEMORY = (4_000_000_000, 8_000_000_000)
FIXED, ALL_FIXED = (32,), (8, 16, 32, 64, 128)


@dataclass
class Point:
    command: str
    arguments: dict
    tokens: float  # that a round takes, over all ways: by it the time is foretold
    rounds: int = ROUNDS
    label: dict = field(default_factory=dict)  # goes into the result

    def line(self, seconds: float) -> list[str]:
        words = [self.command]
        for name, value in {**self.arguments, "rounds": self.rounds, "seconds": round(seconds, 2)}.items():
            if value is True:
                words.append(f"--{name}")
            else:
                words += [f"--{name}", *map(str, value if isinstance(value, tuple) else (value,))]
        return words


def figure_7(shape: str, extent: str) -> list[Point]:
    points = []
    for kind in ("types", "lora"):
        for tasks in TASKS_7[:1] if extent == "quick" else TASKS_7:
            for queries, length in LENGTHS_7:
                arguments = {"kind": kind, "tasks": tasks, "queries": queries, "length": length}
                points.append(Point("paper-mixed", arguments, 2 * tasks * queries * length))
    return points


def figure_8(shape: str, extent: str) -> list[Point]:
    points = []
    for _ in range(1 if extent == "quick" else 2):  # rounds over processes, each with rounds of its own
        for queries, length in PAPERS_WORKLOADS_8:
            for tasks in (4, 2) if extent == "quick" else (16, 8, 4, 2):
                for way, kind in (("sequential", "lora"), ("parallel", "lora"), ("shared", "lora"), ("shared", "types")):
                    arguments = {"way": way, "kind": kind, "tasks": tasks, "queries": queries, "length": length}
                    points.append(Point("paper-copies", arguments, 2 * tasks * queries * length))
    return points


def figure_11(shape: str, extent: str) -> list[Point]:
    points = []
    for tasks in (128, 32, 64):
        for length in (4, 16) if extent == "quick" else (16, 4, 32, 8, 64):
            points.append(Point("paper-threads", {"kind": "types", "tasks": tasks, "queries": 128, "length": length}, 6 * 128 * length))
    return points


def table_5(shape: str, extent: str) -> list[Point]:
    return [Point("paper-tasks", {"memory": MEMORY}, 1)]


def figure_12(shape: str, extent: str) -> list[Point]:
    # BERT-base is about seven times the work: a quarter of the queries and of the tasks, as many a task.
    full = extent == "full"
    few = extent == "quick" or (shape == "bert-base" and not full)
    queries, counts = (256, (32,)) if few else (1024, (128, 32, 64))
    points = []
    for tasks in counts:
        for kind in ("types", "lora"):
            for sigma in (8,) if extent == "quick" else (8, 1, 4, 2):
                fixed = ALL_FIXED if full else FIXED
                arguments = {"kind": kind, "tasks": tasks, "queries": queries, "sigma": sigma, "fixed": fixed, "json": True}
                points.append(Point("batching", arguments, queries * 32 * 1.15 * (5 + len(fixed))))
    return points


POINTS = {"7": figure_7, "8": figure_8, "5": table_5, "11": figure_11, "12": figure_12}  # (shape, extent: quick, usual, full)


def bundles_needed(figures) -> bool:
    return any(figure != "5" for figure in figures)
