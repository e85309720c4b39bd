"""Locate where features fire in images, by the stored maps of an encoder.

If an encoder has no stored maps, gradients locate the features.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from falcon_dvc import paths
from falcon_dvc.activations.stored import SparseMapsFile
from falcon_dvc.artifacts.formats import read_array, read_table
from falcon_dvc.compute.resume import Resumable
from falcon_dvc.crops.heatmaps import Boxes, CropRule, Heatmaps, crop_boxes, group_heatmaps, heatmaps_of
from falcon_dvc.images.open import open_images, which_images
from falcon_dvc.progress import track

if TYPE_CHECKING:
    from falcon_dvc.images.source import ImageSource
    from falcon_dvc.models.encoders.load import LocatedByGradients
    from falcon_dvc.params.schema import Params

AT_ONCE = 32  # images in one pass with gradients


class Localisation:
    """Compute heatmaps of one encoder's features in its images.

    Parameters
    ----------
    params : Params
        The params of the run.
    name : str
        A key of ``encoders``.
    work : Resumable
        Saves finished heatmaps by gradients, so that a stopped stage can resume.
    """

    def __init__(self, params: Params, name: str, work: Resumable) -> None:
        self._params, self._name, self._work = params, name, work
        self._maps = paths.activations(name) / "maps.npy"
        self._sparse = self._maps.with_suffix("")

    def of_groups(self, rows: np.ndarray, members: sparse.csr_array) -> Heatmaps:
        """Compute one heatmap for each row, of the sum of its features in the image.

        Parameters
        ----------
        rows : (crops,)
            Rows of the table of images.
        members : sparse 0/1 (crops, features)
            The features of each row.
        """
        if self._sparse.exists():
            return SparseMapsFile(self._sparse).group_heatmaps(rows, members)
        if self._maps.exists():
            return group_heatmaps(read_array(self._maps), rows, members)
        content = _digest(rows, members.indptr, members.indices)
        return self._by_gradients(rows, lambda batch: members[batch].toarray(), content)

    def of_directions(self, rows: np.ndarray, directions: np.ndarray) -> Heatmaps:
        """Compute one heatmap for each row, of a direction (crops, features) in feature space."""
        if self._sparse.exists():
            return SparseMapsFile(self._sparse).heatmaps(rows, directions)
        if self._maps.exists():
            return heatmaps_of(read_array(self._maps)[rows], directions)
        return self._by_gradients(rows, lambda batch: directions[batch], _digest(rows, directions))

    def boxes(self, rows: np.ndarray, heatmaps: Heatmaps, threshold: float | None = None) -> Boxes:
        """Crop the image of each row around the peak of its heatmap (step 5).

        Parameters
        ----------
        threshold : share of a heatmap's maximum; ``mine_crops.threshold`` if not given.
        """
        settings = self._params.mine_crops
        cut = settings.threshold if threshold is None else threshold
        rule = CropRule(settings.crop, cut, settings.margin, settings.min_size)
        return crop_boxes(heatmaps, self._fields[rows], image_sizes(rows), rule)

    def _by_gradients(self, rows: np.ndarray, directions: Callable[[slice], np.ndarray], content: str) -> Heatmaps:
        if not len(rows):
            return np.zeros((0, 1, 1), dtype=np.float32)
        spec = self._params.encoders[self._name].model_dump(mode="json", exclude={"features", "control_of"})
        data = which_images(self._params.data)
        # The name holds a digest of the content, because a stage may request several sets of heatmaps.
        checkpoint = self._work.checkpoint(
            f"heatmaps-{content[:16]}", {"encoder": spec, "images": data}, [paths.IMAGES, paths.basis(self._name)]
        )
        starts = range(checkpoint.finished, len(rows), AT_ONCE)
        for start in track(starts, f"heatmaps of {self._name}", total=len(starts)):
            batch = slice(start, min(start + AT_ONCE, len(rows)))
            heatmaps_of_batch = self._encoder.heatmaps(self._images.load_many(list(rows[batch])), directions(batch))
            heatmaps = checkpoint.array("heatmaps.npy", (len(rows), *heatmaps_of_batch.shape[1:]), np.float32)
            heatmaps[batch] = heatmaps_of_batch
            checkpoint.save(batch.stop)
        checkpoint.save(len(rows), at_once=True)
        return checkpoint.array("heatmaps.npy", (), np.float32)

    @cached_property
    def _fields(self) -> np.ndarray:
        return read_array(paths.activations(self._name) / "fields.npy")

    @cached_property
    def _encoder(self) -> LocatedByGradients:
        from falcon_dvc.compute.device import best_device
        from falcon_dvc.models.encoders.load import load_located

        return load_located(
            self._params.encoders[self._name],
            best_device(self._params.device),
            f"encoders.{self._name}",
            paths.basis(self._name),
        )

    @cached_property
    def _images(self) -> ImageSource:
        return open_images(self._params.data, read_table(paths.IMAGES))


def image_sizes(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return height and width, in pixels, of the images in the given rows of the table of images."""
    images = read_table(paths.IMAGES)
    return images["height"].to_numpy()[rows], images["width"].to_numpy()[rows]


def _digest(*arrays: np.ndarray) -> str:
    """Compute the SHA-256 of arrays."""
    digest = sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
