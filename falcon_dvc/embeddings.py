"""Embeddings that come with a caption corpus: read where they lie, a block at a time, never copied."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from jaxtyping import Bool, Float32, Int
from safetensors import safe_open

from falcon_dvc.errors import UserError

FLOATS = {"F16": np.float16, "F32": np.float32}
SUFFIXES = (".npy", ".safetensors")
FORMAT = "save a two-dimensional float16 or float32 array as .npy or .safetensors"
SHORT = 1e-12  # squares of numbers beyond this and 1 / SHORT leave single precision


class UnitRows:
    """Rows of several arrays as one array of unit rows in single precision; a slice or an array of places reads only what it names.

    Parameters
    ----------
    arrays : memory-mapped, (rows, dim) each, in any float type.
    rows : number, in all arrays together, of each row of this one; all of them if not given.
    """

    def __init__(self, arrays: Sequence[np.ndarray], rows: Int[np.ndarray, " rows"] | None = None) -> None:
        self._arrays = arrays
        self._first = np.cumsum([0] + [len(array) for array in arrays])
        self._rows = np.arange(self._first[-1]) if rows is None else rows
        self.shape = len(self._rows), arrays[0].shape[1]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, places: slice | np.ndarray) -> Float32[np.ndarray, "some dim"]:
        """Return the rows at some places; a row of zeros or one that is no number comes as zeros."""
        return unit_rows(self._raw(self._rows[places]))[0]

    def part(self, places: slice) -> UnitRows:
        """Return some rows, of the arrays alone that hold them."""
        rows = self._rows[places]
        if not len(rows):
            return UnitRows(self._arrays[:1], rows)
        low, high = np.searchsorted(self._first, [rows.min(), rows.max()], side="right")
        return UnitRows(self._arrays[low - 1 : high], rows - self._first[low - 1])

    def _raw(self, wanted: np.ndarray) -> Float32[np.ndarray, "some dim"]:
        """Return some rows as they stand in the files."""
        found = np.empty((len(wanted), self.shape[1]), dtype=np.float32)
        of = np.searchsorted(self._first, wanted, side="right") - 1
        for number in np.unique(of):
            here = np.flatnonzero(of == number)
            found[here] = _gathered(mapped_anew(self._arrays[number]), wanted[here] - self._first[number])
        return found


def mapped_anew(array: np.ndarray) -> np.ndarray:
    """Return the same array, of whose file nothing is in memory yet; what is read of it leaves the memory when it is forgotten."""
    if not isinstance(array, np.memmap) or array.filename is None:
        return array
    order: Literal["F", "C"] = "C" if array.flags.c_contiguous else "F"
    return np.memmap(array.filename, array.dtype, "r", array.offset, array.shape, order)


class RowsElsewhere:
    """Some rows of embeddings, which another process reads from the same file: what travels is the file's name.

    Parameters
    ----------
    embeddings : memory-mapped, or `UnitRows` of memory-mapped arrays; an array in memory travels itself.
    places : of the rows.
    """

    def __init__(self, embeddings: Rows, places: slice) -> None:
        self._embeddings, self._places = embeddings, places

    def read(self) -> np.ndarray:
        """Return the rows."""
        return self._embeddings[self._places]

    def __reduce__(self) -> tuple:
        if isinstance(self._embeddings, UnitRows):
            part = self._embeddings.part(self._places)
            return _unit_rows_of, ([_named(array) for array in part._arrays], part._rows)
        return _rows_of, (_named(self._embeddings, self._places), slice(None))


def _named(array: Any, places: slice = slice(None)) -> Any:
    """How to map a memory-mapped array anew; another array's rows at `places`."""
    whole = isinstance(array, np.memmap) and array.flags.c_contiguous and not isinstance(array.base, np.ndarray)
    if not whole:  # of a view, numpy keeps the offset of what it is a view of
        return np.ascontiguousarray(array[places])
    start, stop, _ = places.indices(len(array))
    row = array.dtype.itemsize * array.shape[1]
    return str(array.filename), array.dtype.str, array.offset + start * row, (max(stop - start, 0), array.shape[1])


def _mapped(named: Any) -> np.ndarray:
    if isinstance(named, np.ndarray):
        return named
    name, dtype, offset, shape = named
    return np.memmap(name, np.dtype(dtype), "r", offset, shape) if 0 not in shape else np.empty(shape, dtype)


def _rows_of(named: Any, places: slice) -> RowsElsewhere:
    return RowsElsewhere(_mapped(named), places)


def _unit_rows_of(named: list, rows: np.ndarray) -> RowsElsewhere:
    return RowsElsewhere(UnitRows([_mapped(one) for one in named], rows), slice(None))


def _gathered(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return some rows of a memory-mapped array; nearly all of a stretch are read as one."""
    low, high = rows.min(), rows.max() + 1
    return array[low:high][rows - low] if high - low <= 2 * len(rows) else array[rows]


def unit_rows(rows: np.ndarray) -> tuple[Float32[np.ndarray, "rows dim"], Bool[np.ndarray, " rows"]]:
    """Rows scaled to length 1 in single precision, and which of them have a length: others are zeros."""
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
    """Rows whose squares leave single precision, divided by their largest number."""
    largest = np.abs(rows).max(axis=1)
    usable = np.isfinite(rows).all(axis=1) & (largest > 0)
    return np.where(usable[:, None], rows, 0) / np.where(usable, largest, 1)[:, None], usable


def open_embeddings(path: str | Path) -> np.ndarray:
    """Memory-map a file of embeddings.

    Raises
    ------
    UserError
        If it is missing, cut short, not an array of two dimensions, or of another type than float16 and float32.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path}: not a file of embeddings; {FORMAT}")
    try:
        array = _mapped_npy(path) if path.suffix == ".npy" else _mapped_safetensors(path)
    except Exception as error:  # numpy raises anything on a damaged header: ValueError, OverflowError, TypeError, ...
        raise UserError(f"{path}: not a readable file of embeddings ({_short(error)}); {FORMAT}") from error
    if array.ndim != 2 or array.shape[1] == 0 or array.dtype.newbyteorder("=") not in (np.float16, np.float32):
        raise UserError(f"{path}: embeddings of shape {array.shape} and type {array.dtype}; {FORMAT}")
    return array


def _mapped_npy(path: Path) -> np.ndarray:
    return np.lib.format.open_memmap(path, mode="r")


def _mapped_safetensors(path: Path) -> np.ndarray:
    """Return the tensor called embeddings, or the only one of two dimensions."""
    # Opening it checks the header: places inside the file, sizes that fit the shapes.
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
    """Where the tensors begin, and the header, in which safetensors keeps their places."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return 8 + length, json.loads(file.read(length))


def caption_ids(path: str | Path) -> np.ndarray | None:
    """Numbers of the captions that the rows belong to, if the file names them: the tensor ids, or ``NAME.ids.npy`` beside ``NAME.npy``.

    Raises
    ------
    UserError
        If they are no whole numbers, if one comes twice, or if they are more or fewer than the rows.
    """
    path = Path(path)
    try:
        ids = _ids_beside(path) if path.suffix == ".npy" else _ids_inside(path)
    except Exception as error:  # as in `open_embeddings`
        raise UserError(f"{path}: its list of ids is not readable ({_short(error)})") from error
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


def _short(error: Exception) -> str:
    """Return a library's message on one line."""
    return " ".join(str(error).split())[:160]


class Rows(Protocol):
    """An array of two dimensions, or what reads one in parts: rows by slice, or by an array of places."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, places: Any, /) -> np.ndarray: ...
