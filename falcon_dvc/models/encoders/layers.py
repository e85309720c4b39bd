"""The layers of a network: names and shapes of their outputs, their features on a grid, and gradients (Grad-CAM)."""

import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from math import isqrt, prod
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from falcon_dvc.errors import UserError

Layout = Literal["map", "map, channels last", "tokens", "vector"]


@dataclass(frozen=True)
class Layer:
    """A module whose output can be read as features.

    Attributes
    ----------
    name, kind
        Dotted name and class of the module.
    shape
        Shape of its output for one image, without the axis of images.
    layout
        Meaning of the axes.
    calls
        Number of calls in a forward pass. The last output is used.
    first, last
        Position of the ends of its first and last call among the ends of all calls.
    prefix
        Tokens before those of the positions, for instance 1 for a class token.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    layout: Layout
    calls: int
    first: int
    last: int
    prefix: int = 0

    @property
    def width(self) -> int:
        """Number of channels."""
        return {"map": self.shape[0], "vector": prod(self.shape)}.get(self.layout, self.shape[-1])

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns of positions; None without a square grid of at least two positions."""
        rows, columns = {
            "map": self.shape[1:],
            "map, channels last": self.shape[:2],
            "tokens": (isqrt(self.shape[0] - self.prefix),) * 2,
            "vector": (0, 0),
        }[self.layout]
        whole = self.layout != "tokens" or rows * columns == self.shape[0] - self.prefix
        return (rows, columns) if whole and rows * columns > 1 else None


def traced(network: nn.Module, image: Float[Tensor, "1 3 size size"], prefix: int | None = None) -> list[Layer]:
    """List the modules whose output is a map, tokens or a vector, in the order in which their last calls end.

    Parameters
    ----------
    network
        In evaluation mode.
    image
        One picture, as the network's input.
    prefix
        Tokens before those of the positions. None: the number of tokens beyond the largest square number.
    """
    clock = count()
    ends: dict[str, list[int]] = {}
    shapes: dict[str, tuple[int, ...]] = {}

    def record(name: str) -> Callable:
        def hook(_module: nn.Module, _inputs: tuple, output: object) -> None:
            if isinstance(output, Tensor) and _layout(output.shape) is not None:
                ends.setdefault(name, []).append(next(clock))
                shapes[name] = tuple(output.shape[1:])

        return hook

    modules = {name: module for name, module in network.named_modules() if name}
    handles = [module.register_forward_hook(record(name)) for name, module in modules.items()]
    try:
        with torch.inference_mode():
            network(image)
    finally:
        for handle in handles:
            handle.remove()
    layers = [_layer(name, modules[name], shapes[name], ends[name], prefix) for name in ends]
    return sorted(layers, key=lambda layer: layer.last)


def _layer(name: str, module: nn.Module, shape: tuple[int, ...], ends: list[int], prefix: int | None) -> Layer:
    layout = _layout((1, *shape))
    assert layout, "only outputs with a layout are recorded"
    extra = _prefix(shape[0], prefix) if layout == "tokens" else 0
    return Layer(name, type(module).__name__, shape, layout, len(ends), ends[0], ends[-1], extra)


def _layout(shape: Sequence[int]) -> Layout | None:
    """Return the meaning of the axes of an output for one image.

    Images are square, so maps are square too, which distinguishes channels from positions.
    """
    if not len(shape) or shape[0] != 1:
        return None
    if len(shape) == 4 and 1 in (prod(shape[1:3]), prod(shape[2:])):
        return "vector"  # a single position, as after an average pool
    if len(shape) == 3 and shape[1] == 1:
        return "vector"  # a single token
    if len(shape) == 4 and shape[2] != shape[3]:
        return "map, channels last" if shape[1] == shape[2] else None
    by_axes: dict[int, Layout] = {4: "map", 3: "tokens", 2: "vector"}
    return by_axes.get(len(shape))


def _prefix(tokens: int, expected: int | None) -> int:
    """Return the number of tokens before those of the positions.

    This is `expected` if the other tokens form a square, else the number of tokens beyond the largest square number.
    """
    if expected is not None and tokens > expected and isqrt(tokens - expected) ** 2 == tokens - expected:
        return expected
    return tokens - isqrt(tokens) ** 2


def named(layers: Sequence[Layer], name: str, param: str) -> Layer:
    """Find a layer by its dotted name.

    Raises
    ------
    UserError
        If there is no such layer, with similar names.
    """
    for layer in layers:
        if layer.name == name:
            return layer
    close = difflib.get_close_matches(name, [layer.name for layer in layers], n=3)
    hint = f"did you mean {', '.join(close)}" if close else "`falcon layers NAME` lists them"
    raise UserError(f"{param}: the network has no layer '{name}' whose output is a map, tokens or a vector; {hint}")


def default_layer(
    layers: Sequence[Layer], classifiers: Sequence[str] = (), width: int | None = None, param: str = "encoders"
) -> Layer:
    """Choose the layer before the classifier: the last maps or tokens, of the network's width if that is known.

    Raises
    ------
    UserError
        If the network has no maps and no tokens.
    """
    starts = [layer.first for layer in layers if within(layer.name, classifiers)]
    before = [layer for layer in layers if layer.grid and (not starts or layer.last < min(starts))]
    for choice in ([layer for layer in before if layer.width == width], before):
        if choice:
            return choice[-1]
    raise UserError(
        f"{param}: the network has no layer with positions, which heatmaps need; set a larger size, or give a network whose "
        "modules return maps or tokens"
    )


