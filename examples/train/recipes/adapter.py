"""Bottleneck adapters with AdapterHub's `adapters`: Houlsby et al. 2019 (double_seq_bn), Pfeiffer et al. 2021 (seq_bn)."""

import json

import training
from adapters import AutoAdapterModel, DoubleSeqBnConfig, SeqBnConfig

BASE_NAME = "sentence-transformers/all-MiniLM-L6-v2"
CONFIGS = {"houlsby": DoubleSeqBnConfig, "pfeiffer": SeqBnConfig}


def train(base, dataset, name, style, bottleneck, lr=1e-3, head_lr=1e-3, epochs=5, dropout=0.1, head=None, **config):
    """`bottleneck` is the adapter's width; `head` holds options of add_classification_head."""
    model = AutoAdapterModel.from_pretrained(base, **training.model_options(dropout))
    width = model.config.hidden_size
    model.add_adapter(name, config=CONFIGS[style](reduction_factor=width / bottleneck, **config))
    model.add_classification_head(
        name,
        num_labels=len(dataset.labels),
        multilabel=dataset.kind == "multilabel",
        id2label=dict(enumerate(dataset.labels)),
        **(head or {}),
    )
    model.train_adapter(name)
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    groups = [
        {"params": [p for n, p in trained if not n.startswith("heads.")], "lr": lr},
        {"params": [p for n, p in trained if n.startswith("heads.")], "lr": head_lr},
    ]
    training.fit(model, groups, dataset, base, epochs, name=name)
    return model


def save(model, dataset, directory, name):
    """AdapterHub's own format; the path of the base on this machine is replaced by its public name."""
    model.save_adapter(str(directory), name, with_head=True, use_safetensors=True)
    for file in ("adapter_config.json", "head_config.json"):
        path = directory / file
        config = json.loads(path.read_text())
        if config.get("model_name"):
            config["model_name"] = BASE_NAME
        path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def load(base, dataset, directory):
    model = AutoAdapterModel.from_pretrained(base)
    name = model.load_adapter(str(directory), use_safetensors=True, set_active=True)
    model.active_head = name
    return model.eval()
