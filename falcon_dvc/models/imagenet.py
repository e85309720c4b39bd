"""Names and definitions of the classes of ImageNet, as installed packages ship them."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from runpy import run_path


def imagenet_class_names() -> list[str]:
    """Return the names of the 1000 ImageNet classes in the order of their synsets, as open_clip ships them.

    Only the file with the names is run, because importing the package takes many seconds.
    """
    return list(run_path(str(_packaged("open_clip", "zero_shot_metadata.py")))["IMAGENET_CLASSNAMES"])


def imagenet_synsets() -> list[str]:
    """Return the synsets ("n01440764") of the 1000 ImageNet classes in ascending order, as timm ships them."""
    return _packaged("timm", "data/_info/imagenet_synsets.txt").read_text(encoding="utf-8").split()


def class_texts(ids: Sequence[str], names: Sequence[str]) -> list[str]:
    """Describe classes to a sentence encoder: ImageNet's by their name and WordNet's definition, as timm ships it.

    A sentence encoder that has only the name reads "French horn" as food. Other classes keep their name.

    Parameters
    ----------
    ids
        The synset of each class, if it has one.
    """
    lines = _packaged("timm", "data/_info/imagenet_synset_to_definition.txt").read_text(encoding="utf-8").splitlines()
    definitions = dict(line.split("\t", 1) for line in lines)
    return [f"{name}, {definitions[key]}" if key in definitions else name for key, name in zip(ids, names, strict=True)]


def _packaged(package: str, path: str) -> Path:
    """Return the path of a file of an installed package, without importing the package."""
    spec = find_spec(package)
    assert spec, f"{package} is a dependency"
    return Path(str(spec.origin)).parent / path