def within(name: str, modules: Sequence[str]) -> bool:
    """Return whether a layer is one of `modules`, or inside one."""
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def entering_block(layers: Sequence[Layer], layer: Layer) -> Layer | None:
    """Find the layer whose output is the input of the block that ends with `layer`, or of the last block before it.

    Blocks are the outermost modules with a number at the end of their name and tokens of the layer's shape.
    """
    alike = [other for other in layers if (other.layout, other.shape) == (layer.layout, layer.shape)]
    numbered = [other for other in alike if re.search(r"\d$", other.name)]
    names = {other.name for other in numbered}
    blocks = [other for other in numbered if not any(name in names for name in ancestors(other.name))]
    reached = [block for block in blocks if block.last <= layer.last or within(layer.name, [block.name])]
    if not reached:
        return None
    start = min(other.first for other in layers if within(other.name, [reached[-1].name]))
    before = [other for other in alike if other.last < start]
    return before[-1] if before else None


def ancestors(name: str) -> Iterator[str]:
    """Yield the names of the modules around a layer, the outermost first."""
    parts = name.split(".")
    return (".".join(parts[:end]) for end in range(1, len(parts)))


class _ReachedError(Exception):
    """Raised in a hook to end a forward pass at a layer."""


@contextmanager
def _hooked(network: nn.Module, layer: Layer, act: Callable[[Tensor], Tensor | None]) -> Iterator[None]:
    """Call `act` with the last output of a layer in a pass; its result, if any, replaces the output."""
    call = count(1)

    def hook(_module: nn.Module, _inputs: tuple, output: Tensor) -> Tensor | None:
        return act(output) if next(call) == layer.calls else None

    handle = network.get_submodule(layer.name).register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def outputs_of(network: nn.Module, layers: Sequence[Layer], batch: Float[Tensor, "images 3 size size"]) -> list[Tensor]:
    """Run a network once, up to the last of `layers`, and return the output of each."""
    outputs: dict[str, Tensor] = {}

    def keep(layer: Layer) -> Callable[[Tensor], None]:
        def act(output: Tensor) -> None:
            # The next module may modify the output in place.
            outputs[layer.name] = output if len(layers) == 1 else output.clone()
            if len(outputs) == len(layers):
                raise _ReachedError

        return act

    with ExitStack() as hooks, suppress(_ReachedError):
        for layer in layers:
            hooks.enter_context(_hooked(network, layer, keep(layer)))
        network(batch)
    missing = [layer.name for layer in layers if layer.name not in outputs]
    if missing:
        raise RuntimeError(f"layer {missing[0]} was not called as often as in the first pass")
    return [outputs[layer.name] for layer in layers]


def positions(output: Tensor, layer: Layer) -> Float[Tensor, "images features rows columns"]:
    """Arrange the output of a layer with positions on its grid, without the tokens before those of the positions."""
    if layer.layout == "map":
        return output
    if layer.layout == "map, channels last":
        return output.permute(0, 3, 1, 2)
    assert layer.grid, "the layer was checked to have positions"
    return output[:, layer.prefix :].transpose(1, 2).unflatten(2, layer.grid)


def activation_and_gradient(
    network: nn.Module,
    features: Callable[[Tensor], Float[Tensor, "images features"]],
    layer: Layer,
    batch: Float[Tensor, "images 3 size size"],
    directions: Float[Tensor, "images features"],
) -> tuple[Float[Tensor, "images channels rows columns"], Float[Tensor, "images channels rows columns"]]:
    """Return a layer's output on its grid, and the gradient of ``features @ direction`` with respect to it.

    Parameters
    ----------
    network
        The network.
    features
        From a batch to features.
    layer
        A layer with positions that ends no later than the features are read.
    batch
        Input of the network.
    directions
        One direction of the features for each image.
    """
    reached: list[Tensor] = []

    def start_here(output: Tensor) -> Tensor:
        reached.append(output.detach().requires_grad_())
        return reached[0].clone()  # the next module may work in place, which torch forbids on a leaf

    with torch.enable_grad(), _hooked(network, layer, start_here):
        score = (features(batch) * directions).sum()
    # A layer that does not lead to the features has no gradient (for instance the maps beside a class token).
    connected = score.requires_grad
    gradient = torch.autograd.grad(score, reached[0], allow_unused=True)[0] if connected else None
    activation = reached[0].detach()
    return positions(activation, layer), positions(
        torch.zeros_like(activation) if gradient is None else gradient, layer
    )


def class_activation(
    activation: Float[Tensor, "images channels rows columns"], gradient: Float[Tensor, "images channels rows columns"]
) -> Float[Tensor, "images rows columns"]:
    """Return ``sum_c w_c A_c``, where ``w_c`` is the mean of the gradient over positions.

    Its positive part is Grad-CAM (Selvaraju et al. 2017).
    """
    return (gradient.mean(dim=(2, 3), keepdim=True) * activation).sum(dim=1)
