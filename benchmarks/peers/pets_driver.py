"""pets in its own process, driven line by line (`pets-bench workload`)."""

import json
import subprocess
from pathlib import Path

# Tokens of one packed batch: a larger run is split. A larger batch holds more rows of each task, but needs more memory.
BATCH_TOKENS = 4096


class PetsDriver:
    def __init__(self, bench: Path, bundle: Path, workloads: dict[str, tuple[list[str], list]], threads: int, scratch: Path, batch_tokens: int = BATCH_TOKENS):
        """`workloads`: name -> (the task's name of each query, token ids of each query)."""
        scratch.write_text(json.dumps({name: {"tasks": tasks, "ids": ids} for name, (tasks, ids) in workloads.items()}))
        self.process = subprocess.Popen(
            [bench, "workload", bundle, scratch, "--threads", str(threads), "--max-batch-tokens", str(batch_tokens),
             "--max-batch-queries", str(max(1, batch_tokens // 8))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.loaded = self._reply("loading " + str(bundle)) | {"max_batch_tokens": batch_tokens}

    def run(self, name: str, times: int) -> list[float]:
        """Seconds of each of `times` runs."""
        return self._ask(f"run {name} {times}")["seconds"]

    def logits(self, name: str) -> list[list[float]]:
        return self._ask(f"logits {name}")["logits"]

    def peaks(self) -> dict:
        return self._ask("peaks")

    def memory(self) -> dict:
        return self._ask("memory")

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def _ask(self, command: str) -> dict:
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self._reply(command)

    def _reply(self, command: str) -> dict:
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"pets-bench ended with status {self.process.wait()} at: {command}")
        reply = json.loads(line)
        if "error" in reply:
            raise RuntimeError(f"pets-bench: {command}: {reply['error']}")
        return reply
