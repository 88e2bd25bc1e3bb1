"""PETs that `peft` writes: LoRA, IA3 and, to be refused by name, the other types."""

import torch
from peft import BeftConfig, IA3Config, LNTuningConfig, LoraConfig, PeftModel, ShiraConfig, get_peft_model
from transformers import AutoModel

from cases import Case, ModelRun, check_reload, tidy_pet
from common import perturb, read_json, read_tensors, write_json, write_tensors
from formulas import recompute
from heads import EmbeddingRun, logits_function, perturb_head, task_model

ALL_LINEAR = ["query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense"]
QKV = ["query", "value"]


def lora(**options):
    defaults = dict(r=4, lora_alpha=6, target_modules=QKV, task_type="SEQ_CLS")
    return LoraConfig(**{**defaults, **options})


def save_peft(layout, name, base, config, task_type, model_config):
    """Trains nothing: perturbs everything that training would have changed, then saves as a user would."""
    base_dir, directory = layout.bases / base, layout.fresh(layout.pets / name)
    model = task_model(base_dir, task_type, **model_config)
    perturb_head(model, name)
    model = get_peft_model(model, config)
    perturb([(key, p) for key, p in model.named_parameters() if p.requires_grad], f"pets/{name}")
    model.save_pretrained(directory)
    tidy_adapter_config(directory, base)
    return model.eval()


def tidy_adapter_config(directory, base):
    tidy_pet(directory)
    settings = read_json(directory / "adapter_config.json")
    settings["base_model_name_or_path"] = base
    for key in ("target_modules", "feedforward_modules", "modules_to_save", "exclude_modules"):
        if isinstance(settings.get(key), list):
            settings[key] = sorted(settings[key])  # peft writes a set: its order changes from run to run
    write_json(directory / "adapter_config.json", settings)


def load_peft(task_type, model_config):
    def load(base_dir, pet_dir):
        def make():
            model = task_model(base_dir, task_type, **model_config)
            return PeftModel.from_pretrained(model, pet_dir)
        return ModelRun(make(), logits_function(task_type), make)
    return load


def peft_case(layout, name, base, config, task_type="SEQ_CLS", model_config=None, after_save=None, **case):
    model_config = model_config or {"num_labels": 3}
    if task_type == "QUESTION_ANS":
        model_config, case = {}, {"lines": "qa", **case}
    saved = save_peft(layout, name, base, config, task_type, model_config)
    check_reload(saved, load_peft(task_type, model_config)(layout.bases / base, layout.pets / name), name)
    if after_save:
        after_save(layout.pets / name)
    kind = {"SEQ_CLS": "sequence", "TOKEN_CLS": "tokens", "QUESTION_ANS": "qa"}[task_type]
    return Case(name=name, base=base, load=load_peft(task_type, model_config),
                **{"recompute": lambda base_dir, pet_dir: recompute(base_dir, pet_dir, kind), **case})


def lora_cases(layout):
    case = lambda *args, **options: peft_case(layout, *args, **options)
    yield case("lora-qv", "tiny48", lora(), lines="pair")
    yield case("lora-all-sites", "tiny48", lora(
        target_modules=ALL_LINEAR, rank_pattern={"query": 2, r"layer\.1\.intermediate\.dense": 7},
        alpha_pattern={"layer.0.output.dense": 11, "value": 3}), max_length=21)
    yield case("lora-rslora", "tiny48", lora(r=9, use_rslora=True, lora_alpha=5, rank_pattern={"layer.2.attention.self.query": 3}))
    yield case("lora-bias-only", "tiny48", lora(bias="lora_only"))
    yield case("lora-bias-all", "tiny48", lora(bias="all", target_modules=["key", "intermediate.dense"]))
    yield case("lora-pooler-saved", "tiny48", lora(modules_to_save=["classifier", "bert.pooler"]))
    yield case("lora-pooler-dense-saved", "tiny48", lora(modules_to_save=["classifier", "pooler.dense"]))
    yield case("lora-tokens", "tiny48", lora(task_type="TOKEN_CLS"), "TOKEN_CLS", {"num_labels": 5})
    yield case("lora-qa", "tiny48", lora(task_type=None, modules_to_save=["qa_outputs"]), "QUESTION_ANS", max_length=40)
    yield case("lora-qa-types-dropped", "tiny48", lora(task_type="QUESTION_ANS"), "QUESTION_ANS", extra=True,
               recompute=lambda base_dir, pet_dir: NoTypes(recompute(base_dir, pet_dir, "qa")))
    yield case("lora-regression", "tiny48", lora(), model_config={"num_labels": 1})
    yield case("lora-multilabel", "tiny48", lora(),
               model_config={"num_labels": 4, "problem_type": "multi_label_classification"},
               head={"type": "multi-label-classification", "labels": ["red", "green", "blue", "dark"]})
    yield case("lora-labels", "tiny48", lora(r=1), model_config={"num_labels": 2},
               head={"type": "sequence-classification", "labels": ["negative", "positive"]})
    yield case("lora-regex", "tiny48", lora(target_modules=r".*layer\.[02]\.attention\.self\.(key|value)"))
    yield case("lora-all-linear", "tiny48", lora(target_modules="all-linear"))
    yield case("lora-layers", "tiny48", lora(layers_to_transform=[0, 2], layers_pattern="layer"))
    yield case("lora-one-layer", "tiny48", lora(layers_to_transform=1, target_modules=["output.dense"]))
    yield case("lora-excluded", "tiny48", lora(
        target_modules=["query", "dense"], exclude_modules=["pooler.dense", "bert.encoder.layer.1.output.dense"]))
    yield case("lora-dropout-init", "tiny48", lora(lora_dropout=0.1, init_lora_weights="gaussian", fan_in_fan_out=False))
    yield case("lora-no-task-type", "tiny48", lora(task_type=None, modules_to_save=["classifier"]),
               head={"type": "sequence-classification"})
    yield case("lora-lora-bias", "tiny48", lora(lora_bias=True))
    yield case("lora-fp16", "tiny48", lora(), after_save=lambda d: recast(d, torch.float16))
    yield case("lora-bf16", "tiny48", lora(), after_save=lambda d: recast(d, torch.bfloat16))
    yield case("lora-old-config", "tiny48", lora(), after_save=keep_old_keys)
    yield case("lora-pooler-target", "tiny48", lora(target_modules=["query", "pooler.dense"]), extra=True)
    yield case("lora-norms-saved", "tiny48", lora(modules_to_save=["classifier", "LayerNorm"]))
    yield embedding_case(layout)
    yield case("lora-tokens-64", "tiny64", lora(task_type="TOKEN_CLS", target_modules=ALL_LINEAR, r=5), "TOKEN_CLS",
               {"num_labels": 3})
    yield case("lora-pooler-saved-64", "tiny64", lora(modules_to_save=["classifier", "bert.pooler"]))
    yield case("lora-64r", "tiny64r", lora(target_modules=ALL_LINEAR, r=17), lines="pair")
    yield case("lora-48old", "tiny48old", lora(target_modules=ALL_LINEAR, r=2))
    yield case("lora-64h", "tiny64h", lora(r=3), lines="pair")


