"""PET files to operators, in Python, from the formulas of FORMAT_NOTES.md: a check of that text, not a converter.

`recompute(case, ...)` gives the fp64 logits of a saved PET without its library.
"""

import json
import math
import re

import torch

from common import read_json, read_tensors
from torch_bert import PlainBert, base_tensors

SITE_OF = {
    "attention.self.query": "attention.query", "attention.self.key": "attention.key",
    "attention.self.value": "attention.value", "attention.output.dense": "attention.output",
    "attention.output.LayerNorm": "attention.norm", "intermediate.dense": "ffn.up", "output.dense": "ffn.down",
    "output.LayerNorm": "ffn.norm", "attention.output": "attention", "output": "ffn",
}
MODULE = re.compile(r"(?:bert\.)?encoder\.layer\.(\d+)\.(.+)$")


def site_of(module):
    """`bert.encoder.layer.0.attention.self.query` -> `layer.0.attention.query`; None for what is no site."""
    if module.removeprefix("bert.") == "embeddings.LayerNorm":
        return "embeddings.norm"
    match = MODULE.match(module)
    return f"layer.{match[1]}.{SITE_OF[match[2]]}" if match and match[2] in SITE_OF else None


def from_peft(base_dir, pet_dir):
    config = read_json(pet_dir / "adapter_config.json")
    prefix = "base_model.model."
    tensors = {key.removeprefix(prefix): t.float() for key, t in read_tensors(pet_dir / "adapter_model.safetensors").items()}
    base = base_tensors(base_dir)
    operators, modules, loose = {}, {}, {}
    for key, tensor in tensors.items():
        module, _, part = key.rpartition(".")
        adapter = re.match(r"(.+)\.(lora_[AB]|base_layer)\.(weight|bias)$", key)
        if adapter:
            modules.setdefault(adapter[1], {})[f"{adapter[2]}.{adapter[3]}"] = tensor
        elif part in ("lora_magnitude_vector", "ia3_l", "beft_bias", "shira_indices", "shira_weight"):
            modules.setdefault(module, {})[part] = tensor
        elif ".original_module" not in key and ".modules_to_save" not in key:
            loose[key.removeprefix("bert.").replace(".ln_tuning_layers", "")] = tensor
    for module, parts in modules.items():
        name = module.removeprefix("bert.")
        weight, bias = base[name + ".weight"], parts.get("base_layer.bias", base[name + ".bias"])
        site = site_of(module) or name
        ops = operators.setdefault(site, {})
        if "lora_A.weight" in parts:
            low_rank_of_peft(config, module, parts, weight, bias, ops)
        elif "ia3_l" in parts:
            vector = parts["ia3_l"].flatten()
            if parts["ia3_l"].shape[0] == 1:  # [1, in]: feedforward module, input scaled
                ops["scale_in"] = vector
            else:                             # [out, 1]: the output with its bias
                ops.update(scale_out=vector, bias=vector.double() * bias.double())
        elif "beft_bias" in parts:  # added to the base's bias
            ops["bias"] = bias.double() + parts["beft_bias"].flatten().double()
        elif "shira_weight" in parts:  # rows of the indices: out, in
            ops["sparse"] = torch.zeros_like(weight)
            ops["sparse"][tuple(parts["shira_indices"].long())] = parts["shira_weight"]
    for key, tensor in loose.items():  # biases and norms of the base, replaced
        module, _, part = key.rpartition(".")
        site = site_of(module)
        if site:
            name = {"weight": "gamma", "bias": "beta"}[part] if site.endswith("norm") else part
            operators.setdefault(site, {})[name] = tensor
    return operators, peft_head(loose, operators, base)


