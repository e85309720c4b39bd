"""Load encoder weights from the files that their authors released: nested, prefixed, with additional heads.

The nesting and the prefix of a file are detected: the combination that matches most of the encoder's tensors, by name
and shape, is used. This covers ``state_dict`` with ``module.encoder_q.`` (MoCo), ``teacher`` with ``backbone.`` (DINO)
and bare keys. `checkpoint_files` reads the files.
"""

import re
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from falcon_dvc.errors import UserError
from falcon_dvc.models.encoders.checkpoint_files import pickled_networks, read_checkpoint, refuse_network
from falcon_dvc.models.encoders.conversions import converted, sources

LEAST_SHARE = 0.95  # of the encoder's tensors that a file must hold
DEEPEST = 20  # levels of nested dictionaries; VISSL writes four
COUNTER = "num_batches_tracked"  # of batch normalisation: old files lack it, and evaluation does not read it
# Tables that a network computes from its geometry. Some files lack them.
GEOMETRY = ("relative_position_index", "relative_coords_table", "attn_mask")
# Of a block that the file has and the network lacks, which is then another variant; and tokens of the same kind.
IN_BLOCKS = re.compile(r".*\.\d+\..*\.(weight|bias|gamma)$")
TOKENS = re.compile(r"(reg|register|storage|dist|cls)_tokens?$")
# By which names of tensors the networks of other libraries are recognised.
STYLES = {
    "encoder_layer_0.": "torchvision's ViT",
    "patch_embeddings.projection.": "Hugging Face transformers",
    "vision_model.encoder.": "Hugging Face transformers",
    "transformer.resblocks.": "CLIP (kind open_clip)",
    "conv_stem.": "timm",
    "patch_embed.proj.": "timm",
}
AUXILIARY = ("aux1", "aux2", "AuxLogits")  # heads of GoogLeNet and Inception that only training runs
# If two encoders of one file match equally well, the other one is preferred: methods are evaluated with it.
SECOND = ("student", "encoder_k", "key_encoder", "momentum", "target_encoder", "target_net", "current_model_state")
# Averages of the weights over the training, by the words of nesting and prefix: programs that write them evaluate them.
AVERAGED = re.compile(r"ema|ema_.+|.+_ema(_.+)?|swa_.+")
# What wraps a module adds a part to the names inside: torch.compile, FSDP, activation checkpointing, Accelerate.
WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module")

Shapes = Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class Match:
    """The tensors of an encoder in a file.

    Attributes
    ----------
    tensors
        Tensors by the encoder's names.
    taken, left
        Keys of the file's table of tensors that were used, and the others.
    missing
        Names of the encoder that the table lacks.
    misfits
        Tensors of the table that have another shape than the encoder's, by the encoder's names.
    nesting, prefix
        Path of the table in the file ("state_dict"), and prefix of its keys.
    others
        Other weights in the file that match equally well, as ``part`` can name them.
    computed
        Names of the tensors that were computed from the file's, for instance position embeddings of another size.
    """

    tensors: dict[str, Tensor]
    taken: list[str]
    left: list[str]
    missing: list[str]
    misfits: dict[str, Tensor]
    nesting: str
    prefix: str
    others: tuple[str, ...] = ()
    computed: tuple[str, ...] = ()


def match(content: Any, wanted: Shapes, numbered: Mapping[str, str] | None = None, part: str | None = None) -> Match:
    """Find an encoder's tensors in the content of a file, by the nesting and prefix that match most of them.

    Parameters
    ----------
    content
        Dictionaries of dictionaries or tensors, as from `read_checkpoint`.
    wanted
        Names and shapes of the encoder.
    numbered
        From other spellings of the names to the names.
    part
        Text that nesting or prefix must contain, as whole words if there are such.

    Returns
    -------
    Match
        The best match. Among equal ones, the one that the method is evaluated with, or else the first in the file.
        Empty if no tensor matches.
    """
    spellings = [{name: name for name in wanted}, *([dict(numbered)] if numbered else [])]
    candidates = [
        _Candidate(nesting, prefix, count, table, spelling)
        for nesting, table in _tables(content)
        for spelling in spellings
        for prefix, count in _prefixes(table, wanted, spelling).items()
    ]
    candidates = _of_part(candidates, part)
    if not candidates:
        return Match({}, [], [], list(wanted), {}, "", "")
    keys = set(content)
    best = max(candidates, key=lambda one: (one.count, _rank(one.label, keys)))
    equal = dict.fromkeys(_unwrapped(one.label) for one in candidates if one.count == best.count)
    others = tuple(label for label in equal if label != _unwrapped(best.label))
    return replace(_matched(best.table, wanted, best.spelling, best.nesting, best.prefix), others=others)


