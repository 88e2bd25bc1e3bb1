"""The demo tasks: which data set, which PET type, how it is trained. The order is that of the manifest and of the table."""

from dataclasses import dataclass, field
from types import ModuleType

from recipes import adapter, bitfit, diff_pruning, lora, maskbert


@dataclass
class Task:
    """One PET. `dataset` is a name that data.load knows; `options` go to the recipe's train()."""

    name: str
    dataset: str
    pet: str
    recipe: ModuleType
    options: dict = field(default_factory=dict)

    @property
    def format(self) -> str:
        """The manifest's `pet.format`."""
        return {lora: "peft", adapter: "adapterhub"}.get(self.recipe, "operators")


def _houlsby(**options):
    return {"style": "houlsby", "bottleneck": 16, **options}


def _pfeiffer(**options):
    return {"style": "pfeiffer", "bottleneck": 32, **options}


# Most package tasks have topics that show in single words: they need fewer steps, and no dropout makes each step cheaper.
_QUICK = {"epochs": 4, "dropout": 0.0}
FULL_OPTIONS = {
    f"package-{name}": {"epochs": 3, "lr": 2e-4, "dropout": 0.0}
    for name in ("section", "interface", "written-in", "game", "ecosystem")
}
_ATTENTION = ["query", "key", "value", "attention.output.dense"]

TASKS = [
    Task("movie-sentiment", "movie-sentiment", "LoRA r=8 query, value", lora),
    Task("product-sentiment", "product-sentiment", "Houlsby 16", adapter, _houlsby(head={"layers": 1})),
    Task("tweet-sentiment", "tweet-sentiment", "MaskBert 5 %", maskbert),
    Task("movie-rating", "movie-rating", "Pfeiffer 32", adapter, _pfeiffer(head={"layers": 1})),
    Task("product-rating", "product-rating", "diff-pruning 1 %", diff_pruning),
    Task("tweet-rating", "tweet-rating", "BitFit", bitfit),
    Task(
        "editorial-rating", "editorial-rating", "LoRA r=8 attention, rank-stabilized, with biases", lora,
        {"target_modules": _ATTENTION, "use_rslora": True, "lora_alpha": 8, "bias": "lora_only", "epochs": 3, "dropout": 0.0},
    ),
    Task(
        "package-section", "package-section", "LoRA r=4 (value: 8), all linears but key", lora,
        {"target_modules": ["query", "value", "intermediate.dense", "output.dense"], "r": 4, "lora_alpha": 8,
         "rank_pattern": {"value": 8}, "alpha_pattern": {"value": 32}, **_QUICK},
    ),
    Task("package-role", "package-role", "Pfeiffer 32, two-layer head", adapter, _pfeiffer(head={"layers": 2})),
    Task("package-interface", "package-interface", "Houlsby 16, head on the pooler", adapter, _houlsby(head={"layers": 1, "use_pooler": True}, **_QUICK)),
    Task("package-written-in", "package-written-in", "BitFit", bitfit, _QUICK),
    Task("package-game", "package-game", "MaskBert 5 %", maskbert, _QUICK),
    Task("package-ecosystem", "package-ecosystem", "diff-pruning 1 %", diff_pruning, {"dense_epochs": 1, "dense_lr": 2e-4, "epochs": 3, "dropout": 0.0}),
]  # fmt: skip

BY_NAME = {task.name: task for task in TASKS}
