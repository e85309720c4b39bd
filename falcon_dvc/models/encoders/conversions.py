"""Give released tensors the names and sizes of a network, as the library of the network does when it loads them.

Authors publish their own names (ConvNeXt, Swin, DINOv2, CLIP), and position embeddings of their own image size. timm has a
filter for each family of networks; torchvision renames and resizes the files of a few networks.
"""

import contextlib
import io
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

Tensors = dict[str, Tensor]
Conversion = Callable[[Tensors], Tensors]

# The filters of timm's modules, by the names that they have there.
FILTERS = ("checkpoint_filter_fn", "checkpoint_filter_fn_classifier", "_filter_fn", "_filter_torchvision_pretrained")
# Of the old names of torchvision's dense layers and of the two layers of a ViT's perceptron.
DENSE_LAYER = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\.")
PERCEPTRON = re.compile(r"\.mlp\.linear_([12])\.")
POSITIONS = "encoder.pos_embedding"  # of torchvision's ViT
COMMON = 0.2  # share of a table's keys that have a prefix, from which on it may be the encoder's
LONGEST = 4  # components of such a prefix


def converted(module: nn.Module, table: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensors]]:
    """Yield a prefix of the table and its tensors by the names of the network, for each way to convert them.

    Parameters
    ----------
    module
        For networks of other libraries than timm and torchvision, only axes of length one differ.
    table
        Tensors by the names of a file. They are not changed.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    dense = {key: tensor for key, tensor in table.items() if tensor.layout == torch.strided}
    for prefix in common_prefixes(dense):
        inner = {key.removeprefix(prefix): tensor for key, tensor in dense.items() if key.startswith(prefix)}
        for convert in _conversions(module):
            yield prefix, _reshaped(_kernels_kept(_tried(convert, inner), inner), wanted)


def common_prefixes(table: Mapping[str, Tensor]) -> list[str]:
    """List the prefixes that many keys share, the empty one first."""
    counts: Counter = Counter()
    for key in table:
        parts = key.split(".")[:-1]
        counts.update("".join(f"{part}." for part in parts[:end]) for end in range(1, min(LONGEST, len(parts)) + 1))
    return ["", *(prefix for prefix, count in counts.items() if count >= COMMON * len(table))]


def sources(tensors: Mapping[str, Tensor], table: Mapping[str, Tensor], prefix: str) -> list[str]:
    """List the keys of the file that converted tensors come from, as far as memory or names show it."""
    places = {_place(tensor): key for key, tensor in table.items() if tensor.layout == torch.strided}
    found = {places.get(_place(tensor), prefix + name) for name, tensor in tensors.items()}
    return [key for key in table if key in found]


def _place(tensor: Tensor) -> int:
    """Return where the numbers of a tensor lie in memory. A view of another shape lies at the same place."""
    return tensor.untyped_storage().data_ptr()


def _conversions(module: nn.Module) -> list[Conversion]:
    library = type(module).__module__.partition(".")[0]
    if library == "torchvision":
        return [partial(_as_torchvision, module)]
    return [_filter_of_timm(module), dict] if library == "timm" else [dict]


def _tried(convert: Conversion, tensors: Tensors) -> Tensors:
    """Convert a copy of the table; return nothing if its content is not what the conversion expects."""
    with contextlib.redirect_stdout(io.StringIO()):  # a filter of timm prints
        try:
            found = convert(dict(tensors))
        except Exception:  # a filter may fail in any way at the tensors of another network
            return {}
    return {name: tensor for name, tensor in found.items() if isinstance(tensor, Tensor)}


def _filter_of_timm(module: nn.Module) -> Conversion:
    """Return the function by which timm converts the files of a network's family."""
    from timm.models import model_entrypoint

    architecture = getattr(module, "pretrained_cfg", {}).get("architecture", "")
    try:
        family = sys.modules[model_entrypoint(architecture).__module__]
    except KeyError:  # not in timm's registry
        return dict
    found = next((getattr(family, name) for name in FILTERS if hasattr(family, name)), None)
    if found is None:
        return dict
    options = _options(architecture, family.__name__)
    return lambda tensors: _called(found, tensors, module, options)


def _options(architecture: str, family: str) -> dict[str, Any]:
    """Return what timm tells the filter for some networks of a family."""
    if family == "timm.models.deit":
        return {"adapt_layer_scale": True}
    if family == "timm.models.vision_transformer" and "flexi" in architecture:
        return {"interpolation": "bilinear", "antialias": False}
    return {}


def _called(convert: Callable, tensors: Tensors, module: nn.Module, options: Mapping[str, Any]) -> Tensors:
    try:
        return convert(dict(tensors), module, **options)
    except TypeError:  # some filters take the tensors alone
        return convert(dict(tensors))


def _as_torchvision(module: nn.Module, tensors: Tensors) -> Tensors:
    """Rename and resize as ``densenet._load_state_dict``, ``MLPBlock`` and ``interpolate_embeddings``."""
    found = {_name_in_torchvision(name): tensor for name, tensor in tensors.items()}
    if POSITIONS in found and hasattr(module, "image_size"):
        from torchvision.models.vision_transformer import interpolate_embeddings

        return dict(interpolate_embeddings(module.image_size, module.patch_size, found))
    return found


def _name_in_torchvision(name: str) -> str:
    renamed = DENSE_LAYER.sub(r"\1\2.", name)
    return PERCEPTRON.sub(lambda match: f".mlp.{3 * (int(match[1]) - 1)}.", renamed)


def _kernels_kept(tensors: Tensors, source: Tensors) -> Tensors:
    """Undo that a filter resized the kernel of a patch embedding: another patch size is another network."""
    places = {_place(tensor) for tensor in source.values()}
    for name, tensor in tensors.items():
        if tensor.ndim == 4 and "patch_embed" in name and _place(tensor) not in places:
            alike = (other for other in source.values() if other.ndim == 4 and other.shape[:2] == tensor.shape[:2])
            tensors[name] = next(alike, tensor)
    return tensors


def _reshaped(tensors: Tensors, wanted: Mapping[str, Sequence[int]]) -> Tensors:
    """Add or remove axes of length one where the shapes differ in nothing else."""

    def fitting(name: str, tensor: Tensor) -> Tensor:
        shape = wanted.get(name, tensor.shape)
        return tensor.reshape(tuple(shape)) if _squeezed(tensor.shape) == _squeezed(shape) else tensor

    return {name: fitting(name, tensor) for name, tensor in tensors.items()}


def _squeezed(shape: Sequence[int]) -> list[int]:
    return [length for length in shape if length != 1]