@dataclass(frozen=True)
class _Candidate:
    """A table of tensors with a prefix, and the number of the encoder's tensors that it holds.

    `converted` are its tensors as a library converts them.
    """

    nesting: str
    prefix: str
    count: int
    table: dict[str, Tensor]
    spelling: Mapping[str, str]
    converted: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Nesting and prefix, as users write them in ``part``."""
        return f"{self.nesting}.{self.prefix}".strip(".")


def _of_part(candidates: list[_Candidate], part: str | None) -> list[_Candidate]:
    """Select the candidates whose label contains a text, best as whole words: "state_dict" is not "state_dict_ema"."""
    if part is None:
        return candidates
    whole = [one for one in candidates if f".{part.strip('.')}." in f".{one.label}."]
    return whole or [one for one in candidates if part in f"{one.nesting}.{one.prefix}"]


def _rank(label: str, keys: set[Any]) -> int:
    """Rank weights that match equally well; a method is evaluated with those of the highest rank.

    Parameters
    ----------
    keys
        First level of the file. It tells MMEngine, which exchanges both sets before it saves, and I-JEPA, which evaluates
        the target encoder.
    """
    if {"predictor", "target_encoder"} <= keys:
        return int(label.startswith("target_encoder"))
    if any(copy in label for copy in SECOND):
        return 0
    averaged = any(AVERAGED.fullmatch(word) for word in label.split("."))
    return 0 if averaged and "message_hub" in keys else 1 + averaged


def tables_of(content: Any) -> list[dict[str, Tensor]]:
    """Return the tensors of every dictionary in the content of a file, as from `read_checkpoint`."""
    return [table for _, table in _tables(content)]


def _tables(
    content: Any, nesting: str = "", depth: int = 0, seen: set[int] | None = None
) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield the path and the tensors of every dictionary that holds tensors, each dictionary once.

    If wrappers changed the names inside, the tensors follow a second time without them.
    """
    seen = set() if seen is None else seen
    if not isinstance(content, Mapping) or depth > DEEPEST or id(content) in seen:
        return
    seen.add(id(content))
    table = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if table:
        yield nesting, table
    unwrapped = {_unwrapped(key): value for key, value in table.items()}
    if list(unwrapped) != list(table):
        yield nesting, unwrapped
    for key, value in content.items():
        if isinstance(key, str):
            yield from _tables(value, f"{nesting}.{key}".lstrip("."), depth + 1, seen)


def _unwrapped(key: str) -> str:
    """Remove what wrappers of modules add to the name of a tensor."""
    return ".".join(part for part in key.split(".") if part not in WRAPPERS)


def _prefixes(table: Mapping[str, Tensor], wanted: Shapes, spelling: Mapping[str, str]) -> Counter:
    """Count the encoder's tensors, by name and shape, for each prefix."""
    counts: Counter = Counter()
    deepest = max((name.count(".") for name in spelling), default=0) + 1
    for key, tensor in table.items():
        parts = key.split(".")
        for start in range(max(0, len(parts) - deepest), len(parts)):
            name = spelling.get(".".join(parts[start:]))
            if name is not None and tuple(tensor.shape) == tuple(wanted[name]) and not name.endswith(COUNTER):
                counts["".join(f"{part}." for part in parts[:start])] += 1
    return counts


