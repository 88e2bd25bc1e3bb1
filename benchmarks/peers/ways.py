"""The ways in which an engine may answer a workload. Each function returns a call without arguments that answers all of it.

A call returns logits [queries, labels] in the workload's order when it was made with `keep`, so that answers can be checked by the same code
that is timed.
"""

from collections import defaultdict

import numpy as np
from workloads import Workload, padded

ONE_BATCH, BUCKETS, PER_TASK, MIXED = "one task, one batch", "one task, batches by length", "one call a task, full copies", "mixed batch"
BUCKET_QUERIES = 64


def _calls(workload: Workload, parts):
    """`parts`: (indices of queries, prepared call). Runs them all in turn."""

    def run(keep: bool = False):
        logits = [call() for _, call in parts]
        if not keep:
            return None
        result = np.empty((len(workload.ids), logits[0].shape[1]), np.float32)
        for (indices, _), part in zip(parts, logits):
            result[indices] = part
        return result

    return run


def _part(engine, workload: Workload, indices):
    batch = engine.batch(*padded([workload.ids[i] for i in indices]))
    return indices, lambda: engine.run(batch)


def one_batch(engine, workload: Workload):
    return _calls(workload, [_part(engine, workload, list(range(len(workload.ids))))])


def buckets(engine, workload: Workload):
    """Sorted by length, so that little is padded."""
    order = np.argsort(workload.lengths, kind="stable").tolist()
    chunks = [order[i : i + BUCKET_QUERIES] for i in range(0, len(order), BUCKET_QUERIES)]
    return _calls(workload, [_part(engine, workload, chunk) for chunk in chunks])


def per_task(copies: list, workload: Workload):
    """Task t is answered by full copy t mod len(copies)."""
    queries = defaultdict(list)
    for i, task in enumerate(workload.task):
        queries[task].append(i)
    parts = [_part(copies[task % len(copies)], workload, indices) for task, indices in sorted(queries.items())]
    return _calls(workload, parts)


def mixed(peft, workload: Workload, name_of):
    batch = peft.batch(*padded(workload.ids), [name_of(task) for task in workload.task])
    return _calls(workload, [(list(range(len(workload.ids))), lambda: peft.run(batch))])
