"""BitFit (Ben Zaken et al. 2022): only the biases of linears and LayerNorms change, and the head on the mean of all tokens."""

import operators_model
import training
from pets_operators import OperatorsPet

load = lambda base, dataset, directory: operators_model.load(base, directory)  # noqa: E731


def train(base, dataset, name, lr=3e-3, head_lr=5e-3, epochs=5, dropout=0.1):
    model = operators_model.HeadModel(base, len(dataset.labels), **training.model_options(dropout))
    model.bert.requires_grad_(False)
    sites = {**operators_model.linear_sites(model.bert), **operators_model.norm_sites(model.bert)}
    biases = [module.bias.requires_grad_() for module in sites.values()]
    groups = [{"params": biases, "lr": lr}, {"params": list(model.head.parameters()), "lr": head_lr}]
    training.fit(model, groups, dataset, base, epochs, name=name)
    return model


def save(model, dataset, directory, name):
    pet = OperatorsPet(source="BitFit, Ben Zaken et al. 2022; examples/train/recipes/bitfit.py")
    for site, linear in operators_model.linear_sites(model.bert).items():
        pet.add_bias(site, linear.bias.detach().numpy())
    for site, norm in operators_model.norm_sites(model.bert).items():
        pet.add_norm(site, beta=norm.bias.detach().numpy())
    operators_model.set_head(pet, model, dataset)
    pet.save(directory)
