"""PETs that `pack` must refuse by name. Those that may be supported one day have expected logits in expected/later/."""

import torch
from adapters import (BertAdapterModel, CompacterConfig, LoRAConfig, LoReftConfig, MAMConfig, PrefixTuningConfig,
                      PromptTuningConfig, SeqBnConfig, SeqBnInvConfig, VeraConfig)
from adapters.composition import Fuse
from peft import (AdaLoraConfig, OFTConfig, PrefixTuningConfig as PeftPrefixConfig, PromptEncoderConfig,
                  PromptTuningConfig as PeftPromptConfig, VeraConfig as PeftVeraConfig)

from adapterhub_cases import D, bottleneck, hub_case, save_adapter
from cases import Case
from common import perturb, read_json, read_tensors, write_json, write_tensors
from peft_cases import QKV, lora, peft_case, save_peft

LATER = "may be supported later"
SMALL = "tiny48c"


def other_peft_types(layout):
    def case(name, config, expect, later=LATER, **options):
        return peft_case(layout, name, SMALL, config, max_length=40, expect=expect, later=later, **{"recompute": None, **options})

    common = dict(task_type="SEQ_CLS")
    yield case("peft-prefix", PeftPrefixConfig(num_virtual_tokens=3, **common), "PREFIX_TUNING")
    yield case("peft-prompt", PeftPromptConfig(num_virtual_tokens=4, **common), "PROMPT_TUNING")
    yield case("peft-p-tuning", PromptEncoderConfig(num_virtual_tokens=3, encoder_hidden_size=16, **common), "P_TUNING")
    yield case("peft-vera", PeftVeraConfig(r=5, target_modules=QKV, projection_prng_key=3, save_projection=True, **common), "VERA")
    yield case("peft-oft", OFTConfig(r=0, oft_block_size=8, target_modules=QKV, **common), "OFT", None)
    yield case("peft-adalora", AdaLoraConfig(init_r=4, target_r=2, total_step=10, target_modules=QKV, **common), "ADALORA", None)
    yield case("lora-trainable-tokens", lora(trainable_token_indices=[5, 40, 41]), "trainable_token")
    yield case("lora-embedding-target", lora(target_modules=["query", "word_embeddings"]), "word_embeddings")
    yield case("lora-embeddings-saved", lora(modules_to_save=["classifier", "word_embeddings"]), "word_embeddings")
    yield case("lora-dense-saved", lora(target_modules=["query"], modules_to_save=["classifier", "layer.0.attention.self.key"]),
               "attention.self.key")


def edited_lora(layout):
    """A good LoRA with one thing wrong."""
    model_config = {"num_labels": 3}

    def case(name, expect, edit_config=None, edit_tensors=None):
        save_peft(layout, name, "tiny48", lora(r=2), "SEQ_CLS", model_config)
        directory = layout.pets / name
        settings, tensors = read_json(directory / "adapter_config.json"), read_tensors(directory / "adapter_model.safetensors")
        if edit_config:
            edit_config(settings)
            write_json(directory / "adapter_config.json", settings)
        if edit_tensors:
            edit_tensors(tensors)
            write_tensors(directory / "adapter_model.safetensors", tensors)
        return Case(name=name, base="tiny48", load=None, expect=expect)

    query = "base_model.model.bert.encoder.layer.1.attention.self.query."
    setting = lambda **items: lambda config: config.update(items)
    for value in ("pissa", "pissa_niter_4", "olora", "corda", "loftq", "lora_ga"):
        yield case(f"lora-init-{value.replace('_', '-')}", "init_lora_weights", setting(init_lora_weights=value))
    yield case("lora-unknown-key", "frobnicate", setting(frobnicate=1))
    yield case("lora-alora", "alora_invocation_tokens", setting(alora_invocation_tokens=[3, 4]))
    yield case("lora-layer-replication", "layer_replication", setting(layer_replication=[[0, 2], [1, 3]]))
    yield case("lora-qalora", "use_qalora", setting(use_qalora=True))
    yield case("lora-unknown-type", "FROBNICATE", setting(peft_type="FROBNICATE"))
    yield case("lora-wrong-rank", "lora_A", setting(r=3))
    yield case("lora-extra-tensor", "lora_C", None, lambda t: t.update({query + "lora_C.weight": torch.ones(2, 48)}))
    yield case("lora-missing-b", "lora_B", None, lambda t: t.pop(query + "lora_B.weight"))
    yield case("lora-wrong-shape", "lora_A", None, lambda t: t.update({query + "lora_A.weight": torch.ones(2, 47)}))
    yield case("lora-nan", "lora_B", None, lambda t: t[query + "lora_B.weight"].view(-1)[5].fill_(float("nan")))
    yield case("lora-layer-too-high", "layer.7", None, lambda t: t.update(
        {query.replace("layer.1", "layer.7") + "lora_A.weight": torch.ones(2, 48),
         query.replace("layer.1", "layer.7") + "lora_B.weight": torch.ones(48, 2)}))
    yield case("lora-no-head", "classifier", None, lambda t: [t.pop(f"base_model.model.classifier.{p}") for p in ("weight", "bias")])
    save_peft(layout, "lora-no-pooler", "tiny64", lora(r=2), "SEQ_CLS", model_config)
    yield Case(name="lora-no-pooler", base="tiny64", load=None, expect="pooler")
    save_peft(layout, "lora-pickled", "tiny48", lora(r=1, target_modules=["query"]), "SEQ_CLS", model_config)
    directory = layout.pets / "lora-pickled"
    torch.save(read_tensors(directory / "adapter_model.safetensors"), directory / "adapter_model.bin")
    (directory / "adapter_model.safetensors").unlink()
    yield Case(name="lora-pickled", base="tiny48", load=None, expect="adapter_model.bin")


