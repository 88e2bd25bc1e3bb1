"""Full fine-tuning, the bound that PETs are compared with: every parameter of BertForSequenceClassification is trained."""

import training
from transformers import AutoModelForSequenceClassification


def train(base, dataset, name, lr=1e-4, head_lr=1e-3, epochs=4, dropout=0.1):
    options = training.model_options(dropout)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=len(dataset.labels), **options)
    head = list(model.classifier.parameters())
    groups = [{"params": list(model.bert.parameters()), "lr": lr}, {"params": head, "lr": head_lr}]
    training.fit(model, groups, dataset, base, epochs, name=name)
    return model
