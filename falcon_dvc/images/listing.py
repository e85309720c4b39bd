"""List the pictures of a collection. Each is decoded in full, which detects damaged files before any other work."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from PIL import Image

from falcon_dvc.errors import UserError
from falcon_dvc.images.contents import fingerprint, is_grey
from falcon_dvc.images.decode import UnreadableImageError, decoded, printable
from falcon_dvc.progress import track
from falcon_dvc.threads import WORKERS

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})


@dataclass(frozen=True)
class Collection:
    """Pictures that are located but not decoded.

    Attributes
    ----------
    place : str
        Folder, file or data set that holds them, for error messages.
    ids : list of str
        One for each picture, in the order in which the pictures are stored.
    labels : list of str
        Their classes; "" where there is none.
    decode : callable
        From a position in `ids` to the picture. Raises `UnreadableImageError`. Must be safe to call from several threads.
    splits : list of str, optional
        ``probe`` or ``test`` for each, where the source divides its pictures itself.
    damaged : list of str
        Parts of the source that cannot be read and have no id, each as ``name: reason``.

    Raises
    ------
    UserError
        If two pictures have one id.
    """

    place: str
    ids: list[str]
    labels: list[str]
    decode: Callable[[int], Image.Image]
    splits: list[str] | None = None
    damaged: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for name in self.ids:
            if name in seen:
                raise UserError(f"data.images: {self.place} has {printable(name)} twice; remove or rename one")
            seen.add(name)


@dataclass(frozen=True)
class Listing:
    """The readable images of a source, and those that were skipped.

    Attributes
    ----------
    table : pandas.DataFrame
        Columns image (id; rows are sorted by its bytes), label, width and height (pixels, after the EXIF orientation is
        applied), and split if the source divides its pictures itself.
    skipped : list of str
        The skipped images, each as ``name: reason``, in the same order, then `Collection.damaged`.
    identical, grey : int
        Number of images with the pixels of an earlier one, and of images without colour.
    """

    table: pd.DataFrame
    skipped: list[str]
    identical: int
    grey: int


@dataclass(frozen=True)
class _Contents:
    """What decoding every picture told, by its position: width and height, or why it cannot be read; a digest; whether it is grey.

    The digests are numbers, because a collection may hold millions of pictures.
    """

    sizes_or_reasons: list[tuple[int, int] | str]
    fingerprints: np.ndarray
    grey: np.ndarray


def list_images(folder: str | Path, unreadable: Literal["skip", "fail"]) -> Listing:
    """List the pictures in a folder and its sub-folders. Each is decoded in full, which detects truncated files.

    Parameters
    ----------
    folder : path
        Where the pictures are (param ``data.images``).
    unreadable : {"skip", "fail"}
        What to do with an image that cannot be decoded: skip and list it, or raise.

    Raises
    ------
    UserError
        As `find_in_folder`, or if no image can be read. With "fail", if any image is unreadable.
    """
    return list_collection(find_in_folder(folder), unreadable)


def find_in_folder(folder: str | Path) -> Collection:
    """Find the pictures in a folder and its sub-folders by their suffixes. None is decoded.

    Hidden files and folders are ignored. Linked folders, and links that lead out of the folder, count as unreadable.
    The ids are paths relative to the folder, with ``/``. The label is the first sub-folder, or "".

    Raises
    ------
    UserError
        If the folder is missing, is a file, or holds no picture.
    """
    root = existing_folder(Path(folder))
    names = sorted(_image_names(root), key=os.fsencode)
    if not names:
        known = " ".join(sorted(SUFFIXES))
        raise UserError(
            f"data.images: no images under {folder} (looked for {known}); point data.images at a folder of pictures"
        )
    labels = [name.split("/")[0] if "/" in name else "" for name in names]
    return Collection(str(folder), names, labels, lambda row: decoded(inside(root, names[row])))


def list_collection(collection: Collection, unreadable: Literal["skip", "fail"]) -> Listing:
    """Decode every picture of a collection and list the readable ones, sorted by the bytes of their ids.

    Raises
    ------
    UserError
        If no picture can be decoded. With "fail", if any cannot be decoded or a part of the source is damaged.
    """
    contents = _inspected(collection)
    sizes_or_reasons = contents.sizes_or_reasons
    order = sorted(range(len(collection.ids)), key=lambda row: os.fsencode(collection.ids[row]))
    skipped = [
        f"{printable(collection.ids[row])}: {sizes_or_reasons[row]}"
        for row in order
        if isinstance(sizes_or_reasons[row], str)
    ]
    skipped += collection.damaged
    if skipped and unreadable == "fail":
        raise UserError(f"data.images: {skipped[0]}; remove it from {collection.place} or set data.unreadable to skip")
    readable = [row for row in order if not isinstance(sizes_or_reasons[row], str)]
    if not readable:
        first = f" (first: {skipped[0]})" if skipped else ""
        raise UserError(
            f"data.images: none of the {len(order)} images in {collection.place} can be read{first}; "
            "point data.images at pictures that can"
        )
    identical = len(readable) - len(np.unique(contents.fingerprints[readable]))
    table = _table(collection, sizes_or_reasons, readable)
    return Listing(table, skipped, identical, int(contents.grey[readable].sum()))


def existing_folder(folder: Path) -> Path:
    """Return the folder with its links resolved.

    Raises
    ------
    UserError
        If there is no such folder.
    """
    if not folder.exists():
        raise UserError(f"data.images: there is no folder {folder}; point data.images at a folder of pictures")
    if not folder.is_dir():
        raise UserError(f"data.images: {folder} is a file; point data.images at the folder that it is in")
    return folder.resolve()


def _image_names(root: Path) -> Iterator[str]:
    """Yield the relative names of all files with an image suffix, and of linked folders, which `inside` refuses."""

    def stop(error: OSError) -> None:
        raise UserError(
            f"data.images: the folder {error.filename} cannot be read ({error.strerror}); allow it or move it away"
        )

    for folder, subfolders, files in os.walk(root, onerror=stop):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        links = [name for name in subfolders if Path(folder, name).is_symlink()]
        images = [name for name in files if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES]
        yield from (Path(folder, name).relative_to(root).as_posix() for name in links + images)


def _inspected(collection: Collection) -> _Contents:
    """Decode every image."""
    fingerprints = np.zeros(len(collection.ids), dtype=np.uint64)
    grey = np.zeros(len(collection.ids), dtype=bool)

    def inspect(row: int) -> tuple[int, int] | str:
        try:
            _check_unicode(collection.ids[row])
            picture = collection.decode(row)
            fingerprints[row], grey[row] = fingerprint(picture), is_grey(picture)
            return picture.size
        except UnreadableImageError as error:
            return str(error)

    rows = range(len(collection.ids))
    with ThreadPoolExecutor(WORKERS) as pool:
        sizes_or_reasons = list(track(pool.map(inspect, rows), "Decoding images", total=len(rows)))
    return _Contents(sizes_or_reasons, fingerprints, grey)


def _table(
    collection: Collection, sizes_or_reasons: Sequence[tuple[int, int] | str], rows: Sequence[int]
) -> pd.DataFrame:
    """Make the table of the readable images."""
    table = pd.DataFrame(
        [(collection.ids[row], collection.labels[row], *sizes_or_reasons[row]) for row in rows],
        columns=["image", "label", "width", "height"],
    )
    return table if collection.splits is None else table.assign(split=[collection.splits[row] for row in rows])


def numbered(count: int) -> list[str]:
    """Return the numbers from 0 with leading zeros, so that their order as texts is their order as numbers."""
    digits = len(str(max(0, count - 1)))
    return [f"{number:0{digits}}" for number in range(count)]


def _check_unicode(name: str) -> None:
    """Refuse names that are not Unicode, because a table cannot hold them."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UnreadableImageError("its name is not UTF-8") from error


def inside(root: Path, name: str) -> Path:
    """Return the path of the regular file `name` in the folder.

    Raises
    ------
    UnreadableImageError
        If it is no regular file, or if links or ``..`` lead out of the folder.
    """
    path = root / name
    try:
        if path.is_symlink() and path.is_dir():
            raise UnreadableImageError("a linked folder")
        if not Path(os.path.realpath(path)).is_relative_to(root):
            raise UnreadableImageError("leads out of the folder")
        # Reading a pipe or a device could block without end.
        if not path.is_file():
            raise UnreadableImageError("not a regular file")
    except (OSError, ValueError) as error:  # too long, or contains a NUL
        raise UnreadableImageError("no possible name of a file") from error
    return path