def _matched(
    table: Mapping[str, Tensor], wanted: Shapes, spelling: Mapping[str, str], nesting: str, prefix: str
) -> Match:
    keys = {name: prefix + spelled for spelled, name in spelling.items() if prefix + spelled in table}
    fitting = {name: key for name, key in keys.items() if tuple(table[key].shape) == tuple(wanted[name])}
    return Match(
        tensors={name: table[key] for name, key in fitting.items()},
        taken=list(fitting.values()),
        left=sorted(set(table) - set(fitting.values())),
        missing=[name for name in wanted if name not in keys],
        misfits={name: table[key] for name, key in keys.items() if name not in fitting},
        nesting=nesting,
        prefix=prefix,
    )


def load_released(
    module: nn.Module,
    path: str | Path,
    classifiers: Sequence[str] = (),
    part: str | None = None,
    param: str = "",
    content: Any = None,
) -> dict[str, Any]:
    """Load a released checkpoint into an encoder; its classifier may be missing.

    A linear classifier gets as many outputs as the file holds: fine-tuning usually changes their number.

    Parameters
    ----------
    classifiers
        Names of the modules that classify. Their tensors are loaded if they fit, but are not required.
    part
        Selects one of several encoders in the file.
    param
        The param that names the file, for errors.
    content
        Of the file, if it was read before.

    Returns
    -------
    dict
        Report on the loaded, missing and unused tensors, as JSON can hold it.

    Raises
    ------
    UserError
        If the file is no checkpoint, holds whole networks, has less than `LEAST_SHARE` of the tensors, or a tensor has
        another shape, another kind of number, or values that are not finite.
    """
    content = read_checkpoint(path, param) if content is None else content
    return load_tensors(module, content, str(path), classifiers, part)


def load_tensors(
    module: nn.Module, content: Any, path: str, classifiers: Sequence[str] = (), part: str | None = None
) -> dict[str, Any]:
    """Load tensors that were read before, as `load_released`; ``path`` names them in errors."""
    matched = _match_module(module, content, classifiers, part)
    if not matched.tensors and (networks := pickled_networks(content)):
        refuse_network(path, networks[0])
    if _resize_classifiers(module, matched, classifiers):
        matched = _match_module(module, content, classifiers, part)
    counted = _counted(module, classifiers)
    _check_kinds(matched, module, path)
    _check_surplus(matched, content, module, (*classifiers, *AUXILIARY), path)
    _check(matched, counted, content, module, path, part)
    _load(module, matched.tensors)
    heads = [name for name in module.state_dict() if _inside(name, classifiers)]
    return {
        "file": path,
        "nesting": matched.nesting,
        "prefix": matched.prefix,
        "others": list(matched.others),
        "tensors_of_encoder": len(counted),
        "tensors_loaded": sum(name in matched.tensors for name in counted),
        "classifiers": list(classifiers),
        "classifier_misfits": {
            name: list(tensor.shape) for name, tensor in matched.misfits.items() if _inside(name, classifiers)
        },
        "classifier_loaded": all(name in matched.tensors for name in heads),
        "missing": [name for name in counted if name not in matched.tensors],
        "computed": list(matched.computed),
        "taken": matched.taken,
        "left": matched.left,
    }


