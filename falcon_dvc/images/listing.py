"""List the pictures of a collection, decoding each in full so that damaged files show early."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pandas as pd
from PIL import Image

from falcon_dvc.errors import UserError
from falcon_dvc.images.decode import UnreadableImageError, decoded, printable
from falcon_dvc.progress import track
from falcon_dvc.threads import WORKERS

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})


@dataclass(frozen=True)
class Collection:
    """Pictures that were found and not yet decoded.

    Attributes
    ----------
    place : str
        Where they are, for messages.
    ids : list of str
        One for each picture, in the order in which the pictures lie.
    labels : list of str
        Their classes; "" where there is none.
    decode : callable
        Gives the picture at a position of `ids`, or raises `UnreadableImageError`; called from several threads.
    splits : list of str, optional
        ``probe`` or ``test`` for each, where the source divides its pictures itself.
    damaged : list of str
        What is lost and has no id, each as ``name: reason``.

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
    """What a source holds.

    Attributes
    ----------
    table : pandas.DataFrame
        Columns image (id; rows are sorted by its bytes), label, width and height (pixels, after the EXIF orientation is
        applied), and split if the source divides its pictures itself.
    skipped : list of str
        The images left out, each as ``name: reason``, in the same order, and what is lost and has no id.
    """

    table: pd.DataFrame
    skipped: list[str]


def list_images(folder: str | Path, unreadable: Literal["skip", "fail"]) -> Listing:
    """List the pictures in a folder and its sub-folders, decoding each in full so that truncated files show now.

    Hidden files and folders are passed over. Links that lead out of the folder and linked folders count as unreadable.
    The ids are paths relative to the folder, with ``/``; the label is the first sub-folder, or "".

    Parameters
    ----------
    folder : path
        Where the pictures are (param ``data.images``).
    unreadable : {"skip", "fail"}
        Whether an image that cannot be decoded is left out and listed, or ends the run.

    Raises
    ------
    UserError
        If the folder is missing, is none, or holds no readable image; with "fail", if any image is unreadable.
    """
    root = existing_folder(Path(folder))
    names = sorted(_candidates(root), key=os.fsencode)
    if not names:
        known = " ".join(sorted(SUFFIXES))
        raise UserError(
            f"data.images: no images under {folder} (looked for {known}); point data.images at a folder of pictures"
        )
    labels = [name.split("/")[0] if "/" in name else "" for name in names]
    found = Collection(str(folder), names, labels, lambda row: decoded(inside(root, names[row])))
    return list_collection(found, unreadable)


def list_collection(found: Collection, unreadable: Literal["skip", "fail"]) -> Listing:
    """Decode every picture of a collection and list those that can be decoded, by the bytes of their ids.

    Raises
    ------
    UserError
        If none can be decoded; with "fail", if any cannot or something is damaged.
    """
    findings = _inspected(found)
    order = sorted(range(len(found.ids)), key=lambda row: os.fsencode(found.ids[row]))
    skipped = [f"{printable(found.ids[row])}: {findings[row]}" for row in order if isinstance(findings[row], str)]
    skipped += found.damaged
    if skipped and unreadable == "fail":
        raise UserError(f"data.images: {skipped[0]}; remove it from {found.place} or set data.unreadable to skip")
    readable = [row for row in order if not isinstance(findings[row], str)]
    if not readable:
        first = f" (first: {skipped[0]})" if skipped else ""
        raise UserError(
            f"data.images: none of the {len(order)} images in {found.place} can be read{first}; "
            "point data.images at pictures that can"
        )
    return Listing(_table(found, findings, readable), skipped)


def existing_folder(folder: Path) -> Path:
    """Give the folder with its links resolved."""
    if not folder.exists():
        raise UserError(f"data.images: there is no folder {folder}; point data.images at a folder of pictures")
    if not folder.is_dir():
        raise UserError(f"data.images: {folder} is a file; point data.images at the folder that it is in")
    return folder.resolve()


def _candidates(root: Path) -> Iterator[str]:
    """Give the relative names of all that claims to be an image, and of linked folders (to be refused by name)."""

    def stop(error: OSError) -> None:
        raise UserError(
            f"data.images: the folder {error.filename} cannot be read ({error.strerror}); allow it or move it away"
        )

    for folder, subfolders, files in os.walk(root, onerror=stop):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        links = [name for name in subfolders if Path(folder, name).is_symlink()]
        images = [name for name in files if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES]
        yield from (Path(folder, name).relative_to(root).as_posix() for name in links + images)


def _inspected(found: Collection) -> list[tuple[int, int] | str]:
    """Decode every image; give its width and height, or why it cannot be had."""

    def inspect(row: int) -> tuple[int, int] | str:
        try:
            _unicode_or_refused(found.ids[row])
            return found.decode(row).size
        except UnreadableImageError as error:
            return str(error)

    rows = range(len(found.ids))
    with ThreadPoolExecutor(WORKERS) as pool:
        return list(track(pool.map(inspect, rows), "Decoding images", total=len(rows)))


def _table(found: Collection, findings: Sequence[tuple[int, int] | str], rows: Sequence[int]) -> pd.DataFrame:
    """Make the table of the readable images."""
    table = pd.DataFrame(
        [(found.ids[row], found.labels[row], *findings[row]) for row in rows],
        columns=["image", "label", "width", "height"],
    )
    return table if found.splits is None else table.assign(split=[found.splits[row] for row in rows])


def numbered(count: int) -> list[str]:
    """Give the numbers from 0 as texts of one length: as texts they have the order that they have as numbers."""
    digits = len(str(max(0, count - 1)))
    return [f"{number:0{digits}}" for number in range(count)]


def _unicode_or_refused(name: str) -> None:
    """Refuse names that are not Unicode: no table can hold them."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UnreadableImageError("its name is not UTF-8") from error


def inside(root: Path, name: str) -> Path:
    """Give the regular file `name` of the folder, or refuse: links and ``..`` must not lead out of it."""
    path = root / name
    try:
        if path.is_symlink() and path.is_dir():
            raise UnreadableImageError("a linked folder")
        if not Path(os.path.realpath(path)).is_relative_to(root):
            raise UnreadableImageError("leads out of the folder")
        # A pipe or a device would block for ever.
        if not path.is_file():
            raise UnreadableImageError("not a regular file")
    except (OSError, ValueError) as error:  # too long, or with a zero in it
        raise UnreadableImageError("no possible name of a file") from error
    return path
