"""Read data sets of torchvision from disk, by name. Only data sets that are read without pickle are supported.

The data sets are not downloaded.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from falcon_dvc.errors import UserError
from falcon_dvc.images.decode import UnreadableImageError, as_picture, decoded, printable
from falcon_dvc.images.folders import existing_folder, inside
from falcon_dvc.images.listing import Collection, numbered

if TYPE_CHECKING:
    from torchvision.datasets import VisionDataset

TRAIN_TEST = {"train": {"train": True}, "test": {"train": False}}


def _by_split(*names: str) -> dict[str, dict[str, Any]]:
    """Return the arguments for a data set whose argument ``split`` has these values."""
    return {name: {"split": name} for name in names}


# Name, then the arguments of each split. A data set in ARRAYS holds pixels. A data set in FILES names files to decode.
ARRAYS: dict[str, dict[str, dict[str, Any]]] = {
    "MNIST": TRAIN_TEST,
    "FashionMNIST": TRAIN_TEST,
    "KMNIST": TRAIN_TEST,
    "STL10": _by_split("train", "test", "unlabeled", "train+unlabeled"),
    "SVHN": _by_split("train", "test", "extra"),
}
FILES: dict[str, dict[str, dict[str, Any]]] = {
    "Country211": _by_split("train", "valid", "test"),
    "DTD": _by_split("train", "val", "test"),
    "EuroSAT": {"all": {}},
    "FGVCAircraft": _by_split("train", "val", "trainval", "test"),
    "Flowers102": _by_split("train", "val", "test"),
    "Food101": _by_split("train", "test"),
    "GTSRB": _by_split("train", "test"),
    "Imagenette": _by_split("train", "val"),
    "OxfordIIITPet": _by_split("trainval", "test"),
    "RenderedSST2": _by_split("train", "val", "test"),
    "StanfordCars": _by_split("train", "test"),
    "SUN397": {"all": {}},
}
REFUSED = {
    "CIFAR10": "its files are pickles, which can run code; save its pictures as files and set data.source to images",
    "CIFAR100": "its files are pickles, which can run code; save its pictures as files and set data.source to images",
    "LSUN": "torchvision keeps its index as a pickle, which can run code; save its pictures as files",
    "ImageFolder": "this is data.source: images",
    "FakeData": "it holds noise",
}


def find_in_dataset(root: str | Path, name: str, split: str) -> Collection:
    """Find the pictures of a split of a data set in torchvision's layout on disk.

    The ids are paths relative to `root`, or numbers from 0 if the data set is one array. The labels are the names of the
    classes, or their numbers if torchvision has no names.

    Parameters
    ----------
    root : path
        The param ``data.images``; torchvision's argument root.
    name, split : str
        The params ``data.dataset`` and ``data.dataset_split``.

    Raises
    ------
    UserError
        If the data set or the split is unknown or refused, or the files are missing or not in torchvision's layout.
    """
    folder, arguments = existing_folder(Path(root)), _arguments(name, split)
    try:
        dataset = _opened(folder, name, arguments)
        paths, labels = _paths_and_labels(dataset, name)
    except Exception as error:  # the readers raise anything on files that are missing or damaged
        reason = printable(str(error).split(" You can use")[0]) or type(error).__name__
        raise UserError(
            f"data.images: {root} does not hold {name} as torchvision lays it out ({reason}); fetch it there first"
        ) from error
    place = f"{name} in {root}"
    if not labels:
        raise UserError(f"data.images: {place} has no images in its split {split}; complete the data set")
    if name in ARRAYS:
        return Collection(place, numbered(len(labels)), labels, lambda row: _from_array(dataset, row))
    # A path outside the folder stays absolute; `inside` refuses it on decoding.
    ids = [path.removeprefix(f"{folder}/") for path in paths]
    return Collection(place, ids, labels, lambda row: decoded(inside(folder, ids[row])))


def _arguments(name: str, split: str) -> dict[str, Any]:
    """Look up torchvision's arguments for a split."""
    if name in REFUSED:
        raise UserError(f"data.dataset: {name} is refused: {REFUSED[name]}")
    splits = ARRAYS.get(name) or FILES.get(name)
    if splits is None:
        known = ", ".join(sorted([*ARRAYS, *FILES]))
        raise UserError(f"data.dataset: {name!r} is unknown; use one of {known}, or save its pictures as files")
    if split not in splits:
        raise UserError(f"data.dataset_split: {name} has no split {split!r}; use one of {', '.join(splits)}")
    return splits[split]


def _opened(root: Path, name: str, arguments: dict[str, Any]) -> VisionDataset:
    """Open a data set with torchvision; a data set of files then gives paths instead of pictures."""
    from torchvision import datasets

    # Two data sets of files take no loader; `_samples` reads their lists of paths instead.
    takes_loader = name in FILES and name not in ("GTSRB", "OxfordIIITPet")
    loader = {"loader": lambda path: path} if takes_loader else {}
    return getattr(datasets, name)(root, download=False, **arguments, **loader)


def _paths_and_labels(dataset: VisionDataset, name: str) -> tuple[list[str], list[str]]:
    """Return the paths of the pictures (an empty list for an array) and their labels."""
    if name in ARRAYS:
        targets = dataset.targets if hasattr(dataset, "targets") else dataset.labels
        if len(targets) != len(dataset):
            raise ValueError(f"{len(dataset)} images and {len(targets)} labels")
        return [], _labels(dataset, targets)
    samples = list(_samples(dataset, name))
    return [str(path) for path, _ in samples], _labels(dataset, [target for _, target in samples])


def _samples(dataset: VisionDataset, name: str) -> Iterable[tuple[str | Path, int]]:
    """Return the path and the class number of each picture."""
    if name == "GTSRB":
        return dataset._samples
    if name == "OxfordIIITPet":
        return zip(dataset._images, dataset._labels, strict=True)
    return (dataset[row] for row in range(len(dataset)))


def _labels(dataset: VisionDataset, targets: Iterable[Any]) -> list[str]:
    """Return the class name of each picture (the first if a class has several), or the class number."""
    names = [name if isinstance(name, str) else name[0] for name in getattr(dataset, "classes", [])]
    numbers = [int(target) for target in targets]
    return [_label(number, names) for number in numbers]


def _label(number: int, names: list[str]) -> str:
    """Return the name of a class; "" for a picture that torchvision calls unlabelled."""
    return "" if number < 0 else names[number] if number < len(names) else str(number)


def _from_array(dataset: VisionDataset, row: int) -> Image.Image:
    """Return one picture of a data set that is one array."""
    try:
        return as_picture(dataset[row][0])
    except UnreadableImageError:
        raise
    except Exception as error:  # an array of the wrong type or shape
        raise UnreadableImageError(f"is no picture ({printable(str(error))})") from error
