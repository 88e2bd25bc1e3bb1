"""LoRA (Hu et al. 2022) with PEFT, over BertForSequenceClassification: the pooler stays frozen, the classifier is trained."""

import json

import training
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from transformers import AutoModelForSequenceClassification

BASE_NAME = "sentence-transformers/all-MiniLM-L6-v2"


def train(base, dataset, name, lr=1e-3, head_lr=2e-3, epochs=5, dropout=0.1, **config):
    options = training.model_options(dropout)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=len(dataset.labels), **options)
    settings = {"r": 8, "lora_alpha": 16, "lora_dropout": 0.0, "target_modules": ["query", "value"], **config}
    model = get_peft_model(model, LoraConfig(task_type=TaskType.SEQ_CLS, **settings))
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    head = [p for n, p in trained if "classifier" in n]
    groups = [{"params": [p for n, p in trained if "classifier" not in n], "lr": lr}, {"params": head, "lr": head_lr}]
    training.fit(model, groups, dataset, base, epochs, name=name)
    return model


def save(model, dataset, directory, name):
    """PEFT's own format; the path of the base on this machine is replaced by its public name, the model card left out."""
    model.save_pretrained(directory)
    (directory / "README.md").unlink(missing_ok=True)
    path = directory / "adapter_config.json"
    config = json.loads(path.read_text())
    config["base_model_name_or_path"] = BASE_NAME
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def load(base, dataset, directory):
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=len(dataset.labels))
    return PeftModel.from_pretrained(model, str(directory)).eval()
