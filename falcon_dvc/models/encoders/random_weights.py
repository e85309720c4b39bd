"""Copies of an encoder with random weights: the control of what is measured on a trained one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import UInt8
from torch import nn
from torch.nn.functional import interpolate
from torch.nn.modules.batchnorm import _BatchNorm

from falcon_dvc.errors import UserError

Module = TypeVar("Module", bound=nn.Module)
# torch's own initialisation shrinks the values of every layer, and running statistics that were reset do not undo that: the
# features of a deep network vanish. He's initialisation keeps their scale.
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
RESETS = ("reset_parameters", "_reset_parameters")  # the second is that of torch's attention
NOISE_PICTURES, NOISE_SIDE = 8, 256  # pictures that set running statistics; their side in pixels


class NoRandomCopyError(UserError):
    """A network has parameters that cannot be drawn again."""


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw random weights from a seed; restore the state of the generator afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def drawn_again(module: Module, seed: int, param: str = "encoders") -> Module:
    """Draw all parameters of a network again; reset its running statistics.

    Convolutions are drawn by He's initialisation (He et al., ICCV 2015), other layers by their own.

    Parameters
    ----------
    module
        The network, which is changed.
    seed
        Of the random numbers.
    param : str
        The name of the entry, for errors: ``encoders.NAME``.

    Raises
    ------
    NoRandomCopyError
        If a parameter belongs to no layer that can draw it.
    """
    layers = [(layer, reset) for layer in module.modules() if (reset := _reset_of(layer))]
    drawn = {id(parameter) for layer, _ in layers for parameter in layer.parameters(recurse=False)}
    others = [name for name, parameter in module.named_parameters() if id(parameter) not in drawn]
    if others:
        raise NoRandomCopyError(
            f"{param}: no copy with random weights can be made, as {', '.join(others[:3])} "
            f"{'belongs' if len(others) == 1 else 'belong'} to no layer with reset_parameters; give the module this method"
        )
    with seeded(seed), torch.no_grad():
        for layer, reset in layers:
            reset()
            if isinstance(layer, CONVOLUTIONS):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return module


def _reset_of(layer: nn.Module) -> Any:
    """Return the method that draws the parameters of a layer; None if there is none."""
    return next((getattr(layer, name) for name in RESETS if callable(getattr(layer, name, None))), None)


def random_copy(spec: Any, seed: int) -> Any:
    """Return the spec of the same encoder with random weights.

    Parameters
    ----------
    spec
        An entry in the param ``encoders``.
    seed
        Of the weights.
    """
    source = getattr(spec, "source_key", "weights")
    return spec.model_copy(update={source: "random", "seed": seed, "head": None, "classes": None})


def set_running_statistics(network: nn.Module, batch: torch.Tensor) -> None:
    """Set the running statistics of all batch normalisations to those of a batch; their scale becomes 1, their shift 0.

    Without it, untrained batch normalisations do nothing: in a deep network the features vanish or overflow, and a scale that
    a library initialises to 0 switches blocks off.

    Parameters
    ----------
    network
        In evaluation mode; it is changed.
    batch
        Input of the network, for instance prepared `noise_pictures`: (images, 3, size, size).
    """
    layers = [layer for layer in network.modules() if isinstance(layer, _BatchNorm)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_parameters()
        layer.momentum = None  # a cumulative average: that of this batch
        layer.train()
    try:
        if layers:
            with torch.no_grad():
                network(batch)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
            layer.eval()


def noise_pictures() -> list[UInt8[np.ndarray, "side side 3"]]:
    """Draw pictures of noise with the spectrum of natural images: equal variance in each octave of spatial frequency."""
    with seeded(0):
        octaves = [2**power for power in range(1, NOISE_SIDE.bit_length())]
        fields = [
            interpolate(torch.randn(NOISE_PICTURES, 3, side, side), size=NOISE_SIDE, mode="bilinear")
            for side in octaves
        ]
    noise = 128 + 64 * torch.stack(fields).sum(dim=0) / len(octaves) ** 0.5
    return list(noise.clamp(0, 255).byte().permute(0, 2, 3, 1).numpy())
