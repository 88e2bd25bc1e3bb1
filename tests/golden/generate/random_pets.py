"""Random PETs for the soak test, saved and loaded again by the library that makes them."""

import re
from dataclasses import dataclass, field
from typing import Callable

import adapters
import torch
from adapters import BertAdapterModel, BnConfig, DoRAConfig, IA3Config as HubIA3Config, LoRAConfig as HubLoRAConfig
from peft import BeftConfig, IA3Config, LNTuningConfig, LoraConfig, PeftModel, ShiraConfig, get_peft_model
from transformers import (AutoModel, AutoModelForQuestionAnswering, AutoModelForSequenceClassification,
                          AutoModelForTokenClassification, BertForQuestionAnswering, BertForSequenceClassification,
                          BertForTokenClassification, BertModel)

from adapterhub_cases import ACTIVATIONS, add_head, resave_pickles
from common import model_tensors, perturb, read_json, read_tensors, write_json, write_tensors

CLASSES = {"SEQ_CLS": AutoModelForSequenceClassification, "TOKEN_CLS": AutoModelForTokenClassification,
           "QUESTION_ANS": AutoModelForQuestionAnswering, "FEATURE_EXTRACTION": AutoModel}
KINDS = {"SEQ_CLS": "sequence", "TOKEN_CLS": "tokens", "QUESTION_ANS": "qa", "FEATURE_EXTRACTION": "embedding"}
OWN_HEAD = {"SEQ_CLS": BertForSequenceClassification, "TOKEN_CLS": BertForTokenClassification, "QUESTION_ANS": BertForQuestionAnswering}
LINEARS = ["query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense"]
HEADS = ("classifier.", "qa_outputs.")
LABELS = ["cold", "warm", "ünïcode", "a b", "\"q\"", "5", "x/y"]


@dataclass
class Base:
    """A base directory and what the PETs have to know of it."""

    path: object
    config: object
    saved_from: type
    dtype: object

    @property
    def has_pooler(self):
        return any("pooler.dense.weight" in key for key in self.tensors())

    def tensors(self):
        return {re.sub("^bert[.]", "", key): tensor for key, tensor in model_tensors(self.path).items()}


@dataclass
class Task:
    name: str
    kind: str  # sequence, multilabel, regression, tokens, qa, embedding
    make: Callable  # the library's model, from the files
    logits: Callable  # of its output
    pet: dict | None = None
    head: dict | None = None
    labels: list | None = None
    max_length: int | None = None
    many: int = 1  # times as many queries
    refusals: list = field(default_factory=list)  # expressions of the messages that may refuse it
    notes: str = ""


def sequence_logits(output):
    return output.logits[0]


def qa_logits(output):
    return torch.stack([output.start_logits[0], output.end_logits[0]])


def embedding_logits(pooling, normalize):
    def logits(output):
        rows = output.last_hidden_state[0]
        result = {"mean": lambda: rows.mean(dim=0), "cls": lambda: rows[0], "pooler": lambda: output.pooler_output[0]}[pooling]()
        return torch.nn.functional.normalize(result, dim=-1) if normalize else result
    return logits


def random_embedding(rng, base):
    pooling = rng.choice(["mean", "cls", "pooler"] if base.has_pooler else ["mean", "cls"])
    normalize = rng.random() < 0.5
    return {"type": "embedding", "pooling": pooling, "normalize": normalize}, embedding_logits(pooling, normalize)


def random_none(rng, base, directory, name):
    """The base itself: an embedding, or the base's own head."""
    own = [task_type for task_type, kind in OWN_HEAD.items() if base.saved_from is kind]
    if own and rng.random() < 0.7:
        kind = KINDS[own[0]]
        labels = list(base.config.id2label.values()) if kind != "qa" else None
        return Task(name, kind, lambda: CLASSES[own[0]].from_pretrained(base.path, dtype=torch.float32),
                    qa_logits if kind == "qa" else sequence_logits, {"format": "none"}, labels=labels)
    head, logits = random_embedding(rng, base)
    return Task(name, "embedding", lambda: AutoModel.from_pretrained(base.path, dtype=torch.float32), logits, {"format": "none"}, head)