def _load(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load tensors that have the names and shapes of this version of the network."""
    state = OrderedDict(tensors)
    # Without the versions of its parts, a network takes the tensors for those of an old version, and renames or refuses them.
    state._metadata = getattr(module.state_dict(), "_metadata", {})  # type: ignore[attr-defined]
    module.load_state_dict(state, strict=False)


def _counted(module: nn.Module, classifiers: Sequence[str]) -> list[str]:
    """List the tensors that a file must hold: all but counters, tables of the geometry, and heads."""
    ends = (COUNTER, *GEOMETRY)
    heads = (*classifiers, *AUXILIARY)
    return [name for name in module.state_dict() if not name.endswith(ends) and not _inside(name, heads)]


def _match_module(module: nn.Module, content: Any, classifiers: Sequence[str], part: str | None) -> Match:
    """Find the tensors of a file that fit a module: as they are, or else as the module's library converts them."""
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    plain = match(content, wanted, _numbered(module, wanted), part)
    if all(name in plain.tensors for name in _counted(module, classifiers)):
        return plain
    return _best_converted(module, content, wanted, part, plain)


def _best_converted(module: nn.Module, content: Any, wanted: Shapes, part: str | None, plain: Match) -> Match:
    """Return the best match among the tables of a file as the module's library converts them, if it exceeds the plain one."""
    keys = set(content) if isinstance(content, Mapping) else set()
    spelling = {name: name for name in wanted}
    candidates = [
        _Candidate(nesting, prefix, 0, table, spelling, tensors)
        for nesting, table in _tables(content)
        for prefix, tensors in converted(module, table)
    ]
    best, most = plain, _worth(plain, keys)
    for one in _of_part(candidates, part):
        found = replace(_matched(one.converted, wanted, spelling, one.nesting, ""), prefix=one.prefix)
        if _worth(found, keys) > most:
            best, most = _of_file(found, one.table, one.prefix), _worth(found, keys)
    return best


def _worth(found: Match, keys: set[Any]) -> tuple[int, int]:
    """Rank matches by the number of tensors, then by whether the method is evaluated with this encoder."""
    count = sum(not name.endswith(COUNTER) for name in found.tensors)
    return count, _rank(f"{found.nesting}.{found.prefix}".strip("."), keys)


def _of_file(found: Match, table: Mapping[str, Tensor], prefix: str) -> Match:
    """Name the keys of the file that the tensors of a converted table come from."""
    taken = sources(found.tensors, table, prefix)
    computed = tuple(name for name, tensor in found.tensors.items() if not sources({name: tensor}, table, "//"))
    return replace(found, prefix=prefix, taken=taken, left=sorted(set(table) - set(taken)), computed=computed)


def _resize_classifiers(module: nn.Module, matched: Match, classifiers: Sequence[str]) -> bool:
    """Replace linear classifiers for which the file holds another number of outputs; return whether there is one."""
    resized = False
    for name in classifiers:
        layer, weight = module.get_submodule(name), matched.misfits.get(f"{name}.weight")
        if not isinstance(layer, nn.Linear) or weight is None or weight.ndim != 2:
            continue
        outputs, features = weight.shape
        if features == layer.in_features and outputs > 0:
            bias = f"{name}.bias" in matched.misfits
            module.set_submodule(name, nn.Linear(features, outputs, bias, dtype=layer.weight.dtype))
            resized = True
    return resized


def _numbered(module: nn.Module, names: Shapes) -> dict[str, str]:
    """Map the names with numbered children, as in an ``nn.Sequential`` of the network's children, to the names."""
    place = {child: str(index) for index, (child, _) in enumerate(module.named_children())}
    split = ((name, *name.partition(".")) for name in names)
    return {f"{place[first]}.{rest}": name for name, first, _, rest in split if first in place and rest}


def _inside(name: str, modules: Sequence[str]) -> bool:
    return any(name.startswith(f"{module}.") for module in modules)


def _check_kinds(matched: Match, module: nn.Module, path: str | Path) -> None:
    """Raise if a tensor has another kind of number than the encoder's, or a layout that is not dense."""
    own = module.state_dict()
    for name, tensor in matched.tensors.items():
        alike = tensor.is_floating_point() == own[name].is_floating_point() and not tensor.is_complex()
        if not alike or tensor.layout != torch.strided:
            stored = "" if tensor.layout == torch.strided else f" ({tensor.layout})"
            raise UserError(
                f"{path}: '{name}' holds {tensor.dtype}{stored} where the encoder has {own[name].dtype}; use another checkpoint"
            )


def _check(
    matched: Match, counted: Sequence[str], content: Any, module: nn.Module, path: str | Path, part: str | None
) -> None:
    """Raise unless the file holds at least `LEAST_SHARE` of the tensors, in their shapes, with finite values."""
    where = f"in '{matched.nesting}' behind '{matched.prefix}'" + (f", part '{part}'" if part else "")
    misfits = [name for name in matched.misfits if name in set(counted)]
    loaded = sum(name in matched.tensors for name in counted)
    if loaded < LEAST_SHARE * len(counted):
        first = next(name for name in counted if name not in matched.tensors)
        lack = _misfit(first, matched, module) if first in misfits else f"first missing: '{first}'"
        raise UserError(
            f"{path}: holds {loaded} of the encoder's {len(counted)} tensors (best {where}; {lack}); "
            f"set the architecture and part of this file{_style(content, module)}"
        )
    if misfits:
        raise UserError(f"{path}: {_misfit(misfits[0], matched, module)}")
    if not all(bool(tensor.isfinite().all()) for tensor in matched.tensors.values()):
        raise UserError(f"{path}: holds values that are not finite; use another checkpoint")


def _style(content: Any, module: nn.Module) -> str:
    """Name the library whose names a file has, if the network has other names."""
    own, stored = "\n".join(module.state_dict()), "\n".join(key for _, table in _tables(content) for key in table)
    for text, library in STYLES.items():
        if text in stored and text not in own:
            return f"; its names are those of {library}"
    return ""


def _check_surplus(matched: Match, content: Any, module: nn.Module, heads: Sequence[str], path: str) -> None:
    """Raise if the file has parameters inside the encoder that the network lacks: it is another variant."""
    table = next((table for nesting, table in _tables(content) if nesting == matched.nesting), {})
    modules = dict(module.named_modules())
    for key in matched.left if matched.tensors else ():
        name = key.removeprefix(matched.prefix)
        inside = IN_BLOCKS.match(name) and name.rpartition(".")[0] in modules and not _inside(name, heads)
        within = key.startswith(matched.prefix) and name not in matched.misfits
        if within and (inside or TOKENS.match(name)) and _effective(key, table):
            raise UserError(
                f"{path}: '{key}' has no place in the network; name the variant of the architecture that has it"
            )


def _effective(key: str, table: Mapping[str, Tensor]) -> bool:
    """Return whether a parameter changes anything. DINOv3 masks a part of its biases."""
    mask = table.get(f"{key}_mask")
    values = table[key] if mask is None else table[key] * mask.nan_to_num()
    return values.is_floating_point() and bool(values.count_nonzero())


def _misfit(name: str, matched: Match, module: nn.Module) -> str:
    """Describe a tensor of another shape, with the fix."""
    stored, own = matched.misfits[name].shape, module.state_dict()[name].shape
    other_channels = len(own) == len(stored) == 4 and own[1] == 3 != stored[1] and own[::2] == stored[::2]
    fix = (
        f"images have 3 channels and this file is for {stored[1]}: use another checkpoint"
        if other_channels
        else "name the right architecture or size"
    )
    shapes = f"{' x '.join(map(str, stored))} where the network has {' x '.join(map(str, own))}"
    return f"'{name}' has another shape in the file ({shapes}); {fix}"


def summary(report: Mapping[str, Any]) -> str:
    """Format the report of `load_released` in one line."""
    heads = sorted({key.removeprefix(report["prefix"]).split(".")[0] for key in report["left"]})
    left = f"; left: {len(report['left'])} ({', '.join(heads[:4])})" if heads else ""
    missing = f"; not in the file: {', '.join(report['missing'])}" if report["missing"] else ""
    missing += f"; computed from the file's: {', '.join(report['computed'][:4])}" if report["computed"] else ""
    where = f"nesting '{report['nesting']}', prefix '{report['prefix']}'"
    others = ", ".join(f"'{label}'" for label in report["others"][:3])
    where += f"; {others} would fit too, part selects one" if others else ""
    if report["classifiers"] and not report["classifier_loaded"]:
        why = "does not fit the network" if report["classifier_misfits"] else "is not in the file"
        missing += f"; the classifier ({', '.join(report['classifiers'])}) {why}: only features are used"
    return (
        f"{report['file']}: {report['tensors_loaded']} of {report['tensors_of_encoder']} tensors loaded "
        f"({where}){left}{missing}"
    )
