"""PETs that `adapters` (AdapterHub) writes: bottlenecks with one option at a time, their heads, LoRA and IA3."""

import json

import adapters
import torch
from adapters import (BertAdapterModel, BnConfig, DoRAConfig, DoubleSeqBnConfig, IA3Config, LoRAConfig, ParBnConfig,
                      SeqBnConfig)
from adapters.heads import ClassificationHead

from cases import Case, ModelRun, check_reload, plain_logits, qa_logits, tidy_pet
from common import perturb, read_json, write_json, write_tensors
from formulas import recompute
from heads import logits_function, perturb_head, task_model

ACTIVATIONS = ("swish", "silu", "gelu", "gelu_python", "gelu_new", "gelu_fast", "gelu_accurate", "gelu_pytorch_tanh",
               "quick_gelu", "tanh", "sigmoid", "leakyrelu", "leaky_relu", "relu6", "mish", "linear")
D = 7.0  # 48 / 7 = 6.86, a bottleneck of 6: the library floors


def flexible_model(base_dir):
    return BertAdapterModel.from_pretrained(base_dir, dtype=torch.float32).eval()


def add_head(model, name, kind, options):
    """`kind` is the end of an `add_*_head` method: classification, tagging, qa."""
    labels = options.pop("labels", None)
    if labels:
        options = {"num_labels": len(labels), "id2label": dict(enumerate(labels)), **options}
    if {"bias", "dropout_prob"} & options.keys():  # in the head's config, but not arguments of add_classification_head
        model.add_prediction_head(ClassificationHead(model, name, **options))
        return
    getattr(model, f"add_{kind}_head")(name, **options)


def save_adapter(layout, name, base, config, head, head_options, safetensors=True):
    directory = layout.fresh(layout.pets / name)
    model = flexible_model(layout.bases / base)
    model.add_adapter(name, config=config)
    add_head(model, name, head, dict(head_options))
    marks = (f".{name}.", f"heads.{name}.", ".shared_parameters.")
    tied = ("embeddings.weight", "decoder.")
    perturb([(key, p) for key, p in model.named_parameters()
             if any(mark in key for mark in marks) and not any(mark in key for mark in tied)], f"pets/{name}")
    if "relu6" in name:  # the bound must be reached
        for key, parameter in model.named_parameters():
            if f".{name}.adapter_down" in key:
                parameter.data.mul_(6)
    model.set_active_adapters(name)
    try:
        model.save_adapter(str(directory), name, with_head=True, use_safetensors=safetensors)
    except RuntimeError:  # tensors that share memory
        model.save_adapter(str(directory), name, with_head=True, use_safetensors=False)
        resave_pickles(directory, keep="adapter_norm_before." if "only-norm" in name else "")
    tidy_adapter(directory, base)
    return model.eval()


def tidy_adapter(directory, base):
    tidy_pet(directory)
    for path in directory.glob("*.json"):
        settings = read_json(path)
        settings["model_name"] = base
        write_json(path, settings)


def resave_pickles(directory, keep):
    """The library cannot write `ln_before` (nor prefix tuning) as safetensors: a tensor is in the model twice.

    A user converts the .bin files then. Both names are kept, or only those of `keep`.
    """
    for pickled, name in (("pytorch_adapter.bin", "adapter.safetensors"), ("pytorch_model_head.bin", "model_head.safetensors")):
        tensors = torch.load(directory / pickled, weights_only=True)
        if keep:
            tensors = {key: t for key, t in tensors.items() if "adapter_down.0." not in key}
        write_tensors(directory / name, {key: t.clone() for key, t in tensors.items()})
        (directory / pickled).unlink()


def save_static(layout, name, base, config, task_type, model_config):
    """`adapters.init` on a transformers task model: the head is that model's own, without a head config."""
    directory = layout.fresh(layout.pets / name)
    model = task_model(layout.bases / base, task_type, **model_config)
    adapters.init(model)
    model.add_adapter(name, config=config)
    perturb_head(model, name)
    perturb([(key, p) for key, p in model.named_parameters() if f".{name}." in key], f"pets/{name}")
    model.set_active_adapters(name)
    model.save_adapter(str(directory), name, with_head=True, use_safetensors=True)
    tidy_adapter(directory, base)
    return model.eval()


