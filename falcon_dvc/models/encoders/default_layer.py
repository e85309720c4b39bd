"""Choose the layer whose features feed the classifier, from the paths that lead from the image to the classifier.

A layer *carries* a network if every path from the image to the classifier passes its output. The last layer of a network
does, and a branch beside other branches does not. Autograd's graph of one pass holds these paths.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from falcon_dvc.models.encoders.layers import Layer, ancestors, default_layer, within

# Classes of modules that only reduce or pass on what an earlier layer computes.
PASSIVE = re.compile("Pool|Flatten|Dropout|Identity")


@dataclass(frozen=True)
class Choice:
    """The default layer, and a remark if it is not the last maps of a single path; "" otherwise."""

    layer: Layer
    remark: str = ""


@dataclass
class Pass:
    """What one pass of a network with gradients shows.

    Attributes
    ----------
    source
        Autograd's node of the image.
    nodes
        The node of the last output of each layer, by name.
    inputs
        The shape of the input of each layer's last call.
    targets
        The node of the input of each classifier; without classifiers, of the network's output.
    """

    source: Any
    nodes: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, tuple[int, ...]] = field(default_factory=dict)
    targets: list[Any] = field(default_factory=list)

    def carries(self, layer: Layer) -> bool:
        """Return whether every path from the image to the targets passes the output of a layer."""
        node = self.nodes.get(layer.name)
        return node is not None and self.source not in _behind(self.targets, node)

    def leads_on(self, layer: Layer) -> bool:
        """Return whether a path from the image to a target passes the output of a layer."""
        node = self.nodes.get(layer.name)
        return node in self._path and self.source in _behind([node])

    @property
    def connected(self) -> bool:
        """Whether there is a path at all; code that computes without gradients leaves none."""
        return self.source in self._path

    @cached_property
    def _path(self) -> set[Any]:
        return _behind(self.targets)


def _behind(starts: Sequence[Any], closed: Any = None) -> set[Any]:
    """Return the nodes on all paths that lead back from `starts`, without those behind the node `closed`."""
    seen: set[Any] = set()
    waiting = [node for node in starts if node is not closed]
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting += [before for before, _ in node.next_functions if before is not None and before is not closed]
    return seen


def choose_layer(
    module: nn.Module,
    layers: Sequence[Layer],
    image: Float[Tensor, "1 channels size size"],
    classifiers: Sequence[str] = (),
    width: int | None = None,
    param: str = "encoders",
) -> Choice:
    """Choose the layer that feeds the classifier: the last maps or tokens or, if they have one position, their vector.

    Parameters
    ----------
    module
        The network, in evaluation mode.
    layers
        Its layers, in the order in which their last calls end.
    image
        One picture, as the network's input.
    classifiers
        Names of the modules that compute logits from features.
    width
        Number of features; None if not known.
    param
        The name of the entry, for errors.

    Raises
    ------
    UserError
        If no layer has positions.
    """
    candidates = [layer for layer in layers if not _enlarges(layer)]
    usual = default_layer(candidates, classifiers, width, param)
    paths = _pass(module, layers, image, classifiers)
    if paths is None or not paths.connected:
        return Choice(usual)
    before = _before(candidates, classifiers)
    last = _last_maps(before, paths, width)
    if last is None:
        return _one_of_branches(before, usual, paths, width)
    vector = _vector(before, last, paths, _heads(layers, classifiers) or _linear_end(module, paths), width)
    beside = [layer for layer in before if _is_beside(layer, last, paths)]
    if beside and (vector is None or vector.last < beside[-1].last):
        return _one_of_branches(before, usual, paths, width)
    if vector and (beside or _shrinks(module, last, before, paths)):
        return Choice(vector, _of_one_position(vector, image))
    return Choice(last)


def maps_behind(
    module: nn.Module,
    layers: Sequence[Layer],
    image: Float[Tensor, "1 channels size size"],
    layer: Layer,
    width: int | None = None,
) -> Layer | None:
    """Find the last maps or tokens that every path to a layer passes; None if there are none.

    Parameters
    ----------
    module, layers, image, width
        As for `choose_layer`.
    layer
        A layer without positions, whose heatmaps are wanted.
    """
    paths = _pass(module, layers, image, ())
    if paths is None or paths.nodes.get(layer.name) is None:
        return None
    paths.targets = [paths.nodes[layer.name]]
    earlier = [other for other in layers if other.last < layer.last and not _enlarges(other)]
    return _last_maps(earlier, paths, width)


def _one_of_branches(before: Sequence[Layer], usual: Layer, paths: Pass, width: int | None) -> Choice:
    """Choose the maps of the last classifier if there are several, else `usual`."""
    alone = replace(paths, targets=paths.targets[-1:])
    layer = (_last_maps(before, alone, width) if len(paths.targets) > 1 else None) or usual
    return Choice(
        layer,
        f"the features come from '{layer.name}', one of several branches that feed the classifier; set layer for others "
        "(falcon layers lists them)",
    )


def _enlarges(layer: Layer) -> bool:
    """Whether a layer may repeat positions: adaptive pooling to a fixed grid, as in VGG and AlexNet."""
    return "Adaptive" in layer.kind and layer.grid is not None


def _before(layers: Sequence[Layer], classifiers: Sequence[str]) -> list[Layer]:
    starts = [layer.first for layer in layers if within(layer.name, classifiers)]
    return [layer for layer in layers if not starts or layer.last < min(starts)]


def _last_maps(before: Sequence[Layer], paths: Pass, width: int | None) -> Layer | None:
    """Find the last layer with positions that carries the network, of its width if there is one."""
    maps = [layer for layer in before if layer.grid and paths.carries(layer)]
    fitting = [layer for layer in maps if layer.width == width] or maps
    return fitting[-1] if fitting else None


def _is_beside(layer: Layer, last: Layer, paths: Pass) -> bool:
    """Whether a layer with positions follows the last one that carries the network, on one path of several."""
    return bool(layer.grid) and layer.last > last.last and not paths.carries(layer) and paths.leads_on(layer)


def _vector(before: Sequence[Layer], last: Layer, paths: Pass, heads: Sequence[str], width: int | None) -> Layer | None:
    """Find the last vector outside the head, of the network's width if there is one."""
    after = [layer for layer in before if layer.last > last.last and layer.layout == "vector"]
    vectors = [layer for layer in after if not within(layer.name, heads) and paths.carries(layer)]
    fitting = [layer for layer in vectors if layer.width == width] or vectors
    if last.width == width and fitting is vectors:
        return None  # the vectors belong to the head, as in timm's VGG
    active = [layer for layer in fitting if not PASSIVE.search(layer.kind)] or fitting
    return active[-1] if active else None


