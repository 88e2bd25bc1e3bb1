"""The data sets: each is a train and a held-out part of (text, target) rows, the same for every training that uses it."""

import gzip
import hashlib
import sys
from dataclasses import dataclass
from functools import cache as memoize
from pathlib import Path

import sources

DATA = Path(__file__).parent / "data"

# data set -> (VADER set, kind, rows for training, held-out rows); a class needs a mean rating of at least 0.5 either way.
SENTIMENT = {
    "movie-sentiment": ("movie", "classification", 2400, 1000),
    "product-sentiment": ("product", "classification", 2000, 600),
    "tweet-sentiment": ("tweet", "classification", 1500, 500),
    "movie-rating": ("movie", "regression", 2400, 1000),
    "product-rating": ("product", "regression", 2400, 800),
    "tweet-rating": ("tweet", "regression", 2400, 1000),
    "editorial-rating": ("editorial", "regression", 2800, 1000),
}


@dataclass
class Dataset:
    """One labelled data set.

    `kind` is `classification` (a target is a class index), `multilabel` (a list of 0.0 and 1.0) or `regression` (a float).
    """

    name: str
    kind: str
    labels: list[str]
    train: list[tuple[str, object]]
    test: list[tuple[str, object]]


def _key(*parts: str) -> bytes:
    return hashlib.sha256("\0".join(parts).encode()).digest()


def _sentiment(name: str, cache: Path) -> Dataset:
    """Rows in hash order, split by review or article (the part of the row id before `_`); classes are equally many."""
    source, kind, n_train, n_test = SENTIMENT[name]
    rows = [r for r in sources.read_ratings(cache, source) if r[2]]
    rows.sort(key=lambda r: _key(source, r[0]))
    share = n_test / (n_train + n_test)
    parts: dict[str, dict[int, list]] = {"train": {0: [], 1: []}, "test": {0: [], 1: []}}
    seen = set()
    for row_id, rating, text in rows:
        if text in seen or (kind == "classification" and abs(rating) < 0.5):
            continue
        seen.add(text)
        held_out = _key("split", source, row_id.split("_")[0])[0] < 256 * share
        target, group = (int(rating > 0), int(rating > 0)) if kind == "classification" else (rating, 0)
        parts["test" if held_out else "train"][group].append((text, target))
    groups = 2 if kind == "classification" else 1
    cut = {}
    for split, total in (("train", n_train), ("test", n_test)):
        each = min(total // groups, *(len(parts[split][g]) for g in range(groups)), total)
        cut[split] = [row for g in range(groups) for row in parts[split][g][:each]]
    labels = ["negative", "positive"] if kind == "classification" else ["rating"]
    return Dataset(name, kind, labels, cut["train"], cut["test"])


@memoize
def _packages(cache: Path) -> dict[str, dict]:
    return sources.read_packages(cache)


def _package(name: str, cache: Path) -> Dataset:
    """The committed sample of packages, with texts from the distribution's index; rows that no longer match are left out."""
    with gzip.open(DATA / f"{name}.tsv.gz", "rt", encoding="utf-8") as lines:
        rows = [line.rstrip("\n").split("\t") for line in lines][1:]
    labels = sorted({row[3] for row in rows})
    parts, missing = {"train": [], "test": []}, []
    for split, package, digest, names in rows:
        text = _packages(cache).get(package, {}).get("text")
        if text is None or sources.text_hash(text) != digest:
            missing.append(f"{package} ({'not in the index' if text is None else 'its text changed'})")
            continue
        parts[split].append((text, labels.index(names)))
    if missing:
        print(f"{name}: {len(missing)} of {len(rows)} rows no longer match and are left out: {', '.join(missing)}", file=sys.stderr)
    return Dataset(name, "classification", labels, parts["train"], parts["test"])


def load(name: str, cache: Path) -> Dataset:
    """Returns the data set `name`; what must be downloaded goes to `cache`."""
    return _sentiment(name, cache) if name in SENTIMENT else _package(name, cache)