def task_kind(rng, task_type, options):
    """num_labels and the kind of head of a transformers task model; `options` goes to from_pretrained."""
    if task_type == "TOKEN_CLS":
        options["num_labels"] = rng.choice([2, 3, 5])
        return "tokens"
    if task_type != "SEQ_CLS":
        options.update({"num_labels": 2} if task_type == "QUESTION_ANS" else {})  # the base may be of another kind
        return KINDS[task_type]
    kind = rng.choice(["sequence", "sequence", "sequence", "multilabel", "regression"])
    options["num_labels"] = {"regression": 1}.get(kind, rng.choice([2, 3, 4, 7]))
    if kind == "multilabel":
        options["problem_type"] = "multi_label_classification"
    return kind


# ---------------------------------------------------------------------------------------------------------------- PEFT

def random_targets(rng):
    form = rng.random()
    if form < 0.55:
        return rng.sample(LINEARS, rng.randint(1, 5))
    if form < 0.65:
        return "all-linear"
    if form < 0.75:
        return rng.choice([r".*layer\.\d+\.attention\.self\.(query|value)", r".*\.layer\.0\..*dense",
                           r"(bert\.)?encoder.*(key|intermediate\.dense)"])
    if form < 0.85:
        return ["dense"]
    return rng.choice([["query", "pooler.dense"], ["self.key"], ["layer.0.attention.self.query", "layer.0.output.dense"], ["query"]])


def random_pattern(rng, values):
    keys = ["query", "value", "dense", "output.dense", "layer.0.attention.self.query", r"layer\.0\.output\.dense", r".*\.key",
            r"[^.]+\.dense", r"^bert.encoder.layer.0.attention.self.(query|key)", r"(?:attention\.)?self\.\w+",
            r"encoder\.layer\.[0-1]\..*", r"layer.\d.+query",
            r"bert.encoder.layer.1.intermediate.dense", "self.value", r"self\.(?!query).*", r"attention.self.query$", "uery"]
    return {key: rng.choice(values) for key in rng.sample(keys, rng.randint(1, 3))}


def random_lora(rng, base, task_type, options):
    layers = base.config.num_hidden_layers
    config = dict(r=rng.choice([1, 2, 3, 4, 8, 17]), lora_alpha=rng.choice([1, 2, 6, 11, 16, 0.5, 3.25]), task_type=task_type,
                  target_modules=random_targets(rng), bias=rng.choice(["none", "none", "lora_only", "all"]),
                  lora_dropout=rng.choice([0.0, 0.1]))
    refusals = []
    chance = lambda share: rng.random() < share
    if chance(0.3):
        config["rank_pattern"] = random_pattern(rng, [1, 2, 5, 9])
    if chance(0.3):
        config["alpha_pattern"] = random_pattern(rng, [1, 3, 7, 20])
    if chance(0.25):
        config["use_rslora"] = True
    if chance(0.2):
        config["use_dora"] = True
    elif chance(0.15):
        config["lora_bias"] = True
    if chance(0.2):
        config["exclude_modules"] = rng.choice([["key"], ["pooler.dense", "layer.0.output.dense"], ["classifier"],
                                                r".*\.layer\.0\.attention\..*query"])
    if chance(0.2) and not isinstance(config["target_modules"], str):
        config["layers_to_transform"] = rng.choice([0, [0], list(range(0, layers, 2))])
        config["layers_pattern"] = rng.choice([None, "layer", ["layer"]])
    config["init_lora_weights"] = rng.choice([True, True, True, False, "gaussian"])
    if chance(0.04):
        config["init_lora_weights"] = rng.choice(["pissa", "olora"])
        refusals.append("init_lora_weights")
    if chance(0.04):
        config["trainable_token_indices"] = [5, 9]
        refusals.append("trainable_token")
    return config, refusals


