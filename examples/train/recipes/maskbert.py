"""MaskBert (Zhao et al. 2020): the base's weights stay as they are, 5 % of every encoder linear are masked to zero.

Each weight has a score; the 5 % lowest scores of a matrix are masked. Gradients pass the threshold unchanged (straight-
through estimator). Scores start from the weights' magnitudes, so that training begins with the least harmful mask.
"""

import operators_model
import torch
import training
from pets_operators import OperatorsPet
from torch import nn
from torch.nn.utils import parametrize

MASKED = 0.05

load = lambda base, dataset, directory: operators_model.load(base, directory)  # noqa: E731


class ScoredMask(nn.Module):
    """weight -> weight where the score is above the threshold, else 0; the gradient reaches all scores."""

    def __init__(self, weight: torch.Tensor):
        super().__init__()
        self.scores = nn.Parameter(weight.abs() / weight.abs().mean())
        self.masked = round(MASKED * weight.numel())
        self.update()

    @torch.no_grad()
    def update(self):
        """Moves the threshold to where the share of masked weights is exact."""
        self.threshold = self.scores.flatten().kthvalue(self.masked).values

    def kept(self):
        return self.scores > self.threshold

    def forward(self, weight):
        hard = self.kept().to(weight.dtype)
        return weight * (hard + (self.scores - self.scores.detach()))


def train(base, dataset, name, lr=1e-2, head_lr=3e-3, epochs=5, dropout=0.1):
    model = operators_model.HeadModel(base, len(dataset.labels), **training.model_options(dropout))
    model.bert.requires_grad_(False)
    masks = []
    for linear in operators_model.linear_sites(model.bert).values():
        masks.append(ScoredMask(linear.weight.detach()))
        parametrize.register_parametrization(linear, "weight", masks[-1])

    def before_step(step, steps):
        if step % 5 == 0:  # a threshold drifts slowly, and finding it costs as much as a fifth of a step
            for mask in masks:
                mask.update()

    groups = [{"params": [m.scores for m in masks], "lr": lr}, {"params": list(model.head.parameters()), "lr": head_lr}]
    training.fit(model, groups, dataset, base, epochs, before_step=before_step, name=name)
    for mask in masks:
        mask.update()
    return model


def save(model, dataset, directory, name):
    pet = OperatorsPet(source="MaskBert, Zhao et al. 2020; examples/train/recipes/maskbert.py")
    for site, linear in operators_model.linear_sites(model.bert).items():
        pet.add_mask(site, linear.parametrizations.weight[0].kept().numpy())
    operators_model.set_head(pet, model, dataset)
    pet.save(directory)
