"""Match the embeddings that come with a caption corpus to its captions."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from falcon_dvc.captions.corpus_file import Batch
from falcon_dvc.embeddings import UnitRows, caption_ids, mapped_anew, open_embeddings, unit_rows
from falcon_dvc.errors import UserError
from falcon_dvc.progress import track

ROWS_AT_ONCE = 16_384


class GivenEmbeddings:
    """Embeddings of captions in files, which are memory-mapped and not copied.

    Parameters
    ----------
    files : sequence of str
        In the order of the corpus.
    dim : int
        Width of the image-text encoder's space.
    named : bool
        Match captions by the list of ids in the first file, if it has one.

    Raises
    ------
    UserError
        If a file is not readable or has another width.
    """

    def __init__(self, files: Sequence[str], dim: int, named: bool = False) -> None:
        self.files = files
        self.arrays = [open_embeddings(file) for file in files]
        for file, array in zip(files, self.arrays, strict=True):
            if array.shape[1] != dim:
                raise UserError(
                    f"{file}: embeddings of width {array.shape[1]}, but image_text has {dim}; "
                    "name the model in image_text that embedded these captions"
                )
        self._ids = caption_ids(files[0]) if named else None
        self._order = None if self._ids is None else np.argsort(self._ids)
        self._usable = np.concatenate([_usable(array) for array in track(self.arrays, "checking embeddings")])

    def rows_of(self, batch: Batch, first: int) -> Int[np.ndarray, " texts"]:
        """Return the row of each caption's embedding over all files; -1 for a caption without one.

        Captions are matched by the ids of their file, if it has any, else by their numbers in the corpus.

        Parameters
        ----------
        batch : Batch
            The captions.
        first : int
            Number of its first caption in the corpus.
        """
        numbers = np.arange(first, first + len(batch.texts))
        if self._ids is None or self._order is None:
            return np.where(numbers < len(self._usable), numbers, -1)
        wanted = numbers if batch.ids is None else batch.ids
        place = np.searchsorted(self._ids, wanted, sorter=self._order)
        in_range = place < len(self._order)
        rows = np.full(len(wanted), -1)
        rows[in_range] = self._order[place[in_range]]
        return np.where(in_range & (self._ids[rows] == wanted), rows, -1) if len(self._ids) else rows

    def usable(self, rows: Int[np.ndarray, " rows"]) -> Bool[np.ndarray, " rows"]:
        """Return which rows exist, are finite and are not zero."""
        usable = rows >= 0
        usable[usable] = self._usable[rows[usable]]
        return usable

    def check_fit(self, rows: Int[np.ndarray, " captions"]) -> None:
        """Raise unless the embeddings match the captions, given the row of every caption.

        Raises
        ------
        UserError
            If their numbers differ, or, with ids, if an id names no caption or several.
        """
        count, where = len(self._usable), self.files[0]
        used = np.bincount(rows[rows >= 0], minlength=count)
        if self._ids is None and count != len(rows):
            raise UserError(
                f"data.caption_embeddings: {where} has {count} embeddings for {len(rows)} captions; "
                "give one row for each caption in the same order, or list ids in the file"
            )
        if (used != 1).any():
            raise UserError(
                f"data.caption_embeddings: {int((used != 1).sum())} of {count} ids in {where} name no caption, or several; "
                "list the id of one caption for each embedding"
            )

    def described(self) -> list[dict]:
        """Return name, number of rows and SHA-256 of each file."""
        files = track(zip(self.files, self.arrays, strict=True), "hashing embeddings", total=len(self.files))
        return [{"file": file, "rows": len(array), "sha256": _sha256(file)} for file, array in files]

    def unit(self, rows: Int[np.ndarray, " rows"]) -> UnitRows:
        """Return rows, scaled to length 1, that are read from the files on access."""
        return UnitRows(self.arrays, rows)


def _usable(array: np.ndarray) -> Bool[np.ndarray, " rows"]:
    """Return which rows are finite and not zero."""
    blocks = [
        unit_rows(mapped_anew(array)[start : start + ROWS_AT_ONCE])[1] for start in range(0, len(array), ROWS_AT_ONCE)
    ]
    return np.concatenate([np.zeros(0, dtype=bool), *blocks])


def _sha256(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
