"""Read features from the layers of a network: the pooling of their positions, and the layers of their heatmaps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from scipy import sparse
from torch import Tensor, nn

from falcon_dvc.activations.sparse_maps import SparseMaps, pooled_features
from falcon_dvc.errors import UserError
from falcon_dvc.models.encoders.layers import Layer, activation_and_gradient, class_activation, outputs_of, positions

if TYPE_CHECKING:
    from falcon_dvc.models.bases.basis import Basis

Grid = tuple[int, int]
Sums = np.ndarray | None  # of the explained variance, see falcon_dvc.models.bases.explained_variance
SparsePass = tuple[sparse.csr_array, SparseMaps | None, Sums]  # features (images, features), and their maps


@dataclass(frozen=True)
class Readout:
    """Features of one layer.

    Attributes
    ----------
    layer
        The layer of the features.
    pooling
        "mean" or "max" over its positions, "cls" for its first token, "none" for a vector.
    heatmap_layer
        The layer of Grad-CAM. None: heatmaps come from the layer's own maps, in closed form.
    basis
        What the layer's vectors are expressed in, before the pooling. None: its channels.
    """

    layer: Layer
    pooling: str
    heatmap_layer: Layer | None = None
    basis: "Basis | None" = None

    @property
    def width(self) -> int:
        """Number of features."""
        return self.basis.width if self.basis else self.layer.width

    @property
    def grid(self) -> Grid:
        """Rows and columns of the heatmaps."""
        grid = (self.heatmap_layer or self.layer).grid
        assert grid, "the layer of the heatmaps was checked to have positions"
        return grid

    def pooled(self, output: Tensor) -> Float[Tensor, "images features"]:
        """Pool the layer's output to features."""
        if self.basis is not None:
            return self.in_basis(output)[0]
        if self.pooling == "none":
            return output.flatten(1)
        if self.pooling == "cls":
            return output[:, 0]
        maps = positions(output, self.layer)
        return maps.mean(dim=(2, 3)) if self.pooling == "mean" else maps.amax(dim=(2, 3))

    def in_basis(self, output: Tensor, measured: bool = False) -> tuple[Tensor, Tensor | None, Sums]:
        """Return features, maps, and if `measured` the sums of the explained variance, of a layer with a basis.

        There are no maps if another layer gives the heatmaps. Those of a class token are the features at the positions.
        """
        assert self.basis is not None, "only a readout with a basis"
        if self.pooling in ("mean", "max"):
            maps, sums = self.basis.maps(positions(output, self.layer), measured)
            pooled = maps.mean(dim=(2, 3)) if self.pooling == "mean" else maps.amax(dim=(2, 3))
            return pooled, None if self.heatmap_layer else maps, sums
        vectors = output[:, :1] if self.pooling == "cls" else output.flatten(1)[:, None]
        codes, sums = self.basis.features(vectors, measured)
        return codes[:, 0], None if self.heatmap_layer else self.basis.maps(positions(output, self.layer))[0], sums

    def in_sparse_basis(self, output: Tensor) -> SparsePass:
        """Return what `in_basis` measures, as the values that are not 0."""
        from falcon_dvc.models.bases.sparse_codes import sparse_vectors

        assert self.basis is not None, "only a readout with a basis"
        if self.pooling in ("mean", "max"):
            maps, sums = self._sparse_maps(output)
            return pooled_features(maps, self.pooling), None if self.heatmap_layer else maps, sums
        vectors = output[:, :1] if self.pooling == "cls" else output.flatten(1)[:, None]
        features, sums = sparse_vectors(vectors, self.basis)
        return features, None if self.heatmap_layer else self._sparse_maps(output)[0], sums

    def _sparse_maps(self, output: Tensor) -> tuple[SparseMaps, Sums]:
        from falcon_dvc.models.bases.sparse_codes import sparse_maps

        assert self.basis is not None, "only a readout with a basis"
        return sparse_maps(positions(output, self.layer), self.basis)

    def features(self, network: nn.Module, batch: Float[Tensor, "images 3 size size"]) -> Tensor:
        """Return the features of a batch."""
        return self.pooled(outputs_of(network, [self.layer], batch)[0])

    def gradients(
        self,
        network: nn.Module,
        batch: Float[Tensor, "images 3 size size"],
        directions: Float[Tensor, "images features"],
        where: Layer | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the activation of the heatmap layer, and the gradient of ``features @ direction`` with respect to it."""
        place = where or self.heatmap_layer or self.layer
        return activation_and_gradient(network, lambda images: self.features(network, images), place, batch, directions)


class Readouts:
    """The features of several layers side by side, from one forward pass.

    All maps and heatmaps have the finest grid. Coarser maps are repeated, which does not change their mean and maximum.

    Raises
    ------
    UserError
        If a grid does not divide the finest grid.
    """

    def __init__(self, readouts: Sequence[Readout], param: str) -> None:
        self._each = list(readouts)
        self._grid = max(readout.grid for readout in self._each)
        for readout in self._each:
            if any(fine % coarse for fine, coarse in zip(self._grid, readout.grid, strict=True)):
                raise UserError(
                    f"{param}.layer: the positions of '{readout.layer.name}' ({_shown(readout.grid)}) do not fit into "
                    f"{_shown(self._grid)}; explain it as an encoder of its own"
                )

    def __iter__(self) -> Iterator[Readout]:
        return iter(self._each)

    def __len__(self) -> int:
        return len(self._each)

    @property
    def width(self) -> int:
        """Number of features."""
        return sum(readout.width for readout in self._each)

    def parts(self) -> list[slice]:
        """Return the range of feature numbers of each layer."""
        ends = accumulate((readout.width for readout in self._each), initial=0)
        return [slice(first, last) for first, last in pairwise(ends)]

    def read(self, network: nn.Module, batch: Float[Tensor, "images 3 size size"]) -> tuple[Tensor, Tensor | None]:
        """Return features, and the maps that they are pooled from; None if a layer's heatmaps need gradients."""
        return self.read_measured(network, batch, measured=False)[:2]

    def read_measured(
        self, network: nn.Module, batch: Float[Tensor, "images 3 size size"], measured: bool = True
    ) -> tuple[Tensor, Tensor | None, Sums]:
        """Return also the sums of the explained variance of each image (`falcon_dvc.models.bases`); None without a basis."""
        outputs = outputs_of(network, [readout.layer for readout in self._each], batch)
        pairs = [(readout, output.float()) for readout, output in zip(self._each, outputs, strict=True)]
        if self._each[0].basis is not None:
            return self._each[0].in_basis(pairs[0][1], measured)
        features = torch.cat([readout.pooled(output) for readout, output in pairs], dim=1)
        if any(readout.heatmap_layer for readout in self._each):
            return features, None, None
        return features, torch.cat([self._fitted(positions(output, one.layer)) for one, output in pairs], dim=1), None

    def read_sparse(self, network: nn.Module, batch: Float[Tensor, "images 3 size size"]) -> SparsePass:
        """Return what `read_measured` returns of a layer with a basis, as the values that are not 0."""
        (readout,) = self._each
        return readout.in_sparse_basis(outputs_of(network, [readout.layer], batch)[0].float())

    def grad_cam(
        self,
        network: nn.Module,
        batch: Float[Tensor, "images 3 size size"],
        directions: Float[Tensor, "images features"],
    ) -> Float[Tensor, "images rows columns"]:
        """Return Grad-CAM of a direction in each image: the positive part of the sum over layers.

        The gradient of a mean over P positions is 1/P of the gradient of the sum. Each layer is weighted by its P, so
        that a mean has the same weight on any grid.
        """
        total = torch.zeros(len(batch), *self._grid, device=batch.device)
        for readout, part in zip(self._each, self.parts(), strict=True):
            if directions[:, part].any():
                heatmap = class_activation(*readout.gradients(network, batch, directions[:, part]))
                total += self._fitted(heatmap) * heatmap.shape[1] * heatmap.shape[2]
        return total.relu()

    def _fitted(
        self, maps: Float[Tensor, "*leading rows columns"]
    ) -> Float[Tensor, "*leading finer_rows finer_columns"]:
        """Repeat a map onto the finest grid."""
        for axis, fine in zip((-2, -1), self._grid, strict=True):
            times = fine // maps.shape[axis]
            maps = maps if times == 1 else maps.repeat_interleave(times, dim=axis)
        return maps


def _shown(grid: Grid) -> str:
    return "x".join(map(str, grid))
