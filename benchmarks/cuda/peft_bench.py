"""PyTorch + PEFT on a GPU: a mixed batch of LoRA tasks by `adapter_names`, half precision, BERT-base's shape, random weights; as Markdown.

usage: peft_bench.py [--tasks N] [--length N] [--seconds X] [--no-compile] [--packages FOLDER]     exit status 77 where PyTorch, PEFT or a GPU is missing

FOLDER: wheels that stand in for packages that this Python does not have (prepare.sh carries PEFT so). Rows are printed as they are measured:
a run that is ended early has those before it.
"""

import argparse
import statistics
import sys
import tempfile
import time
import zipfile
from pathlib import Path

SKIPPED = 77
QUERIES = (2, 32)  # a task
RANK = 8


def skip(reason: str) -> None:
    print(f"Skipped: {reason}")
    sys.exit(SKIPPED)


def first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:160] if lines else ''}".replace("|", "/")


def import_all(packages: Path | None):
    """torch, transformers and peft: this Python's own; peft may come from the wheels, behind everything that is there."""
    try:
        import torch
    except ImportError as error:
        skip(f"this Python has no PyTorch ({error})")
    if not torch.cuda.is_available():
        skip("no CUDA device that PyTorch can use")
    try:
        import peft
        import transformers
    except ImportError as missing:
        wheels = sorted(packages.glob("*.whl")) if packages else []
        if not wheels:
            skip(str(missing))
        folder = tempfile.mkdtemp()
        for wheel in wheels:
            zipfile.ZipFile(wheel).extractall(folder)
        sys.path.append(folder)
        for name in [n for n in sys.modules if n.split(".")[0] in ("peft", "transformers")]:
            del sys.modules[name]
        try:
            import peft
            import transformers
        except ImportError as error:
            skip(f"{missing}; with the wheels carried along: {error}")
    return torch, transformers, peft


def make_model(torch, transformers, peft, tasks: int):
    torch.manual_seed(1)
    bert = transformers.BertForSequenceClassification(transformers.BertConfig(num_labels=3))
    config = peft.LoraConfig(task_type="SEQ_CLS", r=RANK, lora_alpha=16, target_modules=["query", "value"], init_lora_weights=False)
    model = peft.get_peft_model(bert, config, adapter_name="task-0")
    for task in range(1, tasks):
        model.add_adapter(f"task-{task}", config)
    return model.to("cuda", torch.float16).eval()


def timed(torch, run, seconds: float) -> list[float]:
    """Seconds of single runs for about so long, at least 5; the device has done its work at the end of each."""
    run()
    run()
    torch.cuda.synchronize()
    times, end = [], time.perf_counter() + seconds
    while len(times) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return times


def report(name: str, tokens: int, base: float | None, run, torch, seconds: float) -> float | None:
    """Prints a row; the median, or None where the way does not work."""
    try:
        with torch.inference_mode():
            median = statistics.median(timed(torch, run, seconds))
    except Exception as error:  # whatever a compiler or a library raises: this way is absent, the others go on
        print(f"| {name} | {first_line(error)} | - | - |", flush=True)
        return None
    share = f"{base / median:.3f}" if base else "-"
    print(f"| {name} | {median * 1e3:.2f} | {tokens / median:.0f} | {share} |", flush=True)
    return median


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=32)
    parser.add_argument("--length", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=1.5, help="of a row")
    parser.add_argument("--packages", type=Path)
    parser.add_argument("--no-compile", action="store_true", help="leave out torch.compile, which takes most of the time")
    options = parser.parse_args()
    torch, transformers, peft = import_all(options.packages)
    model = make_model(torch, transformers, peft, options.tasks)
    bert = model.get_base_model()

    print(
        f"## PyTorch {torch.__version__} + PEFT {peft.__version__} on {torch.cuda.get_device_name()}: {options.tasks} LoRA tasks, rank {RANK}, query and value, "
        f"half precision, BERT-base shape, {options.length} tokens a query\n"
    )
    print("| way | ms | tokens/s | base time / time |\n|---|---|---|---|", flush=True)
    ways = [("eager", lambda module: module)]
    if not options.no_compile:
        ways.append(("torch.compile", torch.compile))
    for way, prepare in ways:
        for queries in QUERIES:
            names = [f"task-{task}" for task in range(options.tasks) for _ in range(queries)]
            ids = torch.randint(0, bert.config.vocab_size, (len(names), options.length), device="cuda")
            tokens, label = ids.numel(), f"{options.tasks} x {queries} queries, {way}"
            torch._dynamo.reset()
            mixed = prepare(model)
            with model.disable_adapter():
                without = prepare(model)
                base = report(f"{label}: without adapters", tokens, None, lambda: without(input_ids=ids), torch, options.seconds)
            torch._dynamo.reset()
            report(f"{label}: mixed batch by adapter_names", tokens, base, lambda: mixed(input_ids=ids, adapter_names=names), torch, options.seconds)

            def one_by_one():
                for task in range(options.tasks):
                    model.set_adapter(f"task-{task}")
                    model(input_ids=ids[task * queries : (task + 1) * queries])

            if way == "eager":
                report(f"{label}: one call a task by set_adapter", tokens, base, one_by_one, torch, options.seconds)
    print("\nRandom weights; times by the clock of single forward passes, medians.")


if __name__ == "__main__":
    main()
