"""Images as uint8 RGB: the one place where bytes become pictures, and the rendered world's array and folders."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

import numpy as np
import pandas as pd
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from stages.common.artifacts import read_array, read_table
from stages.common.errors import UserError
from stages.common.progress import track

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
# Only these decoders see a file, whatever its name: others start foreign programs (EPS) or are rarely looked after.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
# More pixels are taken for a decompression bomb: Pillow's own warning level, a quarter of a gigabyte as RGB.
MAX_PIXELS = 89_478_485
# A progressive JPEG is drawn anew by each scan, however short: a megabyte of them takes minutes. Encoders write about ten.
MAX_SCANS = 1000
SCAN = b"\xff\xda"
# What the largest picture takes without compression (four channels of 16 bits): no honest file is longer.
MAX_BYTES = 8 * MAX_PIXELS
# A table or an archive can hold any name; of a longer one the beginning is shown.
MAX_NAME = 255
ORIENTATION_TAG = 0x0112
ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Decoding runs outside the interpreter lock, so threads use all cores that this process may use.
WORKERS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

Picture = UInt8[np.ndarray, "height width 3"]
Box = tuple[int, int, int, int]


class UnreadableImageError(Exception):
    """What should be an image and cannot be shown as one."""


class ImageSource(Protocol):
    """Images by row number: row i is the i-th row of the table of images."""

    def __len__(self) -> int: ...

    def load(self, row: int) -> Picture:
        """Give one image."""
        ...

    def load_many(self, rows: Sequence[int], workers: int = WORKERS) -> list[Picture]:
        """Give several images, in the order of `rows`."""
        ...

    def by_place(self, rows: Sequence[int]) -> list[int]:
        """Give `rows` in the order in which their images are best read."""
        ...


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


def printable(name: str) -> str:
    """Escape what would break a line or a terminal; no more of a name than a file can have."""
    shown = name if len(name) <= MAX_NAME else f"{name[:MAX_NAME]}..."
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in shown)


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


def decoded(file: Path | BinaryIO, formats: tuple[str, ...] = FORMATS) -> Image.Image:
    """Decode the first frame of an image file in full, as RGB, upright; only the decoders of `formats` see it.

    Raises
    ------
    UnreadableImageError
        Whatever is wrong with the file.
    """
    try:
        with Image.open(file, formats=formats) as image:
            _refuse_many_scans(image)
            return as_picture(image)
    except UnreadableImageError:
        raise
    except Exception as error:  # decoders raise anything on a damaged file: OSError, SyntaxError, struct.error, ...
        reason = "not an image in a known format" if isinstance(error, UnidentifiedImageError) else str(error)
        raise UnreadableImageError(f"cannot be decoded ({printable(reason)})") from error


def _refuse_many_scans(image: Image.Image) -> None:
    """Refuse a JPEG that would be drawn for hours; its mark of a scan cannot stand inside one."""
    if isinstance(image, JpegImageFile) and image.fp is not None:
        place = image.fp.tell()
        image.fp.seek(0)
        scans = sum(block.count(SCAN) for block in iter(partial(image.fp.read, 2**20), b""))
        image.fp.seek(place)
        if scans > MAX_SCANS:
            raise UnreadableImageError(f"more than {MAX_SCANS} scans")


def as_picture(image: Image.Image) -> Image.Image:
    """Give an image that may still have to be decoded as RGB, upright.

    Raises
    ------
    UnreadableImageError
        If it has too many pixels.
    """
    if image.width * image.height > MAX_PIXELS:
        raise UnreadableImageError(f"more than {MAX_PIXELS} pixels")
    image.load()
    return _upright(image)


def _upright(image: Image.Image) -> Image.Image:
    """Turn the image as its EXIF orientation says, in RGB."""
    orientation = image.getexif().get(ORIENTATION_TAG, 1)
    rgb = _as_rgb(image)
    return rgb.transpose(ORIENTATIONS[orientation]) if orientation in ORIENTATIONS else rgb


def _as_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to 8-bit RGB; what is transparent becomes white."""
    if image.mode == "F" or image.mode.startswith("I"):
        return Image.fromarray(_as_bytes(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _as_bytes(grey: np.ndarray) -> UInt8[np.ndarray, "height width"]:
    """Scale deep grey to 8 bits: integers from 16 bits (Pillow would clip at 255), floats from their own range."""
    if np.issubdtype(grey.dtype, np.integer):
        return (np.clip(grey, 0, 65535) >> 8).astype(np.uint8)
    finite = np.nan_to_num(grey.astype(np.float64), posinf=0.0, neginf=0.0)
    span = np.ptp(finite)
    return np.rint((finite - finite.min()) * (255.0 / span if span > 0 else 0.0)).astype(np.uint8)


class DecodedImages:
    """Pictures that are decoded when asked for.

    Parameters
    ----------
    ids : sequence of str
        Their ids, in row order.
    decode : callable
        Gives the picture at a position of the source, or raises `UnreadableImageError`.
    positions : sequence of int, optional
        Where in the source each row lies; the row itself if not given.
    """

    def __init__(
        self, ids: Sequence[str], decode: Callable[[int], Image.Image], positions: Sequence[int] | None = None
    ) -> None:
        self._ids = list(ids)
        self._decode = decode
        self._positions = range(len(self._ids)) if positions is None else positions

    def __len__(self) -> int:
        return len(self._ids)

    def load(self, row: int) -> Picture:
        """Decode one image.

        Raises
        ------
        UserError
            If it has gone or changed since it was listed.
        """
        try:
            return np.array(self._decode(self._positions[row]))
        except UnreadableImageError as error:
            raise UserError(
                f"data.images: {printable(self._ids[row])}: {error}; changed since it was listed: run `dvc repro` again"
            ) from error

    def load_many(self, rows: Sequence[int], workers: int = WORKERS) -> list[Picture]:
        """Decode several images in threads, in the order of `rows`, reading them in the order in which they lie."""
        order = sorted(range(len(rows)), key=lambda index: self._positions[rows[index]])
        with ThreadPoolExecutor(workers) as pool:
            loaded = dict(zip(order, pool.map(lambda index: self.load(rows[index]), order), strict=True))
        return [loaded[index] for index in range(len(rows))]

    def by_place(self, rows: Sequence[int]) -> list[int]:
        """Give `rows` in the order in which their images lie: neighbours are read together."""
        return sorted(rows, key=lambda row: self._positions[row])


class FolderImages(DecodedImages):
    """The pictures of a folder.

    Parameters
    ----------
    folder : path
        Where the pictures are.
    ids : sequence of str
        Their names relative to the folder, in row order, as `list_images` gives them.
    """

    def __init__(self, folder: str | Path, ids: Sequence[str]) -> None:
        root, names = existing_folder(Path(folder)), list(ids)
        super().__init__(names, lambda row: decoded(inside(root, names[row])))


def open_collection(found: Collection, ids: Sequence[str]) -> DecodedImages:
    """Give the images of a collection by their ids, in the order of `ids`.

    Raises
    ------
    UserError
        If the collection has no image of that id.
    """
    positions = pd.Index(found.ids, dtype=object).get_indexer(pd.Index(ids, dtype=object))
    if (positions < 0).any():
        missing = printable(ids[int(np.flatnonzero(positions < 0)[0])])
        raise UserError(
            f"data.images: {found.place} has no image {missing!r} (any more); run `dvc repro` to list the images again"
        )
    return DecodedImages(ids, found.decode, positions.tolist())


class PackedImages:
    """The rendered world: a memory-mapped array ``images.npy`` and ``attributes.parquet`` with a row for each image.

    Parameters
    ----------
    folder : path
        Where both files are.
    ids : sequence, optional
        The images to give, in row order, by their ids in the table; all if not given.

    Raises
    ------
    UserError
        If the files are missing, are not images, or do not belong together.
    """

    def __init__(self, folder: str | Path, ids: Sequence | None = None) -> None:
        self._images = read_array(Path(folder) / "images.npy")
        table = _attributes(Path(folder) / "attributes.parquet")
        _check_packed(Path(folder), self._images, table)
        self._rows = np.arange(len(table)) if ids is None else _positions(Path(folder), table, ids)

    def __len__(self) -> int:
        return len(self._rows)

    def load(self, row: int) -> Picture:
        """Read one image."""
        return np.array(self._images[self._rows[row]])

    def load_many(self, rows: Sequence[int], workers: int = 1) -> list[Picture]:
        """Read several images, in the order of `rows`; there is nothing to decode, so `workers` is not used."""
        return [self.load(row) for row in rows]

    def by_place(self, rows: Sequence[int]) -> list[int]:
        """Give `rows` as they are: they lie in memory."""
        return list(rows)


def _attributes(path: Path) -> pd.Index:
    """Read the ids of the rendered images."""
    table = read_table(path)
    if "image" not in table or table["image"].duplicated().any():
        raise UserError(
            f"{path}: needs a column image with a different id in each row; run `dvc repro` to make it again"
        )
    return pd.Index(table["image"])


def _check_packed(folder: Path, images: np.ndarray, ids: pd.Index) -> None:
    """Stop unless the array is square RGB images, one for each row of the table."""
    shape = images.shape
    if images.dtype != np.uint8 or len(shape) != 4 or shape[1] != shape[2] or shape[3] != 3:
        raise UserError(
            f"{folder}/images.npy: {images.dtype} {shape} is not uint8 (N, S, S, 3); run `dvc repro` to make it again"
        )
    if len(ids) != len(images):
        raise UserError(
            f"{folder}: {len(images)} images but {len(ids)} rows of attributes; run `dvc repro` to make both again"
        )


def _positions(folder: Path, known: pd.Index, ids: Sequence) -> np.ndarray:
    """Find the rows of the ids in the packed array."""
    rows = known.get_indexer(pd.Index(ids))
    if (rows < 0).any():
        missing = ids[int(np.flatnonzero(rows < 0)[0])]
        raise UserError(f"{folder}/attributes.parquet: there is no image {missing!r}; run `dvc repro` to make it again")
    return rows


def cut(image: Picture, box: Box) -> Picture:
    """Cut a box out of an image.

    Parameters
    ----------
    image : (height, width, 3) uint8 array
    box : (left, top, right, bottom)
        Whole pixels, right and bottom exclusive, inside the image.

    Raises
    ------
    ValueError
        If the box is empty or reaches out of the image.
    """
    left, top, right, bottom = box
    height, width = image.shape[:2]
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise ValueError(f"box {box} is not inside an image of {width} x {height} pixels")
    return image[top:bottom, left:right]


def resized(image: Picture, size: int, box: Box | None = None) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """Scale an image, or a box of it, to `size` by `size` pixels (bicubic, antialiased), whatever its aspect ratio.

    At the edges of a box the filter reaches outside it, as when one scales first and crops then.
    """
    if box is None and image.shape[:2] == (size, size):
        return image
    return np.array(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC, box=box))
