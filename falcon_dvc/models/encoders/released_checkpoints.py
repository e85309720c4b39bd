"""Weights of encoders as their authors released them: nested, prefixed, with heads that nobody needs.

Which nesting and which prefix a file has is not asked: of all that occur, the one counts that gives the encoder most of its
tensors, by name and shape. So ``state_dict`` with ``module.encoder_q.`` (MoCo), ``teacher`` with ``backbone.`` (DINO) and
bare keys are one case. Files are read without unpickling.
"""

import argparse
import pickle
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from falcon_dvc.errors import UserError

LEAST_SHARE = 0.95  # of the encoder's tensors that a file must hold
DEEPEST = 3  # dictionaries inside each other
COUNTER = "num_batches_tracked"  # of batch normalisation: old files lack it, and evaluation does not read it
# Of two encoders in one file that fit alike, these copies come second: methods are evaluated with the other one.
SECOND = ("student", "encoder_k", "momentum_encoder", "target_encoder", "target_network")

Shapes = Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class Match:
    """What a file gives an encoder.

    Attributes
    ----------
    tensors
        By the encoder's names.
    taken, left
        Keys of the file's table of tensors that were used, and the others.
    missing, misfits
        Names of the encoder that the table lacks, and that it holds in another shape.
    nesting, prefix
        Where the table lies ("state_dict"), and what stands before each name.
    """

    tensors: dict[str, Tensor]
    taken: list[str]
    left: list[str]
    missing: list[str]
    misfits: list[str]
    nesting: str
    prefix: str


def read_checkpoint(path: str | Path) -> Any:
    """Read tensors from ``.safetensors``, or nested dictionaries from a file of torch that holds no code.

    Raises
    ------
    UserError
        If the file is missing, broken, or would have to be unpickled.
    """
    try:
        return _safetensors(path) if Path(path).suffix == ".safetensors" else _without_code(path)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: not a file of tensors only (reading it could run code); where you trust it, convert it: "
            "safetensors.torch.save_file(torch.load(FILE, weights_only=False)['state_dict'], 'NAME.safetensors')"
        ) from error
    except OSError as error:
        raise UserError(
            f"{path}: not a readable checkpoint ({error.strerror or error}); name an existing file"
        ) from error


def _safetensors(path: str | Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(str(path))
    except SafetensorError as error:
        raise UserError(f"{path}: not a readable safetensors file ({error}); download it again") from error


def _without_code(path: str | Path) -> Any:
    # A namespace only holds values; released files of DINO keep their command line in one.
    with torch.serialization.safe_globals([argparse.Namespace]):
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, OSError):
            raise
        except Exception as error:  # torch's reader raises anything on a damaged file: RuntimeError, IndexError, ...
            reason = str(error).strip().split("\n")[0]
            raise UserError(f"{path}: not a readable file of torch ({reason}); download it again") from error


def match(content: Any, wanted: Shapes, numbered: Mapping[str, str] | None = None, part: str | None = None) -> Match:
    """Find an encoder's tensors in the content of a file: the nesting and prefix that give most of them.

    Parameters
    ----------
    content
        Dictionaries of dictionaries or tensors, as from `read_checkpoint`.
    wanted
        Names and shapes of the encoder.
    numbered
        Other spellings of the names, as keys, for the names.
    part
        Text that nesting or prefix must hold.

    Returns
    -------
    Match
        Of equal ones the first, in the order of the file, that is no averaged copy; an empty one if nothing fits.
    """
    spellings = [{name: name for name in wanted}, *([dict(numbered)] if numbered else [])]
    best, most = Match({}, [], [], list(wanted), [], "", ""), (0, False)
    for nesting, table in _tables(content):
        for spelling in spellings:
            for prefix, count in _prefixes(table, wanted, spelling).items():
                label = f"{nesting}.{prefix}"
                worth = (count, not any(copy in label for copy in SECOND))
                if worth > most and (part is None or part in label):
                    best, most = _matched(table, wanted, spelling, nesting, prefix), worth
    return best


