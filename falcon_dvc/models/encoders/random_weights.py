"""Copies of an encoder with random weights: the control of what is measured on a trained one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import nn

from falcon_dvc.errors import UserError

Module = TypeVar("Module", bound=nn.Module)
# torch's own initialisation shrinks the values of every layer, and running statistics that were reset do not undo that: the
# features of a deep network vanish. He's initialisation keeps their scale.
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
RESETS = ("reset_parameters", "_reset_parameters")  # the second is that of torch's attention


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
