"""Diff-pruning (Guo et al. 2021): the base plus a sparse difference of 1 % of the encoder's linear weights.

The paper learns which differences stay with a relaxed L0 penalty and then trains once more with that choice fixed. Here
the first part is simpler: train all linear weights, keep the 1 % with the largest difference over the whole encoder
(magnitude pruning of the difference), then train those values only, from where they were.
"""

import numpy as np
import operators_model
import torch
import training
from pets_operators import OperatorsPet
from torch import nn
from torch.nn.utils import parametrize

DENSITY = 0.01

load = lambda base, dataset, directory: operators_model.load(base, directory)  # noqa: E731


class SparseDelta(nn.Module):
    """weight -> weight + S, where S has trained `values` at fixed flat `positions`."""

    def __init__(self, positions: torch.Tensor, values: torch.Tensor):
        super().__init__()
        self.register_buffer("positions", positions)
        self.values = nn.Parameter(values)

    def forward(self, weight):
        return weight.flatten().index_add(0, self.positions, self.values).view_as(weight)


def train(base, dataset, name, dense_lr=1e-4, dense_epochs=2, lr=1e-3, head_lr=2e-3, epochs=4, dropout=0.1):
    model = operators_model.HeadModel(base, len(dataset.labels), **training.model_options(dropout))
    model.bert.requires_grad_(False)
    linears = operators_model.linear_sites(model.bert)
    before = {site: linear.weight.detach().clone() for site, linear in linears.items()}
    weights = [linear.weight.requires_grad_() for linear in linears.values()]
    head = list(model.head.parameters())
    groups = [{"params": weights, "lr": dense_lr}, {"params": head, "lr": head_lr}]
    training.fit(model, groups, dataset, base, dense_epochs, name=f"{name} (dense)")

    deltas = {site: (linear.weight.detach() - before[site]).flatten() for site, linear in linears.items()}
    everything = torch.cat([d.abs() for d in deltas.values()])
    chosen = torch.zeros_like(everything, dtype=torch.bool)
    chosen[everything.topk(int(DENSITY * everything.numel())).indices] = True
    values, start = [], 0
    for site, linear in linears.items():
        linear.weight.requires_grad_(False).copy_(before[site])
        positions = chosen[start : start + deltas[site].numel()].nonzero().squeeze(1)
        start += deltas[site].numel()
        delta = SparseDelta(positions, deltas[site][positions].clone())
        parametrize.register_parametrization(linear, "weight", delta)
        values.append(delta.values)
    groups = [{"params": values, "lr": lr}, {"params": head, "lr": head_lr}]
    training.fit(model, groups, dataset, base, epochs, name=name)
    return model


def save(model, dataset, directory, name):
    # Half precision saves a sixth of the file; the reported quality is that of the stored values.
    pet = OperatorsPet(source="diff-pruning, Guo et al. 2021; examples/train/recipes/diff_pruning.py", dtype=np.float16)
    for site, linear in operators_model.linear_sites(model.bert).items():
        delta = linear.parametrizations.weight[0]
        columns = linear.in_features
        indices = torch.stack([delta.positions // columns, delta.positions % columns])
        pet.add_sparse(site, indices.numpy(), delta.values.detach().numpy())
    operators_model.set_head(pet, model, dataset)
    pet.save(directory)
