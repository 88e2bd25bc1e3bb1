"""Held-out quality. One metric for each kind of task, fixed before any training:

* classification: accuracy; the baseline always answers the training part's most frequent class,
* multi-label: F1 over all labels together (micro), a label counts as given above probability 0.5; the baseline always
  answers the training part's most frequent label,
* regression: R2, the share of the held-out variance that is explained; the baseline answers the training part's mean.
"""

from collections import Counter

import numpy as np
import torch
from sklearn.metrics import accuracy_score, f1_score, r2_score

METRICS = {"classification": "accuracy", "multilabel": "micro F1", "regression": "R2"}


def _score(kind: str, target, answer) -> float:
    if kind == "classification":
        return float(accuracy_score(target, answer))
    if kind == "multilabel":
        return float(f1_score(target, answer, average="micro", zero_division=0))
    return float(r2_score(target, answer))


def baseline(dataset) -> float:
    """The score of the best constant answer that the training part suggests."""
    train = [target for _, target in dataset.train]
    test = np.array([target for _, target in dataset.test])
    if dataset.kind == "classification":
        answer = np.full(len(test), Counter(train).most_common(1)[0][0])
    elif dataset.kind == "multilabel":
        answer = np.zeros_like(test)
        answer[:, np.argmax(np.sum(train, axis=0))] = 1
    else:
        answer = np.full(len(test), np.mean(train))
    return _score(dataset.kind, test, answer)


def score(dataset, logits: torch.Tensor) -> float:
    """The score of `logits` for the held-out rows."""
    target = np.array([target for _, target in dataset.test])
    if dataset.kind == "classification":
        answer = logits.argmax(-1).numpy()
    elif dataset.kind == "multilabel":
        answer = (logits > 0).numpy().astype(float)
    else:
        answer = logits.squeeze(-1).numpy()
    return _score(dataset.kind, target, answer)