def random_saved(rng, task_type):
    """modules_to_save."""
    head = {"SEQ_CLS": ["classifier"], "TOKEN_CLS": ["classifier"], "QUESTION_ANS": ["qa_outputs"]}.get(task_type, [])
    extra = rng.choice([[], [], [], ["LayerNorm"], ["layer.0.attention.output.LayerNorm"], ["embeddings.LayerNorm"]])
    if task_type == "SEQ_CLS":
        extra = extra + rng.choice([[], [], [], ["bert.pooler"], ["pooler"], ["pooler.dense"]])
    return head + extra


def random_peft(rng, base, directory, name, make_config=None):
    task_type = rng.choice(["SEQ_CLS", "SEQ_CLS", "SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS", "FEATURE_EXTRACTION"])
    options, refusals = {}, []
    kind = task_kind(rng, task_type, options)
    own_head = base.saved_from is OWN_HEAD.get(task_type)
    frozen_head = own_head and rng.random() < 0.4
    if frozen_head:  # the base's own head, not trained
        options, kind = {"num_labels": base.config.num_labels}, {"SEQ_CLS": "sequence"}.get(task_type, kind)
    stated = None if frozen_head or rng.random() < 0.2 else task_type
    settings, refusals = (make_config or random_lora)(rng, base, stated, options)
    saved = random_saved(rng, task_type)
    if frozen_head:
        saved = [module for module in saved if module not in ("classifier", "qa_outputs")]
    if saved and (stated is None or rng.random() < 0.5):
        settings["modules_to_save"] = saved
    kinds = {"LORA": LoraConfig, "IA3": IA3Config, "LN_TUNING": LNTuningConfig, "SHIRA": ShiraConfig, "BEFT": BeftConfig}
    config = kinds[settings.pop("peft_type", "LORA")](**settings)

    def plain():
        torch.manual_seed(1)  # a head or a pooler that must come from the PET differs from run to run else
        return CLASSES[task_type].from_pretrained(base.path, dtype=torch.float32, ignore_mismatched_sizes=True, **options).eval()

    model = plain()
    if not frozen_head:
        perturb([(key, p) for key, p in model.named_parameters() if key.startswith(HEADS)], f"{name}/head")
    model = get_peft_model(model, config)
    perturb([(key, p) for key, p in model.named_parameters() if p.requires_grad and "ln_tuning" not in key], f"pets/{name}")
    perturb([(key.replace("ln_tuning_layers", "LayerNorm"), p) for key, p in model.named_parameters()
             if p.requires_grad and "ln_tuning" in key], f"pets/{name}/norms")
    for key, parameter in model.named_parameters():  # scores of the order of a trained model's, or softmax saturates
        if "lora_B" in key:
            parameter.data.mul_(0.4)
    model.save_pretrained(directory)
    if rng.random() < 0.2:
        dtype = rng.choice([torch.float16, torch.bfloat16])
        tensors = read_tensors(directory / "adapter_model.safetensors")
        write_tensors(directory / "adapter_model.safetensors", {k: t.to(dtype) if t.is_floating_point() else t for k, t in tensors.items()})
    keys = list(read_tensors(directory / "adapter_model.safetensors"))
    if task_type == "SEQ_CLS" and not base.has_pooler:
        if not any("pooler.dense.weight" in key for key in keys):
            refusals.append("pooler")
    if any("embedding" in key and "LayerNorm" not in key for key in keys):
        refusals.append("embedding")
    head, logits = {}, qa_logits if task_type == "QUESTION_ANS" else sequence_logits
    labels = None
    if task_type == "FEATURE_EXTRACTION":
        head, logits = random_embedding(rng, base)
    elif kind == "multilabel":
        head = {"type": "multi-label-classification"}
    elif stated is None and rng.random() < 0.5:
        head = {"type": {"sequence": "sequence-classification", "tokens": "token-classification", "qa": "question-answering",
                         "regression": "regression"}[kind]}
    elif kind == "sequence" and rng.random() < 0.3:
        labels = [f"l{i}" for i in range(options["num_labels"])]
        head = {"labels": labels}
    loaded = lambda: PeftModel.from_pretrained(plain(), directory)
    loaded()  # fails where overlapping patterns match in another order: peft saves them sorted
    return Task(name, kind, loaded, logits, {"path": directory}, head, labels, refusals=refusals, notes=f"{settings} {options}")


