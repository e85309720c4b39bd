"""Files of sparse autoencoders in the formats of their releases, and what they compute, in plain numpy."""

import json

import numpy as np
import torch
from safetensors.torch import save_file

CHANNELS, FEATURES = 4, 6


def arrays(seed, channels=CHANNELS, features=FEATURES):
    """Weights of an autoencoder, and vectors for it."""
    generator = np.random.default_rng(seed)
    shapes = {"W_enc": (channels, features), "b_enc": features, "W_dec": (features, channels), "b_dec": channels}
    return {name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def vectors(seed, count=20, channels=CHANNELS):
    """Activations at single positions."""
    return np.random.default_rng([seed, 1]).normal(1, 2, size=(count, channels)).astype(np.float32)


def torch_of(given):
    """The same as tensors of torch."""
    return {name: torch.from_numpy(np.array(array)) for name, array in given.items()}


def write_prisma(folder, given, name="n_images_2600058.pt", **config):
    """A release of Prisma: a file of tensors beside its configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(torch_of(given), folder / name)
    (folder / "config.json").write_text(json.dumps({"model_name": "open-clip:x", "hook_point_layer": 9, **config}))
    return folder / name


def write_sae_v(path, given, header=None, **tensors):
    """A release of SAE-V: a line of JSON, then the state dict."""
    activation = {"cls": "Relu", "params": {}}
    header = {"schema": 5, "cfg": {"activation": activation}} if header is None else header
    with path.open("wb") as file:
        file.write(json.dumps(header).encode() + b"\n")
        torch.save(torch_of(given) | tensors, file)
    return path


def of_sae_v(cls, **params):
    """The header of a release of SAE-V with this activation function."""
    return {"schema": 3, "cfg": {"activation": {"cls": cls, "params": params}}, "commit": "x", "lib": "0.5"}


def write_saelens(folder, given, **config):
    """A folder of SAELens."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(torch_of(given), folder / "sae_weights.safetensors")
    (folder / "cfg.json").write_text(json.dumps({"architecture": "standard", **config}))
    return folder


def overcomplete(weights, batch_norm=True):
    """The state dict of overcomplete, with the batch normalisation that its encoders may have."""
    names = {"encoder.final_block.0.weight": weights["W_enc"].T, "encoder.final_block.0.bias": weights["b_enc"]}
    if batch_norm:
        size = len(weights["b_enc"])
        parts = {"weight": 2.0, "bias": 0.3, "running_mean": 0.1, "running_var": 4.0}
        names |= {f"encoder.final_block.1.{name}": np.full(size, value, np.float32) for name, value in parts.items()}
        names["encoder.final_block.1.num_batches_tracked"] = np.array(7)
    return torch_of(names | {"dictionary._weights": weights["W_dec"]})


def relu(values):
    """The positive part."""
    return np.maximum(values, 0)


def top(values, k, positive=True):
    """The k largest values of each row."""
    kept = np.where(values >= np.sort(values, axis=1)[:, [-k]], values, 0)
    return relu(kept) if positive else kept


def pre_activations(x, given, subtracts=True):
    """What the activation function gets."""
    return (x - given["b_dec"] * subtracts) @ given["W_enc"] + given["b_enc"]


def layer_norm(x):
    """As SAELens and Prisma normalise; and mean and deviation."""
    mean, spread = x.mean(axis=1, keepdims=True), x.std(axis=1, ddof=1, keepdims=True)
    return (x - mean) / (spread + 1e-5), mean, spread