def static_case(layout, name, base, config, task_type, model_config, **case):
    saved = save_static(layout, name, base, config, task_type, model_config)

    def load(base_dir, pet_dir):
        def make():
            model = task_model(base_dir, task_type, **model_config)
            adapters.init(model)
            model.set_active_adapters(model.load_adapter(str(pet_dir), use_safetensors=True))
            return model
        return ModelRun(make(), logits_function(task_type), make)

    check_reload(saved, load(layout.bases / base, layout.pets / name), name)
    return Case(name=name, base=base, load=load, recompute=formula("qa" if task_type == "QUESTION_ANS" else "any"), **case)


def formula(kind):
    return lambda base_dir, pet_dir: recompute(base_dir, pet_dir, kind)


def load_adapter(base_dir, pet_dir):
    def make():
        model = flexible_model(base_dir)
        name = model.load_adapter(str(pet_dir), use_safetensors=any(pet_dir.glob("*.safetensors")))
        model.set_active_adapters(name)
        return model
    model = make()
    is_qa = json.loads((pet_dir / "head_config.json").read_text())["config"]["head_type"] == "question_answering"
    return ModelRun(model, qa_logits if is_qa else plain_logits, make)


def hub_case(layout, name, base, config, head="classification", head_options=None, safetensors=True, **case):
    head_options = head_options or {"num_labels": 3, "layers": 1}
    saved = save_adapter(layout, name, base, config, head, head_options, safetensors)
    if head == "qa":
        case = {"lines": "qa", **case}
    check_reload(saved, load_adapter(layout.bases / base, layout.pets / name), name)
    kind = {"tagging": "tokens", "qa": "qa"}.get(head, "sequence")
    return Case(name=name, base=base, load=load_adapter, **{"recompute": formula(kind), **case})


def bottleneck_cases(layout):
    case = lambda *args, **options: hub_case(layout, *args, **options)
    yield case("houlsby", "tiny48", DoubleSeqBnConfig(reduction_factor=D), lines="pair")
    yield case("pfeiffer", "tiny48", SeqBnConfig(reduction_factor=D), lines="pair")
    yield case("parallel", "tiny48", ParBnConfig(reduction_factor=D), lines="pair")
    yield case("houlsby-64", "tiny64", DoubleSeqBnConfig(reduction_factor=4.0))
    yield case("pfeiffer-64r", "tiny64r", SeqBnConfig(reduction_factor=2))
    yield case("parallel-64h", "tiny64h", ParBnConfig(reduction_factor=64))
    yield case("houlsby-48old", "tiny48old", DoubleSeqBnConfig(reduction_factor=0.5), max_length=19)
    for name, config in option_configs():
        yield case(f"bn-{name}", "tiny48", config)


def bottleneck(**options):
    defaults = dict(mh_adapter=True, output_adapter=True, reduction_factor=D, non_linearity="relu")
    return BnConfig(**{**defaults, **options})


def option_configs():
    """Every option that changes the computation, one at a time and where they meet."""
    yield "ln-before", bottleneck(ln_before=True)
    yield "ln-before-only-norm", bottleneck(ln_before=True, mh_adapter=False, non_linearity="gelu")
    yield "ln-after", bottleneck(ln_after=True)
    yield "ln-after-residual", bottleneck(ln_after=True, adapter_residual_before_ln=True)
    yield "ln-both-original-before", bottleneck(ln_before=True, ln_after=True, original_ln_before=True)
    yield "residual-before-ln-ignored", bottleneck(adapter_residual_before_ln=True)
    for before in (False, True):
        for after in (False, True):
            residual = (True, False, "post_add") if before else (True, False)
            for option in residual:
                name = f"original-{before}-{after}-residual-{option}".lower().replace("_", "-")
                yield name, bottleneck(original_ln_before=before, original_ln_after=after, residual_before_ln=option)
    yield "scaling-07", bottleneck(scaling=0.7)
    yield "scaling-2-parallel", bottleneck(scaling=2.0, is_parallel=True)
    yield "scaling-learned", bottleneck(scaling="learned")
    yield "scaling-channel", bottleneck(scaling="channel")
    yield "scaling-learned-parallel", bottleneck(scaling="learned", is_parallel=True)
    for activation in ACTIVATIONS:
        yield f"act-{activation.replace('_', '-')}", bottleneck(non_linearity=activation, mh_adapter=False, scaling=4.0)
    yield "leave-out", bottleneck(leave_out=[0, 2])
    yield "reduction-map", bottleneck(reduction_factor={"1": 3, "default": 12})
    yield "attention-only", bottleneck(output_adapter=False)
    yield "ffn-only-wide", bottleneck(mh_adapter=False, reduction_factor=1)
    yield "parallel-both", bottleneck(is_parallel=True)
    yield "parallel-ln-before", bottleneck(is_parallel=True, ln_before=True)
    yield "parallel-ln-after", bottleneck(is_parallel=True, ln_after=True, adapter_residual_before_ln=True)
    yield "parallel-original-before", bottleneck(is_parallel=True, original_ln_before=True)
    yield "parallel-no-original-after", bottleneck(is_parallel=True, original_ln_after=False)
    yield "dropout", bottleneck(dropout=0.3, init_weights="mam_adapter", init_weights_seed=3)
    yield "houlsby-init", bottleneck(init_weights="houlsby", mh_adapter=False)


