"""Read embeddings that come with a caption corpus in place, in blocks, without copying the files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from jaxtyping import Bool, Float32, Int
from safetensors import safe_open

from falcon_dvc.errors import UserError, one_line
from falcon_dvc.placeholders import refuse_placeholders

FLOATS = {"F16": np.float16, "F32": np.float32}
SUFFIXES = (".npy", ".safetensors")
FORMAT = "save a two-dimensional float16 or float32 array as .npy or .safetensors"
SHORT = 1e-12  # least squared length that single precision computes accurately


class UnitRows:
    """Rows of several arrays as one array of unit rows in single precision. Indexing reads only the rows that it names.

    Parameters
    ----------
    arrays : sequence of memory-mapped arrays (rows, dim)
        Of any float type.
    rows : (rows,) integer array, optional
        Number of each row, counted over all arrays; all rows by default.
    """

    def __init__(self, arrays: Sequence[np.ndarray], rows: Int[np.ndarray, " rows"] | None = None) -> None:
        self._arrays = arrays
        self._first = np.cumsum([0] + [len(array) for array in arrays])
        self._rows = np.arange(self._first[-1]) if rows is None else rows
        self.shape = len(self._rows), arrays[0].shape[1]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, places: slice | np.ndarray) -> Float32[np.ndarray, "selected dim"]:
        """Return the unit rows at `places`; a row of zeros, or with a number that is not finite, gives zeros."""
        return unit_rows(self._raw(self._rows[places]))[0]

    def part(self, places: slice) -> UnitRows:
        """Return the rows at `places`, with references only to the arrays that hold them."""
        rows = self._rows[places]
        if not len(rows):
            return UnitRows(self._arrays[:1], rows)
        low, high = np.searchsorted(self._first, [rows.min(), rows.max()], side="right")
        return UnitRows(self._arrays[low - 1 : high], rows - self._first[low - 1])

    def _raw(self, wanted: np.ndarray) -> Float32[np.ndarray, "selected dim"]:
        """Read rows from the files, not normalised."""
        rows = np.empty((len(wanted), self.shape[1]), dtype=np.float32)
        array_numbers = np.searchsorted(self._first, wanted, side="right") - 1
        for number in np.unique(array_numbers):
            here = np.flatnonzero(array_numbers == number)
            rows[here] = _gathered(mapped_anew(self._arrays[number]), wanted[here] - self._first[number])
        return rows


def mapped_anew(array: np.ndarray) -> np.ndarray:
    """Return a new memory map of the same array. Its pages leave the memory when the new map is deleted."""
    if not isinstance(array, np.memmap) or array.filename is None:
        return array
    order: Literal["F", "C"] = "C" if array.flags.c_contiguous else "F"
    return np.memmap(array.filename, array.dtype, "r", array.offset, array.shape, order)


class RowsElsewhere:
    """Rows of embeddings that another process reads from the same file. Pickling sends the name of the file.

    Parameters
    ----------
    embeddings : array or UnitRows
        Memory-mapped. Pickling an array in memory sends its rows.
    places : slice
        The rows.
    """

    def __init__(self, embeddings: Rows, places: slice) -> None:
        self._embeddings, self._places = embeddings, places

    def read(self) -> np.ndarray:
        """Read the rows."""
        return self._embeddings[self._places]

    def __reduce__(self) -> tuple:
        if isinstance(self._embeddings, UnitRows):
            block = self._embeddings.part(self._places)
            return _unit_rows_of, ([_location(array) for array in block._arrays], block._rows)
        return _rows_of, (_location(self._embeddings, self._places), slice(None))


def _location(array: Any, places: slice = slice(None)) -> Any:
    """Return file, type, offset and shape of the rows of a memory-mapped array; the rows themselves of another array."""
    whole = isinstance(array, np.memmap) and array.flags.c_contiguous and not isinstance(array.base, np.ndarray)
    if not whole:  # the offset of a view is that of its base
        return np.ascontiguousarray(array[places])
    start, stop, _ = places.indices(len(array))
    row = array.dtype.itemsize * array.shape[1]
    return str(array.filename), array.dtype.str, array.offset + start * row, (max(stop - start, 0), array.shape[1])


def _mapped(location: Any) -> np.ndarray:
    if isinstance(location, np.ndarray):
        return location
    name, dtype, offset, shape = location
    return np.memmap(name, np.dtype(dtype), "r", offset, shape) if 0 not in shape else np.empty(shape, dtype)


def _rows_of(location: Any, places: slice) -> RowsElsewhere:
    return RowsElsewhere(_mapped(location), places)


def _unit_rows_of(locations: list, rows: np.ndarray) -> RowsElsewhere:
    return RowsElsewhere(UnitRows([_mapped(location) for location in locations], rows), slice(None))


def _gathered(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return rows of a memory-mapped array; if at least half of a range is needed, the range is read in one piece."""
    low, high = rows.min(), rows.max() + 1
    return array[low:high][rows - low] if high - low <= 2 * len(rows) else array[rows]


