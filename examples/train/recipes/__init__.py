"""One module a PET type. Each has

* `train(base, dataset, name, **options)` -> model, with only what the PET type allows changed,
* `save(model, dataset, directory, name)`,
* `load(base, dataset, directory)` -> the model rebuilt from the base and the saved files.
"""
