"""Memory of 128 tasks beside one full copy in each peer, and the time from process start to the first answer."""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import tasks
from models import MINILM, Model
from pets_driver import PetsDriver
from setup_engines import Ready
from workloads import equal


def first_answer_seconds(run: Path, bundle: Path, threads: int, times: int = 9) -> list[float]:
    """From the start of `pets-run` to the end of its first answer's line, for one query of 16 ids. The first time warms the page cache."""
    query = json.dumps({"task": tasks.lora_name(7), "ids": [101, *range(2000, 2014), 102]}) + "\n"
    seconds = []
    for _ in range(times + 1):
        start = time.perf_counter()
        process = subprocess.Popen([run, bundle, "--threads", str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        process.stdin.write(query)
        process.stdin.flush()
        answer = process.stdout.readline()
        seconds.append(time.perf_counter() - start)
        process.stdin.close()
        process.wait()
        process.stdout.close()
        if '"error"' in answer or not answer:
            raise RuntimeError(f"pets-run: {answer.strip() or 'no answer'}")
        time.sleep(0.1)
    return seconds[1:]


def _peer_memory(peer, folder: Path, threads: int) -> dict:
    command = [sys.executable, Path(__file__).with_name("memory.py"), peer.engine.__name__, peer.precision, folder, str(threads)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError((result.stderr.strip().splitlines() or ["memory.py failed"])[-1])
    return json.loads(result.stdout)


def _capacity(bench: Path) -> str:
    """How many tasks fit in the memory of four full copies of MiniLM: a Markdown table, from the sizes of bundles."""
    return subprocess.run([bench, "capacity"], check=True, stdout=subprocess.PIPE, text=True).stdout


def measure(ready: Ready, count: int, build: Path, threads: int, say) -> dict:
    """Bytes and seconds by engine and precision."""
    model: Model = ready.model
    folder = build / "peers" / model.name
    bench = build / "release/benchmarks/end_to_end/pets-bench"
    found = {"tasks": count, "pets": [], "peers": [], "start": [], "capacity": _capacity(bench) if model.name == MINILM else ""}
    workload = equal(1, 32, min(8, count), model.vocabulary)
    queries = {"mix": ([tasks.lora_name(t) for t in workload.task], workload.ids)}
    for precision in ready.pets:
        bundle = tasks.pack(model, count, folder / "tasks", precision, build / "release/converter/pets-convert", lora_only=True)
        driver = PetsDriver(bench, bundle, queries, threads, folder / "footprint.json")
        driver.run("mix", 1)
        found["pets"].append({"precision": precision, "resident": driver.memory()["VmRSS"], "bundle": bundle.stat().st_size} | driver.loaded)
        driver.close()
        seconds = first_answer_seconds(build / "release/runtime/cli/pets-run", bundle, threads)
        found["start"].append({"precision": precision, "seconds": seconds})
        resident = found["pets"][-1]["resident"] / 1e6
        say(f"pets {precision}, {count} LoRA tasks: {resident:.0f} MB, first answer {statistics.median(seconds) * 1e3:.1f} ms")
    for peer in ready.peers:
        try:
            bytes_ = _peer_memory(peer, folder / "copies" / "0", threads)
        except RuntimeError as error:
            say(f"memory of {peer.name} {peer.precision}: {error}")
            continue
        found["peers"].append({"engine": peer.name, "precision": peer.precision} | bytes_)
        say(f"{peer.name} {peer.precision}, one copy: {bytes_['copy'] / 1e6:.0f} MB and {bytes_['imported'] / 1e6:.0f} MB of program")
    return found