def unit_rows(rows: np.ndarray) -> tuple[Float32[np.ndarray, "rows dim"], Bool[np.ndarray, " rows"]]:
    """Scale rows to length 1 in single precision.

    Returns
    -------
    rows : (rows, dim) array
        Unit rows; zeros for a row that is not usable.
    usable : (rows,) bool array
        Whether a row is finite and not zero.
    """
    rows = np.asarray(rows, dtype=np.float32)
    squares = np.einsum("ij,ij->i", rows, rows)
    usable = np.isfinite(squares) & (squares > SHORT)
    if not usable.all():
        rows = rows.copy()
        odd = np.flatnonzero(~usable)
        rows[odd], usable[odd] = _scaled(rows[odd])
        squares[odd] = np.einsum("ij,ij->i", rows[odd], rows[odd])
    length = np.sqrt(np.where(usable, squares, 1))
    return rows / length[:, None], usable


def _scaled(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Divide rows by their largest number, so that single precision can represent their squares."""
    largest = np.abs(rows).max(axis=1)
    usable = np.isfinite(rows).all(axis=1) & (largest > 0)
    return np.where(usable[:, None], rows, 0) / np.where(usable, largest, 1)[:, None], usable


def open_embeddings(path: str | Path) -> np.ndarray:
    """Memory-map a file of embeddings.

    Raises
    ------
    UserError
        If it is missing or truncated, is no array of two dimensions, or is neither float16 nor float32.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path}: not a file of embeddings; {FORMAT}")
    refuse_placeholders([path])
    try:
        array = _mapped_npy(path) if path.suffix == ".npy" else _mapped_safetensors(path)
    except Exception as error:  # numpy raises anything on a damaged header: ValueError, OverflowError, TypeError, ...
        raise UserError(f"{path}: not a readable file of embeddings ({one_line(error, 160)}); {FORMAT}") from error
    if array.ndim != 2 or array.shape[1] == 0 or array.dtype.newbyteorder("=") not in (np.float16, np.float32):
        raise UserError(f"{path}: embeddings of shape {array.shape} and type {array.dtype}; {FORMAT}")
    return array


def _mapped_npy(path: Path) -> np.ndarray:
    return np.lib.format.open_memmap(path, mode="r")


def _mapped_safetensors(path: Path) -> np.ndarray:
    """Return the tensor called embeddings, or the only one of two dimensions."""
    # Opening the file validates the header: offsets within the file, sizes that match the shapes.
    with safe_open(path, framework="np") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 (not a dictionary)
    wide = [name for name, shape in shapes.items() if len(shape) == 2]
    name = "embeddings" if "embeddings" in shapes else wide[0] if len(wide) == 1 else None
    if name is None:
        raise ValueError(f"no tensor is called embeddings, and {len(wide)} have two dimensions")
    start, header = _header(path)
    if header[name]["dtype"] not in FLOATS:
        raise ValueError(f"{name} has the type {header[name]['dtype']}")
    place, shape = start + header[name]["data_offsets"][0], tuple(shapes[name])
    if 0 in shape:
        return np.empty(shape, dtype=FLOATS[header[name]["dtype"]])
    return np.memmap(path, dtype=FLOATS[header[name]["dtype"]], mode="r", offset=place, shape=shape)


def _header(path: Path) -> tuple[int, dict]:
    """Return the offset of the tensors, and the header with their positions."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return 8 + length, json.loads(file.read(length))


def caption_ids(path: str | Path) -> np.ndarray | None:
    """Return the ids of the rows' captions: the tensor ids, or ``NAME.ids.npy`` beside ``NAME.npy``; None without ids.

    Raises
    ------
    UserError
        If they are no integers, if one occurs twice, or if their number differs from that of the rows.
    """
    path = Path(path)
    try:
        ids = _ids_beside(path) if path.suffix == ".npy" else _ids_inside(path)
    except Exception as error:  # as in `open_embeddings`
        raise UserError(f"{path}: its list of ids is not readable ({one_line(error, 160)})") from error
    if ids is None:
        return None
    rows = len(open_embeddings(path))
    if ids.shape != (rows,) or ids.dtype.kind not in "iu":
        raise UserError(
            f"{path}: {rows} embeddings, but ids of shape {ids.shape} and type {ids.dtype}; give one whole number a row"
        )
    if len(np.unique(ids)) < rows:
        raise UserError(f"{path}: an id comes twice; give every caption one embedding")
    return ids.astype(np.int64)


def _ids_beside(path: Path) -> np.ndarray | None:
    beside = path.with_suffix(".ids.npy")
    if not beside.exists():
        return None
    with beside.open("rb") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _ids_inside(path: Path) -> np.ndarray | None:
    with safe_open(path, framework="np") as file:
        return file.get_tensor("ids") if "ids" in file.keys() else None  # noqa: SIM118


class Rows(Protocol):
    """An array of two dimensions, or an object that reads one in blocks. Rows are indexed by a slice or by positions."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, places: Any, /) -> np.ndarray: ...
