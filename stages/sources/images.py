"""Images from the rendered world's one packed array or from a folder of pictures, all as uint8 RGB."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import pandas as pd
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from stages.common.artifacts import read_array, read_table
from stages.common.errors import UserError
from stages.common.progress import track

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
# Only these decoders see a file, whatever its name: others start foreign programs (EPS) or are rarely looked after.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
# More pixels are taken for a decompression bomb: Pillow's own warning level, a quarter of a gigabyte as RGB.
MAX_PIXELS = 89_478_485
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
# Decoding runs outside the interpreter lock, so threads use all cores.
WORKERS = os.cpu_count() or 1

Picture = UInt8[np.ndarray, "height width 3"]
Box = tuple[int, int, int, int]


class UnreadableImageError(Exception):
    """A file that has the suffix of an image and cannot be shown as one."""


class ImageSource(Protocol):
    """Images by row number: row i is the i-th row of the table of images."""

    def __len__(self) -> int: ...

    def load(self, row: int) -> Picture:
        """Give one image."""
        ...

    def load_many(self, rows: Sequence[int], workers: int = WORKERS) -> list[Picture]:
        """Give several images, in the order of `rows`."""
        ...


@dataclass(frozen=True)
class Listing:
    """What a folder holds.

    Attributes
    ----------
    table : pandas.DataFrame
        Columns image (path relative to the folder, with ``/``; rows are sorted by its bytes), label (first sub-folder
        or ""), width and height (pixels, after the EXIF orientation is applied).
    skipped : list of str
        The images left out, each as ``name: reason``, in the same order.
    """

    table: pd.DataFrame
    skipped: list[str]


def list_images(folder: str | Path, unreadable: Literal["skip", "fail"]) -> Listing:
    """List the pictures in a folder and its sub-folders, decoding each in full so that truncated files show now.

    Hidden files and folders are passed over. Links that lead out of the folder and linked folders count as unreadable.

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
    root = _existing_folder(Path(folder))
    names = sorted(_candidates(root), key=os.fsencode)
    if not names:
        known = " ".join(sorted(SUFFIXES))
        raise UserError(
            f"data.images: no images under {folder} (looked for {known}); point data.images at a folder of pictures"
        )
    findings = _inspected(root, names)
    skipped = [
        f"{_printable(name)}: {found}" for name, found in zip(names, findings, strict=True) if isinstance(found, str)
    ]
    if skipped and unreadable == "fail":
        raise UserError(f"data.images: {skipped[0]}; remove the file from {folder} or set data.unreadable to skip")
    if len(skipped) == len(names):
        raise UserError(
            f"data.images: none of the {len(names)} images under {folder} can be read (first: {skipped[0]}); "
            "point data.images at a folder of pictures"
        )
    return Listing(_table(names, findings), skipped)


def _existing_folder(folder: Path) -> Path:
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


def _inspected(root: Path, names: Sequence[str]) -> list[tuple[int, int] | str]:
    """Decode every image; give its width and height, or why it cannot be had."""

    def inspect(name: str) -> tuple[int, int] | str:
        try:
            _printable_or_refused(name)
            return _decoded(_inside(root, name)).size
        except UnreadableImageError as error:
            return str(error)

    with ThreadPoolExecutor(WORKERS) as pool:
        return list(track(pool.map(inspect, names), "Decoding images", total=len(names)))


def _table(names: Sequence[str], findings: Sequence[tuple[int, int] | str]) -> pd.DataFrame:
    """Make the table of the readable images."""
    rows = [
        (name, name.split("/")[0] if "/" in name else "", *found)
        for name, found in zip(names, findings, strict=True)
        if not isinstance(found, str)
    ]
    return pd.DataFrame(rows, columns=["image", "label", "width", "height"])


def _printable(name: str) -> str:
    """Escape what would break a line or a terminal."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in name)


def _printable_or_refused(name: str) -> None:
    """Refuse names that are not Unicode: no table can hold them."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UnreadableImageError("its name is not UTF-8") from error


def _inside(root: Path, name: str) -> Path:
    """Give the regular file `name` of the folder, or refuse: links and ``..`` must not lead out of it."""
    path = root / name
    if path.is_symlink() and path.is_dir():
        raise UnreadableImageError("a linked folder")
    if not path.resolve().is_relative_to(root):
        raise UnreadableImageError("a link that leads out of the folder")
    # A pipe or a device would block for ever.
    if not path.is_file():
        raise UnreadableImageError("not a regular file")
    return path


def _decoded(path: Path) -> Image.Image:
    """Decode the first frame of an image file in full, as RGB, upright.

    Raises
    ------
    UnreadableImageError
        Whatever is wrong with the file.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UnreadableImageError(f"more than {MAX_PIXELS} pixels")
            image.load()
            return _upright(image)
    except UnreadableImageError:
        raise
    except Exception as error:  # decoders raise anything on a damaged file: OSError, SyntaxError, struct.error, ...
        reason = "not an image in a known format" if isinstance(error, UnidentifiedImageError) else str(error)
        raise UnreadableImageError(f"cannot be decoded ({_printable(reason)})") from error


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


class FolderImages:
    """The pictures of a folder, decoded when asked for.

    Parameters
    ----------
    folder : path
        Where the pictures are.
    ids : sequence of str
        Their names relative to the folder, in row order, as `list_images` gives them.
    """

    def __init__(self, folder: str | Path, ids: Sequence[str]) -> None:
        self._root = _existing_folder(Path(folder))
        self._ids = list(ids)

    def __len__(self) -> int:
        return len(self._ids)

    def load(self, row: int) -> Picture:
        """Decode one image.

        Raises
        ------
        UserError
            If the file has gone or changed since it was listed.
        """
        name = self._ids[row]
        try:
            return np.array(_decoded(_inside(self._root, name)))
        except UnreadableImageError as error:
            raise UserError(
                f"data.images: {_printable(name)}: {error}; changed since it was listed: run `dvc repro` again"
            ) from error

    def load_many(self, rows: Sequence[int], workers: int = WORKERS) -> list[Picture]:
        """Decode several images in threads, in the order of `rows`."""
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(self.load, rows))


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


def open_images(source: Literal["scenes", "images"], folder: str | Path, table: pd.DataFrame) -> ImageSource:
    """Open the images of a table, in the order of its rows.

    Parameters
    ----------
    source : {"scenes", "images"}
        The param ``data.source``: the rendered world or a folder of pictures.
    folder : path
        The param ``data.images``.
    table : pandas.DataFrame
        ``data/images.parquet``; its column image holds the ids.

    Raises
    ------
    UserError
        If the source is unknown or its files are not there.
    """
    ids = table["image"].tolist()
    if source == "scenes":
        return PackedImages(folder, ids)
    if source == "images":
        return FolderImages(folder, ids)
    raise UserError(f"data.source: {source!r} is unknown; use scenes or images")


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