def _heads(layers: Sequence[Layer], classifiers: Sequence[str]) -> list[str]:
    """Return the outermost modules of the classifiers that are called as a whole, for instance "head" of "head.fc"."""
    called = {layer.name for layer in layers}
    return [next((name for name in ancestors(one) if name in called), one) for one in classifiers]


def _linear_end(module: nn.Module, paths: Pass) -> list[str]:
    """Return the linear layer that computes the network's output; none if another module does."""
    linear = [name for name, child in module.named_modules() if isinstance(child, nn.Linear)]
    return [name for name in linear if paths.nodes.get(name) in paths.targets]


def _shrinks(module: nn.Module, last: Layer, before: Sequence[Layer], paths: Pass) -> bool:
    """Whether the positions of `last` vanish in a layer that computes new features, and not in a pool before the head."""
    after = [layer for layer in before if layer.last > last.last]
    first = next(layer for layer in after if layer.layout == "vector" and paths.carries(layer))
    span = [layer for layer in after if layer.last <= first.last]
    kinds: tuple[type, ...] = (nn.Conv2d, nn.MaxPool2d)
    # An average before more convolutions is not the last one: DenseNet has it between its blocks.
    if any(isinstance(module.get_submodule(layer.name), nn.Conv2d) for layer in after if layer.last > first.last):
        kinds += (nn.AvgPool2d,)
    if any(isinstance(module.get_submodule(layer.name), kinds) and _merges(layer, paths) for layer in span):
        return True
    return len(first.shape) > 1 and _width_before(first, paths) != last.width


def _merges(layer: Layer, paths: Pass) -> bool:
    """Whether several positions enter a layer and one leaves it."""
    return layer.layout == "vector" and prod(paths.inputs.get(layer.name, ())[2:]) > 1


def _width_before(layer: Layer, paths: Pass) -> int:
    """Return the number of values that enter a layer of one position or, if several positions do, that leave it."""
    entering = paths.inputs.get(layer.name, ())
    single = len(entering) == 4 and 1 in (prod(entering[1:3]), prod(entering[2:]))
    return prod(entering[1:]) if single else layer.width


def _pass(module: nn.Module, layers: Sequence[Layer], image: Tensor, classifiers: Sequence[str]) -> Pass | None:
    """Run a network once with gradients; None if it cannot compute them."""
    with torch.enable_grad(), ExitStack() as hooks:
        copy = image.detach().clone().requires_grad_().clone()  # a network may modify its input in place
        paths = Pass(copy.grad_fn)
        for name in {layer.name for layer in layers} | set(classifiers):
            child = module.get_submodule(name)
            hooks.callback(child.register_forward_hook(_recorder(name, paths, name in classifiers)).remove)
        try:
            output = module(copy)
        except RuntimeError:
            return None
    paths.targets = paths.targets or [tensor.grad_fn for tensor in _tensors(output) if tensor.grad_fn]
    return paths


def _recorder(name: str, paths: Pass, classifier: bool) -> Any:
    """Return a hook that records the node and the input of a layer, and the target of a classifier."""

    def record(_module: nn.Module, inputs: tuple, output: object) -> None:
        entering = inputs[0] if inputs and isinstance(inputs[0], Tensor) else None
        if isinstance(output, Tensor):
            paths.nodes[name] = output.grad_fn
        if entering is not None:
            paths.inputs[name] = tuple(entering.shape)
            if classifier and entering.grad_fn:
                paths.targets.append(entering.grad_fn)

    return record


def _tensors(output: Any) -> Iterator[Tensor]:
    """Yield the tensors in a network's output."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, dict | list | tuple):
        for part in output.values() if isinstance(output, dict) else output:
            yield from _tensors(part)


def _of_one_position(layer: Layer, image: Tensor) -> str:
    return (
        f"at {image.shape[-1]} pixels '{layer.name}' has one position, so its {layer.width} features have no maps, and "
        "heatmaps come by gradients from an earlier layer; a larger size gives maps"
    )