def head_cases(layout):
    case = lambda name, *args, **options: hub_case(layout, name, "tiny48", SeqBnConfig(reduction_factor=D), *args, **options)
    names = ["no", "yes", "may be"]
    yield case("head-2-layers", head_options={"labels": names, "layers": 2})
    yield case("head-3-layers", head_options={"labels": names, "layers": 3, "activation_function": "relu"})
    yield case("head-pooler", head_options={"num_labels": 2, "layers": 1, "use_pooler": True})
    yield case("head-pooler-2-layers", head_options={"num_labels": 4, "layers": 2, "use_pooler": True,
                                                     "activation_function": "gelu"})
    yield case("head-no-activation", head_options={"num_labels": 2, "layers": 2, "activation_function": None})
    yield case("head-no-bias", head_options={"num_labels": 2, "layers": 2, "bias": False})
    yield case("head-multilabel", head_options={"labels": ["a", "b", "c", "d", "e"], "multilabel": True, "layers": 2})
    yield case("head-regression", head_options={"num_labels": 1, "layers": 2})
    yield case("head-tagging", "tagging", {"labels": ["O", "B", "I"]})
    yield case("head-tagging-2-layers", "tagging", {"num_labels": 4, "layers": 2, "activation_function": "leakyrelu"})
    yield case("head-qa", "qa", {"layers": 1})
    yield case("head-qa-2-layers", "qa", {"layers": 2, "activation_function": "swish"}, max_length=33)
    yield case("head-swish", head_options={"num_labels": 2, "layers": 2, "activation_function": "swish"})
    yield case("head-dropout", head_options={"num_labels": 2, "layers": 2, "dropout_prob": 0.5})
    static = lambda *args, **options: static_case(layout, *args, **options)
    labels = {0: "down", 1: "up"}
    config = SeqBnConfig(reduction_factor=D)
    yield static("static-sequence", "tiny48", config, "SEQ_CLS",
                 {"num_labels": 2, "id2label": labels, "label2id": {v: k for k, v in labels.items()}})
    yield static("static-tokens", "tiny48", config, "TOKEN_CLS", {"num_labels": 4})
    yield static("static-qa", "tiny48", config, "QUESTION_ANS", {}, lines="qa")
    yield static("static-multilabel", "tiny48", config, "SEQ_CLS",
                 {"num_labels": 3, "problem_type": "multi_label_classification"},
                 head={"type": "multi-label-classification"})
    yield hub_case(layout, "head-tagging-64", "tiny64", SeqBnConfig(reduction_factor=5), "tagging", {"num_labels": 3})


def hub_low_rank_cases(layout):
    case = lambda *args, **options: hub_case(layout, *args, extra=True, **options)
    yield case("hub-lora", "tiny48", LoRAConfig(r=4, alpha=6))
    yield case("hub-lora-all", "tiny48", LoRAConfig(r=5, alpha=3, attn_matrices=["q", "k", "v"], intermediate_lora=True,
                                                    output_lora=True, leave_out=[1]))
    yield case("hub-ia3", "tiny48", IA3Config())
    yield case("hub-ia3-alpha", "tiny48", IA3Config(alpha=2, attn_matrices=["q", "v"], output_lora=True))
    yield case("hub-dora", "tiny48", DoRAConfig(r=4, alpha=6))