def adapterhub_options(layout):
    def case(name, config, expect, later=LATER, **options):
        return hub_case(layout, name, SMALL, config, max_length=40, expect=expect, later=later, recompute=None, **options)

    yield case("hub-gating", bottleneck(use_gating=True, mh_adapter=False), "use_gating")
    yield case("hub-compacter", CompacterConfig(reduction_factor=8, phm_dim=2), "phm_layer")
    yield case("hub-invertible", SeqBnInvConfig(reduction_factor=D), "inv_adapter")
    yield case("hub-prefix", PrefixTuningConfig(flat=True, prefix_length=3), "prefix_tuning")
    yield case("hub-prompt", PromptTuningConfig(prompt_length=3), "prompt_tuning")
    yield case("hub-reft", LoReftConfig(), "reft", None)
    yield case("hub-union", MAMConfig(PrefixTuningConfig(prefix_length=3, bottleneck_size=8), None), "union")
    yield case("hub-vera", VeraConfig(r=4), "vera")
    yield case("hub-lora-gating", LoRAConfig(r=2, use_gating=True), "use_gating")
    for name in ("relu2", "laplace", "gelu_10"):
        yield case(f"hub-act-{name.replace('_', '-')}", bottleneck(non_linearity=name, mh_adapter=False), name)
    yield hub_case(layout, "hub-pickled", SMALL, SeqBnConfig(reduction_factor=D), safetensors=False,
                   expect="pytorch_adapter.bin", later=LATER, recompute=None)


def edited_adapter(layout):
    """A good Pfeiffer adapter with one thing wrong."""
    def case(name, expect, edit_config=None, edit_tensors=None, edit_head=None, drop=()):
        save_adapter(layout, name, "tiny48", SeqBnConfig(reduction_factor=16), "classification", {"num_labels": 2, "layers": 1})
        directory = layout.pets / name
        for file, edit in (("adapter_config.json", edit_config), ("head_config.json", edit_head)):
            if edit:
                settings = read_json(directory / file)
                edit(settings["config"])
                write_json(directory / file, settings)
        if edit_tensors:
            tensors = read_tensors(directory / "adapter.safetensors")
            edit_tensors(tensors)
            write_tensors(directory / "adapter.safetensors", tensors)
        for file in drop:
            (directory / file).unlink()
        return Case(name=name, base="tiny48", load=None, expect=expect)

    prefix = lambda name: f"bert.encoder.layer.1.output.adapters.{name}."
    yield case("hub-unknown-key", "frobnicate", lambda c: c.update(frobnicate=True))
    yield case("hub-extra-tensor", "adapter_side", None, lambda t: t.update({prefix("hub-extra-tensor") + "adapter_side.weight": torch.ones(3, 48)}))
    yield case("hub-missing-up", "adapter_up", None, lambda t: t.pop(prefix("hub-missing-up") + "adapter_up.weight"))
    yield case("hub-wrong-shape", "adapter_down", None, lambda t: t.update({prefix("hub-wrong-shape") + "adapter_down.0.weight": torch.ones(3, 64)}))
    yield case("hub-bad-scaling", "scaling", lambda c: c.update(scaling="learnt"))
    yield case("hub-bad-residual", "residual_before_ln", lambda c: c.update(residual_before_ln="pre_add"))
    yield case("hub-post-add-without-before", "residual_before_ln", lambda c: c.update(residual_before_ln="post_add", original_ln_before=False))
    yield case("hub-unknown-head", "multiple_choice", edit_head=lambda c: c.update(head_type="multiple_choice"))
    yield case("hub-unknown-head-key", "layer_norm", edit_head=lambda c: c.update(layer_norm=True))
    yield case("hub-no-head", "head", drop=("head_config.json", "model_head.safetensors"))


def fusion(layout):
    """AdapterFusion saves a directory of its own kind."""
    directory = layout.fresh(layout.pets / "hub-fusion")
    model = BertAdapterModel.from_pretrained(layout.bases / SMALL)
    for name in ("left", "right"):
        model.add_adapter(name, config=SeqBnConfig(reduction_factor=16))
    model.add_adapter_fusion(Fuse("left", "right"))
    perturb([(key, p) for key, p in model.named_parameters() if "fusion" in key], "pets/hub-fusion")
    model.save_adapter_fusion(str(directory), "left,right", use_safetensors=True)
    for path in directory.glob("*.json"):
        write_json(path, {**read_json(path), "model_name": SMALL})
    return Case(name="hub-fusion", base=SMALL, load=None, expect="fusion", format="adapterhub")


def refused_cases(layout):
    yield from other_peft_types(layout)
    yield from edited_lora(layout)
    yield from adapterhub_options(layout)
    yield from edited_adapter(layout)
    yield fusion(layout)
