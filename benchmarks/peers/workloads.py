"""What is asked: token ids of queries and the task of each. Equal for every engine."""

from dataclasses import dataclass, field

import numpy as np

CLS, SEP, FIRST_WORD = 101, 102, 1000


@dataclass(frozen=True)
class Workload:
    name: str
    title: str
    tasks: int
    ids: list = field(repr=False)  # a list of token ids for every query
    task: list = field(repr=False)  # the number of its task
    ragged: bool = False
    latency: bool = False
    few_peers: bool = False  # measured with few peers, to bound the time

    @property
    def lengths(self) -> list[int]:
        return [len(ids) for ids in self.ids]

    @property
    def tokens(self) -> int:
        return sum(self.lengths)


def _queries(lengths, vocabulary, random):
    words = [random.integers(FIRST_WORD, vocabulary, max(0, n - 2)).tolist() for n in lengths]
    return [([CLS] + w + [SEP])[: max(1, n)] for n, w in zip(lengths, words)]


def _make(name, title, tasks, lengths, vocabulary, seed, **options) -> Workload:
    """Queries in shuffled order: no two neighbours share a task but by chance."""
    random = np.random.default_rng(seed)
    ids = _queries(lengths, vocabulary, random)
    task = random.permutation(np.arange(len(lengths)) % tasks).tolist()
    return Workload(name, title, tasks, ids, task, **options)


def equal(queries_a_task: int, length: int, tasks: int, vocabulary: int) -> Workload:
    title = f"{tasks} tasks x {queries_a_task} x {length} tokens"
    return _make(f"{queries_a_task}x{length}x{tasks}", title, tasks, [length] * (queries_a_task * tasks), vocabulary, 11)


def ragged(queries: int, tasks: int, sigma: float, vocabulary: int) -> Workload:
    lengths = np.random.default_rng(7).normal(32, sigma, queries).round().clip(3, 512).astype(int).tolist()
    title = f"{queries} queries, {tasks} tasks, N(32, {sigma:g})"
    return _make(f"ragged-{queries}-s{sigma:g}", title, tasks, lengths, vocabulary, 13, ragged=True, few_peers=sigma != 8)


def latency(length: int, vocabulary: int) -> Workload:
    return _make(f"latency-{length}", f"1 query of {length} tokens", 1, [length], vocabulary, 17, latency=True)


def choose(model: str, vocabulary: int, quick: bool) -> list[Workload]:
    """The workloads of a model. BERT-base's, eight times the work a token, are fewer."""
    if model == "minilm" and not quick:
        chosen = [equal(q, n, t, vocabulary) for q, n, t in ((1, 128, 16), (2, 64, 16), (4, 32, 16), (2, 32, 32), (1, 16, 64))]
        chosen += [ragged(1024, 128, sigma, vocabulary) for sigma in (1, 2, 4, 8)]
        return chosen + [latency(n, vocabulary) for n in (8, 16, 32)]
    if model == "minilm":
        return [equal(2, 32, 32, vocabulary), ragged(128, 128, 8, vocabulary), latency(16, vocabulary)]
    if quick:
        return [equal(1, 32, 16, vocabulary)]
    return [equal(2, 32, 32, vocabulary), latency(16, vocabulary)]


def padded(queries: list) -> tuple[np.ndarray, np.ndarray]:
    """Token ids and mask, int64 [queries, longest]."""
    longest = max(map(len, queries))
    ids, mask = (np.zeros((len(queries), longest), np.int64) for _ in range(2))
    for i, query in enumerate(queries):
        ids[i, : len(query)], mask[i, : len(query)] = query, 1
    return ids, mask
