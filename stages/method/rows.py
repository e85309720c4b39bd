"""What the method asks of embeddings that may be larger than the memory."""

from typing import Any, Protocol

import numpy as np


class Rows(Protocol):
    """An array of two dimensions, or what reads one in parts: rows by slice, or by an array of places."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, places: Any, /) -> np.ndarray: ...
