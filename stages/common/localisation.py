"""Where in an image features fire: from the stored maps of an encoder, or by gradients where it has none."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from stages.common import files
from stages.common.artifacts import read_array, read_table
from stages.common.progress import track
from stages.method.heatmaps import Heatmaps, group_heatmaps, heatmaps_of

if TYPE_CHECKING:
    from stages.common.params import Params
    from stages.models.encoders import LocatedByGradients
    from stages.sources.images import ImageSource

AT_ONCE = 32  # images in a pass with gradients


class Localisation:
    """Heatmaps of one encoder's features in its images.

    Parameters
    ----------
    params : Params
        Of the run.
    name : str
        A key of ``encoders``.
    """

    def __init__(self, params: Params, name: str) -> None:
        self._params, self._name = params, name
        self._maps = files.activations(name) / "maps.npy"

    def of_groups(self, rows: np.ndarray, members: sparse.csr_array) -> Heatmaps:
        """Give one heatmap for each row: of the sum of some features in an image.

        Parameters
        ----------
        rows : (crops,)
            Rows of the table of images.
        members : sparse 0/1 (crops, features)
            The features of each.
        """
        if self._maps.exists():
            return group_heatmaps(read_array(self._maps), rows, members)
        return self._by_gradients(rows, lambda part: members[part].toarray())

    def of_directions(self, rows: np.ndarray, directions: np.ndarray) -> Heatmaps:
        """Give one heatmap for each row: of a direction (crops, features) of the features in an image."""
        if self._maps.exists():
            return heatmaps_of(read_array(self._maps)[rows], directions)
        return self._by_gradients(rows, lambda part: directions[part])

    def _by_gradients(self, rows: np.ndarray, directions: Callable[[slice], np.ndarray]) -> Heatmaps:
        if not len(rows):
            return np.zeros((0, 1, 1), dtype=np.float32)
        parts = [slice(start, start + AT_ONCE) for start in range(0, len(rows), AT_ONCE)]
        return np.concatenate(
            [
                self._encoder.heatmaps(self._images.load_many(list(rows[part])), directions(part))
                for part in track(parts, f"heatmaps of {self._name}", total=len(parts))
            ]
        )

    @cached_property
    def _encoder(self) -> LocatedByGradients:
        from stages.models.device import best_device
        from stages.models.encoders import load_located

        return load_located(self._params.encoders[self._name], best_device(), f"encoders.{self._name}")

    @cached_property
    def _images(self) -> ImageSource:
        from stages.sources.image_sources import open_images

        return open_images(self._params.data, read_table(files.IMAGES))
