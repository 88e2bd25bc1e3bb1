"""Measures pets beside its peers in one run, and writes the results, the tables and the plot. run.sh prepares what this needs."""

import argparse
import datetime
import gc
import json
import sys
import time
from pathlib import Path

import cpu
import engines
import footprint
import models
import plot
import report
import setup_engines
import tasks
import ways
from engines.peft_engine import PeftEngine
from pets_driver import BATCH_TOKENS
from rounds import PETS, Cell, Rest, measure, timed
from workloads import Workload, choose

ROOT = Path(__file__).resolve().parents[2]
TASKS = {models.MINILM: 128, models.BERT_BASE: 32}
QUICK_ROUNDS, ROUNDS = 3, 5
FEW_PEERS = ("OpenVINO",)  # beside the lengths N(32, 1), N(32, 2) and N(32, 4), to bound the time
BY_LENGTH = ("OpenVINO", "ONNX Runtime")  # whose batches by length are measured


def arguments():
    parser = argparse.ArgumentParser(prog="benchmarks/peers/run.sh", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"fewer workloads, {QUICK_ROUNDS} rounds, no compiled PyTorch: some minutes")
    parser.add_argument("--threads", type=int, default=2, help="of every engine (default 2)")
    parser.add_argument("--rounds", type=int, help=f"interleaved rounds (default {ROUNDS})")
    parser.add_argument("--batch-tokens", type=int, default=BATCH_TOKENS, help=f"of one packed batch of pets (default {BATCH_TOKENS})")
    parser.add_argument("--copies", type=int, help="merged full copies of a peer (default: three times the last cache, 2 to 16)")
    parser.add_argument("--precision", action="append", choices=setup_engines.PRECISIONS, help="only this precision (repeatable)")
    parser.add_argument("--model", action="append", choices=TASKS, help="only this model (repeatable)")
    parser.add_argument("--only", action="append", metavar="WORD", help="only peers whose name has this word (repeatable)")
    parser.add_argument("--workload", action="append", metavar="WORD", help="only workloads whose name has this word (repeatable)")
    parser.add_argument("--no-footprint", action="store_true", help="leave out memory and the time to the first answer")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "performance", help="folder (default docs/performance)")
    options = parser.parse_args()
    if options.rounds is None:
        options.rounds = QUICK_ROUNDS if options.quick else ROUNDS
    if min(options.threads, options.rounds, options.copies or 1) < 1:
        parser.error("--threads, --rounds and --copies are at least 1")
    return options


def has_word(name: str, words) -> bool:
    return words is None or any(word.lower() in name.lower() for word in words)


def cells_of(ready: setup_engines.Ready, workload: Workload) -> list[Cell]:
    cells = []
    for precision, driver in ready.pets.items():
        for kind in ("base", "lora") if workload.latency or workload.few_peers else ("base", "lora", "types"):
            name = f"{workload.name}/{kind}"
            cells.append(Cell(PETS, precision, kind, lambda times, d=driver, n=name: d.run(n, times), keep=True))
    for peer in ready.peers:
        if peer.engine.workloads and workload.name not in peer.engine.workloads:
            continue
        if workload.few_peers and not (peer.name in FEW_PEERS and peer.precision != "int8"):
            continue

        def add(way, call, peer=peer):
            cells.append(Cell(peer.name, peer.precision, way, timed(call)))

        add(ways.ONE_BATCH, ways.one_batch(peer.copies[0], workload))
        if workload.ragged and not workload.few_peers and peer.name in BY_LENGTH:
            add(ways.BUCKETS, ways.buckets(peer.copies[0], workload))
        if len(peer.copies) > 1 and not workload.latency:
            add(ways.PER_TASK, ways.per_task(peer.copies[1:], workload))
    if ready.peft and not workload.latency and not workload.few_peers:
        cells.append(Cell(PeftEngine.name, "fp32", ways.MIXED, timed(ways.mixed(ready.peft, workload, tasks.lora_name)), keep=True))
    return cells


def run_model(name: str, options, say) -> dict:
    build = ROOT / "build"
    model = models.prepare(name, build)
    chosen = [w for w in choose(name, model.vocabulary, options.quick) if has_word(w.name, options.workload)]
    compiles = name == models.MINILM and not options.quick
    precisions = options.precision or setup_engines.PRECISIONS
    wanted = [
        (e, p)
        for e, p in engines.ALL
        if has_word(e.name, options.only) and p in precisions and (compiles or e is not engines.TorchCompileEngine)
    ]
    use_peft = has_word(PeftEngine.name, options.only)
    ready = setup_engines.prepare(model, TASKS[name], chosen, wanted, use_peft, build, options, say)
    rest = Rest([driver.process.pid for driver in ready.pets.values()])
    peaks = next(iter(ready.pets.values())).peaks
    measured = []
    for workload in chosen:
        say(f"{name}: {workload.title}")
        cells = cells_of(ready, workload)
        found = measure(cells, options.rounds, rest, peaks, say)
        measured.append(
            {
                "name": workload.name, "title": workload.title, "tokens": workload.tokens, "queries": len(workload.ids),
                "padded_tokens": len(workload.ids) * max(workload.lengths), "tasks": workload.tasks, "latency": workload.latency,
                "ragged": workload.ragged, "flops": model.encoder_flops(workload.lengths), "peaks": found,
                "cells": [{k: getattr(c, k) for k in ("engine", "precision", "way", "seconds", "dropped", "failed")} for c in cells],
            }
        )  # fmt: skip
    for driver in ready.pets.values():
        driver.close()
    memory = {} if options.no_footprint else footprint.measure(ready, TASKS[name], build, options.threads, say)
    return {
        "title": models.TITLES[name], "copies": ready.copies, "absent": ready.absent, "checks": ready.checks, "settings": ready.settings,
        "busiest_rest": rest.busiest, "workloads": measured, "footprint": memory,
    }  # fmt: skip


def main() -> int:
    options = arguments()
    started = time.perf_counter()

    def say(text: str) -> None:
        print(f"{time.perf_counter() - started:6.0f} s  {text}", flush=True)

    results = {
        "date": datetime.date.today().isoformat(), "machine": cpu.describe(), "threads": options.threads, "rounds": options.rounds,
        "quick": options.quick, "models": {},
    }  # fmt: skip
    for name in options.model or TASKS:
        results["models"][name] = run_model(name, options, say)
        gc.collect()
    results["seconds"] = time.perf_counter() - started
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "peers.json").write_text(json.dumps(results, indent=1) + "\n")
    report.write(results, options.output / "peers.md")
    plot.draw(results, options.output / "peers.png")
    say(f"wrote {options.output}/peers.md, .png, .json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
