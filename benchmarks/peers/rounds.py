"""Interleaved rounds: every cell of a workload once a round, in rotated order, with rests between in which nobody computes."""

import os
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

PETS = "pets"
REST = 0.2  # seconds between two engines; longer where threads still spin
SHORT = 0.1  # runs below these seconds are repeated, after one that is not counted
QUIET_SHARE = 0.1  # of one processor: more than this during a rest is a thread that spins
LONG = 1.0  # a first run of this many seconds needs no second one to warm up
DROPPED_AT = 2.0  # a peer's way this many times slower than the best of its workload is not run again


@dataclass
class Cell:
    """One engine's one way through one workload."""

    engine: str
    precision: str
    way: str
    run: Callable[[int], list[float]] = field(repr=False)  # times -> seconds of each
    keep: bool = False  # never dropped for being slow
    seconds: list[float] = field(default_factory=list)  # one a round
    warm: float = 0
    dropped: bool = False  # slow: measured once
    failed: str = ""


def first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}"


def timed(call) -> Callable[[int], list[float]]:
    """A call in this process as `Cell.run`."""

    def run(times: int) -> list[float]:
        seconds = []
        for _ in range(times):
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
        return seconds

    return run


class Rest:
    """Waits until neither this process nor the others of the run compute, and remembers the busiest rest."""

    def __init__(self, pids: list[int]):
        self.pids = [os.getpid(), *pids]
        self.busiest = 0.0

    def __call__(self) -> None:
        time.sleep(REST)
        for _ in range(20):
            before, start = self._cpu_seconds(), time.perf_counter()
            time.sleep(0.03)
            share = (self._cpu_seconds() - before) / (time.perf_counter() - start)
            if share < QUIET_SHARE:
                break
        self.busiest = max(self.busiest, share)

    def _cpu_seconds(self) -> float:
        """By the scheduler's own nanoseconds, over all threads: clock ticks are too coarse."""
        total = 0
        for pid in self.pids:
            for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                try:
                    total += int(path.read_text().split()[0])
                except OSError:  # the thread has ended
                    pass
        return total * 1e-9


def measure(cells: list[Cell], rounds: int, rest: Rest, peaks: Callable[[], dict], progress: Callable[[str], None]) -> list[dict]:
    """Fills `seconds` of every cell, and returns the machine's peaks of each round. A peer's cell that fails is marked; one of pets raises."""
    for cell in cells:
        try:
            cell.warm = cell.run(1)[0]
            if cell.warm < LONG:
                rest()
                cell.warm = cell.run(1)[0]
        except Exception as error:  # an engine may raise anything; the run goes on without it
            if cell.keep:
                raise
            cell.failed = first_line(error)
        rest()
    cells = [cell for cell in cells if not cell.failed]
    best = {
        precision: min((c.warm for c in cells if c.precision == precision and c.engine != PETS), default=0)
        for precision in {c.precision for c in cells}
    }
    for cell in cells:
        cell.dropped = not cell.keep and cell.warm > DROPPED_AT * best[cell.precision]
        if cell.dropped:
            cell.seconds.append(cell.warm)
    kept = [cell for cell in cells if not cell.dropped]
    progress(f"about {rounds * sum(max(c.warm, 0.2) + REST for c in kept):.0f} s for {rounds} rounds of {len(kept)} cells")
    found = []
    for number in range(rounds):
        rest()
        found.append(peaks())
        turn = number % len(kept)
        for cell in kept[turn:] + kept[:turn]:
            rest()
            if cell.warm < SHORT:
                times = max(3, min(50, round(0.15 / cell.warm)))
                cell.seconds.append(statistics.median(cell.run(times + 1)[1:]))
            else:
                cell.seconds.append(cell.run(1)[0])
    return found