def random_ia3(rng, base, task_type, options):
    targets = rng.sample(LINEARS, rng.randint(1, 5))
    if rng.random() < 0.3:
        targets = rng.choice([r".*\.(key|value|intermediate\.dense)", ["dense"], ["key", "pooler.dense"], ["query", "dense"]])
    forward = rng.choice([[], ["output.dense"], ["intermediate.dense"], ["dense"], r".*\.output\.dense"])
    if isinstance(forward, str) != isinstance(targets, str):
        forward = r".*\.intermediate\.dense" if isinstance(targets, str) else ["dense"]
    if isinstance(targets, list) and isinstance(forward, list):
        forward = [f for f in forward if f in targets] or [t for t in targets if rng.random() < 0.4]
    return {"peft_type": "IA3", "target_modules": targets, "feedforward_modules": forward, "task_type": task_type}, []


def random_small(rng, base, task_type, options):
    """PEFT's types that are one operator each."""
    kind = rng.choice(["LN_TUNING", "SHIRA", "BEFT"])
    settings = {"peft_type": kind, "task_type": task_type}
    if kind == "LN_TUNING":
        settings["target_modules"] = rng.choice([["LayerNorm"], ["output.LayerNorm"], r".*layer\.0\..*LayerNorm"])
    elif kind == "SHIRA":
        settings.update(r=rng.choice([1, 2, 3]), target_modules=rng.sample(LINEARS, 2), random_seed=rng.randrange(99))
    else:
        settings["target_modules"] = rng.sample(["query", "key", "value", "output.dense"], 2)
    return settings, []


# ---------------------------------------------------------------------------------------------------------- AdapterHub

def random_bottleneck(rng):
    flag = lambda share: rng.random() < share
    where = rng.choice([(True, True), (True, False), (False, True)])
    before = flag(0.5)
    factor = rng.choice([1, 2, 3.0, 7.0, 16, 0.5, 100])
    if flag(0.25):
        factor = {"default": rng.choice([4, 8.0]), **{str(rng.randrange(4)): rng.choice([2, 3, 0.7])}}
    return BnConfig(
        mh_adapter=where[0], output_adapter=where[1], reduction_factor=factor,
        non_linearity=rng.choice([*ACTIVATIONS, "relu", "swish", "gelu", "ReLU", "GELU"]),
        original_ln_before=before, original_ln_after=flag(0.7), ln_before=flag(0.3), ln_after=flag(0.3), is_parallel=flag(0.25),
        scaling=rng.choice([1.0, 1.0, 0.3, 4.0, "learned", "channel"]),
        residual_before_ln=rng.choice([True, False, "post_add"] if before else [True, False]), adapter_residual_before_ln=flag(0.4),
        leave_out=rng.choice([[], [], [0], [1, 3], [2]]), dropout=rng.choice([0.0, 0.2]))


def random_hub_method(rng):
    if rng.random() < 0.75:
        return random_bottleneck(rng)
    chosen = rng.choice([HubLoRAConfig, HubLoRAConfig, HubIA3Config, DoRAConfig])
    options = dict(attn_matrices=rng.sample(["q", "k", "v"], rng.randint(1, 3)), intermediate_lora=rng.random() < 0.5,
                   output_lora=rng.random() < 0.5, leave_out=rng.choice([[], [0]]), alpha=rng.choice([1, 3, 8]))
    if chosen is not HubIA3Config:
        options["r"] = rng.choice([1, 3, 6])
    return chosen(**options)


