"""Runs the PetS paper's experiments in one go, and writes the results, the report and the plots. run.sh prepares what this needs."""

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import points
import report

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "benchmarks/peers"))
import cpu  # noqa: E402


def arguments():
    parser = argparse.ArgumentParser(prog="benchmarks/paper/run.sh", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few points, one round, some minutes: is all in place?")
    parser.add_argument("--full", action="store_true", help="no limit of time, 1,024 queries for BERT-base too, every size of fixed batches: hours")
    parser.add_argument("--figure", action="append", choices=points.FIGURES, help="only this figure; 5 is table 5 (repeatable)")
    parser.add_argument("--shape", action="append", choices=points.SHAPES, help="only this encoder (repeatable)")
    parser.add_argument("--threads", type=int, default=0, help="workers (default: one per processor)")
    parser.add_argument("--rounds", type=int, help=f"interleaved rounds at most (default {points.ROUNDS})")
    parser.add_argument("--minutes", type=float, help="of the whole run (default about 22, without the build)")
    parser.add_argument("--table", type=Path, help="latency table for figure 12, as `pets-bench profile` writes it (default: fitted at load)")
    parser.add_argument("--bench", type=Path, default=ROOT / "build/release/benchmarks/end_to_end/pets-bench")
    parser.add_argument("--work", type=Path, default=ROOT / "build/paper", help="folder of the bundles (2 GB, removed at the end)")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/performance")
    options = parser.parse_args()
    if options.quick and options.full:
        parser.error("--quick or --full, not both")
    if options.rounds is None:
        options.rounds = points.QUICK_ROUNDS if options.quick else points.ROUNDS
    return options


def minutes_of(options, shape: str, figure: str) -> float:
    if options.full or options.quick:
        return float("inf")
    whole = sum(sum(m.values()) for m in points.MINUTES.values())
    share = options.minutes / whole if options.minutes else 1
    return points.MINUTES[shape][figure] * share


def call(options, words: list[str]) -> dict | None:
    """One point, in a process of its own."""
    done = subprocess.run([options.bench, *words], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"pets-bench {' '.join(words)}: failed")
    return json.loads(done.stdout) if done.stdout else None


def measure(options, shape: str, figure: str, bundles: Path, say) -> dict:
    """Points in order while there is time; what a round of the next would take is foretold from the last one's."""
    chosen = points.POINTS[figure](shape, "quick" if options.quick else "full" if options.full else "usual")
    limit = 60 * minutes_of(options, shape, figure)
    start, rate, load = time.perf_counter(), 0.0, os.getloadavg()[0]
    found, left_out = [], []
    for number, point in enumerate(chosen):
        remaining = limit - (time.perf_counter() - start)
        if number and point.tokens * rate > remaining:
            left_out.append(point.arguments)
            continue
        point.rounds = options.rounds
        # The first points have all of their rounds: fewer points with medians say more than all of them once.
        seconds = 1e6 if limit == float("inf") else max(remaining - 1, 0)
        common = ["--shape", shape, "--threads", str(options.threads)]
        if bundles and figure != "5":
            common += ["--bundles", str(bundles)]
        if figure == "12" and options.table:
            common += ["--table", str(options.table)]
        elif figure == "12":
            common += ["--keep-table", str(bundles / "fitted.table")]
        begun = time.perf_counter()
        result = call(options, [*point.line(seconds), *common])
        took = time.perf_counter() - begun
        measured = max(1, len(result.get("mixed", result.get("seconds", []))), *(len(way["seconds"]) for way in result.get("ways", [])))
        rate = took / measured / point.tokens
        found.append(result)
        say(f"{shape}, {points.NAMES[figure]}: {' '.join(f'{k} {v}' for k, v in point.arguments.items() if k != 'json')} ({took:.1f} s)")
    if left_out:
        say(f"{shape}, {points.NAMES[figure]}: {len(left_out)} points left out for time")
    return {
        "machine": cpu.describe(), "processors": os.cpu_count(), "threads": options.threads or len(os.sched_getaffinity(0)), "load": load,
        "date": datetime.date.today().isoformat(), "quick": options.quick, "minutes": (time.perf_counter() - start) / 60,
        "points": found, "left_out": left_out,
    }  # fmt: skip


def main() -> int:
    options = arguments()
    started = time.perf_counter()

    def say(text: str) -> None:
        print(f"{time.perf_counter() - started:6.0f} s  {text}", flush=True)

    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "paper.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    figures = options.figure or points.FIGURES
    for shape in options.shape or points.SHAPES:
        bundles = options.work / f"bundles-{shape}"
        shutil.rmtree(bundles, ignore_errors=True)
        try:
            if points.bundles_needed(figures):
                bundles.mkdir(parents=True)
                say(f"{shape}: bundles")
                call(options, ["paper-bundles", "--shape", shape, str(bundles)])
            for figure in figures:
                results.setdefault(figure, {})[shape] = measure(options, shape, figure, bundles, say)
                path.write_text(json.dumps(results, indent=1) + "\n")  # a run that is stopped has left what it found
        finally:
            shutil.rmtree(bundles, ignore_errors=True)
    try:
        import plot
    except ModuleNotFoundError:
        say("no matplotlib: no plots")
    else:
        plot.draw(results, options.output)
    report.write(results, options.output / "paper.md")
    say(f"wrote {path.with_suffix('.md')}, .json and the plots")
    return 0


if __name__ == "__main__":
    sys.exit(main())
