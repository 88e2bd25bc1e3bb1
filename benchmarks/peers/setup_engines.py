"""Makes everything ready before the clock starts: full copies on disk, the peers that work here, pets' bundles; and checks the answers."""

import math
from dataclasses import dataclass, field
from pathlib import Path

import answers
import cpu
import engines
import numpy as np
import tasks
import ways
from engines.interface import Engine
from engines.peft_engine import PeftEngine
from models import Model
from pets_driver import PetsDriver
from rounds import first_line
from workloads import Workload, equal

PRECISIONS = ("fp32", "bf16", "int8")  # of pets; no peer here has fp16
MOST_COPIES = 16


def copies_wanted(model: Model) -> int:
    """Enough different full copies that none is in a cache when its turn comes again: three times the last cache, at least 2."""
    return min(MOST_COPIES, max(2, math.ceil(3 * cpu.last_cache_bytes() / model.linear_bytes)))


@dataclass
class Peer:
    engine: Engine  # its class
    precision: str
    copies: list  # the base without PET, then merged copies where the engine runs one call a task

    @property
    def name(self) -> str:
        return self.engine.name


@dataclass
class Ready:
    model: Model
    peers: list[Peer] = field(default_factory=list)
    peft: PeftEngine | None = None
    pets: dict[str, PetsDriver] = field(default_factory=dict)  # by precision
    absent: list[dict] = field(default_factory=list)
    checks: list[dict] = field(default_factory=list)
    settings: list[dict] = field(default_factory=list)
    copies: int = 0


def missing(ready: Ready, engine: str, precision: str, why: str, say) -> None:
    ready.absent.append({"engine": engine, "precision": precision, "why": why})
    say(f"absent: {engine} {precision}: {why}")


def checking_workload(model: Model, count: int) -> Workload:
    """Two dozen queries of uneven lengths over as many tasks."""
    many = min(24, count)
    plain = equal(1, 64, many, model.vocabulary)
    ids = [query[: 5 + (7 * i) % 59] for i, query in enumerate(plain.ids)]
    return Workload("check", "check", many, ids, plain.task, ragged=True)


def export_copies(model: Model, folder: Path, task_folder: Path, count: int, wanted: list, ready: Ready, say) -> list[Path]:
    """Folder 0 is the base with the classifier of no task, folder k the base with LoRA task k - 1 merged. Kept from run to run."""
    folders = [folder / "copies" / str(k) for k in range(count + 1)]
    failed = set()
    for k, target in enumerate(folders):
        target.mkdir(parents=True, exist_ok=True)
        todo = [e for e in wanted if not (target / f"{e.__name__}.done").exists() and e not in failed and (k == 0 or e.per_task)]
        if not todo:
            continue
        bert = tasks.base_classifier(model) if k == 0 else tasks.merged(model, k - 1, task_folder)
        for engine in todo:
            say(f"writing copy {k} for {engine.__name__}")
            try:
                engine.export(bert, model.heads, model.hidden, target)
                (target / f"{engine.__name__}.done").touch()
            except Exception as error:  # whatever an engine's exporter raises: this peer is absent, the others go on
                failed.add(engine)
                missing(ready, engine.name, "all", f"export: {first_line(error)}", say)
    return folders


def reference_logits(folders: list[Path], workload: Workload, threads: int) -> list[np.ndarray]:
    """PyTorch's float32 logits of all queries by each full copy."""
    reference = engines.TorchEngine
    return [ways.one_batch(reference(f, threads, "fp32"), workload)(keep=True) for f in folders]


def load_peers(ready: Ready, folders: list[Path], wanted: list, workload: Workload, expected, threads: int, say) -> None:
    for engine, precision in wanted:
        if not (folders[0] / f"{engine.__name__}.done").exists():
            continue  # its export failed, which is reported
        try:
            mine = folders if engine.per_task else folders[:1]
            copies = [engine(f, threads, precision) for f in mine]
            errors = [
                answers.check(f"{engine.name}, copy {k}", precision, ways.one_batch(copy, workload)(keep=True), expected[k])
                for k, copy in enumerate(copies)
            ]
            ready.peers.append(Peer(engine, precision, copies))
            ready.settings.append({"engine": engine.name, "precision": precision} | engine.settings(threads, precision))
            ready.checks.append({"engine": engine.name, "precision": precision, "against": "PyTorch fp32", "error": max(errors)})
            say(f"{engine.name} {precision}: {len(copies)} full copies, answers differ by {max(errors):.1e}")
        except Exception as error:
            missing(ready, engine.name, precision, first_line(error), say)