def random_hub_head(rng, base):
    """The end of an add_*_head method, its options, the kind of the head, its labels."""
    kind = rng.choice(["sequence", "sequence", "multilabel", "regression", "tokens", "qa"])
    layers = rng.choice([1, 1, 2, 3])
    options = {"layers": layers, "activation_function": rng.choice(["tanh", "relu", "gelu", "leakyrelu", "swish", "gelu_new", None])}
    labels = None
    if kind in ("sequence", "multilabel", "tokens"):
        count = rng.choice([2, 3, 6])
        if rng.random() < 0.6:
            labels = rng.sample(LABELS, count)
            options["labels"] = list(labels)
        else:
            options["num_labels"] = count
            labels = [f"LABEL_{i}" for i in range(count)]
    if kind == "regression":
        options["num_labels"] = 1
    if kind in ("sequence", "multilabel", "regression"):
        if rng.random() < 0.4:
            options["use_pooler"] = True
        if rng.random() < 0.2:
            options["bias"] = False
        if kind == "multilabel":
            options["multilabel"] = True
    return {"tokens": "tagging", "qa": "qa"}.get(kind, "classification"), options, kind, labels


def random_hub(rng, base, directory, name):
    if rng.random() < 0.2:
        return random_hub_static(rng, base, directory, name)
    config = random_hub_method(rng)
    head, options, kind, labels = random_hub_head(rng, base)
    model = BertAdapterModel.from_pretrained(base.path, dtype=torch.float32).eval()
    adapter = rng.choice([name, "my-adapter_1", "weights", "ad apter", "bert"])
    model.add_adapter(adapter, config=config)
    if kind == "multilabel" and "bias" in options:
        options.pop("bias")
    add_head(model, adapter, head, dict(options))
    perturb([(key, p) for key, p in model.named_parameters() if f".{adapter}." in key], f"pets/{name}")
    model.set_active_adapters(adapter)
    save_hub(model, directory, adapter)
    logits = qa_logits if kind == "qa" else sequence_logits

    def make():
        torch.manual_seed(1)
        model = BertAdapterModel.from_pretrained(base.path, dtype=torch.float32).eval()
        model.set_active_adapters(model.load_adapter(str(directory), use_safetensors=True))
        return model
    refusals = ["pooler"] if options.get("use_pooler") and not base.has_pooler else []
    return Task(name, kind, make, logits, {"path": directory}, labels=labels, refusals=refusals,
                notes=f"{config} {head} {options} {adapter}")


def save_hub(model, directory, adapter):
    directory.mkdir(parents=True, exist_ok=True)
    try:
        model.save_adapter(str(directory), adapter, with_head=True, use_safetensors=True)
    except RuntimeError:  # tensors that share memory
        model.save_adapter(str(directory), adapter, with_head=True, use_safetensors=False)
        resave_pickles(directory, keep="")


def random_hub_static(rng, base, directory, name):
    """`adapters.init` on a transformers task model or encoder."""
    task_type = rng.choice(["SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS", "FEATURE_EXTRACTION"])
    options = {}
    kind = task_kind(rng, task_type, options)
    labels = None
    if kind in ("sequence", "multilabel", "tokens") and rng.random() < 0.6:
        labels = rng.sample(LABELS, options["num_labels"])
        options.update(id2label=dict(enumerate(labels)), label2id={label: i for i, label in enumerate(labels)})

    def plain():
        torch.manual_seed(1)
        model = CLASSES[task_type].from_pretrained(base.path, dtype=torch.float32, ignore_mismatched_sizes=True, **options).eval()
        adapters.init(model)
        return model

    model = plain()
    config = random_hub_method(rng)
    model.add_adapter(name, config=config)
    perturb([(key, p) for key, p in model.named_parameters() if f".{name}." in key or key.startswith(HEADS)], f"pets/{name}")
    model.set_active_adapters(name)
    save_hub(model, directory, name)

    def make():
        model = plain()
        model.set_active_adapters(model.load_adapter(str(directory), use_safetensors=True))
        return model
    head, logits = {}, qa_logits if kind == "qa" else sequence_logits
    if task_type == "FEATURE_EXTRACTION":
        head, logits = random_embedding(rng, base)
    elif kind == "multilabel":
        head = {"type": "multi-label-classification"}
    refusals = ["pooler"] if task_type == "SEQ_CLS" and not base.has_pooler else []
    return Task(name, kind, make, logits, {"path": directory}, head, labels, refusals=refusals, notes=f"{config} {options}")
