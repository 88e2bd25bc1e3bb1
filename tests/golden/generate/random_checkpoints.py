"""Random fully fine-tuned directories for the soak test: a base with some parameters changed, in any type."""

import shutil

import torch
from transformers import AutoModel

from common import model_tensors, perturb, randn, read_json, write_json
from random_pets import CLASSES, HEADS, LABELS, Task, embedding_logits, qa_logits, random_embedding, sequence_logits, task_kind


def edit_encoder(rng, model, gen):
    """Changes of every kind at random places; returns what was done."""
    done = []
    share = rng.choice([0.2, 0.6, 1.0])
    wanted = set(rng.sample(["bias", "norm", "beta", "sparse", "mask", "masked+sparse", "rows", "one"], rng.randint(0, 4)))
    few = rng.choice([0.001, 0.01, 0.04])
    for key, p in sorted(model.named_parameters()):
        if key.startswith(("classifier", "qa_outputs")) or "pooler" in key or rng.random() > share:
            continue
        noise = lambda std: randn(gen, p.shape, std)
        chosen = lambda part: torch.rand(p.shape, generator=gen) < part
        if "LayerNorm" in key:
            if "norm" in wanted or ("beta" in wanted and key.endswith("bias")):
                p.add_(noise(0.15))
        elif "embeddings" in key:
            if "rows" in wanted:
                count = max(1, int(p.shape[0] * 0.03)) if "word" in key else rng.randint(1, p.shape[0])
                rows = rng.sample(range(p.shape[0]), count)
                p[rows] = randn(gen, (count, p.shape[1]), 0.5)
        elif p.ndim == 1:
            if "bias" in wanted:
                p.add_(noise(0.2))
        else:
            kinds = [kind for kind in ("sparse", "mask", "masked+sparse", "one") if kind in wanted]
            kind = rng.choice(kinds) if kinds else ""
            if "mask" in kind:
                p.mul_(~chosen(rng.choice([0.01, 0.3, 0.5])))
            if "sparse" in kind:
                p.add_(chosen(few) * noise(0.3))
            if kind == "one":
                p[rng.randrange(p.shape[0]), rng.randrange(p.shape[1])] += 0.7
            done += [f"{key}: {kind}"] if kind else []
    return sorted(wanted) + done


def random_checkpoint(rng, base, directory, name):
    task_type = rng.choice(["SEQ_CLS", "SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS", "FEATURE_EXTRACTION"])
    options, labels = {}, None
    kind = task_kind(rng, task_type, options)
    if kind in ("sequence", "multilabel", "tokens"):
        labels = [f"LABEL_{i}" for i in range(options["num_labels"])]
        if rng.random() < 0.6:
            labels = rng.sample(LABELS, options["num_labels"])
        options.update(id2label=dict(enumerate(labels)), label2id={label: i for i, label in enumerate(labels)})
    if kind == "regression" and rng.random() < 0.5:
        options["problem_type"] = "regression"
    if kind == "sequence" and rng.random() < 0.5:
        options["problem_type"] = "single_label_classification"
    model = CLASSES[task_type].from_pretrained(base.path, dtype=torch.float32, ignore_mismatched_sizes=True, **options).eval()
    gen = torch.Generator().manual_seed(rng.randrange(1 << 30))
    perturb([(key, p) for key, p in model.named_parameters() if key.startswith(HEADS)], f"{name}/head")
    refusals = []
    with torch.no_grad():
        notes = edit_encoder(rng, model, gen)
        if not base.has_pooler or rng.random() < 0.3:
            perturb([(key, p) for key, p in model.named_parameters() if "pooler" in key], f"{name}/pooler")
        if rng.random() < 0.05:
            weight = model.base_model.encoder.layer[0].output.dense.weight
            weight.add_(randn(gen, weight.shape, 0.01))
            refusals.append("a dense difference")
    dtype = rng.choice([torch.float32, torch.float32, torch.float16, torch.bfloat16])
    shard = {"max_shard_size": "60KB"} if rng.random() < 0.2 else {}
    model.to(dtype).save_pretrained(directory, **shard)
    settings = read_json(directory / "config.json")
    settings.pop("_name_or_path", None)
    write_json(directory / "config.json", settings)
    if rng.random() < 0.3:  # the tokenizer lies beside it, as Trainer leaves it
        for file in base.path.iterdir():
            if "token" in file.name or file.name == "vocab.txt":
                shutil.copy(file, directory / file.name)
    before = base.tensors()

    def make():
        """A tensor's value that equals the rounded base's means the base's own."""
        model = CLASSES[task_type].from_pretrained(directory, dtype=torch.float32).eval()
        for key, p in model.named_parameters():
            key = key.removeprefix("bert.")
            if key in before and not key.startswith(HEADS):
                original = before[key].float()
                p.data = torch.where(original.to(dtype) == p.to(dtype), original, p)
        return model
    head, logits = {}, qa_logits if kind == "qa" else sequence_logits
    if task_type == "FEATURE_EXTRACTION":
        head, logits = random_embedding(rng, base)
        if any("pooler.dense" in key for key in model_tensors(directory)) and rng.random() < 0.3:
            head, logits = {"type": "embedding", "pooling": "pooler"}, embedding_logits("pooler", False)
    return Task(name, kind, make, logits, {"path": directory}, head, labels, refusals=refusals, notes=f"{dtype} {notes} {options}")


def random_tokens(rng, base, directory, name):
    """Many texts through an unchanged encoder: what the tokenizer does shows in the logits and the offsets of every token."""
    model = CLASSES["TOKEN_CLS"].from_pretrained(base.path, dtype=torch.float32, ignore_mismatched_sizes=True, num_labels=4).eval()
    perturb([(key, p) for key, p in model.named_parameters() if key.startswith("classifier.")], f"{name}/head")
    model.save_pretrained(directory)
    make = lambda: CLASSES["TOKEN_CLS"].from_pretrained(directory, dtype=torch.float32).eval()
    return Task(name, "tokens", make, sequence_logits, {"path": directory}, {}, many=30)
