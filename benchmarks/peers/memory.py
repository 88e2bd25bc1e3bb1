"""Resident memory of one full copy in one peer, in a process of its own: `memory.py ENGINE-CLASS PRECISION FOLDER THREADS`, JSON on stdout.

What importing the engine costs is counted apart, since a program pays it once for any number of copies.
"""

import json
import re
import sys
from pathlib import Path

import numpy as np
from workloads import padded


def resident_bytes() -> int:
    return int(re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text()).group(1)) * 1024


def main(engine_class: str, precision: str, folder: str, threads: str) -> None:
    import engines

    found = next(e for e, p in engines.ALL if e.__name__ == engine_class and p == precision)
    found.settings(int(threads), precision)  # imports it
    before = resident_bytes()
    engine = found(Path(folder), int(threads), precision)
    random = np.random.default_rng(1)
    engine.run(engine.batch(*padded(random.integers(1000, 30000, (8, 32)).tolist())))
    print(json.dumps({"imported": before, "copy": resident_bytes() - before}))


if __name__ == "__main__":
    main(*sys.argv[1:])
