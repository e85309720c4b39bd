"""The embeddings that come with a caption corpus: which row belongs to which caption, and which rows can be used."""

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
    """Embeddings in files, which stay where they are.

    Parameters
    ----------
    files : in the order of the corpus.
    dim : width of the image-text encoder's space.
    named : the first file says which captions its rows belong to, if it has a list of ids.

    Raises
    ------
    UserError
        If a file is not readable or of another width.
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
        """For each caption the row of its embedding, in all files together; -1 where there is none.

        Captions are named by the file's own ids, if it has any, else by their numbers in the corpus (`first` and on).
        """
        numbers = np.arange(first, first + len(batch.texts))
        if self._ids is None or self._order is None:
            return np.where(numbers < len(self._usable), numbers, -1)
        wanted = numbers if batch.ids is None else batch.ids
        place = np.searchsorted(self._ids, wanted, sorter=self._order)
        inside = place < len(self._order)
        rows = np.full(len(wanted), -1)
        rows[inside] = self._order[place[inside]]
        return np.where(inside & (self._ids[rows] == wanted), rows, -1) if len(self._ids) else rows

    def usable(self, rows: Int[np.ndarray, " rows"]) -> Bool[np.ndarray, " rows"]:
        """Tell which rows there are that have a direction: not zero, nothing in them that is no number."""
        found = rows >= 0
        found[found] = self._usable[rows[found]]
        return found

    def check_fit(self, rows: Int[np.ndarray, " captions"]) -> None:
        """Refuse embeddings that belong to other captions, given the row of every caption.

        Raises
        ------
        UserError
            If there are more or fewer than captions, or, with ids, if some name no caption or several.
        """
        count, where = len(self._usable), self.files[0]
        used = np.bincount(rows[rows >= 0], minlength=count)
        if self._ids is None and count != len(rows):
            raise UserError(
                f"data.caption_embeddings: {where} has {count} embeddings for {len(rows)} captions; "
                "their rows must be alike, or the file must list ids"
            )
        if (used != 1).any():
            raise UserError(
                f"data.caption_embeddings: {int((used != 1).sum())} of {count} ids in {where} name no caption, or several; "
                "list the id of one caption for each embedding"
            )

    def described(self) -> list[dict]:
        """Name, rows and content hash of each file."""
        files = track(zip(self.files, self.arrays, strict=True), "hashing embeddings", total=len(self.files))
        return [{"file": file, "rows": len(array), "sha256": _sha256(file)} for file, array in files]

    def unit(self, rows: Int[np.ndarray, " rows"]) -> UnitRows:
        """Some rows as unit rows, read where asked for."""
        return UnitRows(self.arrays, rows)


def _usable(array: np.ndarray) -> Bool[np.ndarray, " rows"]:
    """Rows with a direction."""
    parts = [
        unit_rows(mapped_anew(array)[start : start + ROWS_AT_ONCE])[1] for start in range(0, len(array), ROWS_AT_ONCE)
    ]
    return np.concatenate([np.zeros(0, dtype=bool), *parts])


def _sha256(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
