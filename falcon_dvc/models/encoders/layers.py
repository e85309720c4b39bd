"""The modules of a network as places to read features from: their names, shapes, positions, and gradients (Grad-CAM)."""

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
    """A module whose output can be features.

    Attributes
    ----------
    name, kind
        Its dotted name and its class.
    shape
        Of its output for one image, without the axis of images.
    layout
        What the axes are.
    calls
        How often a forward pass calls it; its last output counts.
    first, last
        When its first and last call ended, among all calls.
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
        """Rows and columns of positions; None if there is one position only, or none."""
        rows, columns = {
            "map": self.shape[1:],
            "map, channels last": self.shape[:2],
            "tokens": (isqrt(self.shape[0] - self.prefix),) * 2,
            "vector": (0, 0),
        }[self.layout]
        whole = self.layout != "tokens" or rows * columns == self.shape[0] - self.prefix
        return (rows, columns) if whole and rows * columns > 1 else None


def traced(network: nn.Module, image: Float[Tensor, "1 3 size size"], prefix: int | None = None) -> list[Layer]:
    """List the modules whose output is a map, tokens or a vector, in the order in which they end.

    Parameters
    ----------
    prefix
        Tokens before those of the positions; None: as many as exceed the largest square.
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
    """What the axes of an output for one image are; images are square, and so are maps, which tells channels from positions."""
    if not len(shape) or shape[0] != 1:
        return None
    if len(shape) == 4 and 1 in (prod(shape[1:3]), prod(shape[2:])):
        return "vector"  # one position: what an average pool leaves
    if len(shape) == 4 and shape[2] != shape[3]:
        return "map, channels last" if shape[1] == shape[2] else None
    by_axes: dict[int, Layout] = {4: "map", 3: "tokens", 2: "vector"}
    return by_axes.get(len(shape))


def _prefix(tokens: int, given: int | None) -> int:
    """Tokens before those of the positions: as given if the rest makes a square, else what exceeds the largest square."""
    if given is not None and tokens > given and isqrt(tokens - given) ** 2 == tokens - given:
        return given
    return tokens - isqrt(tokens) ** 2


def named(layers: Sequence[Layer], name: str, param: str) -> Layer:
    """Find a layer by its dotted name.

    Raises
    ------
    UserError
        With close names, if there is none.
    """
    for layer in layers:
        if layer.name == name:
            return layer
    close = difflib.get_close_matches(name, [layer.name for layer in layers], n=3)
    hint = f"did you mean {', '.join(close)}" if close else "`python -m stages layers NAME` lists them"
    raise UserError(f"{param}: the network has no layer '{name}' whose output is a map, tokens or a vector; {hint}")


def default_layer(
    layers: Sequence[Layer], classifiers: Sequence[str] = (), width: int | None = None, param: str = "encoders"
) -> Layer:
    """Choose what feeds the classifier: the last maps or tokens before it, of the network's width if that is known.

    Raises
    ------
    UserError
        If the network has no maps and no tokens.
    """
    inside = [layer.first for layer in layers if _within(layer.name, classifiers)]
    before = [layer for layer in layers if layer.grid and (not inside or layer.last < min(inside))]
    for choice in ([layer for layer in before if layer.width == width], before):
        if choice:
            return choice[-1]
    raise UserError(f"{param}: the network has no layer with positions; name one (python -m stages layers NAME)")


def _within(name: str, modules: Sequence[str]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def entering_block(layers: Sequence[Layer], layer: Layer) -> Layer | None:
    """Find the tokens that enter the block that ends with `layer` (or the last block before it): the output of what ran before.

    Blocks are the outermost modules with a number at the end of their name and tokens of the layer's shape.
    """
    alike = [other for other in layers if (other.layout, other.shape) == (layer.layout, layer.shape)]
    numbered = [other for other in alike if re.search(r"\d$", other.name)]
    names = {other.name for other in numbered}
    blocks = [other for other in numbered if not any(name in names for name in _ancestors(other.name))]
    reached = [block for block in blocks if block.last <= layer.last or _within(layer.name, [block.name])]
    if not reached:
        return None
    start = min(other.first for other in layers if _within(other.name, [reached[-1].name]))
    before = [other for other in alike if other.last < start]
    return before[-1] if before else None


def _ancestors(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[:end]) for end in range(1, len(parts)))


class _ReachedError(Exception):
    """Ends a forward pass at a layer."""


@contextmanager
def _hooked(network: nn.Module, layer: Layer, act: Callable[[Tensor], Tensor | None]) -> Iterator[None]:
    """Give the last output of a layer in a pass to `act`, which may replace it."""
    call = count(1)

    def hook(_module: nn.Module, _inputs: tuple, output: Tensor) -> Tensor | None:
        return act(output) if next(call) == layer.calls else None

    handle = network.get_submodule(layer.name).register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def outputs_of(network: nn.Module, layers: Sequence[Layer], batch: Float[Tensor, "images 3 size size"]) -> list[Tensor]:
    """Run a network once, up to the last of some layers, and give the output of each."""
    outputs: dict[str, Tensor] = {}

    def keep(layer: Layer) -> Callable[[Tensor], None]:
        def act(output: Tensor) -> None:
            # What comes next may work in place.
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
    """Put the output of a layer with positions onto its grid; tokens before those of the positions are left out."""
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
    """Return a layer's output on its grid, and the gradient of the features' products with directions with respect to it.

    Parameters
    ----------
    features
        From a batch to features.
    layer
        One with positions that ends no later than the features are read.
    directions
        One for each image.
    """
    reached: list[Tensor] = []

    def start_here(output: Tensor) -> Tensor:
        reached.append(output.detach().requires_grad_())
        return reached[0].clone()  # what comes next may work in place, which a leaf forbids

    with torch.enable_grad(), _hooked(network, layer, start_here):
        score = (features(batch) * directions).sum()
    # A layer beside the path to the features (their own maps, seen by a class token) has no gradient at all.
    connected = score.requires_grad
    gradient = torch.autograd.grad(score, reached[0], allow_unused=True)[0] if connected else None
    activation = reached[0].detach()
    return positions(activation, layer), positions(
        torch.zeros_like(activation) if gradient is None else gradient, layer
    )


def class_activation(
    activation: Float[Tensor, "images channels rows columns"], gradient: Float[Tensor, "images channels rows columns"]
) -> Float[Tensor, "images rows columns"]:
    """Return ``sum_c w_c A_c``; ``w_c`` is the mean of the gradient over positions. Its positive part is Grad-CAM (Selvaraju et al. 2017)."""
    return (gradient.mean(dim=(2, 3), keepdim=True) * activation).sum(dim=1)
