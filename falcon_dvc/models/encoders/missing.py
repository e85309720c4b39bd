"""Which tensors that a checkpoint lacks do features depend on?"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def read_by(module: nn.Module, names: Sequence[str], features: Callable[[], Tensor]) -> list[str]:
    """List the tensors that features depend on.

    A tensor of NaN makes everything NaN that is computed from it. So this finds parameters and running statistics alike,
    in any network, and leaves out what lies behind the layer of the features or is used in training only.

    Parameters
    ----------
    module
        The network. Its tensors are changed during the call only.
    names
        Names of its parameters or buffers.
    features
        Computes features with the network.

    Returns
    -------
    list of str
        Those of `names` that the features depend on, in their order.
    """

    def depends_on(tensors: Sequence[str]) -> bool:
        with torch.no_grad(), _spoiled(module, tensors):
            return bool(features().isnan().any())

    return [name for name in names if depends_on([name])] if names and depends_on(names) else []


@contextmanager
def _spoiled(module: nn.Module, names: Sequence[str]) -> Iterator[None]:
    """Fill tensors with NaN; restore them afterwards."""
    state = module.state_dict()
    tensors = [state[name] for name in names if state[name].is_floating_point()]
    kept = [tensor.clone() for tensor in tensors]
    try:
        for tensor in tensors:
            tensor.fill_(torch.nan)
        yield
    finally:
        for tensor, values in zip(tensors, kept, strict=True):
            tensor.copy_(values)
