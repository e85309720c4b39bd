"""List the pictures of a collection. Each is decoded in full, which detects damaged files before any other work."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from PIL import Image

from falcon_dvc.errors import UserError
from falcon_dvc.images import passed_over as passing
from falcon_dvc.images.contents import fingerprint, is_grey
from falcon_dvc.images.decode import UnreadableImageError, decoded, first_bytes, printable
from falcon_dvc.images.folders import existing_folder, inside, names_in
from falcon_dvc.images.kinds import is_picture, may_be_picture, readable_suffixes, suffix_of, unpacking, unread_kind
from falcon_dvc.progress import track
from falcon_dvc.threads import WORKERS


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
    passed_over : mapping of str to list of str
        Names of what looks like pictures, but is in a format that is not read, by the reason.
    unopened : mapping of str to list of str
        Names of files that may hold many pictures, but are in a format that is not opened, by the reason.
    beside : mapping of str to list of str
        Names of files that may be missed although they are not counted as images, by what they are.

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
    passed_over: passing.PassedOver = field(default_factory=dict)
    unopened: passing.PassedOver = field(default_factory=dict)
    beside: passing.PassedOver = field(default_factory=dict)

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
    passed_over, unopened, beside : mapping of str to list of str
        As in `Collection`.
    """

    table: pd.DataFrame
    skipped: list[str]
    identical: int
    grey: int
    passed_over: passing.PassedOver = field(default_factory=dict)
    unopened: passing.PassedOver = field(default_factory=dict)
    beside: passing.PassedOver = field(default_factory=dict)


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
    """Find the pictures in a folder and its sub-folders by their suffixes; without a suffix, by their first bytes.

    None is decoded. Hidden files and folders are ignored. Linked folders, and links that lead out of the folder, count as
    unreadable. The ids are paths relative to the folder, with ``/``. The label is the first sub-folder, or "".

    Raises
    ------
    UserError
        If the folder is missing, is a file, or holds no picture.
    """
    root = existing_folder(Path(folder))
    files, linked_folders = names_in(root)
    others = [name for name in files if suffix_of(name) not in readable_suffixes()]
    signed = {name for name in others if _only_bytes_tell(name) and _holds_picture(root, name)}
    left = {name for name in others if name not in signed or suffix_of(name)}
    names = sorted([*linked_folders, *(name for name in files if name not in left)], key=os.fsencode)
    passed_over = passing.grouped(others, lambda name: _why_not_read(name, signed))
    archives = passing.grouped(others, _archive)
    if not names:
        raise UserError(_no_images(folder, passed_over, archives))
    labels = [name.split("/")[0] if "/" in name else "" for name in names]
    return Collection(
        str(folder),
        names,
        labels,
        lambda row: decoded(inside(root, names[row])),
        passed_over=passed_over,
        beside=archives,
    )


def _only_bytes_tell(name: str) -> bool:
    """Return whether only the first bytes of a file without the suffix of a picture tell if it is one."""
    return not unread_kind(name) and (not suffix_of(name) or may_be_picture(name))


def _holds_picture(root: Path, name: str) -> bool:
    """Return whether a file begins like a picture that is read."""
    try:
        return is_picture(first_bytes(inside(root, name)))
    except UnreadableImageError:
        return False


def _why_not_read(name: str, signed: set[str]) -> str | None:
    """Return why a file that is or looks like a picture is not read; None for all other files."""
    kind = unread_kind(name)
    if kind:
        return passing.not_read(kind)
    return passing.MISNAMED if name in signed and suffix_of(name) else None


def _archive(name: str) -> str | None:
    command = ".tar" if suffix_of(name) == ".tar" else unpacking(name)
    return "archives are not opened; unpack them, or set data.source to webdataset for .tar files" if command else None


def _no_images(folder: str | Path, passed_over: passing.PassedOver, archives: passing.PassedOver) -> str:
    """Say that a folder has no picture that is read, and what it has instead."""
    found = passing.lines(passed_over) + passing.lines(archives)
    instead = "; ".join(found) or f"looked for {' '.join(sorted(readable_suffixes()))}"
    return f"data.images: no images under {folder} ({instead}); point data.images at a folder of pictures"


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
    left_out = skipped + passing.lines(collection.passed_over) + passing.lines(collection.unopened)
    if left_out and unreadable == "fail":
        raise UserError(f"data.images: {left_out[0]}; remove it from {collection.place} or set data.unreadable to skip")
    readable = [row for row in order if not isinstance(sizes_or_reasons[row], str)]
    if not readable:
        first = f" (first: {skipped[0]})" if skipped else ""
        raise UserError(
            f"data.images: none of the {len(order)} images in {collection.place} can be read{first}; "
            "point data.images at pictures that can"
        )
    identical = len(readable) - len(np.unique(contents.fingerprints[readable]))
    table = _table(collection, sizes_or_reasons, readable)
    grey = int(contents.grey[readable].sum())
    return Listing(table, skipped, identical, grey, collection.passed_over, collection.unopened, collection.beside)


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