def load_peft(ready: Ready, task_folder: Path, count: int, check: Workload, expected, threads: int, say) -> None:
    """Its answers are compared with those of the copies that have the same LoRA merged into them."""
    try:
        peft = PeftEngine(tasks.base_classifier(ready.model), task_folder, [tasks.lora_name(t) for t in range(count)], threads)
        logits = ways.mixed(peft, check, tasks.lora_name)(keep=True)
        merged = [i for i, task in enumerate(check.task) if task < ready.copies]
        error = answers.check(PeftEngine.name, "fp32", logits[merged], np.stack([expected[check.task[i] + 1][i] for i in merged]))
        ready.peft = peft
        ready.checks.append({"engine": PeftEngine.name, "precision": "fp32", "against": "PyTorch fp32, merged", "error": error})
        ready.settings.append({"engine": PeftEngine.name, "precision": "fp32"} | PeftEngine.settings(threads))
        say(f"{PeftEngine.name}: {count} adapters, answers differ by {error:.1e}")
    except Exception as error:
        missing(ready, PeftEngine.name, "fp32", first_line(error), say)


def pets_workloads(workloads: list[Workload]) -> dict:
    """Every workload three times: the base alone, all tasks LoRA, every PET type in turn."""
    found = {}
    for workload in workloads:
        found[f"{workload.name}/base"] = (["plain"] * len(workload.ids), workload.ids)
        found[f"{workload.name}/lora"] = ([tasks.lora_name(t) for t in workload.task], workload.ids)
        found[f"{workload.name}/types"] = ([tasks.mixed_name(t) for t in workload.task], workload.ids)
    return found


def load_pets(ready: Ready, folder: Path, count: int, tools: Path, workloads: list, check: Workload, expected, options, say) -> None:
    """Packs and loads pets in every precision that the converter takes. float32 answers that are wrong end the run."""
    merged_by_peft = ways.mixed(ready.peft, check, tasks.lora_name)(keep=True) if ready.peft else None
    for precision in options.precision or PRECISIONS:
        if precision == "bf16" and not cpu.has_bf16():
            missing(ready, "pets", precision, "the CPU has no native bf16", say)
            continue
        try:
            bundle = tasks.pack(ready.model, count, folder / "tasks", precision, tools / "converter/pets-convert", lora_only=False)
        except RuntimeError as error:
            missing(ready, "pets", precision, str(error), say)
            continue
        driver = PetsDriver(
            tools / "benchmarks/end_to_end/pets-bench", bundle, pets_workloads([*workloads, check]), options.threads, folder / "workloads.json",
            options.batch_tokens,
        )  # fmt: skip
        ready.pets[precision] = driver
        for kind, truth, against in (("base", expected[0], "PyTorch fp32"), ("lora", merged_by_peft, "PEFT fp32, mixed batch")):
            if truth is not None:
                error = answers.check(f"pets, {kind}", precision, driver.logits(f"check/{kind}"), truth)
                ready.checks.append({"engine": f"pets {kind}", "precision": precision, "against": against, "error": error})
        answers.difference(driver.logits("check/types"), expected[0])  # finite, and of the right shape
        ready.settings.append({"engine": "pets", "precision": precision} | driver.loaded)
        say(f"pets {precision}: {driver.loaded['tasks']} tasks, {driver.loaded['isa']}, answers are right")


def prepare(model: Model, count: int, workloads: list[Workload], wanted: list, use_peft: bool, build: Path, options, say) -> Ready:
    """`wanted`: (engine class, precision) of the peers. `options`: the run's `threads` and `batch_tokens`."""
    threads = options.threads
    ready = Ready(model, copies=options.copies or copies_wanted(model))
    folder = build / "peers" / model.name
    say(f"{model.name}: {count} tasks of each kind")
    tasks.make(model, count, folder / "tasks")
    classes = list(dict.fromkeys([engines.TorchEngine, *(engine for engine, _ in wanted)]))
    folders = export_copies(model, folder, folder / "tasks", ready.copies, classes, ready, say)
    check = checking_workload(model, count)
    expected = reference_logits(folders, check, threads)
    load_peers(ready, folders, wanted, check, expected, threads, say)
    if use_peft:
        load_peft(ready, folder / "tasks", count, check, expected, threads, say)
    load_pets(ready, folder, count, build / "release", workloads, check, expected, options, say)
    return ready