def low_rank_of_peft(config, module, parts, weight, bias, ops):
    pattern = lambda patterns, default: next(
        (value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", module)), default)
    a, b = parts["lora_A.weight"], parts["lora_B.weight"]
    rank = pattern(config.get("rank_pattern", {}), config["r"])
    alpha = pattern(config.get("alpha_pattern", {}), config["lora_alpha"])
    assert a.shape[0] == rank, (module, a.shape, rank)
    scale = alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank
    ops["low_rank"] = (a, b, scale)
    ops["bias"] = bias
    if "lora_B.bias" in parts:
        ops["bias"] = bias.double() + scale * parts["lora_B.bias"].double()
    if "lora_magnitude_vector" in parts:
        norm = (weight.double() + scale * (b.double() @ a.double())).norm(dim=1)
        ops["scale_out"] = parts["lora_magnitude_vector"].double() / norm


def peft_head(loose, operators, base):
    weight = loose.get("classifier.weight", loose.get("qa_outputs.weight"))
    bias = loose.get("classifier.bias", loose.get("qa_outputs.bias"))
    head = {"layers": [(weight, bias, None)]}
    pooler = [loose.get(f"pooler.dense.{part}", base.get(f"pooler.dense.{part}")) for part in ("weight", "bias")]
    if "pooler.dense" in operators:  # low rank on the pooler: merged, it belongs to the head
        a, b, scale = operators.pop("pooler.dense")["low_rank"]
        pooler[0] = pooler[0].double() + scale * (b.double() @ a.double())
    return {**head, "pooler": tuple(pooler)}


def from_adapterhub(base_dir, pet_dir):
    settings = read_json(pet_dir / "adapter_config.json")
    config, name = settings["config"], settings["name"]
    tensors, base = read_tensors(pet_dir / "adapter.safetensors"), base_tensors(base_dir)
    groups = {}
    for key, tensor in tensors.items():
        module, part = re.split(rf"\.(?:adapters|loras)\.{re.escape(name)}\.", key)
        groups.setdefault(module, {})[part] = tensor
    operators = {}
    for module, parts in groups.items():
        operators[site_of(module)] = bottleneck(config, parts) if "adapter_up.weight" in parts else \
            hub_low_rank(config, parts, base, module)
    return operators, hub_head(pet_dir, base)


def bottleneck(config, parts):
    pair = lambda key: (parts[key + ".weight"], parts[key + ".bias"])
    scaling = config["scaling"]
    ops = {"down": pair("adapter_down.1" if config["ln_before"] else "adapter_down.0"), "up": pair("adapter_up"),
           "scaling": parts["scaling"] if isinstance(scaling, str) else scaling,
           "activation": config["non_linearity"].lower(), "parallel": config["is_parallel"]}
    for key in ("original_ln_before", "original_ln_after", "residual_before_ln", "adapter_residual_before_ln"):
        ops[key] = config[key]
    if config["ln_before"]:
        ops["ln_before"] = pair("adapter_norm_before" if "adapter_norm_before.weight" in parts else "adapter_down.0")
    if config["ln_after"]:
        ops["ln_after"] = pair("adapter_norm_after")
    return ops


def hub_low_rank(config, parts, base, module):
    name = module.removeprefix("bert.")
    weight, bias = base[name + ".weight"].double(), base[name + ".bias"].double()
    if config["composition_mode"] == "scale":
        vector = parts["lora_B"].flatten().double() * config["alpha"]
        return {"scale_out": vector, "bias": vector * bias}
    scale = config["alpha"] / config["r"]
    ops = {"low_rank": (parts["lora_A"], parts["lora_B"], scale)}
    if config["use_dora"]:  # unlike PEFT: the norm leaves `scale` out, and the bias is scaled too
        norm = (weight + parts["lora_B"].double() @ parts["lora_A"].double()).norm(dim=1)
        ops["scale_out"] = parts["m.weight"].double().flatten() / norm
        ops["bias"] = ops["scale_out"] * bias
    return ops


def hub_head(pet_dir, base):
    config = json.loads((pet_dir / "head_config.json").read_text())
    tensors = read_tensors(pet_dir / "model_head.safetensors")
    pooler = (base.get("pooler.dense.weight"), base.get("pooler.dense.bias"))
    if config["config"] is None:  # a transformers task model's own head
        prefix = "qa_outputs" if "qa_outputs.weight" in tensors else "classifier"
        return {"layers": [(tensors[prefix + ".weight"], tensors[prefix + ".bias"], None)], "pooler": pooler,
                "pooling": "pooler" if config["model_class"].endswith("SequenceClassification") else "tokens"}
    options, layers = config["config"], []
    step = 3 if options["activation_function"] else 2  # dropout, dense, and an activation only if there is one
    for number in range(options["layers"]):
        key = f"heads.{config['name']}.{1 + step * number}"
        last = number == options["layers"] - 1
        layers.append((tensors[key + ".weight"], tensors.get(key + ".bias"), None if last else options["activation_function"]))
    kind = options["head_type"]
    pooling = "tokens" if kind in ("tagging", "question_answering") else "pooler" if options["use_pooler"] else "cls"
    return {"layers": layers, "pooling": pooling, "pooler": pooler}


def recompute(base_dir, pet_dir, task_kind):
    """A plain fp64 model of the saved PET. `task_kind`: sequence, tokens, qa or embedding: what the head reads."""
    if (pet_dir / "adapter_model.safetensors").exists():
        operators, head = from_peft(base_dir, pet_dir)
        head["pooling"] = {"sequence": "pooler", "embedding": "mean"}.get(task_kind, "tokens")
        if task_kind == "embedding":
            head.update(layers=[], normalize=True)
    else:
        operators, head = from_adapterhub(base_dir, pet_dir)
    head["spans"] = task_kind == "qa"
    return PlainBert(base_dir, operators, head, torch.float64)
