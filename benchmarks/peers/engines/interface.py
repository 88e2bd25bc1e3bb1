"""What the measuring code knows of a peer. Importing a module here imports no engine: a missing one fails where it is made."""

from pathlib import Path

import numpy as np


class Unsupported(Exception):
    """This peer cannot do this here; the text says why."""


class Engine:
    """One full copy of a model in one engine. A folder holds what `export` wrote, so that loading needs no other engine's memory."""

    name = ""  # as tables show it
    per_task = True  # whether more copies than the first are worth loading (False: the base alone)
    workloads: tuple | None = None  # names of the only workloads to measure, where every shape costs much to prepare

    def __init__(self, folder: Path, threads: int, precision: str):
        raise NotImplementedError

    @staticmethod
    def export(bert, heads: int, hidden: int, folder: Path) -> None:
        """Writes what this engine loads, from a transformers BertForSequenceClassification in float32."""
        raise NotImplementedError

    @staticmethod
    def settings(threads: int, precision: str) -> dict:
        """What is set, for the record; `version` among it."""
        raise NotImplementedError

    def batch(self, ids: np.ndarray, mask: np.ndarray):
        """The engine's own form of a padded batch, made before the clock starts."""
        raise NotImplementedError

    def run(self, batch) -> np.ndarray:
        """Logits [queries, labels]."""
        raise NotImplementedError