def keep_old_keys(directory):
    """What peft 0.4 wrote."""
    old = ("auto_mapping", "base_model_name_or_path", "bias", "fan_in_fan_out", "inference_mode", "init_lora_weights",
           "layers_pattern", "layers_to_transform", "lora_alpha", "lora_dropout", "modules_to_save", "peft_type", "r",
           "revision", "target_modules", "task_type")
    settings = read_json(directory / "adapter_config.json")
    write_json(directory / "adapter_config.json", {key: settings[key] for key in old})


class NoTypes:
    """`PeftModelForQuestionAnswering.forward` (task_type QUESTION_ANS) does not pass `token_type_ids` on: all are 0."""

    def __init__(self, plain):
        self.plain = plain

    def __call__(self, encoding):
        return self.plain({"input_ids": encoding["input_ids"]})


def embedding_case(layout):
    """LoRA on a bare `AutoModel`: no `bert.` in the names and no head, as sentence embedders are trained."""
    name, base = "lora-bare-model", "tiny48"
    directory = layout.fresh(layout.pets / name)
    model = AutoModel.from_pretrained(layout.bases / base, dtype=torch.float32)
    model = get_peft_model(model, lora(task_type="FEATURE_EXTRACTION", target_modules=ALL_LINEAR))
    perturb([(key, p) for key, p in model.named_parameters() if p.requires_grad], f"pets/{name}")
    model.save_pretrained(directory)
    tidy_adapter_config(directory, base)
    load = lambda base_dir, pet_dir: EmbeddingRun(
        base_dir, "mean", True, wrap=lambda model: PeftModel.from_pretrained(model, pet_dir))
    return Case(name=name, base=base, load=load, lines="pair",
                head={"type": "embedding", "pooling": "mean", "normalize": True},
                recompute=lambda base_dir, pet_dir: recompute(base_dir, pet_dir, "embedding"))


def recast(directory, dtype):
    tensors = read_tensors(directory / "adapter_model.safetensors")
    write_tensors(directory / "adapter_model.safetensors", {k: t.to(dtype) for k, t in tensors.items()})


def dora_cases(layout):
    yield peft_case(layout, "dora", "tiny48", lora(use_dora=True, target_modules=ALL_LINEAR), extra=True)
    yield peft_case(layout, "dora-rslora", "tiny48", lora(use_dora=True, use_rslora=True, bias="lora_only"), extra=True)


def small_types(layout):
    """PEFT's types that are one operator each: a norm, a sparse delta, a bias."""
    for name, config in (("peft-ln-tuning", LNTuningConfig(task_type="SEQ_CLS", target_modules=["LayerNorm"])),
                         ("peft-shira", ShiraConfig(task_type="SEQ_CLS", r=2, target_modules=QKV, random_seed=7)),
                         ("peft-beft", BeftConfig(task_type="SEQ_CLS", target_modules=["value"]))):
        yield peft_case(layout, name, "tiny48c", config, max_length=40, extra=True)


def ia3(**options):
    return IA3Config(**{"task_type": "SEQ_CLS", **options})


def ia3_cases(layout):
    yield peft_case(layout, "ia3", "tiny48", ia3(
        target_modules=["key", "value", "output.dense"], feedforward_modules=["output.dense"]), lines="pair")
    yield peft_case(layout, "ia3-output-only", "tiny48", ia3(
        target_modules=["key", "value", "intermediate.dense"], feedforward_modules=[]))
    yield peft_case(layout, "ia3-ffn", "tiny48", ia3(
        target_modules=["key", "value", "intermediate.dense", r"layer.1.output.dense"],
        feedforward_modules=["intermediate.dense", r"layer.1.output.dense"]))
    yield peft_case(layout, "ia3-64r", "tiny64r", ia3(
        target_modules=r".*\.(key|value|intermediate\.dense)", feedforward_modules=r".*\.intermediate\.dense",
        modules_to_save=["classifier", "bert.pooler"]))
    yield peft_case(layout, "ia3-tokens", "tiny64", ia3(
        task_type="TOKEN_CLS", target_modules=["key", "value", "output.dense"],
        feedforward_modules=["output.dense"]), "TOKEN_CLS", {"num_labels": 3})
