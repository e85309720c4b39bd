"""Accept a basis of a notebook: a text, a file, an array or an entry of params, and prepare it for the activations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from falcon_dvc.errors import UserError
from falcon_dvc.models.bases.request import KINDS, basis_entry

if TYPE_CHECKING:
    from falcon_dvc.models.bases.basis import Basis
    from falcon_dvc.params import schema

AT_ONCE = 256  # images whose features are computed together
Batch = tuple[np.ndarray, np.ndarray | None]  # features and maps


def prepared_basis(given: Any, channels: int, batches: Callable[[], Iterable[Batch]], images: int) -> Basis:
    """Read, draw or fit a basis.

    Parameters
    ----------
    given
        As `explain` takes it.
    channels
        Of the activations.
    batches
        Returns their features and maps in channels, for components that are fitted to them.
    images
        Their number.

    Raises
    ------
    UserError
        If it is of another kind, cannot be read, or does not fit the activations.
    """
    if isinstance(given, np.ndarray):
        return _directions(given, channels)
    from falcon_dvc.models.bases.prepare import basis_without_fit, signed

    spec = _spec(given)
    if spec.fit is None:
        return basis_without_fit(spec, channels, "basis")
    from falcon_dvc.models.bases.fit import fit_basis

    assert spec.components is not None, "the schema asks for it"
    vectors = np.concatenate(list(_vectors(spec, batches(), images)))
    return signed(fit_basis(vectors, spec.fit, spec.components, spec.seed, "basis"), spec, "basis")


def has_two_sides(given: Any) -> bool:
    """Return whether a basis divides each direction into two features."""
    return isinstance(given, Mapping) and bool(given.get("both_signs"))


def _directions(matrix: np.ndarray, channels: int) -> Basis:
    import torch

    from falcon_dvc.models.bases.directions import linear_basis

    usable = matrix.ndim == 2 and matrix.dtype.kind in "fiu" and len(matrix) and np.isfinite(matrix).all()
    if not usable or matrix.shape[1] != channels or not matrix.any(axis=1).all():
        raise UserError(
            f"basis: {matrix.dtype} of shape {matrix.shape}; give finite directions (features, {channels}), none of them 0"
        )
    rows = torch.from_numpy(np.ascontiguousarray(matrix, dtype=np.float32))
    return linear_basis(rows, torch.zeros(len(rows)), description={"format": "directions"})


def _spec(given: Any) -> schema.Basis:
    """Check what was asked for by the schema of params.yaml."""
    from pydantic import ValidationError

    from falcon_dvc.params import schema

    entry = basis_entry(str(given), "basis") if isinstance(given, (str, Path)) else given
    if not isinstance(entry, Mapping):
        raise UserError(
            f"basis: a {type(given).__name__}; {KINDS}, an array (features, channels), or an entry of params"
        )
    texts: dict[str, Any] = {key: str(value) if isinstance(value, Path) else value for key, value in entry.items()}
    try:
        return schema.Basis(**texts)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(["basis", *map(str, problem["loc"])])
        raise UserError(f"{place}: {problem['msg'].removeprefix('Value error, ')}; see docs/bases.md") from error


def _vectors(spec: schema.Basis, batches: Iterable[Batch], images: int) -> Iterator[np.ndarray]:
    """Yield activations at single positions, at most as many as the basis asks for."""
    from falcon_dvc.models.bases.fit import drawn_positions, positions_of

    generator, most = np.random.default_rng(spec.seed), max(spec.vectors // images, 1)
    for features, maps in batches:
        yield drawn_positions(positions_of(features, maps), most, generator)


def arrays_in_basis(features: np.ndarray, maps: np.ndarray | None, basis: Basis) -> Batch:
    """Express given activations in a basis: at each position of the maps before they are pooled, or each vector.

    Raises
    ------
    UserError
        If the features are neither the mean nor the maximum of the maps.
    """
    import torch

    from falcon_dvc.models.bases.basis import encode

    if maps is None:
        return encode(torch.from_numpy(features), basis).numpy(), None
    pool = _pooling(features, maps)
    blocks = [maps[start : start + AT_ONCE].astype(np.float32) for start in range(0, len(maps), AT_ONCE)]
    found = [basis.maps(torch.from_numpy(block))[0].numpy() for block in blocks]
    return np.concatenate([pool(block, axis=(2, 3)) for block in found]), np.concatenate(found)


def _pooling(features: np.ndarray, maps: np.ndarray) -> Callable[..., np.ndarray]:
    spread = float(np.abs(features).max(initial=0))
    values = maps.astype(np.float32)
    for pool in (np.mean, np.max):
        if np.allclose(pool(values, axis=(2, 3)), features, atol=1e-3 * spread):
            return pool
    raise UserError("basis: the features are neither the mean nor the maximum of the maps; give the features alone")
