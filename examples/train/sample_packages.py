"""Samples the package tasks once: writes data/<data set>.tsv.gz with split, package, text hash and labels of every row.

The files are committed, since package metadata changes from one release to the next; run this only to sample anew:
    python sample_packages.py --cache DIR
"""

import argparse
import gzip
import hashlib
import io
from collections import Counter, defaultdict
from pathlib import Path

import sources

DATA = Path(__file__).parent / "data"


def by_section(names: dict[str, str]):
    return lambda p: [names[p["section"]]] if p["section"] in names else []


def by_tag(prefix: str, names: dict[str, str]):
    return lambda p: sorted({names[t.removeprefix(prefix)] for t in p["tags"] if t.removeprefix(prefix) in names and t.startswith(prefix)})


def same(*names: str) -> dict[str, str]:
    return {n: n for n in names}


def game(p: dict) -> list[str]:
    if p["section"] == "games":
        return ["game"]
    playful = any(t.startswith("game::") or t == "use::gameplaying" for t in p["tags"])
    return [] if playful or not p["tags"] else ["other"]


# data set -> (labels of a package, rows of a class for training, for the held-out part, may a row have several labels?)
# For a data set with several labels the two numbers count all rows.
DATASETS = {
    "package-section": (
        by_section(same("admin", "editors", "fonts", "games", "graphics", "mail", "math", "net", "science", "sound", "text", "utils")),
        110, 50, False,
    ),
    "package-role": (
        by_tag("role::", {"program": "program", "shared-lib": "shared library", "devel-lib": "development files",
                          "documentation": "documentation", "app-data": "application data", "plugin": "plugin"}),
        210, 90, False,
    ),
    "package-interface": (
        by_tag("interface::", {"graphical": "graphical", "x11": "graphical", "commandline": "command line",
                               "daemon": "daemon", "text-mode": "text mode"}),
        330, 180, False,
    ),
    "package-written-in": (
        by_tag("implemented-in::", {"c": "C", "c++": "C++", "perl": "Perl", "python": "Python"}),
        300, 150, False,
    ),
    "package-ecosystem": (
        by_section({"python": "Python", "perl": "Perl", "haskell": "Haskell", "rust": "Rust", "golang": "Go", "javascript": "JavaScript",
                    "java": "Java", "ruby": "Ruby", "gnu-r": "R", "php": "PHP", "ocaml": "OCaml", "lisp": "Lisp"}),
        110, 50, False,
    ),
    "package-game": (game, 600, 300, False),
}


def order(*keys: str) -> bytes:
    """A pseudo-random order that needs no generator: the hash of the keys."""
    return hashlib.sha256("\0".join(keys).encode()).digest()


def sample(dataset: str, packages: dict[str, dict]) -> list[tuple]:
    """Returns rows (split, package, text hash, labels), sorted by package.

    All packages of one source go to the same split, and a text occurs once, so that nothing of the held-out part was seen.
    """
    label, n_train, n_test, multi = DATASETS[dataset]
    quota, seen, rows, per_source = defaultdict(Counter), set(), [], Counter()
    for name in sorted(packages, key=lambda n: order(dataset, n)):
        package = packages[name]
        labels = label(package)
        text = package["text"]
        if not labels or (len(labels) > 1 and not multi) or text in seen or len(text) < 20:
            continue
        split = "test" if order("split", package["source"])[0] < 70 else "train"
        group = "all" if multi else labels[0]
        if quota[split][group] >= (n_test if split == "test" else n_train) or per_source[package["source"]] >= 3:
            continue
        quota[split][group] += 1
        per_source[package["source"]] += 1
        seen.add(text)
        rows.append((split, name, sources.text_hash(text), ",".join(labels)))
    return sorted(rows, key=lambda r: r[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    args = parser.parse_args()
    packages = sources.read_packages(args.cache)
    DATA.mkdir(exist_ok=True)
    for dataset in DATASETS:
        rows = sample(dataset, packages)
        text = "split\tpackage\ttext_sha256\tlabels\n" + "".join("\t".join(r) + "\n" for r in rows)
        buffer = io.BytesIO()
        with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, compresslevel=9) as out:
            out.write(text.encode())
        (DATA / f"{dataset}.tsv.gz").write_bytes(buffer.getvalue())
        counts = Counter((r[0], label) for r in rows for label in r[3].split(","))
        print(dataset, len(rows), f"{len(buffer.getvalue())} bytes", dict(sorted(counts.items())))


if __name__ == "__main__":
    main()