def _tables(content: Any, nesting: str = "", depth: int = 0) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield every dictionary that holds tensors, and where it lies."""
    if not isinstance(content, Mapping) or depth > DEEPEST:
        return
    table = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if table:
        yield nesting, table
    for key, value in content.items():
        if isinstance(key, str):
            yield from _tables(value, f"{nesting}.{key}".lstrip("."), depth + 1)


def _prefixes(table: Mapping[str, Tensor], wanted: Shapes, spelling: Mapping[str, str]) -> Counter:
    """How many tensors of the encoder stand behind each prefix, by name and shape."""
    found: Counter = Counter()
    deepest = max((name.count(".") for name in spelling), default=0) + 1
    for key, tensor in table.items():
        parts = key.split(".")
        for start in range(max(0, len(parts) - deepest), len(parts)):
            name = spelling.get(".".join(parts[start:]))
            if name is not None and tuple(tensor.shape) == tuple(wanted[name]) and not name.endswith(COUNTER):
                found["".join(f"{part}." for part in parts[:start])] += 1
    return found


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
        misfits=[name for name in keys if name not in fitting],
        nesting=nesting,
        prefix=prefix,
    )


def load_released(
    module: nn.Module, path: str | Path, classifiers: Sequence[str] = (), part: str | None = None
) -> dict[str, Any]:
    """Load a released checkpoint into an encoder; its classifier may be missing.

    Parameters
    ----------
    classifiers
        Names of the modules that classify: their tensors are taken where they fit, and not counted.
    part
        Which of several encoders in the file.

    Returns
    -------
    dict
        What was taken and left, for people and for JSON.

    Raises
    ------
    UserError
        If the file is no checkpoint, gives fewer than `LEAST_SHARE` of the tensors, holds one in another shape or kind of
        number, or values that are not finite.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    found = match(read_checkpoint(path), wanted, _numbered(module, wanted), part)
    counted = [name for name in wanted if not name.endswith(COUNTER) and not _inside(name, classifiers)]
    _check_kinds(found, module, path)
    _check(found, counted, path, part)
    module.load_state_dict(found.tensors, strict=False)
    return {
        "file": str(path),
        "nesting": found.nesting,
        "prefix": found.prefix,
        "tensors_of_encoder": len(counted),
        "tensors_loaded": sum(name in found.tensors for name in counted),
        "classifier_loaded": all(name in found.tensors for name in wanted if _inside(name, classifiers)),
        "missing": [name for name in counted if name not in found.tensors],
        "taken": found.taken,
        "left": found.left,
    }


def _numbered(module: nn.Module, names: Shapes) -> dict[str, str]:
    """Return the names as they are if the network's children were put into one ``nn.Sequential``, as some methods do."""
    place = {child: str(index) for index, (child, _) in enumerate(module.named_children())}
    split = ((name, *name.partition(".")) for name in names)
    return {f"{place[first]}.{rest}": name for name, first, _, rest in split if first in place and rest}


def _inside(name: str, modules: Sequence[str]) -> bool:
    return any(name.startswith(f"{module}.") for module in modules)


def _check_kinds(found: Match, module: nn.Module, path: str | Path) -> None:
    """Stop at a tensor that would have to be made into another kind of number, or is not stored number by number."""
    own = module.state_dict()
    for name, tensor in found.tensors.items():
        alike = tensor.is_floating_point() == own[name].is_floating_point() and not tensor.is_complex()
        if not alike or tensor.layout != torch.strided:
            stored = "" if tensor.layout == torch.strided else f" ({tensor.layout})"
            raise UserError(
                f"{path}: '{name}' holds {tensor.dtype}{stored} where the encoder has {own[name].dtype}; use another checkpoint"
            )


def _check(found: Match, counted: Sequence[str], path: str | Path, part: str | None) -> None:
    """Stop unless (nearly) all of the encoder came from the file, in its shape, finite."""
    where = f"in '{found.nesting}' behind '{found.prefix}'" + (f", part '{part}'" if part else "")
    misfits = [name for name in found.misfits if name in set(counted)]
    loaded = sum(name in found.tensors for name in counted)
    if loaded < LEAST_SHARE * len(counted):
        first = next(name for name in counted if name not in found.tensors)
        raise UserError(
            f"{path}: holds {loaded} of the encoder's {len(counted)} tensors (best {where}; the first that is not there: "
            f"'{first}'); name the architecture and part that the file is of"
        )
    if misfits:
        raise UserError(f"{path}: '{misfits[0]}' has another shape in the file; name the right architecture or size")
    if not all(bool(tensor.isfinite().all()) for tensor in found.tensors.values()):
        raise UserError(f"{path}: holds values that are not finite; use another checkpoint")


def summary(report: Mapping[str, Any]) -> str:
    """One line on what `load_released` took and left."""
    heads = sorted({key.removeprefix(report["prefix"]).split(".")[0] for key in report["left"]})
    left = f"; left: {len(report['left'])} ({', '.join(heads[:4])})" if heads else ""
    missing = f"; not in the file: {', '.join(report['missing'])}" if report["missing"] else ""
    where = f"nesting '{report['nesting']}', prefix '{report['prefix']}'"
    return (
        f"{report['file']}: {report['tensors_loaded']} of {report['tensors_of_encoder']} tensors loaded "
        f"({where}){left}{missing}"
    )
